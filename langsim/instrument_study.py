"""What the checks of the instrument say, as a page reads them: which readings carry weight, and beside which null.

A reading of the trained model carries weight here if two things hold. It is no chance: its permutation test stays below
5% after Holm's correction for all readings of the table. And it is measurably above *every* null, because each null is
a way to the same reading without anything learnt, so that a single one is enough to explain it; that all of them have
to be beaten needs no correction. Thresholds are the usual ones, chosen before any number was seen, and nothing in them
depends on what was published.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from langsim import agreement, diagonals, readings, reference
from langsim.agreement import LEVEL, Association, Difference, difference, holm, same_group
from langsim.instrument import SHUFFLED, TRAINED, Check, read
from langsim.partial import without
from langsim.readings import Prose, number, p, prose, view_name

FIGURE5, FAMILY, SCRIPT = "Figure 5", "family", "script"
FINDS = "finds itself"
HELD = "family, script held fixed"

CARRIES = "carries weight"
LEVEL_WITH = "not measurably above a null"
BELOW = "measurably below a null"
CHANCE = "not told from chance"
RESAMPLES = 1999  # of an interval; what that few move its ends by is allowed for


@dataclass(frozen=True)
class Reading:
    """One thing that a page reads from similarities, and whether the nulls give it too.

    Attributes:
        question: what is read, and the view: `script, centred`.
        values: instrument to its number: a share of languages, or a correlation.
        p_value: of the trained model's, Holm's over the readings of the table; NaN where it was not tested.
        above: null to 1 (the trained model is measurably above it), -1 (below it), 0 (neither).
        total: languages, where the numbers are counts of them; 0 for correlations.
        apart: null to the difference of the correlations, with its interval; empty for counts.
    """

    question: str
    values: dict[str, float]
    p_value: float
    above: dict[str, int]
    total: int = 0
    apart: dict[str, Difference] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """One of the four words of this module."""
        if min(self.above.values(), default=0) < 0:
            return BELOW
        if not (self.p_value < LEVEL and self.values[TRAINED] > 0):
            return CHANCE
        return CARRIES if all(side > 0 for side in self.above.values()) else LEVEL_WITH

    @property
    def best_null(self) -> str:
        return diagonals.best_null(self.values)

    def told(self, name: str) -> str:
        """The number of an instrument: `17 of 17`, `0.28`."""
        value = self.values[name]
        return f"{value:.0f} of {self.total}" if self.total else number(value)


def followed(families: Mapping[str, str], published: pd.DataFrame | None = None) -> dict[str, pd.DataFrame]:
    """What similarities may go with, (L, L) each: the published matrix, kinship, script."""
    codes = list(families)
    printed = {} if published is None else {FIGURE5: published}
    return {**printed, FAMILY: same_group(families), SCRIPT: same_group(reference.scripts(codes))}


def readings_of(
    checks: Sequence[Check], families: Mapping[str, str], published: pd.DataFrame | None = None
) -> list[Reading]:
    """Every reading, raw and centred, of the trained model and of the nulls on the same halves of the text."""
    found = [_finds(checks, centred) for centred in (False, True)]
    for title, other in followed(families, published).items():
        found += [_follows(checks, title, other, centred) for centred in (False, True)]
    found.append(_held(checks, families))
    found = [one for one in found if np.isfinite(one.values[TRAINED])]
    chances = holm([one.p_value for one in found]).tolist()
    return [replace(one, p_value=chance) for one, chance in zip(found, chances, strict=True)]


def _finds(checks: Sequence[Check], centred: bool) -> Reading:
    """How many languages are found again; nulls by sign tests."""
    hits = {check.name: float(check.hits(centred=centred)) for check in checks}
    chances = diagonals.rivals(checks, centred=centred)
    above = {
        name: int(np.sign(hits[TRAINED] - hits[name])) if chance < LEVEL else 0 for name, chance in chances.items()
    }
    trained = next(check for check in checks if check.name == TRAINED)
    tested = diagonals.diagonal(trained, centred=centred)
    return Reading(f"{FINDS}, {view_name(centred)}", hits, tested.p_value, above, total=len(trained.cross))


def _follows(checks: Sequence[Check], title: str, other: pd.DataFrame, centred: bool) -> Reading:
    """Spearman's correlation with another matrix; nulls by the intervals of `margins`."""
    found = {check.name: check.follows(other, centred=centred) for check in checks}
    return _correlations(f"{title}, {view_name(centred)}", found, margins(checks, other, centred=centred))


def _held(checks: Sequence[Check], families: Mapping[str, str]) -> Reading:
    """What goes with family when script is held fixed, centred."""
    others = followed(families)
    kin = without(others[FAMILY], others[SCRIPT], centred=True)
    rests = [Check(one.name, without(one.cross, others[SCRIPT], centred=True)) for one in checks]
    found = {one.name: agreement.association(one.cross, kin, resamples=0) for one in rests}
    return _correlations(f"{HELD}, centred", found, margins(rests, kin, centred=False))


def _correlations(question: str, found: Mapping[str, Association], apart: dict[str, Difference]) -> Reading:
    values = {name: one.value for name, one in found.items() if np.isfinite(one.value) or name == TRAINED}
    trained = found[TRAINED]
    sides = {name: one.side for name, one in apart.items()}
    return Reading(question, values, trained.p_value if trained.permutations else np.nan, sides, apart=apart)


