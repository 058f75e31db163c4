"""Table 2 and what belongs to it at other profiles, beside this run's: scores, validity, statements, power, K.

What was computed once and committed (`data/results/<profile>/pf-table2*.csv`, `pf-k.csv`) is read; see `beside`.
"""

from collections.abc import Mapping

import pandas as pd

from langsim import (
    beside,
    claims,
    detectable,
    k_search,
    profiles,
    results,
    translation_claims,
    translation_study,
    trivial,
    validity,
)
from langsim.beside import Beside, Other
from langsim.profiles import Tuning
from langsim.readings import Prose, number, p, prose
from langsim.translation_study import AVERAGE

TABLE, K = "pf-table2", "pf-k"
BESIDE = ("floor", "validity", "detectable", "claims")  # saved as pf-table2-...
FLOOR, VALIDITY, LEAST, CLAIMS = (f"{TABLE}-{name}" for name in BESIDE)
NAMES = (TABLE, FLOOR, VALIDITY, LEAST, CLAIMS, K)
MEASURES = {"bleu": "BLEU", "chrf": "chrF2"}
HOW = {"open": "make accept-open", "paper": "langsim results import FILE"}  # what puts a profile's results there

Frames = Mapping[str, pd.DataFrame]
Part = tuple[str, pd.DataFrame | None]


def shown(ours: Frames, settings: Tuning) -> Beside | Prose:
    """Everything that is committed at other profiles beside this run's, or in a sentence why there is nothing.

    Args:
        ours: this run's results by name, those of `NAMES` that are to stand beside others.

    Raises:
        Failure: a committed result that can't be read.
    """
    if profiles.overrides(settings):
        return prose("This run has parameters of its own, so the results of whole profiles do not stand beside it.")
    there = beside.others(TABLE, settings)
    parts = [part for other in there for part in _parts(ours, other, settings.profile)]
    parts += [(_missing(name), None) for name in HOW if name not in {settings.profile, *(o.profile for o in there)}]
    return Beside(parts)


def _missing(profile: str) -> str:
    return f"No Table 2 at `{profile}` is committed yet; `{HOW[profile]}` puts it here."


def _parts(ours: Frames, other: Other, here: str) -> list[Part]:
    if other.stale:
        return [(f"> **Note.** Table 2 at `{other.profile}` is not shown: {other.stale}.", None)]
    theirs = _frames(other)
    text = other.parts.get("corpus", "")
    seeds = len(other.parts.get("seeds", "").split("+"))
    signature = f"<small>Signature: `{other.result.signature}`.</small>"
    averages = f"Averages over the targets: this run (`{here}`), `{other.profile}`, and in print."
    parts: list[Part] = [
        (f"**Table 2 at `{other.profile}`** (text `{text}`, {seeds} seeds).\n\n{signature}", None),
        (averages, _averages(ours, theirs, other)),
    ]
    for measure, name in MEASURES.items():
        told = f"{name} at `{other.profile}`, with 95% intervals."
        parts.append((told, translation_study.table(theirs[TABLE], measure)))
    makers = {FLOOR: _floor, VALIDITY: _validity, LEAST: _least, CLAIMS: _claims, K: _k}
    for name, maker in makers.items():
        if name == CLAIMS and FLOOR in theirs and (below := trivial.below(theirs[TABLE], theirs[FLOOR])):
            parts.append((str(below), None))
        if name in theirs:
            parts += maker(ours.get(name), theirs[name], here, other.profile)
        else:
            parts.append((f"`{name}` at `{other.profile}` is not committed with it.", None))
    return parts


def _frames(other: Other) -> dict[str, pd.DataFrame]:
    """The results of the same run as the table: with its signature."""
    found = {TABLE: other.result.frame}
    for name in NAMES[1:]:
        file = other.file.with_name(f"{name}.csv")
        if file.is_file() and file.with_suffix(".json").is_file():
            result = results.read_result(file)
            if not results.signature_changes(result.signature, other.result.signature):
                found[name] = result.frame
    return found


