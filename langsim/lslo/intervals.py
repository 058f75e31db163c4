"""Intervals and chances of what part II measures: by seeds, by directions of languages, by languages.

What is drawn again is what might have been otherwise: clusters of the text, languages, training seeds. Of n of them a
bootstrap shows (n - 1) / n of the variance, so with four languages of a class and three seeds intervals are somewhat
too narrow.

Every function gives a `langsim.bootstrap.Difference`: estimate, 95% interval, two-sided p of no difference, and the
difference that would be found with a probability of 80%. What can't be told from so few numbers is NaN.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from langsim.bootstrap import LEVEL, POWER, REPLICATES, Difference, tested
from langsim.errors import UsageError
from langsim.lslo.directions import Direction, labels


@dataclass(frozen=True)
class Texts:
    """Negative log-likelihoods by cluster of the text.

    Attributes:
        units: names of the C clusters.
        groups: the G directions ("en-fr"), or pairs of classes.
        sums: (K, G, C) nats, of K seeds. counts: (G, C) tokens.
    """

    units: tuple[str, ...]
    groups: tuple[str, ...]
    sums: np.ndarray
    counts: np.ndarray

    def redrawn(self, clusters: np.ndarray) -> np.ndarray:
        """(R, C) how often each cluster counts -> (R, K, G) nats per token."""
        k, g, c = self.sums.shape
        nats = (clusters @ self.sums.reshape(k * g, c).T).reshape(-1, k, g)
        return nats / (clusters @ self.counts.T)[:, None, :]

    @classmethod
    def of(cls, found: Sequence[Mapping[str, Sequence[str]]]) -> "Texts":
        """From what the cells of several seeds hold (`langsim.lslo.evaluation.by_cluster`).

        Raises:
            UsageError: they are of different texts.
        """
        first = found[0]
        for one in found[1:]:
            if [one[name] for name in ("units", "groups", "counts")] != [
                first[name] for name in ("units", "groups", "counts")
            ]:
                raise UsageError("cells of one row are scored on different texts: make them again")
        sums = np.array([[line.split() for line in one["sums"]] for one in found], dtype=float)
        counts = np.array([line.split() for line in first["counts"]], dtype=float)
        return cls(tuple(first["units"]), tuple(first["groups"]), sums, counts)


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
    texts: tuple[Texts, Texts | None] | None = None,
    seed: int = 0,
) -> Difference:
    """A row minus another in per-direction numbers, weighted over pairs of classes.

    A direction belongs to two languages, so directions are no independent numbers. In every resample source languages
    and target languages are drawn with replacement within their classes (two-way bootstrap), training seeds (where
    both rows have as many, the same ones), and clusters of the text, the same for all directions and both rows. Where
    the text is known by pairs of classes alone, what a draw of clusters changes in a pair's mean is added to what the
    draw of languages changes: what the two change together is left out.

    Args:
        ours, theirs: (K, D), one line a seed; theirs None for 0.
        directions: the D directions.
        classes: language -> class.
        scope: pair of classes (`langsim.lslo.directions.labels`) -> its weight in the mean.
        texts: the same by cluster of the text, of both rows; None: the text is not drawn again.

    Raises:
        UsageError: a pair of classes without a direction, shapes that don't fit, or rows of different texts.
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
    our_texts, their_texts = texts or (None, None)
    if our_texts and their_texts and (our_texts.units, our_texts.groups) != (their_texts.units, their_texts.groups):
        raise UsageError("the two rows are scored on different texts: make their cells again")
    if our_texts:
        c = len(our_texts.units)
        clusters = rng.multinomial(c, np.full(c, 1 / c), size=REPLICATES).astype(float)  # (R, C)
    state = rng.bit_generator.state

    def means(values: np.ndarray, known: Texts | None) -> tuple[float, np.ndarray]:
        rng.bit_generator.state = state
        k = len(values)
        seeds = rng.multinomial(k, np.full(k, 1 / k), size=REPLICATES) / k  # (R, K)
        moved = known.redrawn(clusters) - known.redrawn(np.ones((1, clusters.shape[1]))) if known else None
        singly = known is not None and known.groups == tuple("-".join(one) for one in directions)
        point, replicates = 0.0, np.zeros(REPLICATES)
        for name, weight in scope.items():
            there = label == name
            point += weight * float(values[:, there].mean())
            inside = weights[:, there]
            with np.errstate(invalid="ignore", divide="ignore"):  # a resample may have no direction of a pair
                total = inside.sum(1, keepdims=True)
                of_seeds = inside @ values[:, there].T / total  # (R, K)
                if singly:
                    of_seeds = of_seeds + np.einsum("rd,rkd->rk", inside, moved[:, :, there]) / total
                elif known:
                    of_seeds = of_seeds + moved[:, :, known.groups.index(name)]
            replicates += weight * (of_seeds * seeds).sum(1)
        return point, replicates

    estimate, replicates = means(np.asarray(ours, dtype=float), our_texts)
    if theirs is not None:
        other, others = means(np.asarray(theirs, dtype=float), their_texts)
        estimate, replicates = estimate - other, replicates - others
    return tested(estimate, replicates[np.isfinite(replicates)])


def over_epochs(
    ours: np.ndarray,
    theirs: np.ndarray | None,
    directions: Sequence[Direction],
    classes: Mapping[str, str],
    *,
    seed: int = 0,
) -> Difference:
    """How far the last epoch's mean loss is above the best epoch's, or by how much further than that of another row.

    It can't be below 0, so that without another row it is to be held against a threshold and not against 0. Languages
    are drawn as in `over_directions`, and seeds; in every resample the best epoch is looked for anew. The text is not
    drawn again.

    Args:
        ours, theirs: (K, E, D) nats per token after each of E epochs, of directions within one pair of classes.
    """
    rng = np.random.default_rng(seed)
    codes = list(classes)
    ends = np.array([[codes.index(code) for code in direction] for direction in directions])
    drawn = [_drawn_by_class(rng, list(classes.values())) for _ in range(2)]
    weights = drawn[0][:, ends[:, 0]] * drawn[1][:, ends[:, 1]]  # (R, D)
    state = rng.bit_generator.state

    def beyond(values: np.ndarray) -> tuple[float, np.ndarray]:
        rng.bit_generator.state = state
        k = len(values)
        seeds = rng.multinomial(k, np.full(k, 1 / k), size=REPLICATES) / k
        with np.errstate(invalid="ignore", divide="ignore"):
            curves = np.einsum("rk,ked,rd->re", seeds, values, weights, optimize=True) / weights.sum(1, keepdims=True)
        mean = values.mean((0, 2))
        return float(mean[-1] - mean.min()), curves[:, -1] - curves.min(1)

    estimate, replicates = beyond(np.asarray(ours, dtype=float))
    if theirs is not None:
        other, others = beyond(np.asarray(theirs, dtype=float))
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


def _drawn_by_class(rng: np.random.Generator, groups: Sequence[object]) -> np.ndarray:
    """(R, L) how often each language is drawn, within its group."""
    counts = np.zeros((REPLICATES, len(groups)), dtype=float)
    for group in dict.fromkeys(groups):
        there = [i for i, other in enumerate(groups) if other == group]
        counts[:, there] = rng.multinomial(len(there), np.full(len(there), 1 / len(there)), size=REPLICATES)
    return counts
