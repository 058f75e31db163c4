"""How well predictions rank sources, against gold transfer (Tables 1, 2, 4); and whether a task can tell (validity).

A prediction is a matrix a seed (row = target, column = source, larger = better); gold scores are a matrix a seed of
the fine-tuning. `langsim.ranking` has the metrics and both orders of averaging, `langsim.ranking_chance` intervals
and what random rankings reach.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd

from langsim import ranking, ranking_chance
from langsim.bootstrap import Difference
from langsim.centring import centre
from langsim.errors import UsageError
from langsim.ranking import METRICS, NothingToRank, Recipe
from langsim.tasks.base import Task
from langsim.tasks.validity import baselines as trivial_scores
from langsim.xsns import labelled, measuring, procedures, subnetworks, transfer
from langsim.xsns.procedures import BASELINES, SUBNETWORKS, TRANSFER, Job
from langsim.xsns.settings import XSNSSettings

OURS, CENTRED = "X-SNS", "X-SNS, centred"
OTHERS = {"general-lm": "X-SNS, general text", "task-head": "X-SNS, random head"}
AS_MANY = "X-SNS, as many texts"  # from as many texts as the other kinds, which it is compared with in Table 1
ALSO_CENTRED = ("LEX", "EMB")  # baselines that have main effects of languages too
NULLS = {measuring.RANDOM: "null: random weights", measuring.SHUFFLED: "null: shuffled text"}

# What a task has to show before its rankings say anything; stated before any score was seen.
LEARNT = 5.0  # points by which a model is better than the trivial baseline in the language it was trained on
TRANSFERS = 2.0  # the same, in the mean over all other targets
RELIABILITY = 0.5  # of the mean over seeds as a ranking of a target's sources, mean over targets
SPREAD = 0.0  # variance between sources beyond that between seeds, in squared points: more than this

Predictions = dict[str, list[pd.DataFrame]]
COLUMNS = ("predictor", "metric", "value", "low", "high", "authors", "chance", "line", "p")  # of a study's table
COLUMNS += ("difference", "difference_low", "difference_high", "difference_p")


# What is compared ---------------------------------------------------------------------------------------------------


def gold(settings: XSNSSettings, task: str, *, model: str = "", metric: str = "") -> list[pd.DataFrame]:
    """(T, S) gold scores in percent, one matrix a seed of the fine-tuning, a source's own language with itself too.

    Args:
        metric: a measure of the task's cells; default the task's own.
    """
    given = labelled.load(settings, task)
    sources, metric = labelled.sources(settings, task, given), metric or given.metric
    wanted = [Job(model or settings.model, task, s, seed) for seed in settings.training_seeds for s in sources]
    found = procedures.obtain(settings, TRANSFER, wanted)
    matrices = []
    for seed in settings.training_seeds:
        columns = {}
        for job in wanted:
            if job.seed == seed:
                targets = found[job]["targets"]
                if metric not in next(iter(targets.values())):
                    raise UsageError(
                        f"metric: task '{task}' has {', '.join(transfer.metrics_of(given))}, not {metric!r}"
                    )
                columns[job.what] = {target: own[metric] for target, own in targets.items()}
        frame = pd.DataFrame(columns).loc[given.languages, sources]
        matrices.append(frame.rename_axis(index="target", columns="source"))
    return matrices


def predictions(settings: XSNSSettings, task: str, *, model: str = "") -> Predictions:
    """Name -> (T, S), a matrix a seed: X-SNS raw and centred, its other kinds and nulls (of the main model), baselines.

    Centring takes out of the similarities of all languages what each has with every other; the gold scores it is
    compared with keep theirs. LEX and EMB are centred likewise, over targets and sources. The other kinds are read, and
    X-SNS once more, at the largest number of texts that the cells of all kinds have.
    """
    name = model or settings.model
    given = labelled.load(settings, task)
    targets, sources = given.languages, labelled.sources(settings, task, given)
    wanted = [job for job in procedures.jobs(settings, SUBNETWORKS) if (job.model, job.task) == (name, task)]
    found = procedures.obtain(settings, SUBNETWORKS, wanted)

    def matrices(kind: str, null: str = "", centred: bool = False, items: int | None = None) -> list[pd.DataFrame]:
        at = {"p": settings.p} if items is None else {"items": items}
        one = [measuring.matrix(found[job], **at) for job in wanted if (job.what, job.null) == (kind, null)]
        one = [centre(matrix).residuals for matrix in one] if centred else one
        return [subnetworks.predicted(_filled(matrix, given.languages), targets, sources) for matrix in one]

    first = settings.kinds[0]
    made = {OURS: matrices(first), CENTRED: matrices(first, centred=True)}
    items = _common([found[job] for job in wanted if not job.null])
    made |= {AS_MANY: matrices(first, items=items)} if items else {}
    made |= {OTHERS.get(kind, kind): matrices(kind, items=items) for kind in settings.kinds[1:]}
    made |= {title: matrices(first, null) for null, title in NULLS.items()}
    stored = procedures.obtain(settings, BASELINES, [Job(name, task)])[Job(name, task)]
    for baseline, seeds in measuring.stored_baselines(stored).items():
        made[baseline] = [one.oriented().loc[targets, sources] for one in seeds]
        if baseline in ALSO_CENTRED:
            made[f"{baseline}, centred"] = [_residuals(one) for one in made[baseline]]
    return {title: seeds for title, seeds in made.items() if seeds}


def _common(found: Sequence[Mapping]) -> int | None:
    """The largest number of texts that all cells have; None where that is all the text of each, or they share none."""
    shared = set.intersection(*({row["items"] for row in one["sizes"]} for one in found))
    return max(shared) if shared and any(one["items"] > max(shared) for one in found) else None


def _residuals(matrix: pd.DataFrame) -> pd.DataFrame:
    """Centred; as it is where it is too small, or has too many gaps, for main effects."""
    try:
        return centre(matrix).residuals
    except UsageError:
        return matrix


def _filled(matrix: pd.DataFrame, codes: Sequence[str]) -> pd.DataFrame:
    """With NaN for languages that had no such text."""
    return matrix.reindex(index=codes, columns=codes)


# Ranking ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Study:
    """All predictions of one task.

    Attributes:
        table: one row a predictor and metric: predictor, metric, value (of `paper`'s order of averaging), low, high,
            authors (the other order), chance (expected), line (95% of random rankings are below), p (of a random
            ranking being as good), difference, difference_low, difference_high, difference_p (X-SNS minus it, paired).
            Shares of one; correlations.
        unranked: predictor -> why it ranks nothing (constant, nothing available).
        left_out: pairs without a value, by predictor.
    """

    table: pd.DataFrame
    unranked: dict[str, str] = field(default_factory=dict)
    left_out: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    def wide(self) -> pd.DataFrame:
        """Predictor by metric, percent, as Table 2."""
        return 100 * self.table.pivot(index="predictor", columns="metric", values="value").reindex(
            index=list(dict.fromkeys(self.table["predictor"])), columns=list(METRICS)
        )


def study(
    gold: Sequence[pd.DataFrame],
    predictions: Mapping[str, Sequence[pd.DataFrame]],
    *,
    ours: str = OURS,
    replicates: int = 2000,
    seed: int = 0,
) -> Study:
    """Every metric of every prediction, with intervals, chance, and the difference from ours.

    Raises:
        UsageError: `ours` is not among the predictions, or labels that don't fit together.
    """
    if ours not in predictions:
        raise UsageError(f"no prediction {ours!r} to compare the others with; there are {', '.join(predictions)}")
    rows, unranked, lost = [], {}, []
    options = {"replicates": replicates, "seed": seed}
    for name, own in predictions.items():
        try:
            by_paper = ranking_chance.intervals(gold, own, **options)
            other = ranking.ranking(gold, own, recipe="authors_code")
            random = ranking_chance.chance(gold, own, draws=replicates, seed=seed)
        except NothingToRank as error:
            unranked[name] = str(error)
            continue
        lost.append(other.left_out.assign(predictor=name))
        less = {} if name == ours else _differences(gold, predictions[ours], own, **options)
        rows += [_row(name, metric, by_paper[metric], other, random, less.get(metric)) for metric in METRICS]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return Study(table, unranked, pd.concat(lost, ignore_index=True) if lost else pd.DataFrame())


def _differences(gold, ours, own, **options) -> Mapping[str, Difference]:
    """Ours minus another, by metric; nothing where ours ranks nothing."""
    try:
        return ranking_chance.differences(gold, ours, own, **options)
    except NothingToRank:
        return {}


def _row(name, metric, interval, other, random, less) -> dict[str, object]:
    row = {
        "predictor": name,
        "metric": metric,
        "value": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "authors": other.mean[metric],
        "chance": random.expected[metric],
        "line": random.line(metric),
        "p": random.p(metric, interval.estimate),
    }
    names = ("difference", "difference_low", "difference_high", "difference_p")
    values = (np.nan,) * 4 if less is None else (less.estimate, less.low, less.high, less.p)
    return row | dict(zip(names, values, strict=True))


def table2(settings: XSNSSettings, *, recipe: Recipe = "paper") -> pd.DataFrame:
    """Task, predictor, metric, value in percent for all tasks of the settings, without intervals: quick."""
    rows = []
    for task in settings.tasks:
        scores = gold(settings, task)
        for name, own in predictions(settings, task).items():
            try:
                found = ranking.ranking(scores, own, recipe=recipe).mean
            except NothingToRank:
                found = dict.fromkeys(METRICS, float("nan"))
            rows += [{"task": task, "predictor": name, "metric": m, "value": 100 * v} for m, v in found.items()]
    return pd.DataFrame(rows)


# Validity -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Validity:
    """Whether rankings of a task's sources say anything.

    Attributes:
        trivial: mean over targets of the best one of the trivial baselines, in percent; floor: which it mostly is.
        own: mean score of models in the language they were trained on. transfer: mean of all other pairs.
        reliability: of the mean over seeds as a measure of how good a target's sources are, mean over targets: the
            mean correlation of two seeds, stepped up by Spearman and Brown to all of them. NaN with one seed.
        spread: variance between the sources of a target beyond that between seeds, squared points, mean over targets.
        noise: variance between seeds of the same pair, squared points.
        reasons: why the task is not testable here; empty: it is.
    """

    task: str
    trivial: float
    own: float
    transfer: float
    reliability: float
    spread: float
    noise: float
    reasons: tuple[str, ...]
    floor: str = ""

    @property
    def testable(self) -> bool:
        """Whether the task decides anything."""
        return not self.reasons

    @property
    def sentence(self) -> str:
        """For a page."""
        if self.testable:
            return f"{self.task}: testable here."
        return f"**{self.task}: not testable here**, and decides nothing: {'; '.join(self.reasons)}."


def validity(task: Task, gold: Sequence[pd.DataFrame]) -> Validity:
    """From a task and its gold scores by the task's own measure.

    Raises:
        UsageError: gold scores of languages that the task lacks.
    """
    targets, sources = list(gold[0].index), list(gold[0].columns)
    if lost := sorted(set(targets) - set(task.languages)):
        raise UsageError(f"task '{task.name}' has no {', '.join(lost)}, of which there are gold scores")
    stack = np.stack([one.loc[targets, sources].to_numpy(dtype=float) for one in gold])  # (K, T, S)
    same = np.array(targets)[:, None] == np.array(sources)[None, :]
    known = trivial_scores(task).loc[targets]
    trivial, floor = known.max(axis=1).to_numpy(), str(known.idxmax(axis=1).mode().iloc[0])
    own = float(stack.mean(0)[same].mean()) - float(trivial[same.any(1)].mean()) if same.any() else np.nan
    others = np.where(same, np.nan, stack)
    across = float(np.nanmean(others))
    reliable = reliability(others)
    noise = float(np.var(stack[:, ~same], axis=0, ddof=1).mean()) if len(gold) > 1 else np.nan
    between = float(np.nanmean(np.nanvar(np.mean(others, axis=0), axis=1, ddof=1)))
    spread = between - noise / len(gold) if len(gold) > 1 else between
    level = float(trivial.mean())
    reasons = _reasons(own, across - level, reliable, spread)
    mean_own = float(stack.mean(0)[same].mean()) if same.any() else float("nan")
    return Validity(task.name, level, mean_own, across, reliable, spread, noise, reasons, floor)


def _reasons(own: float, across: float, reliable: float, spread: float) -> tuple[str, ...]:
    found = []
    if not own >= LEARNT:
        found.append(
            f"in their own language models are {own:+.1f} points from a trivial baseline ({LEARNT:g} are asked)"
        )
    if not across >= TRANSFERS:
        found.append(f"in others they are {across:+.1f} points from it ({TRANSFERS:g} are asked)")
    found += disagreement(reliable)
    if not spread > SPREAD:
        found.append("sources differ no more than seeds do")
    return tuple(found)


def disagreement(reliable: float) -> list[str]:
    """Why seeds don't tell how good sources are; empty where they do."""
    if np.isnan(reliable):
        return ["whether seeds agree on the sources can't be told from one seed or from two candidates"]
    if reliable < RELIABILITY:
        return [f"the mean over seeds tells sources with a reliability of {reliable:.2f} ({RELIABILITY:g} is asked)"]
    return []


def reliability(others: np.ndarray) -> float:
    """Of the mean over K seeds as a measure of how good a target's sources are, mean over targets: (K, T, S), NaN where
    a source is the target itself; 0 where seeds agree negatively or nothing differs; NaN of a single seed."""
    if len(others) < 2:
        return float("nan")
    found = []
    for target in range(others.shape[1]):
        rows = others[:, target][:, ~np.isnan(others[:, target]).any(0)]
        if rows.shape[1] < 3:
            continue
        pairs = [
            0.0 if rows[i].std() == 0 or rows[j].std() == 0 else float(np.corrcoef(rows[i], rows[j])[0, 1])
            for i, j in combinations(range(len(rows)), 2)
        ]
        mean = max(0.0, float(np.mean(pairs)))
        found.append(len(rows) * mean / (1 + (len(rows) - 1) * mean))
    return float(np.mean(found)) if found else float("nan")
