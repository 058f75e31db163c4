"""Figures 2, 4, 5, 6: which languages, matrices and layers need more of the parameter space.

Demand is what pruning left beyond a matrix's share: minus the score of Eq. 5, as a share of the matrix's size. Above 0
a matrix kept more than the target rate, below it less. Means weigh matrices by their size, so that the demands of what
was pruned against each other have the mean 0, as the scores have the sum 0. (In the paper all B matrices of a rank are
of one size.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from langsim import languages
from langsim.bootstrap import Difference
from langsim.errors import UsageError
from langsim.lslo import intervals, procedures
from langsim.lslo.projections import FEED_FORWARD, KINDS
from langsim.lslo.weight_learning import STACKS
from langsim.lslo_settings import LSLoSettings
from langsim.readings import Prose, number, p, prose

AXES = ("stack", "layer", "kind", "language")
HIGHEST, LOWEST = "high", "very-low"


@dataclass(frozen=True)
class Demand:
    """Scores of all matrices.

    Attributes:
        kind: "lslo-ise" (languages compared in each layer) or "lslo-lsp" (places compared for each language).
        found: seed -> scores (`langsim.lslo.subspaces.scores`).
        classes: language -> class.
    """

    kind: str
    found: Mapping[int, pd.DataFrame]
    classes: Mapping[str, str]

    @cached_property
    def of_seeds(self) -> pd.DataFrame:
        """One row a seed, stack, layer (from 1), kind of matrix and language: size (weights), demand."""
        parts = [one.assign(seed=seed, layer=one["layer"] + 1) for seed, one in self.found.items()]
        whole = pd.concat(parts, ignore_index=True)
        whole["demand"] = -whole["share"]
        return mean(whole, ["seed", *AXES])

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The mean over seeds."""
        return mean(self.of_seeds, AXES)

    def by_language(self, of: Mapping[str, object] | None = None) -> np.ndarray:
        """(K, L) mean demand of each language over all its matrices, or those where columns have the values of `of`
        (a value, or a collection of them)."""
        lines = []
        for one in self.found.values():
            part = one
            for column, wanted in (of or {}).items():
                wanted = [wanted] if isinstance(wanted, str | int) else list(wanted)
                part = part[part[column].isin(wanted)]
            sums = part.groupby("language")[["score", "size"]].sum()
            lines.append((-sums["score"] / sums["size"]).reindex(list(self.classes)))
        return np.array(lines)

    def contrast(self, scope: str) -> Difference | None:
        """What the statements are about. None where there are no languages that it is about.

        Raises:
            UsageError: another one.
        """
        classes = list(self.classes.values())
        if scope == "very-low minus high and medium":
            inside = [name == LOWEST for name in classes]
            return self._between(self.by_language(), inside, classes)
        if scope == "related minus unrelated very-low":
            chosen = [i for i, name in enumerate(classes) if name == LOWEST]
            near = relatives(self.classes)
            inside = [code in near for code in np.array(list(self.classes))[chosen]]
            if not any(inside) or all(inside):
                return None
            values = self.by_language()[:, chosen]
            apart = values[:, inside].mean(1) - values[:, [not one for one in inside]].mean(1)
            return intervals.over_seeds(apart)
        if scope == "fc minus attention":
            others = [kind for kind in self.frame["kind"].unique() if kind not in FEED_FORWARD]
            return self._within({"kind": FEED_FORWARD}, {"kind": others})
        if scope == "encoder fc: top half minus bottom half":
            layers = sorted({layer for one in self.found.values() for layer in one[one["stack"] == "encoder"]["layer"]})
            half = len(layers) // 2
            same = {"stack": "encoder", "kind": FEED_FORWARD}
            return self._within({**same, "layer": layers[-half:]}, {**same, "layer": layers[:half]}) if half else None
        raise UsageError(f"no scope {scope!r} of demand")

    def _between(self, values: np.ndarray, inside: Sequence[bool], groups: Sequence[str]) -> Difference | None:
        if not any(inside) or all(inside):
            return None
        return intervals.over_languages(values, intervals.contrast(inside), groups, intervals.exchanged(inside))

    def _within(self, here: Mapping[str, object], there: Mapping[str, object]) -> Difference:
        apart = self.by_language(here) - self.by_language(there)
        return intervals.over_languages(apart, intervals.average, list(self.classes.values()), intervals.flipped)


