"""How far two matrices of languages agree, when their entries are dyadic: every language is in a row and a column.

The 272 ordered pairs of 17 languages are no 272 observations. So p-values come from permuting *languages* (rows and
columns together: QAP, which is the Mantel test where matrices are symmetric), and intervals from drawing *languages*
with replacement. Pairs of a language with itself are never looked at.
"""

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from langsim.centring import centre
from langsim.errors import UsageError

SAME, OPPOSITE, UNDECIDED = "same direction", "opposite direction", "undecided"
FEWEST = 4  # languages; below this neither a permutation nor a resample says anything
LEVEL = 0.05
DRAWS = 9999  # permutations, resamples
_TINY = 1e-12  # equal, but for rounding
_WIDE = 1.96  # standard errors of a Monte-Carlo number that count as its error
_AT_ONCE = 1 << 20  # entries of all draws that are worked on together

# Off-diagonal entries of both matrices, and how often each counts, (n,) or (draws, n) -> (draws,).
Statistic = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Association:
    """A statistic of two matrices with its chance.

    Attributes:
        value: NaN where it is not defined (a constant matrix, no pair within a family).
        p_value: two-sided, over permutations of the languages of one matrix.
        low, high: percentile interval (95%) over resampled languages; NaN below `FEWEST` languages.
        languages: how many were compared. permutations: how many were tried; `exact`: all there are.
        error: Monte-Carlo error (95%) of the bound that is nearer to zero: how far it moves with the seed.
    """

    value: float
    p_value: float
    low: float
    high: float
    languages: int
    permutations: int
    exact: bool
    error: float = 0.0

    @property
    def verdict(self) -> str:
        """`same direction` (positive), `opposite direction`, or `undecided`: the interval holds zero, or the
        permutations explain the value, or either is so close that another seed could say otherwise."""
        chance = 0.0 if self.exact or not self.permutations else self.p_value * (1 - self.p_value) / self.permutations
        side = _side(self.low, self.high, self.error)
        if not (self.p_value + _WIDE * math.sqrt(chance) < LEVEL and side):
            return UNDECIDED
        return SAME if side > 0 else OPPOSITE


@dataclass(frozen=True)
class Difference:
    """How much better one matrix follows a third than another does: a difference of correlations.

    Attributes:
        value: NaN where one of the two correlations is not defined.
        low, high: percentile interval (95%) over languages drawn with replacement, the same ones for both.
        error: as `Association`.
    """

    value: float
    low: float
    high: float
    languages: int
    error: float = 0.0

    @property
    def side(self) -> int:
        """1: measurably larger, -1: measurably smaller, 0: not to be told apart."""
        return _side(self.low, self.high, self.error)


def _side(low: float, high: float, error: float) -> int:
    """The sign of an interval that keeps away from zero by more than its error; 0 of any other."""
    return int(low > error) - int(high < -error)


def oriented(matrix: pd.DataFrame, larger_is_similar: bool) -> pd.DataFrame:
    """The matrix with larger = more similar: a distance changes its sign."""
    return matrix if larger_is_similar else -matrix


def association(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    method: str = "spearman",
    centred: bool = False,
    permutations: int = DRAWS,
    resamples: int = DRAWS,
    seed: int = 0,
) -> Association:
    """Correlation of the off-diagonal entries of two matrices on the languages they share.

    Args:
        a, b: (L, L), row = target, column = auxiliary, larger = more similar. `b` may be 0 and 1: "same script".
        method: `spearman` or `pearson`.
        resamples: for the interval; 0 leaves it out.
        centred: remove additive row and column effects from both before.

    Raises:
        UsageError: fewer than three languages in common, an unknown method, a pair that is missing.
    """
    if method not in ("spearman", "pearson"):
        raise UsageError(f"no method {method!r}; choose spearman or pearson")
    x, y = _shared(a, b)
    if centred:
        x, y = _residuals(x), _residuals(y)
    if method == "pearson":
        return _assess(x, y, _pearson, permutations, resamples, seed)
    # Permuting languages does not change the ranks: they are taken once. Drawing languages does.
    return _assess(_ranked(x), _ranked(y), _spearman, permutations, resamples, seed, permuted=_pearson)


