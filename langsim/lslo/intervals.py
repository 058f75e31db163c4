"""Intervals and chances of what part II measures: by seeds, by directions of languages, by languages.

Every function gives a `langsim.bootstrap.Difference`: estimate, 95% interval, two-sided p of no difference, and the
difference that would be found with a probability of 80%. What can't be told from so few numbers is NaN.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import stats

from langsim.bootstrap import DETECTABLE, LEVEL, POWER, Difference
from langsim.errors import UsageError
from langsim.lslo.directions import Direction, labels

REPLICATES = 2000


def over_seeds(values: Sequence[float]) -> Difference:
    """The mean of one number a training (seed), against 0, by Student's t; a single one has no interval."""
    found = np.asarray(values, dtype=float)
    mean, n = float(found.mean()), found.size
    if n < 2:
        return Difference(mean, math.nan, math.nan, math.nan, found, p=math.nan, detectable=math.nan)
    error = float(found.std(ddof=1) / math.sqrt(n))
    half, power = (float(stats.t.ppf(q, n - 1)) * error for q in (1 - LEVEL / 2, POWER))
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    return Difference(mean, mean - half, mean + half, error, found, p=p, detectable=half + power)


def over_directions(
    ours: np.ndarray,
    theirs: np.ndarray | None,
    directions: Sequence[Direction],
    classes: Mapping[str, str],
    scope: Mapping[str, float],
    *,
    seed: int = 0,
) -> Difference:
    """A row minus another in per-direction numbers, weighted over pairs of classes.

    A direction belongs to two languages, so directions are no independent numbers. In every resample source languages
    and target languages are drawn with replacement within their classes (two-way bootstrap), and training seeds; where
    both rows have as many seeds the same ones. The text is not drawn again: it is the same items in every direction.

    Args:
        ours, theirs: (K, D), one line a seed; theirs None for 0.
        directions: the D directions.
        classes: language -> class.
        scope: pair of classes (`langsim.lslo.directions.labels`) -> its weight in the mean.

    Raises:
        UsageError: a pair of classes without a direction, or shapes that don't fit.
    """
    named = labels(classes)
    label = np.array([named[direction] for direction in directions])
    for name in scope:
        if name not in label:
            raise UsageError(f"no direction {name} among the {len(directions)} directions")
    for one in (ours, theirs):
        if one is not None and (np.ndim(one) != 2 or np.shape(one)[1] != len(directions)):
            raise UsageError(f"expected one line a seed of {len(directions)} numbers, got shape {np.shape(one)}")
    rng = np.random.default_rng(seed)
    codes = list(classes)
    ends = np.array([[codes.index(code) for code in direction] for direction in directions])  # (D, 2)
    drawn = [_drawn_by_class(rng, list(classes.values())) for _ in range(2)]  # (R, L) of sources, of targets
    weights = drawn[0][:, ends[:, 0]] * drawn[1][:, ends[:, 1]]  # (R, D)
    state = rng.bit_generator.state

    def means(values: np.ndarray) -> tuple[float, np.ndarray]:
        rng.bit_generator.state = state
        k = len(values)
        seeds = rng.multinomial(k, np.full(k, 1 / k), size=REPLICATES) / k  # (R, K)
        point, replicates = 0.0, np.zeros(REPLICATES)
        for name, weight in scope.items():
            there = label == name
            point += weight * float(values[:, there].mean())
            inside = weights[:, there]
            with np.errstate(invalid="ignore", divide="ignore"):  # a resample may have no direction of a pair
                of_seeds = inside @ values[:, there].T / inside.sum(1, keepdims=True)  # (R, K)
            replicates += weight * (of_seeds * seeds).sum(1)
        return point, replicates

    estimate, replicates = means(np.asarray(ours, dtype=float))
    if theirs is not None:
        other, others = means(np.asarray(theirs, dtype=float))
        estimate, replicates = estimate - other, replicates - others
    return tested(estimate, replicates[np.isfinite(replicates)])