def demand(settings: LSLoSettings, kind: str, *, jobs: int | None = None) -> Demand:
    """Read or compute it.

    Raises:
        Failure: a cell of the profile is missing or stale.
    """
    return Demand(kind, procedures.estimates(settings, kind, jobs), settings.classes_of())


def relatives(classes: Mapping[str, str]) -> list[str]:
    """Very-low-resource languages of the family of a high-resource one, as Occitan is of French's."""
    families = {code: languages.get(code).family_lslo or languages.get(code).family for code in classes}
    high = {families[code] for code, name in classes.items() if name == HIGHEST}
    return [code for code, name in classes.items() if name == LOWEST and families[code] in high]


def relatives_reading(found: Demand) -> Prose:
    """Which very-low-resource languages have a relative among the high-resource ones, and what so few can say."""
    near = relatives(found.classes)
    if not near:
        return prose("No very-low-resource language here has a relative among the high-resource ones.")
    few = "is the only very-low-resource language" if len(near) == 1 else "are the very-low-resource languages"
    return prose(
        f"{' '.join(near)} {few} here with a relative among the high-resource ones (n = {len(near)}): the interval of "
        "that statement is over seeds, and says nothing of other languages."
    )


def mean(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Means of `demand`, weighted by `size`: one row for each group, with its size."""
    sums = frame.assign(kept=frame["demand"] * frame["size"]).groupby(list(by), sort=False)[["kept", "size"]].sum()
    return sums.assign(demand=sums["kept"] / sums["size"]).drop(columns="kept").reset_index()


def tidy(found: Demand, over: str = "") -> pd.DataFrame:
    """One row a stack, layer (from 1), kind of matrix and language: demand (mean over seeds), low and high (the least
    and the greatest of the seeds).

    Args:
        over: "layer" or "language", which the numbers are means over; "" for neither.
    """
    by = [axis for axis in AXES if axis != over]
    return (
        mean(found.of_seeds, [*by, "seed"])
        .groupby(by, sort=False)["demand"]
        .agg(demand="mean", low="min", high="max")
        .reset_index()
    )


# Tables of cells for `charts.grids`, in percent of a matrix -----------------------------------------------------------


def by_matrix(found: Demand) -> dict[str, pd.DataFrame]:
    """Figure 2: stack to (languages, kinds of matrix), averaged over layers."""
    return {stack.capitalize(): _wide(part, "language", "kind", found) for stack, part in _stacks(found)}


def by_layer(found: Demand) -> dict[str, pd.DataFrame]:
    """Figure 5 in short: stack to (languages, layers), averaged over matrices."""
    return {stack.capitalize(): _wide(part, "language", "layer", found) for stack, part in _stacks(found)}


def every_layer(found: Demand) -> dict[str, pd.DataFrame]:
    """Figure 5: stack and layer to (languages, kinds of matrix)."""
    return {
        f"{stack.capitalize()}, layer {layer}": _wide(one, "language", "kind", found)
        for stack, part in _stacks(found)
        for layer, one in part.groupby("layer", sort=True)
    }


def by_place(found: Demand) -> dict[str, pd.DataFrame]:
    """Figure 4: stack to (layers, kinds of matrix), averaged over languages, the top layer on top."""
    return {stack.capitalize(): _wide(part, "layer", "kind", found).iloc[::-1] for stack, part in _stacks(found)}


def every_language(found: Demand, stack: str) -> dict[str, pd.DataFrame]:
    """Figure 6: language to (layers, kinds of matrix) of a stack, the top layer on top."""
    part = dict(_stacks(found))[stack]
    return {
        f"{code} ({found.classes[code]})": _wide(part[part["language"] == code], "layer", "kind", found).iloc[::-1]
        for code in found.classes
    }


def _stacks(found: Demand) -> list[tuple[str, pd.DataFrame]]:
    return [(stack, found.frame[found.frame["stack"] == stack]) for stack in STACKS]


def _wide(part: pd.DataFrame, rows: str, columns: str, found: Demand) -> pd.DataFrame:
    orders = {"language": list(found.classes), "kind": [kind for kind in KINDS if kind in set(part["kind"])]}
    shown = mean(part, [rows, columns]).pivot(index=rows, columns=columns, values="demand")
    for axis, name in (("index", rows), ("columns", columns)):
        order = orders.get(name) or list(dict.fromkeys(part[name]))
        shown = shown.reindex(**{axis: sorted(order) if name == "layer" else order})
    shown = (100 * shown).rename_axis(index=None, columns=None)
    shown.columns = [str(name).replace("cross_", "c-") for name in shown.columns]  # as in print
    if rows == "layer":
        shown.index = [f"layer {layer}" for layer in shown.index]
    return shown


def reading(found: Demand) -> Prose:
    """Who needs most and least: languages (intrinsic subspaces), or kinds of matrix (language-specific pruning)."""
    if found.kind == "lslo-ise":
        means = pd.Series(found.by_language().mean(0), list(found.classes))
        what = "language"
        groups = means.groupby(pd.Series(dict(found.classes)), sort=False).mean()
        more = [f"Means of the classes: {_listed(groups)}."]
    else:
        whole = found.frame.assign(place=found.frame["stack"] + " " + found.frame["kind"])
        means = mean(whole, ["place"]).set_index("place")["demand"]
        what, more = "kind of matrix", []
    ordered = means.sort_values(ascending=False)
    spread = _between_seeds(found)
    return prose(
        f"Demand by {what}, from the most to the least, in percent of a matrix beyond the common rate: "
        f"{_listed(ordered)}.",
        *more,
        f"Between seeds the demand of a language varies by {number(100 * spread, 1)} points (standard deviation)."
        if len(found.found) > 1 and found.kind == "lslo-ise"
        else "",
    )


def weighting_reading(found: Demand) -> Prose:
    """fc against attention in each stack, matrices weighted by size (the statement) and all alike."""
    told = []
    for stack, part in _stacks(found):
        placed = part.assign(fc=part["kind"].isin(FEED_FORWARD))
        if placed["fc"].nunique() < 2:
            return prose("Only one of fc and attention has LoRAs here.")
        by_size, by_one = (
            mean(weighed, ["fc"]).set_index("fc")["demand"] for weighed in (placed, placed.assign(size=1))
        )
        sized, alike = (number(100 * float(one[True] - one[False]), 1) for one in (by_size, by_one))
        told.append(f"{stack} {sized}, or {alike} with all matrices alike")
    return prose(
        f"fc minus attention, in percent of a matrix, matrices weighted by their size as in the statement: "
        f"{'; '.join(told)}."
    )


def _between_seeds(found: Demand) -> float:
    values = found.by_language()
    return float(np.sqrt(values.var(0, ddof=1).mean())) if len(values) > 1 else 0.0


def _listed(values: pd.Series) -> str:
    return ", ".join(f"{name} {number(100 * value, 1)}" for name, value in values.items())


def amount_reading(found: Demand, amounts: Mapping[str, float]) -> Prose:
    """Whether a language with more text in the model's training needs less: Spearman's correlation, with its p.

    Args:
        amounts: language -> amount of training text; those that are missing are left out.
    """
    from scipy.stats import spearmanr

    codes = [code for code in found.classes if code in amounts]
    if len(codes) < 4:
        return prose("How much text the model was trained on is not known of enough of these languages.")
    means = pd.Series(found.by_language().mean(0), list(found.classes))[codes]
    result = spearmanr(means, [amounts[code] for code in codes])
    return prose(
        f"Spearman's correlation of a language's demand with the amount of its training text is "
        f"{number(float(result.statistic))} ({p(float(result.pvalue))}, {len(codes)} languages): the paper says that "
        "it is negative."
    )
