"""Pseudo families: the auxiliary languages that Algorithm A.2 picks for a target, step by step.

L is the list of the target itself (similarity 1, distance 0) and its auxiliaries, most similar first; equal ones keep
the order they came in. Gap starts at |L[1] - L[0]| and L[1] is in; then, from i = 2, |L[i-1] - L[i]| is compared with
Gap: smaller, L[i] is in and the difference becomes Gap; equal (as floats), L[i] is in and Gap is halved; larger, the
walk ends. So the radius can only shrink.

Variants:
- `paper`: the above, for all measures; one auxiliary at least, no upper limit.
- `authors_code`: Overlap (larger is similar) as the paper. For distances the target is not in the list: Gap starts at
  the difference of the first two auxiliaries, which both are in. Always 2 to 10 auxiliaries.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from langsim.errors import UsageError

Variant = Literal["paper", "authors_code"]
Step = dict[str, object]

_FEWEST, _MOST = 2, 10  # auxiliaries in the authors' code


@dataclass(frozen=True)
class Family:
    """A target's pseudo family.

    Attributes:
        members: the auxiliaries, most similar first (the target is not among them).
        trace: one step an auxiliary that was looked at: index (in L of the variant), language, score, gap_before,
            difference, decision, gap_after. Decisions: `first` (in by the rule), `smaller` and `equal` (in),
            `larger` (out, the walk ends), `minimum` (the authors' code keeps it although it is farther, and
            the walk ends).
    """

    target: str
    members: tuple[str, ...]
    measure: str
    variant: Variant
    trace: list[Step] = field(repr=False)


def select(
    scores: Mapping[str, float] | pd.Series,
    larger_is_similar: bool,
    variant: Variant = "paper",
    *,
    self_score: float | None = None,
    target: str = "",
    measure: str = "",
) -> Family:
    """Algorithm A.2 for one target.

    Args:
        scores: auxiliary to its similarity or distance, in the order that breaks ties. An entry for `target` itself
            is ignored.
        larger_is_similar: True for Overlap and Jaccard, False for MSE and KL.
        self_score: the target's own L[0]; 1 for a similarity, 0 for a distance unless given.

    Raises:
        UsageError: no auxiliary, a score that is not a number, an unknown variant.
    """
    if variant not in ("paper", "authors_code"):
        raise UsageError(f"no variant {variant!r} of A.2; choose 'paper' or 'authors_code'")
    given = [(str(name), float(score)) for name, score in scores.items() if str(name) != target]
    if not given:
        raise UsageError(f"no auxiliary language for {target or 'the target'}; compare at least two languages")
    for name, score in given:
        if not np.isfinite(score):
            raise UsageError(f"the score of {name!r} is {score}; A.2 needs a number for every auxiliary")
    ranked = sorted(given, key=lambda item: item[1], reverse=larger_is_similar)  # stable in both directions
    if self_score is None:
        self_score = 1.0 if larger_is_similar else 0.0
    with_target = variant == "paper" or larger_is_similar
    walk = [(target, self_score), *ranked] if with_target else ranked
    limits = (1, len(ranked)) if variant == "paper" else (_FEWEST, _MOST)
    members, trace = _walk(walk, int(with_target), limits)
    return Family(target, members, measure, variant, trace)


def _walk(ordered: list[tuple[str, float]], first: int, limits: tuple[int, int]) -> tuple[tuple[str, ...], list[Step]]:
    """The walk over L (`ordered`), whose first auxiliary has index `first` (0 when the target is not in L)."""
    fewest, most = limits
    trace: list[Step] = []
    members: list[str] = []

    def note(index: int, before: float | None, difference: float | None, decision: str, after: float | None) -> None:
        name, score = ordered[index]
        trace.append(
            {
                "index": index,
                "language": name,
                "score": score,
                "gap_before": before,
                "difference": difference,
                "decision": decision,
                "gap_after": after,
            }
        )
        if decision != "larger":
            members.append(name)

    if first == 0:
        note(0, None, None, "first", None)
    if len(ordered) < 2:
        return tuple(members), trace
    gap = abs(ordered[1][1] - ordered[0][1])
    note(1, None, gap, "first", gap)
    for index in range(2, len(ordered)):
        if len(members) == most:
            break
        difference = abs(ordered[index - 1][1] - ordered[index][1])
        if difference > gap:
            note(index, gap, difference, "minimum" if len(members) < fewest else "larger", gap)
            break
        after, decision = (gap / 2, "equal") if difference == gap else (difference, "smaller")
        note(index, gap, difference, decision, after)
        gap = after
    return tuple(members), trace


def families_of(
    matrix: pd.DataFrame,
    larger_is_similar: bool,
    variant: Variant = "paper",
    *,
    targets: Iterable[str] | None = None,
    measure: str = "",
    self_score: float | None = None,
) -> dict[str, Family]:
    """A.2 for every row of a matrix (row = target, column = auxiliary), or for the rows named.

    Raises:
        UsageError: a target that the matrix lacks.
    """
    wanted = list(matrix.index) if targets is None else list(targets)
    for name in wanted:
        if name not in matrix.index:
            raise UsageError(f"no row {name!r} in the similarity matrix; it has {', '.join(map(str, matrix.index))}")
    return {
        name: select(matrix.loc[name], larger_is_similar, variant, self_score=self_score, target=name, measure=measure)
        for name in wanted
    }


def traditional(code: str, pool: Iterable[str]) -> tuple[str, ...]:
    """The languages of `pool` in the same traditional family (Figure 1) as `code`, in the pool's order, without it."""
    from langsim import languages

    own = languages.get(code)
    return tuple(other for other in pool if other != own.code and languages.get(other).family == own.family)


