"""Transfer from several sources together, chosen by each method (Section 6.4, Figure 4).

For every target a method's first three candidates are trained on together, with all of their examples. `BEST` takes the
three with the highest gold scores, which nobody knows beforehand, and BEST-1 the one: both by seeds other than those
whose trainings are compared (where there are others), so that what was lucky in one seed is not compared with itself.
`random` is one draw of three sources for all targets but these three. Two methods that choose the same sources share
one training.

Which trainings are needed is known when the cells of gold transfer, sub-networks and baselines are there.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from langsim import cells
from langsim.bootstrap import Difference
from langsim.matching import rank
from langsim.readings import Prose, number, prose
from langsim.xsns import evidence as gathering
from langsim.xsns import labelled, procedures, resampling
from langsim.xsns.evidence import Evidence
from langsim.xsns.procedures import BASELINES, SUBNETWORKS, TRANSFER, Job
from langsim.xsns.ranking_study import OURS
from langsim.xsns.setting import marked
from langsim.xsns.settings import XSNSSettings

BEST, SINGLE, RANDOM = "BEST", "BEST-1", "random"
METHODS = (OURS, "L2V", "LEX", "SuE", "EMB", RANDOM)


def chosen(one: Evidence) -> dict[str, dict[str, list[str]]]:
    """Method -> target -> its first sources, in the order of codes; of ties the first by column.

    A method that ranks fewer candidates of a target than are wanted has no entry for it.
    """
    size, gold = one.settings.mixed_sources, choosing(one)
    found: dict[str, dict[str, list[str]]] = {}
    for method in (*METHODS, BEST):
        if method == RANDOM:
            found[method] = _drawn(one)
            continue
        scores = gold if method == BEST else one.prediction(method) if method in one.predicted else None
        if scores is None:
            continue
        own = {}
        for target in one.pool:
            row = scores.loc[target].drop(target, errors="ignore").dropna()
            if len(row) >= size and (method == BEST or row.nunique() > 1):
                own[target] = sorted(row.sort_values(ascending=False, kind="stable").index[:size])
        if own:
            found[method] = own
    return found


def choosing(one: Evidence) -> pd.DataFrame:
    """(T, S) gold scores by which the best are chosen: mean over the seeds that are not compared; over all if none is
    left."""
    _, seeds = one.settings.mixed
    left = [scores for seed, scores in zip(one.settings.training_seeds, one.everyone, strict=True) if seed not in seeds]
    return sum(left) / len(left) if left else one.mean


def _drawn(one: Evidence) -> dict[str, list[str]]:
    """Target -> the task's three random sources, the same for every target that is none of them."""
    chosen = sorted(one.sources, key=lambda code: rank(f"{one.name}:{code}", one.settings.seeds[0]))
    triple = sorted(chosen[: one.settings.mixed_sources])
    return {target: triple for target in one.pool if target not in triple}


def jobs(settings: XSNSSettings) -> list[Job]:
    """Every training on several sources that the settings have; none before the cells that choose them are there.

    A cell that is missing is no error here: `langsim reproduce` makes the kinds in their order.
    """
    tasks, _ = settings.mixed
    if not tasks or not _ready(settings, tasks):
        return []
    return [job for one in gathering.gather(settings, tasks).values() for job in jobs_of(one)]


def at_most(settings: XSNSSettings) -> int:
    """How many there can be: methods may choose the same."""
    tasks, seeds = settings.mixed
    given = {task: labelled.load(settings, task) for task in tasks}
    targets = sum(len(set(task.languages) - set(settings.targets_only(name))) for name, task in given.items())
    return targets * (len(METHODS) + 1) * len(seeds)


def jobs_of(one: Evidence) -> list[Job]:
    """Those of one task, each once."""
    _, seeds = one.settings.mixed
    named = {name_of(codes) for own in chosen(one).values() for codes in own.values()}
    return [Job(one.model, one.name, name, seed) for name in sorted(named) for seed in seeds]


def name_of(codes: Sequence[str]) -> str:
    """`de+fr+it`: in the id of a cell."""
    return "+".join(codes)


