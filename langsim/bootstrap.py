"""Paired bootstrap over clusters of sentences and over training seeds.

What is drawn again is what might have been otherwise: the clusters of the test set (near-identical messages, or
documents; sentences of one cluster stand or fall together), and the training runs. One draw of clusters serves both
systems and all seeds (paired); the seeds of each system are drawn for themselves. The score of a system is the mean
over its seeds of corpus scores.

Few seeds are few: k of them redrawn show (k - 1)/k of their variance, and a single one none at all.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from langsim.errors import UsageError

Score = Callable[[np.ndarray], np.ndarray]  # sums of statistics (..., S) -> scores (...)
LEVEL, POWER = 0.05, 0.8
REPLICATES = 2000  # of what the papers' statements are held against
# Standard errors that a true difference must measure to be found at LEVEL (two-sided) with probability POWER: 2.80.
DETECTABLE = float(stats.norm.ppf(1 - LEVEL / 2) + stats.norm.ppf(POWER))


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% percentile interval, in the unit of the score.

    Attributes:
        error: standard error, over the replicates.
        replicates: (R,) the estimate on every resample.
    """

    estimate: float
    low: float
    high: float
    error: float
    replicates: np.ndarray = field(repr=False, compare=False)


@dataclass(frozen=True)
class Difference(Interval):
    """System minus baseline.

    Attributes:
        p: two-sided, of the hypothesis of no difference: how often a replicate is at least as far from the mean of the
            replicates as the estimate is from 0 ((count + 1) / (R + 1)).
        detectable: the true difference that a test at level .05 would find with probability .8: 2.80 standard errors.
    """

    p: float
    detectable: float


def interval(
    system: Sequence[np.ndarray], units: Sequence[str], score: Score, *, replicates: int = 1000, seed: int = 0
) -> Interval:
    """The score of one system.

    Args:
        system: one array (N, S) of sentence statistics a training seed, of the same N sentences.
        units: (N,) the cluster of each sentence.

    Raises:
        UsageError: no sentences or no seeds, or shapes that don't fit together.
    """
    clusters = Clusters(units)
    sums = clusters.sums(system)
    rng = np.random.default_rng(seed)
    drawn = _mean_of_seeds(score(_resampled(clusters.draw(rng, replicates), sums)), rng)
    return Interval(float(score(sums.sum(1)).mean()), *_spread(drawn), drawn)


def difference(
    system: Sequence[np.ndarray],
    baseline: Sequence[np.ndarray],
    units: Sequence[str],
    score: Score,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> Difference:
    """System minus baseline, on the same N sentences; arguments and errors as of `interval`.

    Where both have as many seeds, the same ones are drawn of both: a system differs from itself by nothing.
    """
    clusters = Clusters(units)
    sums = [clusters.sums(one) for one in (system, baseline)]
    rng = np.random.default_rng(seed)
    weights = clusters.draw(rng, replicates)
    start = rng.bit_generator.state
    drawn = []
    for one in sums:
        if len(one) == len(sums[0]):
            rng.bit_generator.state = start
        drawn.append(_mean_of_seeds(score(_resampled(weights, one)), rng))
    ours, theirs = drawn
    estimate = float(score(sums[0].sum(1)).mean() - score(sums[1].sum(1)).mean())
    return tested(estimate, ours - theirs)


class Clusters:
    """Which sentences are drawn together."""

    def __init__(self, units: Sequence[str]) -> None:
        if not len(units):
            raise UsageError("nothing to resample: there are no sentences")
        self.names, self.index = np.unique(np.asarray(units, dtype=str), return_inverse=True)

    def draw(self, rng: np.random.Generator, replicates: int) -> np.ndarray:
        """(R, C) how often each cluster is in each resample of C clusters with replacement."""
        if replicates < 1:
            raise UsageError(f"replicates={replicates}: at least 1 is needed")
        n = self.names.size
        return rng.multinomial(n, np.full(n, 1 / n), size=replicates)

    def sums(self, system: Sequence[np.ndarray]) -> np.ndarray:
        """(K, C, S) statistics of K seeds, summed by cluster."""
        shapes = {np.shape(one) for one in system}
        if len(shapes) != 1 or len(shape := shapes.pop()) != 2 or shape[0] != self.index.size:
            raise UsageError(
                f"a system is one array a seed, each of {self.index.size} sentences by statistics; "
                f"got {len(system)} of shapes {', '.join(str(np.shape(one)) for one in system) or 'none'}"
            )
        found = np.zeros((len(system), self.names.size, shape[1]))
        for seed, one in enumerate(system):
            np.add.at(found[seed], self.index, one)
        return found


def _resampled(weights: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """(R, C) and (K, C, S) -> (R, K, S) sums of every resample; exact, as all are whole numbers below 2^53."""
    return np.stack([weights @ one for one in sums], axis=1)


def _mean_of_seeds(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(R, K) -> (R,) the mean over K seeds drawn with replacement, in every resample anew."""
    n = scores.shape[1]
    return (scores * rng.multinomial(n, np.full(n, 1 / n), size=len(scores))).sum(1) / n


def _spread(drawn: np.ndarray) -> tuple[float, float, float]:
    low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high), float(drawn.std(ddof=1)) if drawn.size > 1 else 0.0


def tested(estimate: float, drawn: np.ndarray) -> Difference:
    """An estimate with what its replicates (R,) say: 95% percentile interval, two-sided p of no difference by their
    distances from their mean, and what would be found; NaN of fewer than two."""
    if drawn.size < 2:
        nan = math.nan
        return Difference(estimate, nan, nan, nan, drawn, p=nan, detectable=nan)
    low, high, error = _spread(drawn)
    far = np.abs(drawn - drawn.mean()) >= abs(estimate) - 1e-12
    p = float((far.sum() + 1) / (drawn.size + 1))
    return Difference(estimate, low, high, error, drawn, p=p, detectable=DETECTABLE * error)
