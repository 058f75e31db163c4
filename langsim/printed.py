"""Algorithm A.2 on the printed Figure 5, and what two decimals can and cannot tell.

The paper prints similarities to two decimals and, elsewhere, the families that A.2 made from the unrounded ones. So a
row of the figure can be tested in two ways: does A.2 on the printed numbers give the printed family (`variants`), and
is there any row at all that rounds to the printed one and gives it (`possible`).
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise, permutations

import numpy as np
import pandas as pd
from scipy.optimize import linprog
from scipy.stats import hypergeom

from langsim import papers
from langsim.families import select
from langsim.readings import Prose, prose

HALF = 0.005  # half a unit of the second decimal


def printed_families(measure: str = "Overlap") -> dict[str, tuple[str, ...]]:
    """target -> auxiliaries of one row of Table 1 (`Overlap`, `MSE`, `KL`; case does not matter), {} for others."""
    table = papers.published("pf-table1")
    rows = table[table["measure"].str.lower() == measure.lower()]
    return {row.target: tuple(row.value.split()) for row in rows.itertuples()}


def variants(matrix: pd.DataFrame, families: Mapping[str, Iterable[str]]) -> pd.DataFrame:
    """A.2 on a matrix printed to two decimals, for both orientations and two ways to do the arithmetic.

    `floating point`: as a program does it, where 0.85 - 0.84 and 0.84 - 0.83 differ in the last bit. `exact`: in
    hundredths, where they are equal.

    Returns:
        one row a variant and target: orientation, arithmetic, target, members (tuple), matches (with `families`).
    """
    rows = []
    for orientation, table in (("row = target", matrix), ("column = target", matrix.T)):
        for arithmetic in ("floating point", "exact"):
            for target, printed in families.items():
                scores, own = table.loc[target], 1.0
                if arithmetic == "exact":
                    scores, own = (scores * 100).round().astype(int), 100
                found = select(scores, True, self_score=own, target=target)
                rows.append(
                    {
                        "orientation": orientation,
                        "arithmetic": arithmetic,
                        "target": target,
                        "members": found.members,
                        "matches": set(found.members) == set(printed),
                    }
                )
    return pd.DataFrame(rows)


def variants_table(matrix: pd.DataFrame, families: Mapping[str, Iterable[str]]) -> pd.DataFrame:
    """`variants` as printed and found families side by side; a star marks those that match."""
    lines = {"Table 1": {target: " ".join(members) for target, members in families.items()}}
    for row in variants(matrix, families).itertuples():
        text = " ".join(row.members) + (" *" if row.matches else "")
        lines.setdefault(f"{row.orientation}, {row.arithmetic}", {})[row.target] = text
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis(columns="target")


def variants_reading(matrix: pd.DataFrame, families: Mapping[str, Iterable[str]]) -> Prose:
    """Which way gives the most printed families, and which families it gives."""
    found = variants(matrix, families)
    counts = found.groupby(["orientation", "arithmetic"], sort=False)["matches"].sum()
    best = counts.idxmax()
    right = found[found["matches"]].set_index(["orientation", "arithmetic"]).loc[best, "target"]
    way, total = f"*{best[0]}*, arithmetic *{best[1]}*", len(families)
    if counts.max() == total:
        return prose(f"A star marks a family that matches: {way} gives all {total}.")
    return prose(
        f"A star marks a family that matches. The best way is {way}: {counts.max()} of {total} families, those of",
        f"{_listed(list(right))}. No way gives all {total}.",
    )


def possible_table(matrix: pd.DataFrame, families: Mapping[str, Iterable[str]]) -> pd.DataFrame:
    """`possible` for both orientations: yes or no."""
    lines = {
        orientation: {t: "yes" if possible(table.loc[t], members, t) else "no" for t, members in families.items()}
        for orientation, table in (("row = target", matrix), ("column = target", matrix.T))
    }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis(columns="possible?")


def possible_reading(matrix: pd.DataFrame, families: Mapping[str, Iterable[str]]) -> Prose:
    """What follows for the orientation of the matrix."""
    lines = []
    for orientation, row in possible_table(matrix, families).iterrows():
        no = [target for target in row.index if row[target] == "no"]
        lines.append(
            f"With *{orientation}* the families of {_listed(no)} can't come from any matrix that rounds to Figure 5."
            if no
            else f"With *{orientation}* all {len(row)} families can come from a matrix that rounds to Figure 5."
        )
    return prose(*lines)


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def possible(scores: pd.Series, members: Iterable[str], target: str, *, half: float = HALF) -> bool:
    """Is there a row that rounds to the printed `scores` and from which A.2 picks exactly `members`?

    For an order m1, m2, ... of the members the walk needs  1 - x1 > x1 - x2 > x2 - x3 > ...  and, for every language
    u that stays out,  xk - xu > x(k-1) - xk : linear in the unknown similarities x. A linear program finds the largest
    margin t by which all of them can hold; the family is possible if t > 0 for some order of its members. (Ties
    between steps, which A.2 also lets in, are the limit t = 0 and are not counted.)
    """
    others = [name for name in scores.index if name != target]
    position = {name: i for i, name in enumerate(others)}
    members = list(members)
    bounds = [(scores[name] - half, min(1.0, scores[name] + half)) for name in others]
    for order in permutations(members):
        printed = [scores[name] for name in order]
        if any(later > earlier + 2 * half for earlier, later in pairwise(printed)):
            continue  # this order contradicts the printed values
        if _margin([position[name] for name in order], bounds) > 1e-9:
            return True
    return False


def _margin(order: list[int], bounds: list[tuple[float, float]]) -> float:
    """The largest t for which all steps of the walk shrink by t and the next one would grow by t; -inf if none."""
    size = len(bounds)
    similarity = np.eye(size + 1, size + 2)  # coefficients of x, of t, and a constant
    constant_one = np.eye(1, size + 2, size + 1)[0]  # the target itself
    margin = similarity[-1]
    points = [constant_one, *(similarity[i] for i in order)]
    steps = [earlier - later for earlier, later in pairwise(points)]
    outside = [points[-1] - similarity[i] for i in set(range(size)) - set(order)]
    below_zero = [
        *(later - earlier + margin for earlier, later in pairwise(steps)),  # the steps shrink
        *(-step for step in steps),
        *(steps[-1] - step + margin for step in outside),  # the next one would not
    ]
    rows = np.array(below_zero)
    found = linprog(-margin[:-1], A_ub=rows[:, :-1], b_ub=-rows[:, -1], bounds=[*bounds, (None, 1.0)])
    return -float(found.fun) if found.status == 0 else -np.inf


def chance_jaccard(pool: int, size: int, other: int) -> float:
    """Expected Jaccard index of two random sets of `size` and `other` out of `pool` languages."""
    shared = np.arange(max(0, size + other - pool), min(size, other) + 1)
    if size + other == 0:
        return 1.0
    return float(hypergeom(pool, size, other).pmf(shared) @ (shared / (size + other - shared)))