def margins(checks: Sequence[Check], other: pd.DataFrame, *, centred: bool) -> dict[str, Difference]:
    """Null to how much better the trained model's similarities follow another matrix than the null's do; without those
    for which a correlation is not defined."""
    trained, nulls = _apart(checks)
    apart = {
        check.name: difference(trained.cross, check.cross, other, centred=centred, resamples=RESAMPLES)
        for check in nulls
    }
    return {name: one for name, one in apart.items() if np.isfinite(one.value)}


def table(found: Sequence[Reading]) -> Prose:
    """One row a reading: the trained model, the best null, the verdict. As Markdown, whose cells wrap on a phone."""
    rows = {}
    for one in found:
        null = f"{one.told(one.best_null)} ({one.best_null})" if len(one.values) > 1 else "–"
        verdict = f"**{one.verdict}**" if one.verdict == CARRIES else one.verdict
        rows[one.question] = {
            "model": f"{one.told(TRAINED)} ({p(one.p_value)})", "best null": null, "verdict": verdict,
        }  # fmt: skip
    return readings.grid(pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="question"))


def reading(found: Sequence[Reading]) -> Prose:
    """In two or three plain sentences, what the model can and cannot show here."""
    by = {word: [one for one in found if one.verdict == word] for word in (CARRIES, LEVEL_WITH, BELOW, CHANCE)}
    if by[CARRIES]:
        first = f"**Of {len(found)} readings {len(by[CARRIES])} carry weight**: {_listed(by[CARRIES])}."
    else:
        first = (
            f"**None of these {len(found)} readings carries weight.** What the similarities of this model show here, a "
            f"null shows as well, or chance does: {_left(found)}"
        )
    return prose(
        first,
        _clause(by[LEVEL_WITH], "Not chance, but not measurably above every null either"),
        _clause(by[BELOW], "Measurably below a null"),
        _clause(by[CHANCE], "Not to be told from chance"),
    )


def _left(found: Sequence[Reading]) -> str:
    """What may still be read where no reading carries weight. Shuffled sources go through the trained model: what they
    show as well need not come from translating, but may have been learnt."""
    beaten = [
        one
        for one in found
        if one.verdict == LEVEL_WITH and all(side > 0 for name, side in one.above.items() if name != SHUFFLED)
    ]
    if beaten:
        return (
            f"{_listed(beaten)} may have been learnt, but not from translating these sources; the rest needs no model."
        )
    return "they may be read as similarities of the texts, not as something that the model has learnt."


def _clause(found: Sequence[Reading], words: str) -> str:
    return f"{words}: {_listed(found)}." if found else ""


def _listed(found: Sequence[Reading]) -> str:
    """`Figure 5 (raw); script (raw, centred)`."""
    views: dict[str, list[str]] = {}
    for one in found:
        title, _, view = one.question.rpartition(", ")
        views.setdefault(title, []).append(view)
    return "; ".join(f"{title} ({' and '.join(given)})" for title, given in views.items())


def instruments_table(found: Sequence[Reading]) -> pd.DataFrame:
    """One row a reading, one column an instrument: the numbers of all of them."""
    rows = {one.question: {name: one.told(name) for name in one.values} for one in found}
    return pd.DataFrame.from_dict(rows, orient="index").fillna("–").rename_axis(columns="reading")


def margins_table(found: Sequence[Reading]) -> pd.DataFrame:
    """One row a correlation, one column a null: the trained model's minus the null's, with its interval."""
    rows = {one.question: {name: _margin(apart) for name, apart in one.apart.items()} for one in found if one.apart}
    return pd.DataFrame.from_dict(rows, orient="index").fillna("–").rename_axis(columns="trained model minus")


def details(found: Sequence[Reading]) -> Prose:
    """Every instrument's numbers, and the differences that the verdicts come from, as tables to open."""
    minus = "Trained model minus null: differences of Spearman's correlations, 95% intervals"
    tables = {"Every instrument": instruments_table(found), minus: margins_table(found)}
    return Prose("\n".join(readings.folded(title, table).text for title, table in tables.items()))


def halves(checks: Sequence[Check], *, centred: bool = False) -> pd.DataFrame:
    """(L, L) the trained model's cross matrix of the halves, the diagonal included."""
    trained, _ = _apart(checks)
    return trained.shown(centred=centred)


def _margin(one: Difference) -> str:
    if not np.isfinite(one.low):
        return f"{number(one.value)} (no interval)"
    return f"{number(one.value)} ({number(one.low)} to {number(one.high)})"


def beside(found: Sequence[Reading], title: str = FIGURE5) -> str:
    """What belongs beside a verdict on another matrix: how the nulls do there. Empty where it was not read."""
    about = [one for one in found if one.question.rpartition(", ")[0] == title]
    if not about:
        return ""
    told = [
        f"{one.question.rpartition(', ')[2]} {one.told(TRAINED)}, and the best null {one.told(one.best_null)} "
        f"({one.best_null}): {one.verdict}"
        for one in about
    ]
    return f"On the halves of the text, where the nulls are measured too, the model has {'; '.join(told)}."


def _apart(checks: Sequence[Check]) -> tuple[Check, list[Check]]:
    """The trained model, and the nulls."""
    return next(c for c in checks if c.name == TRAINED), [c for c in checks if c.name != TRAINED]


def elsewhere(frames: Mapping[str, pd.DataFrame], families: Mapping[str, str], published: pd.DataFrame | None) -> Prose:
    """The same verdicts from results of other profiles, title to tidy frame (`instrument.frame`); empty without one."""
    parts = []
    for title, frame in frames.items():
        found = readings_of(read(frame), families, published)
        parts.append(f"*{title}*\n\n{table(found)}\n\n{reading(found)}")
    return Prose("\n\n".join(parts))