@dataclass(frozen=True)
class Agreement:
    """How far two assignments of families agree on the languages they share.

    Attributes:
        adjusted_rand: adjusted Rand index of two partitions (1 = the same, about 0 = chance); None if either
            assignment overlaps, as pseudo families do.
        jaccard: per target, |A and B| / |A or B| of its auxiliaries; 1 where both have none.
    """

    adjusted_rand: float | None
    jaccard: pd.Series

    @property
    def mean_jaccard(self) -> float:
        return float(self.jaccard.mean())


Assignment = Mapping[str, str | Family | Iterable[str]]


def agreement(assignment_a: Assignment, assignment_b: Assignment) -> Agreement:
    """Compare two assignments: each maps a language to a family's name (a partition), or to its own auxiliaries.

    Raises:
        UsageError: no language in common.
    """
    shared = [name for name in assignment_a if name in assignment_b]
    if not shared:
        raise UsageError("the two assignments share no language; compare the same languages")
    labels_a, labels_b = _labels(assignment_a, shared), _labels(assignment_b, shared)
    rand = float(adjusted_rand_score(labels_a, labels_b)) if labels_a and labels_b else None
    auxiliaries_a, auxiliaries_b = _auxiliaries(assignment_a, shared), _auxiliaries(assignment_b, shared)
    values = {}
    for name in shared:
        a, b = auxiliaries_a[name], auxiliaries_b[name]
        values[name] = len(a & b) / len(a | b) if a | b else 1.0
    return Agreement(rand, pd.Series(values, name="jaccard").rename_axis("target"))


def _labels(assignment: Assignment, shared: list[str]) -> list[str] | None:
    """The families' names if this is a partition by names, else None."""
    labels = [assignment[name] for name in shared]
    return labels if all(isinstance(label, str) for label in labels) else None


def _auxiliaries(assignment: Assignment, shared: list[str]) -> dict[str, set[str]]:
    """Each shared language's auxiliaries, without itself. Under a partition: all others of the same name."""
    found = {}
    for name in shared:
        value = assignment[name]
        if isinstance(value, str):
            found[name] = {other for other in shared if assignment[other] == value} - {name}
        else:
            found[name] = set(value.members if isinstance(value, Family) else value) - {name}
    return found
