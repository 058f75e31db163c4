"""How sure a ranking is: intervals, differences between two predictors, and what random rankings reach.

*Two-way bootstrap.* Targets and sources are drawn with replacement, each for themselves (a language that is both is
drawn in both roles): languages in either role might have been others, and the pairs of one language are no independent
observations. Such a bootstrap errs towards intervals that are too wide. Seeds are not drawn again.

*Duplicates.* A target drawn twice counts twice. A source drawn twice counts twice in correlations, but is one candidate
in top-1 and NDCG (`langsim.ranking.metrics`): two copies would tie, and a tie with oneself is no mistake. So a resample
has fewer candidates than the sample, which makes top-1 and NDCG easier. Resamples are therefore used for how far a
metric moves, not for where it lies: intervals are the quantiles of the replicates around their own mean, put around the
estimate, and cut where the metric ends.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from langsim.bootstrap import DETECTABLE, LEVEL, Difference, Interval
from langsim.errors import UsageError
from langsim.ranking import METRICS, Prepared, Recipe, Seeds, discounts, prepare

LOWEST = {"pearson": -1.0, "spearman": -1.0, "top1": 0.0, "ndcg3": 0.0}


def intervals(
    gold: Seeds, predicted: Seeds, *, recipe: Recipe = "paper", replicates: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Metric -> its mean over targets with a 95% interval; NaN where the metric is defined for no target.

    Raises:
        UsageError: as `langsim.ranking.ranking`; fewer than one replicate.
    """
    given = prepare(gold, [predicted], recipe)
    targets, sources = _resampled(given, replicates, seed)
    estimate, drawn = _once(given, _of_one), _of_one(given, targets, sources)
    found = {}
    for i, name in enumerate(METRICS):
        low, high, error = _around(estimate[i], drawn[:, i])
        found[name] = Interval(float(estimate[i]), max(low, LOWEST[name]), min(high, 1.0), error, drawn[:, i])
    return found


def differences(
    gold: Seeds, ours: Seeds, theirs: Seeds, *, recipe: Recipe = "paper", replicates: int = 2000, seed: int = 0
) -> dict[str, Difference]:
    """Metric -> ours minus theirs, with interval and p: paired, on the candidates that both have values for.

    A resample draws the same languages for both. A metric is averaged over the targets where both predictions define
    it.

    Raises:
        UsageError: as `intervals`.
    """
    given = prepare(gold, [ours, theirs], recipe)
    targets, sources = _resampled(given, replicates, seed)
    estimate, drawn = _once(given, _of_both), _of_both(given, targets, sources)
    found = {}
    for i, name in enumerate(METRICS):
        low, high, error = _around(estimate[i], drawn[:, i])
        there = drawn[~np.isnan(drawn[:, i]), i]
        far = np.abs(there - there.mean()) >= abs(estimate[i]) - 1e-12 if there.size else np.array([])
        p = float((far.sum() + 1) / (there.size + 1)) if there.size else float("nan")
        found[name] = Difference(float(estimate[i]), low, high, error, drawn[:, i], p=p, detectable=DETECTABLE * error)
    return found


@dataclass(frozen=True)
class Chance:
    """What rankings drawn at random reach, for the same targets and candidates.

    Attributes:
        expected: metric -> exact mean over all rankings.
        draws: (draws, 4) the metrics of random rankings, independent from target to target.
    """

    expected: dict[str, float]
    draws: pd.DataFrame = field(repr=False)

    def line(self, metric: str, share: float = 0.95) -> float:
        """The value that only 1 - `share` of the random rankings exceed: the line to draw in a figure."""
        return float(np.nanquantile(self.draws[metric], share))

    def p(self, metric: str, value: float) -> float:
        """One-sided: how often a random ranking is at least as good ((count + 1) / (draws + 1)).

        The random rankings of the targets are independent of each other, those of a predictor are not: a source that is
        good for all targets can make a small p. The interval of `intervals` tells how far languages decide.
        """
        there = self.draws[metric].dropna()
        return float(((there >= value - 1e-12).sum() + 1) / (len(there) + 1))