def over_languages(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    groups: Sequence[int],
    p: Callable[[np.ndarray], float],
    *,
    seed: int = 0,
) -> Difference:
    """A statistic of one number a language, languages drawn within their groups, and seeds.

    Args:
        values: (K, L), one line a seed.
        statistic: (..., L) and how often each language counts (..., L) -> (...).
        groups: (L,) languages that are drawn from each other.
        p: of the mean over seeds (L,), by permutation.
    """
    rng = np.random.default_rng(seed)
    counts = _drawn_by_class(rng, list(groups))  # (R, L)
    k = len(values)
    seeds = rng.multinomial(k, np.full(k, 1 / k), size=REPLICATES) / k
    mean = values.mean(0)
    replicates = statistic(seeds @ values, counts)
    found = tested(float(statistic(mean, np.ones(len(mean)))), replicates[np.isfinite(replicates)])
    return Difference(
        found.estimate, found.low, found.high, found.error, found.replicates, p=p(mean), detectable=found.detectable
    )


def contrast(inside: Sequence[bool]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Mean of some languages minus mean of the others, for `over_languages`."""
    chosen = np.asarray(inside, dtype=bool)

    def statistic(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
        weighted = values * counts
        with np.errstate(invalid="ignore", divide="ignore"):
            return weighted[..., chosen].sum(-1) / counts[..., chosen].sum(-1) - weighted[..., ~chosen].sum(
                -1
            ) / counts[..., ~chosen].sum(-1)

    return statistic


def average(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The mean over languages, for `over_languages`."""
    return (values * counts).sum(-1) / counts.sum(-1)


def exchanged(inside: Sequence[bool]) -> Callable[[np.ndarray], float]:
    """p of `contrast`: in how many ways to pick so many languages the means are at least as far apart (all are tried
    where they are few)."""
    chosen = np.asarray(inside, dtype=bool)

    def p(mean: np.ndarray) -> float:
        if not 0 < chosen.sum() < len(mean):
            return math.nan
        parts = (mean[chosen], mean[~chosen])
        return float(stats.permutation_test(parts, _apart, n_resamples=9999, vectorized=True, rng=0).pvalue)

    return p


def flipped(mean: np.ndarray) -> float:
    """p of `average`: in how many ways to give every language's number a sign its mean is at least as far from 0."""
    if len(mean) < 2:
        return math.nan
    options = {"permutation_type": "samples", "n_resamples": 9999, "vectorized": True, "rng": 0}
    return float(stats.permutation_test((mean,), _mean, **options).pvalue)


def _apart(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    return x.mean(axis) - y.mean(axis)


def _mean(x: np.ndarray, axis: int) -> np.ndarray:
    return x.mean(axis)


def tested(estimate: float, replicates: np.ndarray) -> Difference:
    """Percentile interval and p of the replicates of a bootstrap, as in `langsim.bootstrap.difference`."""
    if replicates.size < 2:
        nan = math.nan
        return Difference(estimate, nan, nan, nan, replicates, p=nan, detectable=nan)
    low, high = np.quantile(replicates, [LEVEL / 2, 1 - LEVEL / 2])
    error = float(replicates.std(ddof=1))
    far = np.abs(replicates - replicates.mean()) >= abs(estimate) - 1e-12
    p = float((far.sum() + 1) / (replicates.size + 1))
    return Difference(estimate, float(low), float(high), error, replicates, p=p, detectable=DETECTABLE * error)


def _drawn_by_class(rng: np.random.Generator, groups: Sequence[object]) -> np.ndarray:
    """(R, L) how often each language is drawn, within its group."""
    counts = np.zeros((REPLICATES, len(groups)), dtype=float)
    for group in dict.fromkeys(groups):
        there = [i for i, other in enumerate(groups) if other == group]
        counts[:, there] = rng.multinomial(len(there), np.full(len(there), 1 / len(there)), size=REPLICATES)
    return counts
