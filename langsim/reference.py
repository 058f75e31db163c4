"""What linguists say, for any languages: their families, in the order of a figure, and a tree to compare ours with."""

from collections.abc import Sequence

from skbio import TreeNode

from langsim import languages, trees
from langsim.errors import UsageError

SLAVIC = "Glottolog's classification of the Slavic languages"
REGISTRY = "families of the registry, as a tree of two levels"


def families(codes: Sequence[str]) -> dict[str, str]:
    """language -> family, ordered by family: families by their first language, languages as they came."""
    family = {code: languages.get(code).family for code in codes}
    order = list(dict.fromkeys(family.values()))
    return dict(sorted(family.items(), key=lambda item: order.index(item[1])))


def scripts(codes: Sequence[str]) -> dict[str, str]:
    """language -> ISO 15924 code of its script."""
    return {code: languages.get(code).script for code in codes}


def names(codes: Sequence[str]) -> dict[str, str]:
    """language -> its English name."""
    return {code: languages.get(code).name for code in codes}


def largest_family(codes: Sequence[str]) -> list[str]:
    """The languages of the family with the most languages among `codes`; of all of them where none has three."""
    family = families(codes)
    sizes = {name: list(family.values()).count(name) for name in family.values()}
    largest = max(sizes, key=sizes.__getitem__)
    return [code for code in family if family[code] == largest] if sizes[largest] > 2 else list(family)


def tree(codes: Sequence[str]) -> tuple[TreeNode, str]:
    """A reference tree, topology only, and where it comes from.

    Where at least three of the languages are among the six Slavic ones of the first paper: the sourced tree of Figure
    4, cut down to those. Else the registry's families on all languages, each a clade whose inside is not resolved.

    Raises:
        UsageError: fewer than three languages.
    """
    if len(codes) < 3:
        raise UsageError(f"a tree of {len(codes)} languages says nothing; give at least three")
    slavic = trees.slavic_reference()
    inside = {tip.name for tip in slavic.tips()} & set(codes)
    if len(inside) > 2:
        return slavic.shear(inside), SLAVIC
    root = TreeNode()
    family = families(codes)
    for name in dict.fromkeys(family.values()):
        leaves = [TreeNode(code) for code in family if family[code] == name]
        root.append(leaves[0] if len(leaves) == 1 else TreeNode(children=leaves))
    if len(root.children) == 1:  # one family: nothing but a star
        root = root.children[0]
        root.parent = None
    return root, REGISTRY