def chance(
    gold: Seeds, predicted: Seeds | None = None, *, recipe: Recipe = "paper", draws: int = 2000, seed: int = 0
) -> Chance:
    """The permutation baseline: random rankings without ties, each order of a target's candidates equally likely.

    Args:
        predicted: only the candidates that this prediction has values for are ranked.

    Raises:
        UsageError: as `langsim.ranking.ranking`; fewer than one draw.
    """
    if draws < 1:
        raise UsageError(f"draws={draws}: at least 1 is needed")
    given = prepare(gold, [] if predicted is None else [predicted], recipe)
    rng, rows = np.random.default_rng(seed), []
    for t in np.flatnonzero(given.ok.sum(1) >= 2):
        values = given.gold[:, t, given.ok[t]]  # (K, n)
        order = rng.permuted(np.tile(np.arange(values.shape[1], dtype=float), (draws, 1)), axis=1)
        rows.append(np.mean([_drawn(one, order, recipe) for one in values], axis=0))
    mean = _mean(np.stack(rows, axis=1), np.ones(len(rows)))
    return Chance(_expected(given), pd.DataFrame(mean, columns=pd.Index(METRICS, name="metric")))


def _drawn(values: np.ndarray, order: np.ndarray, recipe: Recipe) -> np.ndarray:
    """(draws, 4) metrics of one target, from gold scores (n,) and predictions (draws, n): 0 to n - 1, shuffled."""
    relevance = stats.rankdata(values)
    found = np.full((len(order), len(METRICS)), np.nan)
    if values.min() < values.max():
        for column, one in enumerate((values, relevance)):
            found[:, column] = (order - order[0].mean()) @ (one - one.mean()) / (one.std() * order[0].std() * one.size)
    places = order.argsort(axis=1)[:, ::-1]
    best = values == values.max()
    found[:, 2] = places[:, 0] == values.argmax() if recipe == "authors_code" else best[places[:, 0]]
    weights = np.diff(discounts(values.size))
    found[:, 3] = relevance[places] @ weights / (np.sort(relevance)[::-1] @ weights)
    return found


def _expected(given: Prepared) -> dict[str, float]:
    """The exact means: 1 of n for top-1, uncorrelated ranks, and the mean relevance at every place of NDCG."""
    found: dict[str, list[float]] = {name: [] for name in METRICS}
    for matrix in given.gold:
        for values, ok in zip(matrix, given.ok, strict=True):
            one = values[ok]
            if one.size < 2:
                continue
            if one.min() < one.max():
                found["pearson"].append(0.0)
                found["spearman"].append(0.0)
            best = 1 if given.recipe == "authors_code" else (one == one.max()).sum()
            found["top1"].append(best / one.size)
            relevance = np.sort(stats.rankdata(one))[::-1]
            sums = discounts(one.size)
            ideal = (relevance * np.diff(sums)).sum()
            found["ndcg3"].append(relevance.mean() * sums[-1] / ideal)
    return {name: float(np.mean(values)) if values else float("nan") for name, values in found.items()}


def _resampled(given: Prepared, replicates: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(R, T) and (R, S): how often each target and each source is in a resample."""
    if replicates < 1:
        raise UsageError(f"replicates={replicates}: at least 1 is needed")
    rng = np.random.default_rng(seed)
    targets, sources = (
        rng.multinomial(n, np.full(n, 1 / n), size=replicates).astype(float)
        for n in (len(given.targets), len(given.sources))
    )
    return targets, sources


def _once(given: Prepared, of: Callable[[Prepared, np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """(4,) of every target and every source, once."""
    return of(given, np.ones((1, len(given.targets))), np.ones((1, len(given.sources))))[0]


def _of_one(given: Prepared, targets: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """(R, 4) means over the targets drawn, of the first predictor."""
    return _mean(given.scores(0, sources), targets)


def _of_both(given: Prepared, targets: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """(R, 4) the first predictor's means minus the second's, over the targets drawn in which both have a value."""
    one, other = (given.scores(predictor, sources) for predictor in (0, 1))
    neither = np.isnan(one) | np.isnan(other)
    return _mean(np.where(neither, np.nan, one), targets) - _mean(np.where(neither, np.nan, other), targets)


def _mean(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(..., T, 4) and how often each target counts (..., T) -> (..., 4), over the targets with a value."""
    there = ~np.isnan(scores) * targets[..., None]
    total = there.sum(-2)
    return np.divide((np.nan_to_num(scores) * there).sum(-2), total, out=np.full(total.shape, np.nan), where=total > 0)


def _around(estimate: float, drawn: np.ndarray) -> tuple[float, float, float]:
    """95% limits around the estimate, and the standard error, from the spread of the replicates."""
    there = drawn[~np.isnan(drawn)]
    if not there.size or np.isnan(estimate):
        return float("nan"), float("nan"), float("nan")
    low, high = np.quantile(there - there.mean(), [LEVEL / 2, 1 - LEVEL / 2])
    error = float(there.std(ddof=1)) if there.size > 1 else 0.0
    return float(estimate + low), float(estimate + high), error
