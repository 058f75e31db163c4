"""What NDCG@3 does when the share p or the number of texts changes (Figures 3 and 6)."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd

from langsim import ranking_chance
from langsim.bootstrap import Difference
from langsim.centring import centre
from langsim.ranking import NothingToRank
from langsim.readings import Prose, number, prose
from langsim.xsns import measuring, procedures, resampling, subnetworks
from langsim.xsns.evidence import Evidence
from langsim.xsns.ranking_study import CENTRED, NULLS, OURS
from langsim.xsns.setting import marked

Axis = Literal["p", "items"]
METRIC = "ndcg3"
MODERATE = (0.1, 0.5)  # shares that are neither the least nor the greatest: said before any result


def grid(one: Evidence, axis: Axis) -> list[float]:
    """The shares, or the numbers of texts, at which the cells of a task have sub-networks."""
    cell = next(iter(cells_of(one, "").values()))
    rows = cell["shares"] if axis == "p" else cell["sizes"]
    return [row[axis] for row in rows]


def predicted(one: Evidence, axis: Axis, value: float, series: str = OURS) -> list[pd.DataFrame]:
    """(T, S) predictions for the pool at a share or from so many texts, a matrix a seed.

    Args:
        series: X-SNS, X-SNS centred, or one of the nulls.
    """
    null = next((null for null, title in NULLS.items() if title == series), "")
    found = []
    for cell in cells_of(one, null).values():
        matrix = measuring.matrix(cell, **{axis: value})
        matrix = centre(matrix).residuals if series == CENTRED else matrix
        codes = one.task.languages
        found.append(subnetworks.predicted(matrix.reindex(index=codes, columns=codes), one.pool, one.sources))
    return found


def frame(evidence: Mapping[str, Evidence], axis: Axis) -> pd.DataFrame:
    """One row a task, series and share (or number of texts): NDCG@3 with its 95% interval, and the line that 95% of
    random rankings stay below, in percent."""
    rows = []
    for name, one in evidence.items():
        try:
            line = 100 * ranking_chance.chance(one.gold, one.predictions[OURS]).line(METRIC)
        except NothingToRank:  # gold scores that are all the same: nothing is ranked at any value
            line = np.nan
        for series in (OURS, CENTRED, *NULLS.values()):
            for value in grid(one, axis):
                low = high = middle = np.nan
                try:
                    matrices = predicted(one, axis, value, series)
                    found = ranking_chance.intervals(one.gold, matrices, replicates=one.settings.replicates)[METRIC]
                    middle, low, high = found.estimate, found.low, found.high
                except NothingToRank:  # two masks of next to everything share the same in all pairs
                    pass
                rows.append(
                    {
                        "task": name,
                        "series": series,
                        axis: value,
                        "value": 100 * middle,
                        "low": 100 * low,
                        "high": 100 * high,
                        "line": line,
                        "testable": one.testable,
                    }
                )
    return pd.DataFrame(rows)


def panels(found: pd.DataFrame, axis: Axis) -> dict[str, pd.DataFrame]:
    """Task to what `charts.curves` takes, shares in percent; bands are those of X-SNS alone, where they can be seen."""
    shown = found.rename(columns={axis: "x"})
    shown["x"] = 100 * shown["x"] if axis == "p" else shown["x"]
    alone = shown["series"] == OURS
    shown[["low", "high"]] = shown[["low", "high"]].where(alone, np.nan)
    return {
        marked(str(task), bool(part["testable"].all())): part[["series", "x", "value", "low", "high"]]
        for task, part in shown.groupby("task", sort=False)
    }


def lines(found: pd.DataFrame) -> dict[str, float]:
    """Title of a panel to what 95% of random rankings stay below."""
    return {marked(row.task, row.testable): float(row.line) for row in found.drop_duplicates("task").itertuples()}


def contrast(one: Evidence, axis: Axis, ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """NDCG@3 of X-SNS, in percent: the mean over some shares (or numbers of texts) minus that over others, with the
    same languages drawn for all."""
    options = {"replicates": one.settings.replicates, "seed": 0}
    parts = [
        ranking_chance.differences(one.gold, predicted(one, axis, a), predicted(one, axis, b), **options)[METRIC]
        for a in ours
        for b in theirs
    ]
    return resampling.times(resampling.mean(parts), 100)


def moderate(one: Evidence) -> Difference | None:
    """Moderate shares minus the least and the greatest; None where the grid has too few."""
    shares = grid(one, "p")
    middle = [p for p in shares if MODERATE[0] <= p <= MODERATE[1] and p not in (shares[0], shares[-1])]
    return contrast(one, "p", middle, [shares[0], shares[-1]]) if middle else None


def least(one: Evidence) -> Difference | None:
    """The least share minus all others."""
    shares = grid(one, "p")
    return contrast(one, "p", shares[:1], shares[1:]) if len(shares) > 1 else None


def few(one: Evidence, items: int = 256) -> Difference | None:
    """So many texts minus all there are; None where there are no more."""
    sizes = grid(one, "items")
    return contrast(one, "items", [items], sizes[-1:]) if items in sizes[:-1] else None


def reading(evidence: Mapping[str, Evidence], axis: Axis) -> Prose:
    """Where NDCG@3 is greatest, and how far it moves over the grid, task by task."""
    told = []
    for name, one in evidence.items():
        if not one.testable:
            continue
        part = frame({name: one}, axis).query("series == @OURS").dropna(subset=["value"])
        if part.empty:
            continue
        best, worst = part.loc[part["value"].idxmax()], part.loc[part["value"].idxmin()]
        at = "p = {:g}" if axis == "p" else "{:g} texts"
        told.append(
            f"**{name}**: greatest at {at.format(best[axis])} ({number(best['value'], 1)}), least at "
            f"{at.format(worst[axis])} ({number(worst['value'], 1)})."
        )
    if not told:
        return prose("No task can be tested here, so these curves decide nothing.")
    return prose(*told, "The best of several values is greater than any one of them would be on new languages.")


def cells_of(one: Evidence, null: str) -> Mapping[procedures.Job, Mapping]:
    """The cells of the default kind of sub-network, or of one of its nulls, one a seed."""
    return _read(one.settings.model_dump_json(), one.name, one.model, null)


@lru_cache(maxsize=32)
def _read(settings: str, task: str, model: str, null: str) -> Mapping[procedures.Job, Mapping]:
    from langsim.xsns.settings import XSNSSettings

    resolved = XSNSSettings.model_validate_json(settings)
    kind = resolved.kinds[0]
    jobs = [
        job
        for job in procedures.jobs(resolved, procedures.SUBNETWORKS)
        if (job.model, job.task, job.what, job.null) == (model, task, kind, null)
    ]
    return procedures.obtain(resolved, procedures.SUBNETWORKS, jobs)
