"""Trees worked out by hand: average linkage, Newick, cophenetic distances, Robinson-Foulds."""

import io

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from skbio import TreeNode

from langsim import papers, trees
from langsim.errors import Failure, UsageError


def labelled(values, names):
    return pd.DataFrame(np.array(values, float), names, names)


def tree(text):
    return TreeNode.read(io.StringIO(text))


# a-b at 2; c joins at (6 + 4) / 2 = 5; d joins at (10 + 8 + 9) / 3 = 9
BY_HAND = labelled([[0, 2, 6, 10], [2, 0, 4, 8], [6, 4, 0, 9], [10, 8, 9, 0]], list("abcd"))


def test_average_linkage_by_hand():
    found = trees.cluster(BY_HAND, larger_is_similar=False)
    assert found.linkage[:, 2].tolist() == [2, 5, 9]
    joined = labelled([[0, 2, 5, 9], [2, 0, 5, 9], [5, 5, 0, 9], [9, 9, 9, 0]], list("abcd"))
    assert np.allclose(trees.cophenetic(found.tree), joined)
    upper = np.triu_indices(4, 1)
    expected = np.corrcoef(BY_HAND.to_numpy()[upper], joined.to_numpy()[upper])[0, 1]
    assert found.cophenetic_correlation == pytest.approx(expected)
    assert trees.to_newick(found.tree) == "(d:4.5,(c:2.5,(a:1.0,b:1.0):1.5):2.0);"


def test_two_directions_are_averaged_and_similarities_turned():
    matrix = labelled([[1, 0.9, 0.5], [0.7, 1, 0.3], [0.5, 0.1, 1]], list("abc"))
    expected = [[0, 0.2, 0.5], [0.2, 0, 0.8], [0.5, 0.8, 0]]
    assert np.allclose(trees.distances(matrix, True), expected)
    assert np.array_equal(trees.distances(BY_HAND, False), BY_HAND)


def test_a_centred_matrix_gives_the_tree_of_its_differences():
    generator = np.random.default_rng(0)
    values = generator.standard_normal((6, 6))
    centred = labelled((values + values.T) / 2, list("abcdef"))
    np.fill_diagonal(values := centred.to_numpy(copy=True), np.nan)
    centred = labelled(values, list("abcdef"))
    found = trees.distances(centred, True)
    off = ~np.eye(6, dtype=bool)
    assert found.to_numpy()[off].min() == 0
    assert np.allclose((found + centred).to_numpy()[off], np.nanmax(values))
    shifted = trees.cluster(centred + 5.0, True)
    assert shifted.tree.compare_rfd(trees.cluster(centred, True).tree, rooted=True) == 0


def test_newick_survives_awkward_names(tmp_path):
    names = ["zh_Hans", "it's", "a b", "x(y)", "plain"]
    values = np.abs(np.subtract.outer([1.0, 2, 4, 8, 16], [1.0, 2, 4, 8, 16]))
    found = trees.cluster(labelled(values, names), False)
    trees.write_newick(found.tree, tmp_path / "tree.nwk")
    back = trees.read_newick(tmp_path / "tree.nwk")
    assert {tip.name for tip in back.tips()} == set(names)
    assert np.allclose(trees.cophenetic(back), trees.cophenetic(found.tree))


def test_the_slavic_reference():
    reference = trees.slavic_reference()
    levels = trees.cophenetic(reference)
    assert list(levels.index) == ["be", "bg", "hr", "sk", "sr", "uk"]
    pairs = {("sr", "hr"): 1, ("bg", "sr"): 2, ("bg", "hr"): 2, ("uk", "be"): 2, ("sk", "bg"): 3, ("sk", "uk"): 3}
    pairs[("sr", "be")] = 3
    for (a, b), level in pairs.items():
        assert levels.loc[a, b] == levels.loc[b, a] == level
    assert (np.diag(levels) == 0).all()


def test_the_published_matrix_against_the_reference():
    six = ["bg", "sr", "hr", "uk", "sk", "be"]
    found = trees.cluster(papers.matrix("pf-fig5").astype(float).loc[six, six], True)
    result = trees.compare(found.tree, trees.slavic_reference())
    assert result.leaves == 6
    clades = {frozenset(tip.name for tip in node.tips()) for node in found.tree.non_tips()}
    assert frozenset({"sr", "hr"}) in clades
    shared = clades & {frozenset({"sr", "hr"}), frozenset({"bg", "sr", "hr"}), frozenset({"uk", "be"})}
    assert result.robinson_foulds == len(clades) + 3 - 2 * len(shared)


def test_robinson_foulds_by_hand():
    one, other = tree("((a,b),(c,d));"), tree("((a,c),(b,d));")
    assert trees.compare(one, one.copy()).robinson_foulds == 0
    result = trees.compare(one, other)
    assert result.robinson_foulds == 4 and result.normalised == 1.0
    rooted = trees.compare(tree("(((a,b),c),d);"), one)  # clades ab abc against ab cd
    assert rooted.robinson_foulds == 2 and rooted.normalised == 0.5


def test_correlation_and_mantel_test():
    found = trees.cluster(BY_HAND, False).tree
    other = tree("((a:1,b:1):3,(c:2,d:2):2);")
    result = trees.compare(found, other, permutations=99, seed=3)
    upper = np.triu_indices(4, 1)
    x, y = (trees.cophenetic(one).to_numpy()[upper] for one in (found, other))
    assert result.correlation == pytest.approx(spearmanr(x, y).statistic)
    assert 0 < result.p_value <= 1 and result == trees.compare(found, other, permutations=99, seed=3)
    same = trees.compare(found, found.copy())
    assert same.correlation == pytest.approx(1) and same.robinson_foulds == 0


def test_only_shared_leaves_are_compared():
    result = trees.compare(tree("((a:1,b:1):1,(c:1,x:1):1);"), tree("((a,b),c,(y,z));"))
    assert result.leaves == 3 and result.robinson_foulds == 0
    with pytest.raises(UsageError, match="share 2 languages"):
        trees.compare(tree("((a,b),c);"), tree("((a,b),d);"))


def test_star_trees_have_no_correlation():
    result = trees.compare(tree("(a,b,c);"), tree("((a,b),c);"))
    assert np.isnan(result.correlation) and np.isnan(result.p_value)


def test_misuse(tmp_path):
    cases = [
        ("same languages", lambda: trees.cluster(BY_HAND.iloc[:, :3], False)),
        ("at least two", lambda: trees.cluster(BY_HAND.iloc[:1, :1], False)),
        ("misses a pair", lambda: trees.cluster(BY_HAND.mask(BY_HAND == 2), False)),
        ("negative", lambda: trees.cluster(BY_HAND - 3, False)),
        ("cannot read the tree", lambda: trees.read_newick(tmp_path / "none.nwk")),
        ("some none", lambda: trees.cophenetic(tree("((a:1,b:1),c:1);"))),
        ("name of its own", lambda: trees.cophenetic(tree("((a,a),c);"))),
    ]
    for message, call in cases:
        with pytest.raises(UsageError, match=message):
            call()
    (tmp_path / "bad.nwk").write_text("((a,b),c")
    with pytest.raises(Failure, match="not a Newick tree"):
        trees.read_newick(tmp_path / "bad.nwk")
