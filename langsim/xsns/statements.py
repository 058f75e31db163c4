"""The third paper's statements, decided by computation: same direction, opposite, or undecided.

They are data (`data/claims/xsns.csv`), and they and the thresholds in them were written down before any result. A
statement is held against the estimate, the 95% interval and the p-value (after Holm's correction for all statements of
the paper that a page decides) of what it is about:

    ranking    NDCG@3 or Top 1 of one prediction minus another's (two-way bootstrap over targets and sources)
    best       X-SNS minus the best baseline of every task
    tasks      NDCG@3 of X-SNS on one task minus the mean of the others
    rmse       error of one regression minus another's (two-way bootstrap)
    share      NDCG@3 at some shares p minus that at others
    size       NDCG@3 from 256 texts minus that from all
    model      X-SNS minus EMB with another model
    choice     the score that one choice of the source gives minus another's (over targets, Student's t)
    spread     how far scores differ over sources, and
    positive   how many of them are above the target's own, on one task minus the mean of others (two-way bootstrap)
    mixture    scores from several sources (over targets, Student's t)

A statement about a task that is not testable here is undecided, whatever its numbers; where it is about all tasks,
those that are testable decide it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from langsim import claims, ranking_chance, statement_grid
from langsim.agreement import OPPOSITE, SAME, UNDECIDED, holm
from langsim.bootstrap import Difference
from langsim.claims import Statement
from langsim.paths import DATA
from langsim.ranking import NothingToRank
from langsim.readings import Prose, prose
from langsim.xsns import choices, fits, mixtures, resampling, sensitivity, tables
from langsim.xsns.evidence import Evidence
from langsim.xsns.fits import Fits
from langsim.xsns.ranking_study import OURS

PATH = DATA / "claims" / "xsns.csv"
BASELINES = ("L2V", "LEX", "SuE", "EMB")
METRICS = {"NDCG@3": "ndcg3", "Top 1": "top1"}

Found = tuple[Difference | None, str]  # what was measured, and why it decides nothing if it does not


@dataclass(frozen=True)
class Facts:
    """What a page has to decide statements with: tasks, models (Table 4), regressions, mixtures."""

    tasks: Mapping[str, Evidence]
    models: Mapping[str, Evidence] = field(default_factory=dict)
    fits: Mapping[str, tuple[Fits, str]] = field(default_factory=dict)
    mixtures: pd.DataFrame = field(default_factory=pd.DataFrame)


def load() -> list[Statement]:
    """All of them, in the order of the file."""
    return claims.read(PATH)


def frame(facts: Facts, *exhibits: str) -> pd.DataFrame:
    """One row a statement about the exhibits: what was measured, and the verdict."""
    lines = [_measured(one, facts) for one in load() if one.exhibit in exhibits]
    found = pd.DataFrame(lines)
    found["adjusted"] = holm(found["p"].where(found["note"] == "").to_numpy(dtype=float))
    found["verdict"] = [_verdict(row) for row in found.itertuples()]
    found["underpowered"] = found["detectable"] > found["threshold"]
    return found


def _measured(one: Statement, facts: Facts) -> dict[str, object]:
    try:
        found, note = _TESTS[one.test](one, facts)
    except NothingToRank as error:
        found, note = None, str(error)
    nothing = math.nan
    return {
        "id": one.id,
        "statement": one.statement,
        "exhibit": one.exhibit,
        "row": one.row,
        "baseline": one.baseline,
        "scope": one.scope,
        "direction": one.direction,
        "published": one.published,
        "unit": one.unit,
        "estimate": found.estimate if found else nothing,
        "low": found.low if found else nothing,
        "high": found.high if found else nothing,
        "p": found.p if found else nothing,
        "adjusted": nothing,
        "detectable": found.detectable if found else nothing,
        "threshold": one.threshold,
        "note": note,
        "source": one.source,
    }


# Tests ----------------------------------------------------------------------------------------------------------------


def _task(facts: Facts, name: str) -> tuple[Evidence | None, str]:
    one = facts.tasks.get(name)
    if one is None:
        return None, f"no task {name} in this run"
    return one, "" if one.testable else f"{name} is not testable here"


def _over_tasks(facts: Facts, test: Callable[[Evidence], Difference | None]) -> Found:
    """The mean over the tasks that are testable and have both."""
    told = [test(one) for one in facts.tasks.values() if one.testable]
    there = [found for found in told if found is not None]
    if not there:
        return None, "no task that is testable here has both"
    return resampling.mean(there), ""


def _ranked(one: Evidence, ours: str, theirs: str, unit: str = "NDCG@3") -> Difference | None:
    if not {ours, theirs} <= one.predictions.keys():
        return None
    pair = (one.predictions[ours], one.predictions[theirs])
    try:
        found = ranking_chance.differences(one.gold, *pair, replicates=one.settings.replicates)[METRICS[unit]]
    except NothingToRank:
        return None
    return resampling.times(found, 100)


def _ranking(one: Statement, facts: Facts) -> Found:
    def ours(task: Evidence) -> str:
        return tables.compared(task) if (one.exhibit, one.row) == ("xsns-table1", OURS) else one.row

    if one.scope == "all":
        return _over_tasks(facts, lambda task: _ranked(task, ours(task), one.baseline, one.unit))
    task, note = _task(facts, one.scope)
    if task is None:
        return None, note
    found = _ranked(task, ours(task), one.baseline, one.unit)
    return found, note or ("" if found else f"{one.row} or {one.baseline} ranks nothing here")


def _best(one: Statement, facts: Facts) -> Found:
    def against(task: Evidence) -> Difference | None:
        found = [found for name in BASELINES if (found := _ranked(task, OURS, name)) is not None]
        return min(found, key=lambda part: part.estimate) if found else None  # the best one is the nearest

    return _over_tasks(facts, against)


def _value(one: Evidence) -> Difference:
    found = ranking_chance.intervals(one.gold, one.predictions[OURS], replicates=one.settings.replicates)["ndcg3"]
    return resampling.of_replicates(100 * found.estimate, 100 * found.replicates)


def _between(one: Statement, facts: Facts, of: Callable[[Evidence], Difference]) -> Found:
    """A task minus the mean of others: those that the line names, or all."""
    name = one.row
    task, note = _task(facts, name)
    if task is None or note:
        return None, note
    wanted = one.baseline.removeprefix("mean of ").split()
    others = [
        other
        for key, other in facts.tasks.items()
        if key != name and other.testable and (key in wanted or one.baseline == "mean of the others")
    ]
    if not others:
        return None, "no other task is testable here"
    return resampling.minus(of(task), resampling.mean([of(other) for other in others])), ""


def _rmse(one: Statement, facts: Facts) -> Found:
    task, note = _task(facts, one.scope)
    if task is None:
        return None, note
    made, why = facts.fits.get(one.scope, ({}, "not fitted"))
    found = fits.difference(task, made, one.row, one.baseline)
    return found, note or ("" if found else why or "not fitted")


def _share(one: Statement, facts: Facts) -> Found:
    task, note = _task(facts, one.scope)
    if task is None:
        return None, note
    found = sensitivity.moderate(task) if one.row == "moderate" else sensitivity.least(task)
    return found, note or ("" if found else "no such shares in this run")


def _size(one: Statement, facts: Facts) -> Found:
    found, note = _over_tasks(facts, sensitivity.few)
    return found, "no testable task has more than 256 texts here" if found is None else note


def _model(one: Statement, facts: Facts) -> Found:
    for task in facts.models.values():
        if tables.family_of(task) == one.scope:
            if not task.testable:
                return None, f"the task is not testable with {one.scope}"
            found = _ranked(task, one.row, one.baseline)
            return found, "" if found else "one of them ranks nothing here"
    return None, f"no {one.scope} in this run"


def _choice(one: Statement, facts: Facts) -> Found:
    if one.exhibit == "xsns-fig7":
        there = choices.low_resource(facts.tasks)
        if not there:
            return None, "no targets beside the sources in this run"
        lost = [name for name, task in there.items() if not task.testable or choices.zero_shot(task)["reasons"]]
        found = pd.concat([choices.choices(task, task.only) for task in there.values()])
        found["target"] = found["task"] + " " + found["target"]
        return choices.better(found, one.row, one.baseline), f"{', '.join(lost)} is not testable here" if lost else ""
    task, note = _task(facts, one.scope)
    if task is None:
        return None, note
    return choices.better(choices.choices(task), one.row, one.baseline), note


def _mixture(one: Statement, facts: Facts) -> Found:
    task, note = _task(facts, one.scope)
    if task is None or facts.mixtures.empty or one.scope not in set(facts.mixtures["task"]):
        return None, note or "not trained on several sources in this run"
    found = mixtures.better(facts.mixtures, one.scope, one.row, one.baseline)
    return found, note or ("" if found else f"no {one.row} or no {one.baseline} in this run")


_TESTS: dict[str, Callable[[Statement, Facts], Found]] = {
    "ranking": _ranking,
    "best": _best,
    "tasks": lambda one, facts: _between(one, facts, _value),
    "rmse": _rmse,
    "share": _share,
    "size": _size,
    "model": _model,
    "choice": _choice,
    "spread": lambda one, facts: _between(one, facts, choices.spread),
    "positive": lambda one, facts: _between(one, facts, choices.positive),
    "mixture": _mixture,
}


# Verdicts -------------------------------------------------------------------------------------------------------------


def _verdict(row: object) -> str:
    if row.note or math.isnan(row.estimate):
        return UNDECIDED
    if not claims.SIGNS[row.direction]:
        return claims.decided_level(row.low, row.high, row.threshold)
    return claims.decided_sign(row.estimate, row.p, row.adjusted, claims.SIGNS[row.direction])


def shown(stated: pd.DataFrame) -> Prose:
    """The statements for a page."""
    return statement_grid.shown(stated, digits=1)


def reading(stated: pd.DataFrame) -> Prose:
    """How many go which way, and how much could have been found."""
    counts = stated["verdict"].value_counts()
    names = ", ".join(f"{counts.get(name, 0)} {name}" for name in (SAME, OPPOSITE, UNDECIDED))
    silent = int((stated["note"] != "").sum())
    weak = int((stated["underpowered"] & (stated["verdict"] == UNDECIDED) & (stated["note"] == "")).sum())
    return prose(
        f"Of {len(stated)} statement{'s' * (len(stated) != 1)}: {names}.",
        f"{silent} can't be tested here." if silent else "",
        f"{weak} {'is' if weak == 1 else 'are'} underpowered: such a difference could not have been found."
        if weak
        else "",
    )
