"""The second paper's statements, decided by computation: same direction, opposite, or undecided.

They are data (`data/claims/lslo.csv`), and they, the thresholds in them and those here were written down before any
result; what was amended since is in `AMENDED`. A statement is held against the estimate, the 95% interval and the
p-value (after Holm's correction for all statements that a page decides by one measure) of what it is about:

    difference   of two rows of a table in one column: in nats per token over all directions (text, languages and seeds
                 drawn again), and in chrF2 and spBLEU over the directions that are translated (text and seeds)
    epochs       how far the loss after the last epoch is above that of the best epoch, the first and later ones
                 (languages and seeds drawn again): it can't be below 0, so of one row the 95% interval is held against
                 the threshold: above it throughout is "higher", below it throughout "lower". Of two rows it is a
                 difference
    weights      what weight learning found, over seeds
    demand       of languages: languages of the classes exchanged
    place        of matrices within languages: signs of the languages' differences exchanged

A statement about a row that did not train is undecided, whatever its numbers; so is one that can't be tested, one on
two rows of the same architecture, which are one training, and one on directions in which two rows use the same LoRAs,
trained on the same (`Study.coincide`).

What is said of overfitting (`requires` in the file) has a precondition, which the cells decide (`Study.untestable`):
the model as it came has to know the first class better than the last, in nats per text with an interval that excludes
0, and the rows have to have read their whole text once. Where it does not hold the verdict is "not testable here".
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from langsim import claims, statement_grid
from langsim.agreement import OPPOSITE, SAME, UNDECIDED, holm
from langsim.bootstrap import Difference
from langsim.lslo.curves import Curves
from langsim.lslo.demand import Demand
from langsim.lslo.indexing import Weights
from langsim.lslo.study import NAMES, NLL, Study
from langsim.paths import DATA
from langsim.readings import Prose, number, prose

PATH = DATA / "claims" / "lslo.csv"
UNTESTABLE = "not testable here"
VERDICTS = (SAME, OPPOSITE, UNDECIDED, UNTESTABLE)
MEASURES = (NLL, "chrf", "spbleu")  # of differences of rows
# The least difference of rows that has to be able to be found, and what counts as none, in what is no spBLEU: the
# paper's measure, and all that is no difference of rows, has them in the file.
THRESHOLDS = {NLL: 0.05, "chrf": 1.0}
MARGINS = {NLL: 0.02, "chrf": 0.5}

Evidence = Study | Curves | Weights | Demand


@dataclass(frozen=True)
class Statement(claims.Statement):
    """One line of the file; `published` is in spBLEU. `requires` names what has to hold before it is tested."""

    requires: str

    @property
    def beyond(self) -> bool:
        """Whether the threshold is what the estimate is held against."""
        return self.test == "epochs" and not self.baseline


def load() -> list[Statement]:
    """All of them, in the order of the file."""
    return claims.read(PATH, Statement)


def frame(evidence: Mapping[str, Evidence]) -> pd.DataFrame:
    """One row a statement about the exhibits given and measure: what was measured, and the verdict.

    Args:
        evidence: exhibit -> its rows, curves, weights or demands.
    """
    lines = []
    for one in load():
        if one.exhibit in evidence:
            lines += [_measured(one, evidence[one.exhibit], measure) for measure in _measures(one)]
    found = pd.DataFrame(lines)
    for _, part in found.groupby("family"):
        found.loc[part.index, "adjusted"] = holm(part["p"].to_numpy())
    found["verdict"] = [_verdict(row) for row in found.itertuples()]
    found["underpowered"] = found["detectable"] > found["threshold"]
    return found.drop(columns=["family", "beyond", "untestable"])


def _measures(one: Statement) -> tuple[str, ...]:
    return MEASURES if one.test == "difference" else (one.unit,)


def _measured(one: Statement, evidence: Evidence, measure: str) -> dict[str, object]:
    found, note = _tested(one, evidence, measure)
    untestable = _untestable(one, evidence) if found else ""
    nothing = math.nan
    return {
        "id": one.id,
        "statement": one.statement,
        "exhibit": one.exhibit,
        "row": one.row,
        "baseline": one.baseline,
        "scope": one.scope,
        "measure": measure,
        "direction": one.direction,
        "published": one.published,
        "estimate": found.estimate if found else nothing,
        "low": found.low if found else nothing,
        "high": found.high if found else nothing,
        "p": found.p if found and not (untestable or one.beyond) else nothing,
        "adjusted": nothing,
        "detectable": found.detectable if found else nothing,
        "threshold": _threshold(one, measure),
        "note": untestable or note,
        "source": one.source,
        "beyond": one.beyond,
        "untestable": bool(untestable),
        # What decides without a translation is one family, each measure of translations another.
        "family": measure if measure in ("chrf", "spbleu") else NLL,
    }


def _threshold(one: Statement, measure: str) -> float:
    if measure not in THRESHOLDS:
        return one.threshold
    return (THRESHOLDS if claims.SIGNS[one.direction] else MARGINS)[measure]


def _tested(one: Statement, evidence: Evidence, measure: str) -> tuple[Difference | None, str]:
    """What was measured, and why it decides nothing if it does not."""
    if isinstance(evidence, Study):
        if missing := [name for name in (one.row, one.baseline) if name not in evidence.rows]:
            return None, f"no row {missing[0]} in this run"
        if one.scope not in (*evidence.counts, "AVG"):
            return None, f"no directions {one.scope} in this run"
        idle = [name for name in (one.row, one.baseline) if not evidence.trained(name)]
        note = f"{idle[0]} did not train" if idle else ""
        note = "the same numbers by construction" if evidence.coincide(one.row, one.baseline, one.scope) else note
        note = "the same architecture" if evidence.alike(one.row, one.baseline) else note
        return evidence.difference(one.row, one.baseline, one.scope, measure), note
    if isinstance(evidence, Curves):
        named = [name for name in (one.row, one.baseline) if name]
        if missing := [name for name in named if name not in evidence.study.rows]:
            return None, f"no row {missing[0]} in this run"
        if one.scope not in evidence.scopes:
            return None, f"no directions {one.scope} in this run"
        idle = [name for name in named if not evidence.study.trained(name)]
        return evidence.overfitting(one.row, one.baseline, one.scope), f"{idle[0]} did not train" if idle else ""
    found = evidence.contrast(one.scope)
    return found, "" if found else "no languages of these classes in this run"


def _untestable(one: Statement, evidence: Evidence) -> str:
    if not one.requires:
        return ""
    found = evidence.study if isinstance(evidence, Curves) else evidence
    return found.untestable([name for name in (one.row, one.baseline) if name])


def _verdict(row: object) -> str:
    if row.untestable:
        return UNTESTABLE
    if row.note or math.isnan(row.estimate):
        return UNDECIDED
    if row.beyond:
        return decided_beyond(row.low, row.high, row.threshold, claims.SIGNS[row.direction])
    if not claims.SIGNS[row.direction]:
        return claims.decided_level(row.low, row.high, row.threshold)
    return claims.decided_sign(row.estimate, row.p, row.adjusted, claims.SIGNS[row.direction])


AMENDED = (  # after the trainings; the first before any verdict was known, the others after, and to more caution
    "Whether the model as it came knows its high-resource languages better was to be told in nats per token; it is "
    "told in nats per text, for tokens of different languages are no common unit.",
    "A statement about columns in which two rows are one training (which follows where every layer is indexed by the "
    "target) is undecided; it would have been level by construction.",
    "A p-value that the bootstrap's own chance may have put below the level is undecided.",
)


def rule() -> Prose:
    """What was written when, for the pages."""
    return prose(
        "The statements were written down before anything here was trained (`data/claims/lslo.csv`), and so was the "
        "rule that decides them (`langsim/lslo/statements.py`), but for amendments made when the trainings were there, "
        "the first before any verdict was known, the others afterwards (they can only make a verdict undecided):",
        *(f"({i}) {text}" for i, text in enumerate(AMENDED, 1)),
        "p-values are adjusted by Holm's method for the statements of this page.",
        "Of n languages of a class, clusters of the text or seeds a bootstrap shows (n − 1)/n of the variance: where "
        "they are few, intervals are somewhat too narrow.",
    )


def decided_beyond(low: float, high: float, threshold: float, sign: int) -> str:
    """The verdict on a statement that something is above (sign 1) or below (-1) a threshold."""
    if low <= threshold <= high or math.isnan(low):
        return UNDECIDED
    return SAME if (low > threshold) == (sign > 0) else OPPOSITE


def shown(stated: pd.DataFrame, measure: str = "") -> Prose:
    """The statements for a page: what is in print is spBLEU, whatever the measure.

    Args:
        measure: of the differences of rows; none for what is decided otherwise.
    """
    chosen = stated[stated["measure"] == measure] if measure else stated[~stated["measure"].isin(MEASURES)]
    options = {"measure": NAMES[measure], "unit": NAMES["spbleu"]} if measure else {}
    return statement_grid.shown(chosen, digits=3 if measure in ("", NLL) else 2, **options)


def directions_reading(stated: pd.DataFrame, evidence: Mapping[str, Evidence]) -> Prose:
    """On how many of the few translated directions each verdict rests that scores of translations give."""
    told = []
    for row in stated[stated["measure"].isin(MEASURES[1:]) & stated["verdict"].isin((SAME, OPPOSITE))].itertuples():
        parts = evidence[row.exhibit].parts(row.row, row.baseline, row.scope, row.measure)
        ways = int((parts * row.estimate > 0).sum())
        most = " and ".join("-".join(one) for one in parts.index[:2])
        told.append(
            f"{row.row} − {row.baseline}, {row.scope} ({NAMES[row.measure]} {number(row.estimate)}): {ways} of "
            f"{len(parts)} directions go this way; {most} add {number(float(parts.iloc[:2].sum()))}."
        )
    if not told:
        return prose("No statement is decided by scores of translations.")
    return prose("What scores of translations decide rests on few directions.", *told)


def reading(stated: pd.DataFrame) -> Prose:
    """How many go which way, by measure, and how much could have been found."""
    told = []
    groups = [(measure, stated[stated["measure"] == measure]) for measure in MEASURES]
    groups.append(("", stated[~stated["measure"].isin(MEASURES)]))
    for measure, part in groups:
        if part.empty:
            continue
        counts = part["verdict"].value_counts()
        names = ", ".join(
            f"{counts.get(name, 0)} {name}" for name in VERDICTS if counts.get(name) or name != UNTESTABLE
        )
        weak = int((part["underpowered"] & (part["verdict"] == UNDECIDED)).sum())
        how = f"By {NAMES[measure]}" if measure else "Of what is no difference of rows"
        told.append(f"{how}: {names}" + (f" ({weak} of these underpowered)." if weak else "."))
    return prose(*told)