def difference(
    a: pd.DataFrame,
    b: pd.DataFrame,
    other: pd.DataFrame,
    *,
    centred: bool = False,
    resamples: int = DRAWS,
    seed: int = 0,
) -> Difference:
    """Spearman's correlation of `a` with `other` minus that of `b` with `other`, paired: a resample draws the same
    languages for both.

    Raises:
        UsageError: as `association`.
    """
    codes = [code for code in a.index if code in set(b.index) & set(other.index)]
    a, b, other = (table.loc[codes, codes] for table in (a, b, other))
    x, z = _shared(a, other)
    y, _ = _shared(b, other)
    x, y, z = ((_residuals(one) if centred else one) for one in (x, y, z))

    def minus(u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
        ranks = _midranks(v, w)
        first, second = u
        return _pearson(_midranks(first, w), ranks, w) - _pearson(_midranks(second, w), ranks, w)

    pair, target = np.stack([off_diagonal(x), off_diagonal(y)]), off_diagonal(z)
    value = float(minus(pair, target, np.ones((1, len(target))))[0])
    low = high = math.nan
    error = 0.0
    if math.isfinite(value) and len(x) >= FEWEST:
        low, high, error = _resample(pair, target, len(x), minus, value, resamples, _streams(seed)[1])
    return Difference(value, low, high, len(x), error)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's step-down p-values: the chance of one or more false alarms among all tests. NaN: not tested, not counted.

    The smallest of m is multiplied by m, the next by m - 1, ..., and none may be smaller than one before it.
    """
    given = np.asarray(p_values, dtype=float)
    adjusted = np.full(given.shape, math.nan)
    order = np.argsort(given)[: int(np.isfinite(given).sum())]  # NaN sorts last
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * factors))
    return adjusted


def contrast(
    matrix: pd.DataFrame,
    groups: Mapping[str, str],
    *,
    centred: bool = True,
    permutations: int = DRAWS,
    resamples: int = DRAWS,
    seed: int = 0,
) -> Association:
    """Mean similarity within the groups minus mean similarity between them, in the matrix's unit.

    Args:
        matrix: (L, L), larger = more similar.
        groups: language to its group (family, script, ...); a language without one is left out.
        centred: on what is left without row and column effects.

    Raises:
        UsageError: as `association`.
    """
    x, same = _shared(matrix, same_group(groups))

    def apart(u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
        inside, outside = w * (v > 0), w * (v <= 0)
        with np.errstate(invalid="ignore"):  # no pair of one kind: NaN
            return (inside * u).sum(-1) / inside.sum(-1) - (outside * u).sum(-1) / outside.sum(-1)

    return _assess(_residuals(x) if centred else x, same, apart, permutations, resamples, seed)


def same_group(groups: Mapping[str, str]) -> pd.DataFrame:
    """(L, L) 1.0 where two languages have the same label."""
    labels = np.array(list(groups.values()))
    return pd.DataFrame((labels[:, None] == labels[None, :]).astype(float), list(groups), list(groups))


def shared_items(items: Mapping[str, Collection[str]]) -> pd.DataFrame:
    """(L, L) how much two languages have of the same items: |A and B| / |A or B|."""
    sets = {code: set(found) for code, found in items.items()}
    values = [[len(a & b) / len(a | b) if a | b else 1.0 for b in sets.values()] for a in sets.values()]
    return pd.DataFrame(values, list(sets), list(sets))


def like_length(lengths: Mapping[str, float]) -> pd.DataFrame:
    """(L, L) minus the distance of two languages' mean lengths, as |log ratio|: 0 is the most alike."""
    logs = np.log(np.array(list(lengths.values()), dtype=float))
    return pd.DataFrame(-np.abs(logs[:, None] - logs[None, :]), list(lengths), list(lengths))


def _assess(
    x: np.ndarray,
    y: np.ndarray,
    statistic: Statistic,
    permutations: int,
    resamples: int,
    seed: int,
    permuted: Statistic | None = None,
) -> Association:
    """The statistic of two matrices (L, L) with p-value and interval.

    Matrices come centred, where they are to be, and are not centred again in a resample: copies of languages make it
    lopsided, and row effects would then swallow part of what is measured.

    Args:
        permuted: a faster way to the same value, good for permutations.
    """
    size, permuted = len(x), permuted or statistic
    entries = off_diagonal(y)
    value = float(permuted(off_diagonal(x)[None], entries, np.ones(len(entries)))[0])
    if not math.isfinite(value):
        return Association(math.nan, math.nan, math.nan, math.nan, size, 0, False)
    for_orders, for_draws = _streams(seed)
    p_value, tried, exact = _permute(x, y, permuted, value, permutations, for_orders)
    low = high = math.nan
    error = 0.0
    if size >= FEWEST and resamples:
        low, high, error = _resample(off_diagonal(x), entries, size, statistic, value, resamples, for_draws)
    return Association(value, p_value, low, high, size, tried, exact, error)


def _streams(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Random numbers for permutations and for resamples: how many one takes does not move the other."""
    first, second = np.random.SeedSequence(seed).spawn(2)
    return np.random.default_rng(first), np.random.default_rng(second)


def _permute(
    x: np.ndarray, y: np.ndarray, statistic: Statistic, value: float, permutations: int, rng: np.random.Generator
) -> tuple[float, int, bool]:
    """Two-sided p-value, number of permutations, and whether these are all there are.

    The languages of `x` change places. With all permutations the observed order is one of them; else it is added.
    """
    size = len(x)
    exact = math.factorial(min(size, 12)) <= permutations
    if exact:
        orders = np.array(list(itertools.permutations(range(size))))
    else:
        orders = rng.permuted(np.tile(np.arange(size), (permutations, 1)), axis=1)
    entries, limit = off_diagonal(y), abs(value) - _TINY
    row, column = np.nonzero(~np.eye(size, dtype=bool))
    once = np.ones(len(entries))
    found = [statistic(x[some[:, row], some[:, column]], entries, once) for some in _parts(orders, len(entries))]
    as_far = int(np.sum(np.abs(np.concatenate(found)) >= limit))
    return (as_far + (not exact)) / (len(orders) + (not exact)), len(orders), exact


def _resample(
    u: np.ndarray,
    v: np.ndarray,
    size: int,
    statistic: Statistic,
    value: float,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Percentile interval over languages drawn with replacement, and the Monte-Carlo error of the bound that is nearer
    to zero. A language never meets its own copy.

    A language drawn c times counts c times, a pair as often as its two languages meet: the same as copying rows and
    columns, for all resamples at once.
    """
    counts = rng.multinomial(size, np.full(size, 1 / size), size=resamples)
    row, column = np.nonzero(~np.eye(size, dtype=bool))
    weights = (some[:, row] * some[:, column].astype(float) for some in _parts(counts, len(row)))
    found = np.concatenate([statistic(u, v, w[w.any(axis=1)]) for w in weights])
    found = np.sort(found[np.isfinite(found)])
    if len(found) < resamples / 2:  # hardly ever defined (one family of two, say): no interval
        return math.nan, math.nan, 0.0
    tail = LEVEL / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    # The rank of a bound among so many draws is binomial; the draws that far out tell how far the bound itself moves.
    further = len(found) * tail - _WIDE * math.sqrt(len(found) * tail * (1 - tail))
    rank = max(0, math.floor(further))
    error = low - found[rank] if value > 0 else found[-1 - rank] - high
    return float(low), float(high), float(error)


def _parts(rows: np.ndarray, entries: int) -> Iterator[np.ndarray]:
    """Rows in blocks whose matrices fit in memory together."""
    step = max(1, _AT_ONCE // entries)
    return (rows[i : i + step] for i in range(0, len(rows), step))


def off_diagonal(values: np.ndarray) -> np.ndarray:
    """(L * (L - 1),) the entries off the diagonal, row by row."""
    return values[~np.eye(len(values), dtype=bool)]


def _shared(a: pd.DataFrame, b: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Both matrices as arrays on the languages they share, in the order of the first."""
    codes = [code for code in a.index if code in set(b.index)]
    if len(codes) < 3:
        raise UsageError(f"the matrices share {len(codes)} languages; at least three are compared")
    tables = [table.loc[codes, codes].to_numpy(dtype=float) for table in (a, b)]
    for table in tables:
        if not np.isfinite(off_diagonal(table)).all():
            raise UsageError("a matrix misses a pair of languages; every pair is needed")
    return tables[0], tables[1]


def _residuals(values: np.ndarray) -> np.ndarray:
    """Without additive row and column effects."""
    residuals = centre(pd.DataFrame(values)).residuals.to_numpy(copy=True)
    # A matrix that was purely additive leaves rounding errors, whose ranks would pass for a result.
    residuals[np.abs(residuals) <= _TINY * np.nanmax(np.abs(values))] = 0.0
    return residuals


def _ranked(values: np.ndarray) -> np.ndarray:
    """The off-diagonal entries replaced by their ranks."""
    ranks = np.zeros_like(values)
    ranks[~np.eye(len(values), dtype=bool)] = rankdata(off_diagonal(values))
    return ranks


def _pearson(u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(draws,) weighted correlation; NaN where one side is constant among the entries that count."""
    u, v = u - u.mean(), v - v.mean()  # small numbers first: what follows are differences of sums
    wu, wv, total = w * u, w * v, w.sum(-1)
    sums = wu.sum(-1), wv.sum(-1)
    square_u, square_v = _dot(wu, u), _dot(wv, v)
    spread_u, spread_v = square_u - sums[0] ** 2 / total, square_v - sums[1] ** 2 / total
    constant = (spread_u <= _TINY * square_u) | (spread_v <= _TINY * square_v)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (_dot(wu, v) - sums[0] * sums[1] / total) / np.sqrt(spread_u * spread_v)
    return np.where(constant, math.nan, found)


def _dot(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.einsum("...n,...n->...", u, v)


def _midranks(u: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(draws, n) the ranks of entries u (n,), each counted w (draws, n) times; equal ones share their mean rank."""
    _, group, sizes = np.unique(u, return_inverse=True, return_counts=True)
    order = np.argsort(u, kind="stable")
    together = np.add.reduceat(w[:, order], np.cumsum(sizes) - sizes, axis=1)
    return (together.cumsum(axis=1) - (together - 1) / 2)[:, group]


def _spearman(u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
    return _pearson(_midranks(u, w), _midranks(v, w), w)
