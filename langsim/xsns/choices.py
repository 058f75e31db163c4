"""What the choice of a source is worth: English, ours, the best (Figure 1), gaps (5), low-resource targets (7)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from langsim import papers
from langsim.bootstrap import Difference
from langsim.readings import Prose, number, prose
from langsim.tasks.validity import baselines as trivial_scores
from langsim.xsns import ranking_study, resampling
from langsim.xsns.evidence import ENGLISH, Evidence
from langsim.xsns.ranking_study import OURS, TRANSFERS
from langsim.xsns.setting import marked
from langsim.xsns.settings import XSNSSettings

CHOICES = ("English", "X-SNS", "best", "mean of all")


def choices(one: Evidence, targets: Sequence[str] = ()) -> pd.DataFrame:
    """One row a target and choice: target, choice, source, value (score in percent, mean over seeds).

    `best` is told by the test scores themselves, and so is an upper limit. `mean of all` is what a source drawn at
    random can be expected to reach. English is no choice for itself, nor where it is no source; `X-SNS` is none for a
    target without text.

    Args:
        targets: default: the pool.
    """
    gold, predicted = one.mean, one.prediction(OURS)
    rows = []
    for target in targets or one.pool:
        own = gold.loc[target].drop(target, errors="ignore").dropna()
        ours = predicted.loc[target].reindex(own.index).dropna()
        picks = {
            "English": ENGLISH if ENGLISH in own.index else "",
            "X-SNS": str(ours.idxmax()) if len(ours) else "",
            "best": str(own.idxmax()),
        }
        rows += [
            {"target": target, "choice": name, "source": source, "value": float(own[source]) if source else np.nan}
            for name, source in picks.items()
        ]
        rows.append({"target": target, "choice": "mean of all", "source": "", "value": float(own.mean())})
    return pd.DataFrame(rows).assign(task=one.name)[["task", "target", "choice", "source", "value"]]


def choices_of(evidence: Mapping[str, Evidence]) -> pd.DataFrame:
    """All tasks."""
    return pd.concat([choices(one) for one in evidence.values()], ignore_index=True)


def better(frame: pd.DataFrame, ours: str = "X-SNS", theirs: str = "English") -> Difference:
    """Mean over targets of one choice minus another, in points, over targets that have both."""
    wide = frame.pivot(index="target", columns="choice", values="value")
    return resampling.over_targets((wide[ours] - wide[theirs]).tolist())


def figure1_task(settings: XSNSSettings) -> str:
    """The task of Figure 1: that of Table 4 (NER), or the first one where a run leaves it out."""
    return settings.compared_task if settings.compared_task in settings.tasks else settings.tasks[0]


def panels(frame: pd.DataFrame, *tasks: str) -> dict[str, pd.DataFrame]:
    """Task to what `drawings.choices` takes: targets in rows, by the score of the best source; the mean is left out."""
    found = {}
    for task in tasks:
        part = frame[(frame["task"] == task) & (frame["choice"] != CHOICES[-1])].dropna(subset=["value"])
        best = part[part["choice"] == "best"].sort_values("value", ascending=False, kind="stable")["target"].tolist()
        order = [(best.index(row.target), CHOICES.index(row.choice)) for row in part.itertuples()]
        part = part.iloc[sorted(range(len(part)), key=order.__getitem__)]
        found[task] = part.rename(columns={"target": "row", "choice": "series"})[["row", "series", "value"]]
    return found


def summary(frame: pd.DataFrame) -> pd.DataFrame | Prose:
    """Task by choice: mean over the targets that have all choices, and how many these are."""
    if frame.empty:
        return prose("Nothing to show.")
    rows = {}
    for task, part in frame.groupby("task", sort=False):
        wide = part.pivot(index="target", columns="choice", values="value").dropna()
        wide = wide[[name for name in CHOICES if name in wide]]
        rows[task] = {name: number(value, 1) for name, value in wide.mean().items()} | {"targets": str(len(wide))}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="mean score")


def choices_reading(evidence: Mapping[str, Evidence], frame: pd.DataFrame) -> Prose:
    """Ours against English and against the mean, for every task that can be tested."""
    told = []
    for task, one in evidence.items():
        part = frame[frame["task"] == task]
        if not one.testable:
            told.append(f"{task} is not testable here, and decides nothing.")
        else:
            told.append(f"**{task}**: the score with the suggested source is {_against(part)}.")
    return prose(*told)


def _against(part: pd.DataFrame) -> str:
    words = []
    for theirs in ("English", "mean of all"):
        found = better(part, "X-SNS", theirs)
        if not np.isnan(found.estimate):
            words.append(f"{_points(found)} against {'English' if theirs == 'English' else 'the mean of all sources'}")
    return " and ".join(words)


def _points(found: Difference) -> str:
    interval = "" if np.isnan(found.low) else f" (95% interval {number(found.low, 1)} to {number(found.high, 1)})"
    return f"{'+' if found.estimate > 0 else ''}{number(found.estimate, 1)} points{interval}"


# Figure 5 -------------------------------------------------------------------------------------------------------------


def gaps(evidence: Mapping[str, Evidence]) -> pd.DataFrame:
    """One row a pair: task, target, source, gap: score with this source minus score with the target itself as source,
    in points. Targets that can't be trained on have none."""
    rows = []
    for name, one in evidence.items():
        matrix = gap_matrix(one)
        rows += [
            {"task": name, "target": target, "source": source, "gap": float(matrix.at[target, source])}
            for target in matrix.index
            for source in matrix.columns
            if target != source
        ]
    return pd.DataFrame(rows)


