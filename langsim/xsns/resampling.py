"""Differences with their intervals, where what is drawn again is languages.

Every function gives a `langsim.bootstrap.Difference`: estimate, 95% interval, two-sided p of no difference, and the
difference that would be found with a probability of 80%. What can't be told from so few numbers is NaN.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from langsim.bootstrap import DETECTABLE, LEVEL, POWER, Difference


def of_replicates(estimate: float, replicates: np.ndarray) -> Difference:
    """From an estimate and (R,) resamples, which tell how far it moves: their quantiles, put around the estimate."""
    there = replicates[~np.isnan(replicates)]
    if there.size < 2 or math.isnan(estimate):
        return Difference(estimate, math.nan, math.nan, math.nan, replicates, p=math.nan, detectable=math.nan)
    around = there - there.mean()
    low, high = np.quantile(around, [LEVEL / 2, 1 - LEVEL / 2])
    far = int((np.abs(around) >= abs(estimate) - 1e-12).sum())
    error = float(there.std(ddof=1))
    limits = (float(estimate + low), float(estimate + high))
    p = (far + 1) / (there.size + 1)
    return Difference(float(estimate), *limits, error, replicates, p=p, detectable=DETECTABLE * error)


def mean(parts: Sequence[Difference]) -> Difference:
    """The mean of several differences, whose resamples are taken together one by one.

    Of one task, drawn from one seed, these are the same languages; of several tasks each draws its own.
    """
    return of_replicates(
        float(np.mean([part.estimate for part in parts])), np.mean([part.replicates for part in parts], axis=0)
    )


def minus(one: Difference, other: Difference) -> Difference:
    """The first less the second, resample by resample."""
    return of_replicates(one.estimate - other.estimate, one.replicates - other.replicates)


def times(one: Difference, factor: float) -> Difference:
    """In another unit: percent, for example."""
    return of_replicates(one.estimate * factor, one.replicates * factor)


def over_targets(values: Sequence[float]) -> Difference:
    """The mean of one number a target against 0, by Student's t; a single one has no interval.

    Targets are taken as independent, though all of them choose among the same sources.
    """
    found = np.asarray([value for value in values if not math.isnan(value)], dtype=float)
    if found.size < 2:
        estimate = float(found.mean()) if found.size else math.nan
        return Difference(estimate, math.nan, math.nan, math.nan, found, p=math.nan, detectable=math.nan)
    estimate, error = float(found.mean()), float(found.std(ddof=1) / math.sqrt(found.size))
    half, power = (float(stats.t.ppf(q, found.size - 1)) * error for q in (1 - LEVEL / 2, POWER))
    p = float(2 * stats.t.sf(abs(estimate) / error, found.size - 1)) if error else float(estimate == 0)
    return Difference(estimate, estimate - half, estimate + half, error, found, p=p, detectable=half + power)


def drawn(targets: int, sources: int, replicates: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(R, T) and (R, S): how often each target and each source is in a resample (two-way bootstrap)."""
    rng = np.random.default_rng(seed)
    return tuple(rng.multinomial(n, np.full(n, 1 / n), size=replicates).astype(float) for n in (targets, sources))


def two_way_mean(values: np.ndarray, weights: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(R,) means of the entries of (T, S) that are no NaN, each counted as often as its target and source are drawn."""
    there = ~np.isnan(values)
    targets, sources = weights
    sums = np.einsum("rt,ts,rs->r", targets, np.nan_to_num(values), sources, optimize=True)
    counts = np.einsum("rt,ts,rs->r", targets, there.astype(float), sources, optimize=True)
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
