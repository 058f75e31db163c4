"""Trees of languages: average-linkage clustering of a similarity matrix, Newick, and how far two trees agree."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform
from skbio import DistanceMatrix, TreeNode
from skbio.stats.distance import mantel

from langsim import paths
from langsim.errors import Failure, UsageError


@dataclass(frozen=True)
class Clustering:
    """A hierarchical clustering.

    Attributes:
        linkage: SciPy's (L - 1, 4) matrix.
        labels: the languages, in the matrix's order.
        distances: (L, L) what was clustered.
        cophenetic_correlation: Pearson correlation of the distances with the heights at which the tree joins the
            pairs: how faithful the tree is to the matrix.
        tree: the same as a tree with branch lengths (a leaf pair joined at distance d has its node at height d / 2).
    """

    linkage: np.ndarray
    labels: list[str]
    distances: pd.DataFrame
    cophenetic_correlation: float
    tree: TreeNode


def distances(matrix: pd.DataFrame, larger_is_similar: bool) -> pd.DataFrame:
    """A symmetric matrix of distances with a zero diagonal.

    The two directions of a pair are averaged. A similarity s becomes top - s, where top is a language's similarity to
    itself when the diagonal has it (1 for Overlap and Jaccard), else the largest similarity of any pair (centred
    matrices have no diagonal, and a constant does not change an average-linkage tree's shape).

    Raises:
        UsageError: rows and columns differ, fewer than two languages, a missing pair, a negative distance.
    """
    if list(matrix.index) != list(matrix.columns):
        raise UsageError("a tree needs a matrix with the same languages in rows and columns, in the same order")
    if len(matrix) < 2:
        raise UsageError("a tree needs at least two languages")
    values = matrix.to_numpy(dtype=float)
    off = ~np.eye(len(values), dtype=bool)
    if not np.isfinite(values[off]).all():
        raise UsageError("the similarity matrix misses a pair; a tree needs every pair of languages")
    mean = (values + values.T) / 2
    if larger_is_similar:
        own = np.diag(values)
        top = own.max() if np.isfinite(own).all() else mean[off].max()
        mean = top - mean
    if mean[off].min() < 0:
        raise UsageError("some distances are negative; pass similarities with larger_is_similar=True, or distances")
    np.fill_diagonal(mean, 0.0)
    return pd.DataFrame(mean, matrix.index, matrix.columns)


def cluster(matrix: pd.DataFrame, larger_is_similar: bool) -> Clustering:
    """Average linkage (UPGMA) of a similarity or distance matrix.

    Raises:
        UsageError: as `distances`.
    """
    table = distances(matrix, larger_is_similar)
    condensed = squareform(table.to_numpy(), checks=False)
    steps = linkage(condensed, method="average")
    joined = cophenet(steps)
    # Constant distances (two languages, say) have no correlation with anything.
    faithful = np.corrcoef(condensed, joined)[0, 1] if np.ptp(condensed) and np.ptp(joined) else float("nan")
    labels = [str(label) for label in table.index]
    return Clustering(steps, labels, table, float(faithful), TreeNode.from_linkage_matrix(steps, labels))


def to_newick(tree: TreeNode) -> str:
    """One line of Newick; names are quoted where they need it."""
    return str(tree).strip()


def write_newick(tree: TreeNode, path: Path | str) -> None:
    """Write a tree as a Newick file, whole or not at all."""
    with paths.atomic_write(Path(path)) as temporary:
        temporary.write_text(to_newick(tree) + "\n", encoding="utf-8")


def read_newick(source: Path | str) -> TreeNode:
    """Read a Newick file.

    Raises:
        UsageError: no such file.
        Failure: not a Newick tree.
    """
    try:
        text = Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the tree {source}: {error.strerror}; give a Newick file") from error
    try:
        tree = TreeNode.read(io.StringIO(text), format="newick")
    except Exception as error:  # scikit-bio raises several kinds
        reason = str(error).splitlines()[0]
        raise Failure(f"{source} is not a Newick tree ({reason}); write it as ((a,b),c);") from error
    return tree


def slavic_reference() -> TreeNode:
    """The linguists' tree of bg sr hr uk sk be (as in Figure 4), topology only, after Glottolog."""
    return read_newick(paths.DATA / "papers" / "slavic_reference.nwk")


def cophenetic(tree: TreeNode) -> pd.DataFrame:
    """(L, L) distances between leaves, sorted by name: along the branches where the tree has lengths; in a tree
    without, by how many levels above the deepest node the two leaves' common ancestor is (sisters at the deepest
    level have 1).

    Raises:
        UsageError: some branches have a length and others none, or a leaf has no name or another's.
    """
    names = [tip.name for tip in tree.tips()]
    if len(set(names)) != len(names) or None in names:
        raise UsageError("every leaf of a tree needs a name of its own; check the Newick file")
    lengths = [node.length is not None for node in tree.traverse(include_self=False)]
    if any(lengths) and not all(lengths):
        raise UsageError("some branches of the tree have a length and some none; give all or none")
    names = sorted(names)
    if all(lengths):
        return pd.DataFrame(tree.cophenet().filter(names).data.copy(), names, names)
    level: dict[frozenset[str], int] = {}
    for node in tree.non_tips(include_self=True):
        level[frozenset(tip.name for tip in node.tips())] = len(node.ancestors())
    deepest = max(level.values())
    table = pd.DataFrame(0.0, names, names)
    for leaves, depth in sorted(level.items(), key=lambda item: item[1]):  # deeper ancestors overwrite
        inside = [name for name in names if name in leaves]
        table.loc[inside, inside] = float(deepest + 1 - depth)
    values = table.to_numpy(copy=True)
    np.fill_diagonal(values, 0.0)
    return pd.DataFrame(values, names, names)


@dataclass(frozen=True)
class TreeComparison:
    """Two rooted trees on the same leaves.

    Attributes:
        robinson_foulds: clades found in one tree only. normalised: divided by the clades of both.
        correlation: Spearman correlation of the cophenetic distances (a reference without lengths only orders them),
            NaN where one tree has a single distance; p_value: Mantel test, one-sided (greater).
        leaves: how many were compared; permutations: of the Mantel test.
    """

    robinson_foulds: float
    normalised: float
    correlation: float
    p_value: float
    leaves: int
    permutations: int


def compare(tree: TreeNode, reference: TreeNode, *, permutations: int = 999, seed: int = 0) -> TreeComparison:
    """Compare two rooted trees on the leaves they share.

    Raises:
        UsageError: fewer than three shared leaves.
    """
    shared = sorted({tip.name for tip in tree.tips()} & {tip.name for tip in reference.tips()})
    if len(shared) < 3:
        raise UsageError(f"the two trees share {len(shared)} languages; compare trees with at least three in common")
    first, second = (_only(one, shared) for one in (tree, reference))
    tables = [cophenetic(one).loc[shared, shared].to_numpy() for one in (first, second)]
    correlation, p_value = float("nan"), float("nan")
    if all(np.ptp(squareform(table, checks=False)) > 0 for table in tables):
        x, y = (DistanceMatrix(table, shared) for table in tables)
        correlation, p_value, _ = mantel(
            x, y, method="spearman", permutations=permutations, alternative="greater", seed=seed
        )
    return TreeComparison(
        robinson_foulds=float(first.compare_rfd(second, rooted=True)),
        normalised=float(first.compare_rfd(second, proportion=True, rooted=True)),
        correlation=float(correlation),
        p_value=float(p_value),
        leaves=len(shared),
        permutations=permutations,
    )


def _only(tree: TreeNode, names: list[str]) -> TreeNode:
    """A copy with these leaves, nodes with one child removed."""
    if {tip.name for tip in tree.tips()} == set(names):
        return tree.copy()
    return tree.shear(names)
