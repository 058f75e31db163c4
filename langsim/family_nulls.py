"""Do the pseudo families agree with the printed ones better than what nulls pick? The rule of the page on similarity.

An agreement carries weight if it is no chance (the families of the full text, Holm's p-value over the measures), and if
the trained model is measurably above *every* null. The nulls of `instrument` are measured on two halves of the text, so
the trained model is measured there as well: A.2 walks down the row of a target, which is in the first half, among the
languages of the second. Two instruments are compared by an exact test that flips the signs of the differences, target
by target, as if targets were independent; it is one-sided, as the test of chance is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import permutation_test

from langsim import diagonals, instrument, readings
from langsim.agreement import LEVEL
from langsim.families import Family, agreement, select
from langsim.family_study import MEASURES, NAMES, FamilyAgreement, Row, agreements_with_print
from langsim.instrument import TOKENS, TRAINED
from langsim.instrument_study import BELOW, CARRIES, CHANCE, LEVEL_WITH
from langsim.pipeline import FisherVectors
from langsim.readings import Prose, number, p
from langsim.similarity import LARGER_IS_SIMILAR

Halves = dict[str, dict[str, dict[str, Family]]]  # measure as printed -> instrument -> target -> its family


@dataclass(frozen=True)
class Weighed:
    """The agreement of one measure's families with the printed ones, beside the nulls'.

    Attributes:
        full: of the full text's families, with chance.
        halves: instrument to (targets,) the Jaccard index of its families on the halves with the printed ones.
    """

    full: FamilyAgreement
    halves: dict[str, pd.Series]

    @property
    def means(self) -> dict[str, float]:
        """Instrument to the mean Jaccard index on the halves."""
        return {name: float(values.mean()) for name, values in self.halves.items()}

    @property
    def best_null(self) -> str:
        """The null that agrees best."""
        return diagonals.best_null(self.means)

    @property
    def above(self) -> dict[str, int]:
        """Null to 1 (the trained model is measurably above it), -1 (below), 0 (neither)."""
        trained = self.halves[TRAINED]
        return {name: _side(trained - values) for name, values in self.halves.items() if name != TRAINED}

    @property
    def verdict(self) -> str:
        """One of the four words of `instrument_study`."""
        sides = self.above.values()
        if min(sides) < 0:
            return BELOW
        if not self.full.adjusted < LEVEL:
            return CHANCE
        return CARRIES if min(sides) > 0 else LEVEL_WITH


def _side(apart: pd.Series) -> int:
    """The sign of the mean of some differences, where few of the ways to flip their signs give as much; else 0."""
    flipped = {"permutation_type": "samples", "n_resamples": np.inf, "alternative": "greater"}
    for sign in (1, -1):
        if permutation_test((sign * apart.to_numpy(),), np.mean, **flipped).pvalue < LEVEL:
            return sign
    return 0


def on_halves(vectors: FisherVectors) -> Halves:
    """The families of the targets that the trained model and every null pick on the halves of the text, by each measure
    of Table 1 and the run's own; token counts have one set of families, whatever the measure."""
    found: Halves = {}
    for measure in dict.fromkeys((*MEASURES, vectors.settings.measure)):
        of_measure = replace(vectors, settings=vectors.settings.model_copy(update={"measure": measure}))
        found[NAMES[measure]] = {check.name: _picked(check, of_measure) for check in instrument.checks(of_measure)}
    return found


def _picked(check: instrument.Check, vectors: FisherVectors) -> dict[str, Family]:
    settings = vectors.settings
    # A check is larger for what is more similar, also where the measure is a distance.
    larger = LARGER_IS_SIMILAR[settings.measure] or check.name == TOKENS
    scores = check.cross if larger else -check.cross
    return {
        target: select(scores.loc[target], larger, settings.recipe, target=target, measure=settings.measure)
        for target in settings.targets
    }


def weigh(found: Sequence[Row], halves: Halves) -> dict[str, Weighed]:
    """Measure to its agreement with Table 1 beside the nulls'; empty where nothing is printed for these targets."""
    printed = {row.name: row.printed for row in found}
    return {name: Weighed(full, _jaccard(halves[name], printed[name]))
            for name, full in agreements_with_print(found).items()}  # fmt: skip


def _jaccard(
    picked: Mapping[str, Mapping[str, Family]], printed: Mapping[str, tuple[str, ...]]
) -> dict[str, pd.Series]:
    return {
        name: agreement({target: families[target] for target in printed}, dict(printed)).jaccard
        for name, families in picked.items()
    }


def table(weighed: Mapping[str, Weighed]) -> Prose:
    """One row a measure: verdict, the mean Jaccard index of the full text, of the halves, of the best null there."""
    if not weighed:
        return readings.prose("Table 1 has none of these targets, so there is nothing to compare with.")
    rows = {
        name: {
            "verdict": f"**{one.verdict}**" if one.verdict == CARRIES else one.verdict,
            "full text": f"{number(one.full.mean)} ({p(one.full.adjusted)}; by chance {number(one.full.chance)})",
            "halves": number(one.means[TRAINED]),
            "best null, halves": f"{number(one.means[one.best_null])} ({one.best_null})",
        }
        for name, one in weighed.items()
    }
    return readings.grid(pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="measure"))


def reading(weighed: Mapping[str, Weighed]) -> Prose:
    """Which measures' agreement with Table 1 carries weight, in one or two sentences; empty without any."""
    if not weighed:
        return Prose("")
    by = {word: [name for name, one in weighed.items() if one.verdict == word]
          for word in (CARRIES, LEVEL_WITH, BELOW, CHANCE)}  # fmt: skip
    first = (
        f"The agreement with Table 1 **carries weight** by {', '.join(by[CARRIES])}."
        if by[CARRIES]
        else f"**By none of the {len(weighed)} measures does the agreement with Table 1 carry weight.**"
    )
    exact = "; ".join(f"{name} {one.full.exact} of {one.full.targets}" for name, one in weighed.items())
    return readings.prose(
        first,
        _clause("No chance, but not measurably above every null", by[LEVEL_WITH]),
        _clause("Measurably below a null", by[BELOW]),
        _clause("Not to be told from chance", by[CHANCE]),
        f"Families exactly as printed: {exact}.",
    )


def _clause(words: str, names: Sequence[str]) -> str:
    return f"{words}: {', '.join(names)}." if names else ""


def details(weighed: Mapping[str, Weighed], halves: Halves) -> Prose:
    """The families that every instrument picks on the halves, with their mean Jaccard index, as a table to open."""
    rows = {}
    for measure, picked in halves.items():
        for name, families in picked.items():
            agreed = {"agreement": number(weighed[measure].means[name])} if measure in weighed else {}
            rows[f"{measure}, {name}"] = agreed | {t: " ".join(f.members) for t, f in families.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").fillna("–")
    return readings.folded("What every instrument picks on the halves of the text", table)


def kin_rows(halves: Halves, measure: str) -> list[Row]:
    """For the table of relatives: what each instrument picks on the halves by one measure (`overlap`)."""
    return [Row(f"halves, {name}", picked, {}, picked) for name, picked in halves[NAMES[measure]].items()]
