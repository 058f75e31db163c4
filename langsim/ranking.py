"""How well a prediction ranks the candidate sources of every target (Section 4.3, Table 2 of the third paper).

Matrices have a target in every row and a candidate source in every column; larger is better in the gold scores and in
the prediction. For each target, over its candidates (all sources but itself), and then averaged over targets:

- `pearson`, `spearman`: correlation of gold and predicted values; not defined where one of them is constant.
- `top1`: is the source predicted best the best one? Where several are tied for the best prediction: the share of them
  that are best (`authors_code`: the first by column against the first by column).
- `ndcg3`: scikit-learn's `ndcg_score(relevance, prediction, k=3)`. The relevance of a candidate is its rank by gold
  score, 1 for the worst of n and n for the best (ties share their mean rank), with linear gain and a discount of
  1 / log2(position + 1); tied predictions get the mean of the discounts of their positions. Only the order of the
  prediction counts, so that its ranks give the same number.

Seeds: `recipe="paper"` averages gold scores and predictions over their seeds and takes the metrics once;
`recipe="authors_code"` takes them for every combination of a gold seed with a prediction seed and averages those.

A candidate without a gold score or a prediction (NaN) is left out for that target, and named in `Ranking.left_out`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from langsim.errors import UsageError

METRICS = ("pearson", "spearman", "top1", "ndcg3")
DEPTH = 3  # of NDCG
Recipe = Literal["paper", "authors_code"]
RECIPES = ("paper", "authors_code")
Seeds = pd.DataFrame | Sequence[pd.DataFrame]  # one matrix, or one a seed
_AT_ONCE = 1 << 20  # entries of all resamples that are worked on together


class NothingToRank(UsageError):
    """Gold scores or predictions without any difference for any target: no mistake in the labels, and no ranking."""


@dataclass(frozen=True)
class Ranking:
    """The four metrics of one prediction.

    Attributes:
        targets: (T, 4) one row a target, NaN where a metric is not defined; shares of one, not percent.
        mean: metric -> its mean over the targets where it is defined.
        defined: metric -> how many those are.
        candidates: target -> how many candidates were ranked.
        left_out: one row for every candidate without a value: target, source, missing ("gold", "prediction", "both").
    """

    targets: pd.DataFrame
    mean: dict[str, float]
    defined: dict[str, int]
    candidates: pd.Series = field(repr=False)
    left_out: pd.DataFrame = field(repr=False)


def ranking(gold: Seeds, predicted: Seeds, *, recipe: Recipe = "paper") -> Ranking:
    """The metrics of a prediction.

    Args:
        gold, predicted: (T, S) matrices with the same targets and sources in any order, larger = better; several seeds
            as a list. A language that is target and source is removed from its own candidates.

    Raises:
        UsageError: labels that don't fit together, values that aren't finite numbers or NaN, no target with two
            candidates, or values that are constant for every target.
    """
    given = prepare(gold, [predicted], recipe)
    scores = given.scores(0, np.ones((1, len(given.sources))))[0]  # (T, 4)
    table = pd.DataFrame(scores, given.targets, pd.Index(METRICS, name="metric"))
    defined = {name: int(n) for name, n in table.notna().sum().items()}
    mean = {name: float(table[name].mean()) if defined[name] else float("nan") for name in METRICS}
    candidates = pd.Series(given.ok.sum(1), given.targets, name="candidates")
    return Ranking(table, mean, defined, candidates, given.left_out)


def rank_target(gold: pd.Series, predicted: pd.Series, target: str, *, recipe: Recipe = "paper") -> dict[str, float]:
    """Metric -> value for one target, whose candidates are the labels of both series.

    Raises:
        UsageError: as `ranking`; also where the target is among its own candidates.
    """
    for values in (gold, predicted):
        if target in values.index:
            raise UsageError(f"the target {target!r} is among its own candidates; leave it out")
    matrices = [values.to_frame(target).T for values in (gold, predicted)]
    return ranking(*matrices, recipe=recipe).mean


@dataclass(frozen=True)
class Prepared:
    """Gold scores and predictions in one order of languages.

    Attributes:
        gold: (K, T, S), K matrices (1 for `paper`). predicted: for each predictor as many matrices (K', T, S).
        ok: (T, S) which candidates count: not the target itself, and with all values.
    """

    targets: pd.Index
    sources: pd.Index
    gold: np.ndarray
    predicted: list[np.ndarray]
    ok: np.ndarray
    left_out: pd.DataFrame
    recipe: Recipe

    def scores(self, predictor: int, weights: np.ndarray) -> np.ndarray:
        """(R, T, 4) metrics of a predictor, averaged over combinations of seeds; weights as of `metrics`."""
        pairs = list(itertools.product(self.gold, self.predicted[predictor]))
        first = self.recipe == "authors_code"
        # A metric is defined or not by the constancy of values, which may differ between seeds.
        found = np.stack([metrics(g, p, self.ok, weights, first=first) for g, p in pairs])
        there = ~np.isnan(found)
        total = np.where(there, found, 0.0).sum(0)
        return np.divide(total, there.sum(0), out=np.full(total.shape, np.nan), where=there.any(0))


def prepare(gold: Seeds, predictors: Sequence[Seeds], recipe: Recipe = "paper", *, varied: bool = True) -> Prepared:
    """Check, put in one order, and find the candidates that gold and all predictors have.

    Args:
        varied: values that are constant for every target are an error.

    Raises:
        UsageError: as `ranking`.
    """
    if recipe not in RECIPES:
        raise UsageError(f"no recipe {recipe!r}; choose {' or '.join(RECIPES)}")
    matrices = [_matrices(gold, "gold"), *(_matrices(one, "prediction") for one in predictors)]
    targets, sources = matrices[0][0].index, matrices[0][0].columns
    stacks = [_stack(one, targets, sources, name) for one, name in zip(matrices, _names(predictors), strict=True)]
    missing = [np.isnan(stack).any(0) for stack in stacks]
    own = targets.to_numpy()[:, None] == sources.to_numpy()[None, :]
    without = np.logical_or.reduce(missing[1:]) if predictors else np.zeros_like(own)
    ok = ~own & ~missing[0] & ~without
    if not (ok.sum(1) >= 2).any():
        raise NothingToRank("no target has two candidates with gold scores and predictions: nothing can be ranked")
    if recipe == "paper":
        stacks = [stack.mean(0, keepdims=True) for stack in stacks]
    if varied:
        for stack, name in zip(stacks, _names(predictors), strict=True):
            _varied(stack, ok, name)
    kinds = np.where(missing[0] & without, "both", np.where(missing[0], "gold", "prediction"))
    left = [(targets[t], sources[s], str(kinds[t, s])) for t, s in zip(*np.nonzero(~own & ~ok), strict=True)]
    left_out = pd.DataFrame(left, columns=["target", "source", "missing"])
    return Prepared(targets, sources, stacks[0], stacks[1:], ok, left_out, recipe)


def metrics(gold: np.ndarray, predicted: np.ndarray, ok: np.ndarray, weights: np.ndarray, *, first: bool) -> np.ndarray:
    """(R, T, 4) the metrics of every target on R resamples of the sources, NaN where not defined.

    Correlations count a source as often as it was drawn. Top-1 and NDCG rank the *different* sources drawn: a second
    copy is the same choice once more, and must neither tie with the first nor fill the first three places.

    Args:
        gold, predicted: (T, S). ok: (T, S) the candidates that count. weights: (R, S) how often a source was drawn.
        first: top-1 compares the first of tied candidates, as the authors' code.
    """
    orders = [_Order.of(values, ok) for values in (gold, predicted)]
    step = max(1, _AT_ONCE // ok.size)
    parts = [_metrics(gold, predicted, ok, orders, weights[i : i + step], first) for i in range(0, len(weights), step)]
    return np.concatenate(parts)


@dataclass(frozen=True)
class _Order:
    """(T, S, S) for every target and candidate: which others are below it, and which equal it (itself among them)."""

    below: np.ndarray
    equal: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, ok: np.ndarray) -> "_Order":
        one, other = values[:, :, None], values[:, None, :]
        return cls(((other < one) & ok[:, None, :]).astype(float), ((other == one) & ok[:, None, :]).astype(float))

    def counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(R, S) weights -> (R, T, S) sums of the weights of those below, and of those that are equal."""
        return tuple(np.moveaxis(np.tensordot(part, weights, (2, 1)), -1, 0) for part in (self.below, self.equal))


def _metrics(
    gold: np.ndarray, predicted: np.ndarray, ok: np.ndarray, orders: list[_Order], weights: np.ndarray, first: bool
) -> np.ndarray:
    drawn = weights > 0
    there = drawn[:, None, :] & ok  # (R, T, S)
    copies = weights[:, None, :] * ok
    counts = [order.counts(drawn.astype(float)) for order in orders]
    ranks = [below + (equal + 1) / 2 for below, equal in (order.counts(weights) for order in orders)]
    # Constant: no candidate is above another one.
    level = np.logical_or.reduce([~((below > 0) & there).any(-1) for below, _ in counts])
    found = np.empty((*there.shape[:2], len(METRICS)))
    found[..., 0] = np.where(level, np.nan, _correlation(gold[None], predicted[None], copies))
    found[..., 1] = np.where(level, np.nan, _correlation(*ranks, copies))
    number = there.sum(-1, keepdims=True)
    places = [(np.where(there, number - below - equal, 0), np.where(there, equal, 1)) for below, equal in counts]
    best = [there & (above == 0) for above, _ in places]
    if first:
        found[..., 2] = best[0].argmax(-1) == best[1].argmax(-1)
    else:
        found[..., 2] = (best[0] & best[1]).sum(-1) / np.maximum(best[1].sum(-1), 1)
    relevance = np.where(there, counts[0][0] + (counts[0][1] + 1) / 2, 0.0)
    ideal, gained = ((relevance * _discount(*place)).sum(-1) for place in places)
    found[..., 3] = gained / np.where(ideal > 0, ideal, 1.0)
    found[number[..., 0] < 2] = np.nan
    return found


def discounts(size: int) -> np.ndarray:
    """(size + 1,) sums of the discounts of the first 0, 1, ... places, of which only `DEPTH` count."""
    places = np.arange(size)
    return np.concatenate([[0.0], np.cumsum(np.where(places < DEPTH, 1 / np.log2(places + 2), 0.0))])


def _discount(above: np.ndarray, equal: np.ndarray) -> np.ndarray:
    """The mean discount of the places that a candidate shares with its equals."""
    sums = discounts(above.shape[-1])
    start, stop = above.astype(int), (above + equal).astype(int)
    return (sums[stop] - sums[start]) / equal


def _correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson's over the last axis, each entry counted `weights` times; 0 where it is not defined."""
    total = np.maximum(weights.sum(-1, keepdims=True), 1)
    x, y = (np.where(weights > 0, values, 0.0) for values in (x, y))
    x, y = (values - (weights * values).sum(-1, keepdims=True) / total for values in (x, y))
    spread = (weights * x * x).sum(-1) * (weights * y * y).sum(-1)
    return np.clip((weights * x * y).sum(-1) / np.sqrt(np.where(spread > 0, spread, 1.0)), -1.0, 1.0)


def _names(predictors: Sequence[Seeds]) -> list[str]:
    many = len(predictors) > 1
    return ["gold scores", *(f"predictions ({i})" if many else "predictions" for i in range(1, len(predictors) + 1))]


def _matrices(seeds: Seeds, name: str) -> list[pd.DataFrame]:
    found = [seeds] if isinstance(seeds, pd.DataFrame) else list(seeds)
    if not found or not all(isinstance(one, pd.DataFrame) for one in found):
        raise UsageError(f"{name}: give a DataFrame (row = target, column = source), or a list of one a seed")
    return found


def _stack(matrices: list[pd.DataFrame], targets: pd.Index, sources: pd.Index, name: str) -> np.ndarray:
    """(K, T, S) the matrices in one order of languages."""
    found = []
    for matrix in matrices:
        for kind, labels, wanted in (("target", matrix.index, targets), ("source", matrix.columns, sources)):
            if not labels.is_unique:
                raise UsageError(f"{name}: the {kind} {labels[labels.duplicated()][0]!r} is there twice; name it once")
            odd = sorted(map(str, set(labels) ^ set(wanted)))
            if odd:
                raise UsageError(f"{name}: {kind}s that are not in both it and the gold scores: {', '.join(odd)}")
        try:
            values = matrix.loc[targets, sources].to_numpy(dtype=float)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name}: every value is a number or NaN; {error}") from error
        if np.isinf(values).any():
            raise UsageError(f"{name}: infinite values can't be compared; give NaN for what is not available")
        found.append(values)
    return np.stack(found)


def _varied(stack: np.ndarray, ok: np.ndarray, name: str) -> None:
    low, high = np.where(ok, stack, np.inf).min(-1), np.where(ok, stack, -np.inf).max(-1)
    if not (low < high).any():
        raise NothingToRank(f"the {name} are constant for every target, and rank nothing; give values that differ")