def frame(evidence: Mapping[str, Evidence], settings: XSNSSettings) -> pd.DataFrame:
    """One row a task, target and method: sources (joined by +), value: the target's score in percent, mean over seeds.

    BEST-1, the best single source by the other seeds, is the mean over the same seeds as the rest.
    """
    tasks, seeds = settings.mixed
    rows = []
    for name in tasks:
        one = evidence[name]
        found = procedures.obtain(settings, procedures.MIXTURES, jobs_of(one))
        places = [settings.training_seeds.index(seed) for seed in seeds]
        single = sum(one.everyone[place] for place in places) / len(places)
        for method, own in chosen(one).items():
            for target, codes in own.items():
                scores = [
                    found[Job(one.model, name, name_of(codes), seed)]["targets"][target][one.task.metric]
                    for seed in seeds
                ]
                title = f"{method}-{settings.mixed_sources}" if method == BEST else method
                rows.append(_row(one, target, title, name_of(codes), float(np.mean(scores))))
        for target in one.pool:
            source = str(choosing(one).loc[target].drop(target, errors="ignore").idxmax())
            rows.append(_row(one, target, SINGLE, source, float(single.at[target, source])))
    return pd.DataFrame(rows, columns=["task", "target", "method", "sources", "value", "testable"])


def _row(one: Evidence, target: str, method: str, sources: str, value: float) -> dict[str, object]:
    names = {"task": one.name, "target": target, "method": method, "sources": sources}
    return names | {"value": value, "testable": one.testable}


def better(found: pd.DataFrame, task: str, ours: str, theirs: str) -> Difference | None:
    """Mean over targets of one method's score minus another's; None where a method is not there."""
    wide = found[found["task"] == task].pivot(index="target", columns="method", values="value")
    if not {ours, theirs} <= set(wide):
        return None
    return resampling.over_targets((wide[ours] - wide[theirs]).tolist())


def panels(found: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Task to what `charts.dots` takes: by how much each method is better than the best single source, in points."""
    panels = {}
    for task, part in found.groupby("task", sort=False):
        rows = []
        for method in dict.fromkeys(part["method"]):
            one = better(found, str(task), method, SINGLE)
            if method != SINGLE and one is not None:
                rows.append({"row": method, "series": "ours", "value": one.estimate, "low": one.low, "high": one.high})
        panels[marked(str(task), bool(part["testable"].all()))] = pd.DataFrame(rows)
    return panels


def table(found: pd.DataFrame) -> pd.DataFrame | Prose:
    """Method by task: mean score over the targets that all methods have (`random` has none of its own three)."""
    if found.empty:
        return prose("Nothing to show.")
    columns = {}
    for task, part in found.groupby("task", sort=False):
        wide = part.pivot(index="target", columns="method", values="value").dropna()
        name = f"{marked(str(task), bool(part['testable'].all()))} ({len(wide)} targets)"
        columns[name] = wide.mean().sort_values(ascending=False).map(lambda value: number(value, 1))
    return pd.DataFrame(columns).fillna("–").rename_axis(None)


def reading(found: pd.DataFrame) -> Prose:
    """Three against one, ours against the others, for every task that can be tested."""
    if found.empty:
        return prose("No task of this run is trained on several sources (`mixed_tasks`).")
    told = []
    for task, part in found.groupby("task", sort=False):
        if not part["testable"].all():
            told.append(f"{task} is not testable here, and decides nothing.")
            continue
        several = (name for name in part["method"] if name.startswith(f"{BEST}-") and name != SINGLE)
        best = next(several, "")  # none where a target has too few candidates
        pairs = [(best, SINGLE), (OURS, SINGLE), (OURS, RANDOM)]
        words = []
        for ours, theirs in pairs:
            one = better(found, str(task), ours, theirs)
            if one is not None:
                interval = f" (95% interval {number(one.low, 1)} to {number(one.high, 1)})"
                words.append(f"{ours} is {number(one.estimate, 1)} points above {theirs}{interval}")
        told.append(f"On **{task}** {'; '.join(words)}.")
    return prose(*told)


def _ready(settings: XSNSSettings, tasks: Sequence[str]) -> bool:
    """Whether all cells that choose are there."""
    for kind in (TRANSFER, SUBNETWORKS, BASELINES):
        for job in procedures.jobs(settings, kind):
            if (job.model, job.task in tasks) == (settings.model, True) and cells.problem(
                procedures.cell_of(settings, kind, job)
            ):
                return False
    return True