def gap_matrix(one: Evidence) -> pd.DataFrame:
    """(T, S) the gaps of one task, NaN where source and target are one."""
    trained = [code for code in one.pool if code in one.sources]
    gold = one.mean.loc[trained]
    own = np.array([gold.at[code, code] for code in trained])
    matrix = gold.sub(own, axis=0)
    return matrix.mask(matrix.index.to_numpy()[:, None] == matrix.columns.to_numpy()[None, :])


def gap_groups(evidence: Mapping[str, Evidence]) -> dict[str, np.ndarray]:
    """Task (marked where it decides nothing) to all of its gaps: what `drawings.boxes` takes."""
    return {marked(name, one.testable): gap_matrix(one).to_numpy().ravel() for name, one in evidence.items()}


def spread(one: Evidence, *, replicates: int = 2000, seed: int = 0) -> Difference:
    """Standard deviation of a target's gaps over its sources, mean over targets, in points (two-way bootstrap)."""
    values = gap_matrix(one).to_numpy()
    estimate = float(np.nanmean(np.nanstd(values, axis=1, ddof=1)))
    targets, sources = resampling.drawn(*values.shape, replicates, seed)
    there, filled = (~np.isnan(values)).astype(float), np.nan_to_num(values)
    n = np.maximum(sources @ there.T, 1)  # (R, T)
    middle = sources @ filled.T / n
    variance = np.maximum(sources @ (filled**2).T / n - middle**2, 0)
    drawn = (targets * np.sqrt(variance)).sum(1) / targets.sum(1)
    return resampling.of_replicates(estimate, drawn)


def positive(one: Evidence, *, replicates: int = 2000, seed: int = 0) -> Difference:
    """Percent of the pairs whose gap is above zero (two-way bootstrap)."""
    matrix = gap_matrix(one)
    values = 100 * (matrix > 0).astype(float).where(matrix.notna()).to_numpy()
    weights = resampling.drawn(*values.shape, replicates, seed)
    return resampling.of_replicates(float(np.nanmean(values)), resampling.two_way_mean(values, weights))


def gaps_table(evidence: Mapping[str, Evidence]) -> pd.DataFrame:
    """Task: the median gap, its quartiles, how far sources differ, and the share above zero."""
    rows = {}
    for name, one in evidence.items():
        values = gap_matrix(one).to_numpy()
        low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75])
        apart, above = spread(one), positive(one)
        rows[name] = {
            "median gap": number(middle, 1),
            "quartiles": f"{number(low, 1)} to {number(high, 1)}",
            "sd over sources": f"{number(apart.estimate, 1)} ({number(apart.low, 1)}–{number(apart.high, 1)})",
            "above zero, %": f"{number(above.estimate, 0)} ({number(max(0, above.low), 0)}–{number(above.high, 0)})",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


# Figure 7 -------------------------------------------------------------------------------------------------------------


def zero_shot(one: Evidence) -> dict[str, object]:
    """Whether the targets that are no sources can tell: `trivial`, `transfer` (percent), `reliability`, `reasons`.

    Such a target may have no training text: the trivial baseline is then fitted on that of all sources, as a model that
    is transferred to it is.
    """
    gold = [matrix.loc[one.only] for matrix in one.everyone]
    trivial = float(trivial_scores(one.task).max(axis=1).loc[one.only].mean())
    stack = np.stack([matrix.to_numpy(dtype=float) for matrix in gold])
    reliable = ranking_study.reliability(stack)
    reached = float(stack.mean())
    reasons = []
    if not reached - trivial >= TRANSFERS:
        reasons.append(f"models are {reached - trivial:+.1f} points from a trivial baseline ({TRANSFERS:g} are asked)")
    reasons += ranking_study.disagreement(reliable)
    return {"trivial": trivial, "transfer": reached, "reliability": reliable, "reasons": reasons}


def low_resource(evidence: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """Tasks that have targets that are no sources."""
    return {name: one for name, one in evidence.items() if one.only}


def low_frame(evidence: Mapping[str, Evidence]) -> pd.DataFrame:
    """`choices` for the targets that are no sources, and whether the model was trained on them (`known`)."""
    from langsim.xsns import procedures

    columns = ["task", "target", "choice", "source", "value", "known"]
    parts = []
    for one in low_resource(evidence).values():
        unknown = set(procedures.model_of(one.model, one.settings.device).untrained(one.only))
        frame = choices(one, one.only)
        parts.append(frame.assign(known=[code not in unknown for code in frame["target"]]))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def low_reading(evidence: Mapping[str, Evidence], frame: pd.DataFrame) -> Prose:
    """In how many targets ours is better than English, and by how much; beside the printed counts."""
    printed = papers.published("xsns-fig7").set_index("metric")["value"]
    told = []
    for name, one in low_resource(evidence).items():
        part = frame[frame["task"] == name]
        wide = part.pivot(index="target", columns="choice", values="value")
        checked, found = zero_shot(one), better(part)
        ours, english = wide["X-SNS"], wide["English"]
        against = (
            "English is no source here"
            if english.isna().all()
            else f"the suggested source is better than English in {int((ours > english).sum())} of {len(wide)} targets "
            f"and as good in {int((ours == english).sum())}; the mean difference is {_points(found)}"
        )
        told.append(
            f"**{name}**: {against}. Against the mean of all sources the suggested one is "
            f"{_points(better(part, 'X-SNS', 'mean of all'))}."
        )
        if checked["reasons"] or not one.testable:
            why = [*checked["reasons"], *one.validity.reasons]
            told.append(f"This is not testable here, and decides nothing: {'; '.join(dict.fromkeys(why))}.")
    if not told:
        return prose("This run has no targets beside its sources (`low_resource`, `low_resource_tasks`).")
    return prose(
        *told,
        f"In print, on NER: better in {printed['count']:g} of 15, {number(printed['points'], 1)} points in the mean.",
    )
