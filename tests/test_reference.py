"""What linguists say, for the paper's languages and for any others."""

import pytest

from langsim import languages, reference
from langsim.errors import UsageError
from langsim.trees import to_newick

TED = languages.pool("ted17")


def clades(tree):
    return {frozenset(tip.name for tip in node.tips()) for node in tree.non_tips()}


def test_families_keep_the_order_of_figure_5():
    assert list(reference.families(TED)) == TED


def test_families_stand_together_in_the_order_they_come():
    found = reference.families(["de", "hi", "sv", "fa", "ja", "de-AT"][:5])
    assert list(found.items()) == [
        ("de", "Germanic"),
        ("sv", "Germanic"),
        ("hi", "Indo-Iranian"),
        ("fa", "Indo-Iranian"),
        ("ja", "Japonic"),
    ]


def test_largest_family():
    assert reference.largest_family(TED) == ["bg", "sr", "hr", "uk", "sk", "be"]
    assert reference.largest_family(["gl", "eu", "es", "pt"]) == ["gl", "es", "pt"]
    assert reference.largest_family(["ja", "ko", "de"]) == ["ja", "ko", "de"]


def test_slavic_languages_get_the_sourced_tree():
    tree, source = reference.tree(TED)
    assert clades(tree) == {frozenset(c.split()) for c in ("bg sr hr", "sr hr", "uk be")}
    assert source == reference.SLAVIC
    assert clades(reference.tree(["ja", "sr", "hr", "bg"])[0]) == {frozenset({"sr", "hr"})}


@pytest.mark.parametrize(
    ("codes", "newick"),
    [
        (["gl", "es", "eu", "pt", "de", "sv"], "((gl,es,pt),eu,(de,sv));"),
        (["gl", "es", "pt"], "(gl,es,pt);"),
        (["ja", "ko", "de"], "(ja,ko,de);"),
    ],
)
def test_other_languages_get_the_registry(codes, newick):
    tree, source = reference.tree(codes)
    assert to_newick(tree) == newick and source == reference.REGISTRY


def test_two_languages_have_no_tree():
    with pytest.raises(UsageError, match="at least three"):
        reference.tree(["de", "sv"])
