"""How large a subspace each language needs, from what pruning left of its B matrices (sections 4.2 and 7.2, Eq. 5).

Intrinsic subspace estimation (`ISE`) prunes the B matrices of all languages in a layer against each other, and so
compares languages; language-specific pruning (`LSP`) prunes all B matrices of a language against each other, and so
compares the places in the model. Both run the schedule of Table 3 in a training with rank 8 for all, then take scores.
"""

from collections.abc import Collection

import pandas as pd

from langsim.errors import UsageError
from langsim.lslo.model import LSLo
from langsim.lslo.pruning import Pruning
from langsim.suggest import unknown

ISE = Pruning(scope="layer")
LSP = Pruning(scope="language")
AXES = ("stack", "layer", "kind", "module", "language")  # what names a matrix
_MEANS = ("score", "share")
# What a group of matrices that were pruned against each other has in common.
_GROUP = {"layer": ["stack", "layer"], "language": ["language"], "tensor": ["module", "language"]}


def scores(lslo: LSLo, pruning: Pruning, ratio: float) -> pd.DataFrame:
    """The importance score of every B matrix (Eq. 5): how many more of its weights were pruned than its share of them.

    Score(B) = pruned of B - P * size of B. Positive: a smaller subspace will do; negative: it needs a larger one. Over
    a group of matrices that were pruned against each other the scores sum to 0, but for the rounding of its count.

    Args:
        pruning: by which it was pruned: `ISE` or `LSP`.
        ratio: P, to which it was pruned.

    Returns:
        one row a matrix: stack, layer (from 0), kind, module, language, size, pruned, score (in weights), share (the
        score as a share of the size, comparable between matrices of unequal size).

    Raises:
        UsageError: the masks are not those of this pruning and ratio, or as `Pruning.groups`.
    """
    found = pruning.counts(lslo)
    found = found[found["matrix"] == "B"].drop(columns="matrix").reset_index(drop=True)
    by = _GROUP[pruning.scope]
    totals = found.groupby(by, sort=False)[["size", "pruned"]].sum()
    for group, row in totals.iterrows():
        if row["pruned"] != (wanted := round(ratio * row["size"])):
            where = " ".join(map(str, group if isinstance(group, tuple) else (group,)))
            raise UsageError(
                f"{row['pruned']} of {row['size']} weights of {where} are pruned, ratio {ratio:g} is {wanted}: "
                f"apply this pruning with this ratio first"
            )
    found["score"] = found["pruned"] - ratio * found["size"]
    found["share"] = found["score"] / found["size"]
    return found


def averaged(frame: pd.DataFrame, over: Collection[str]) -> pd.DataFrame:
    """Means of what `scores` gives: Figure 2 is over layers, Figure 4 over languages, Figures 5 and 6 over nothing.

    Args:
        over: "layer", "language" or both; matrices of the same kind in a layer (gated T5 has two fc1) are always
            taken together.

    Returns:
        one row for each stack, kind, and layer and language where the mean is not over them, in the order of the model:
        these columns, score, share.

    Raises:
        UsageError: a name of no such axis.
    """
    for axis in over:
        if axis not in ("layer", "language"):
            raise UsageError(f"average over: {unknown(axis, ['layer', 'language'])}")
    by = [axis for axis in AXES if axis != "module" and axis not in over]
    return frame.groupby(by, sort=False)[list(_MEANS)].mean().reset_index()