def _averages(ours: Frames, theirs: Frames, other: Other) -> pd.DataFrame:
    """Methods in rows; by measure the average here and there, and in print."""
    columns = {}
    for measure, name in MEASURES.items():
        for where, frame in (("", ours.get(TABLE)), (f", {other.profile}", theirs[TABLE])):
            if frame is not None:
                average = frame[(frame["target"] == AVERAGE) & (frame["measure"] == measure)].set_index("method")
                columns[f"{name}{where}"] = average["value"].map("{:.1f}".format)
        if measure == "bleu":
            columns["BLEU, printed"] = average["published"].map(lambda value: number(value, 1))
    shown = pd.DataFrame(columns)
    return shown.loc[list(columns["BLEU, printed"].index)].rename_axis(None)


def _floor(ours: pd.DataFrame | None, theirs: pd.DataFrame, here: str, there: str) -> list[Part]:
    return [
        (f"What the same text for everything reaches at `{there}`. {trivial.reading(theirs)}", trivial.table(theirs))
    ]


def _validity(ours: pd.DataFrame | None, theirs: pd.DataFrame, here: str, there: str) -> list[Part]:
    told = f"Does similarity predict gain at `{there}`? {validity.reading(_predictions(theirs))}"
    if theirs.empty:
        return [(told, None)]
    columns = {} if ours is None else {here: _correlations(ours)}
    columns[there] = _correlations(theirs)
    columns[f"adjusted p, {there}"] = theirs.set_index("name")["adjusted"].map(lambda q: p(q).removeprefix("p = "))
    table = pd.DataFrame(columns).loc[list(theirs["name"])].fillna("–").rename_axis(None)
    return [(f"{told} Mean Spearman correlation with gain:", table)]


def _predictions(frame: pd.DataFrame) -> list[validity.Prediction]:
    return [validity.Prediction(**row) for row in frame.to_dict("records")]


def _correlations(frame: pd.DataFrame) -> pd.Series:
    rows = frame.set_index("name")
    told = [f"{number(row.value)} ({number(row.low)} to {number(row.high)})" for row in rows.itertuples()]
    return pd.Series(told, rows.index)


def _least(ours: pd.DataFrame | None, theirs: pd.DataFrame, here: str, there: str) -> list[Part]:
    parts: list[Part] = [(f"Power at `{there}`. {detectable.reading(theirs)}", None)]
    for measure, name in MEASURES.items():
        told = f"Least difference from {detectable.BASELINE} that would be found at `{there}`, {name}:"
        parts.append((told, detectable.table(theirs, measure)))
    return parts


def _claims(ours: pd.DataFrame | None, theirs: pd.DataFrame, here: str, there: str) -> list[Part]:
    """The statements of both runs, verdict beside verdict; in full at the other profile."""
    words = _verdicts(theirs)
    counts = words.value_counts()
    told = f"The paper's statements at `{there}`: " + ", ".join(f"{n} {word}" for word, n in counts.items()) + "."
    if ours is not None:
        both = pd.concat([_verdicts(ours), words], axis=1, join="inner")
        told += f" {int((both.iloc[:, 0] == both.iloc[:, 1]).sum())} of {len(both)} are decided as at `{here}`."
    parts: list[Part] = [(told, None)]
    for measure, name in MEASURES.items():
        table = translation_claims.table(theirs, measure)
        if ours is not None:
            mine = translation_claims.table(ours, measure)["verdict"].reindex(table.index).fillna("–")
            table.insert(1, f"verdict, {here}", mine)
        parts.append((f"{name}: underpowered where {claims.DETECTABLE[measure]} points could not be shown.", table))
    return parts


def _verdicts(stated: pd.DataFrame) -> pd.Series:
    """The verdict of each statement and measure; none where two rows are the same systems."""
    words = stated["verdict"].mask(stated["same_systems"], "none (the same systems)")
    return words.set_axis(pd.MultiIndex.from_frame(stated[["id", "measure"]]))


def _k(ours: pd.DataFrame | None, theirs: pd.DataFrame, here: str, there: str) -> list[Part]:
    searched = theirs.assign(family=theirs["family"].fillna(""))  # the average has none
    return [(f"The search for K at `{there}`. {k_search.reading(searched)}", k_search.table(searched))]
