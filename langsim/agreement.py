"""How far two matrices of languages agree, when their entries are dyadic: every language is in a row and a column.

The 272 ordered pairs of 17 languages are no 272 observations. So p-values come from permuting *languages* (rows and
columns together: QAP, which is the Mantel test where matrices are symmetric), and intervals from drawing *languages*
with replacement. Pairs of a language with itself are never looked at.
"""

import itertools
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from langsim.centring import centre
from langsim.errors import UsageError

SAME, OPPOSITE, UNDECIDED = "same direction", "opposite direction", "undecided"
FEWEST = 4  # languages; below this neither a permutation nor a resample says anything
_LEVEL = 0.05
_TINY = 1e-12  # equal, but for rounding

Statistic = Callable[[np.ndarray, np.ndarray], float]  # the off-diagonal entries of both matrices


@dataclass(frozen=True)
class Association:
    """A statistic of two matrices with its chance.

    Attributes:
        value: NaN where it is not defined (a constant matrix, no pair within a family).
        p_value: two-sided, over permutations of the languages of one matrix.
        low, high: percentile interval (95%) over resampled languages; NaN below `FEWEST` languages.
        languages: how many were compared. permutations: how many were tried; `exact`: all there are.
    """

    value: float
    p_value: float
    low: float
    high: float
    languages: int
    permutations: int
    exact: bool

    @property
    def verdict(self) -> str:
        """`same direction` (positive), `opposite direction`, or `undecided`: the interval holds zero, or the
        permutations explain the value."""
        decided = self.p_value < _LEVEL and (self.low > 0 or self.high < 0)
        if not decided:
            return UNDECIDED
        return SAME if self.value > 0 else OPPOSITE


def oriented(matrix: pd.DataFrame, larger_is_similar: bool) -> pd.DataFrame:
    """The matrix with larger = more similar: a distance changes its sign."""
    return matrix if larger_is_similar else -matrix


def association(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    method: str = "spearman",
    centred: bool = False,
    permutations: int = 4999,
    resamples: int = 999,
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


def contrast(
    matrix: pd.DataFrame,
    groups: Mapping[str, str],
    *,
    centred: bool = True,
    permutations: int = 4999,
    resamples: int = 999,
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

    def difference(u: np.ndarray, v: np.ndarray) -> float:
        inside = v > 0
        return float(u[inside].mean() - u[~inside].mean()) if 0 < inside.sum() < len(inside) else math.nan

    return _assess(_residuals(x) if centred else x, same, difference, permutations, resamples, seed)


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
    value = permuted(off_diagonal(x), off_diagonal(y))
    if not math.isfinite(value):
        return Association(math.nan, math.nan, math.nan, math.nan, size, 0, False)
    rng = np.random.default_rng(seed)
    p_value, tried, exact = _permute(x, y, permuted, value, permutations, rng)
    low = high = math.nan
    if size >= FEWEST and resamples:
        low, high = _resample(x, y, statistic, resamples, rng)
    return Association(float(value), p_value, low, high, size, tried, exact)


def _permute(
    x: np.ndarray, y: np.ndarray, statistic: Statistic, value: float, permutations: int, rng: np.random.Generator
) -> tuple[float, int, bool]:
    """Two-sided p-value, number of permutations, and whether these are all there are.

    The languages of `x` change places. With all permutations the observed order is one of them; else it is added.
    """
    size = len(x)
    exact = math.factorial(min(size, 12)) <= permutations
    orders = itertools.permutations(range(size)) if exact else (rng.permutation(size) for _ in range(permutations))
    entries, limit = off_diagonal(y), abs(value) - _TINY
    row, column = np.nonzero(~np.eye(size, dtype=bool))
    found = [statistic(x[order[row], order[column]], entries) for order in map(np.asarray, orders)]
    as_far = int(np.sum(np.abs(found) >= limit))
    return (as_far + (not exact)) / (len(found) + (not exact)), len(found), exact


def _resample(
    x: np.ndarray, y: np.ndarray, statistic: Statistic, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Percentile interval over languages drawn with replacement; a language never meets its own copy."""
    found = []
    for _ in range(resamples):
        drawn = rng.integers(len(x), size=len(x))
        row, column = np.nonzero(drawn[:, None] != drawn[None, :])
        if len(row):
            found.append(statistic(x[drawn[row], drawn[column]], y[drawn[row], drawn[column]]))
    found = np.array(found)[np.isfinite(found)]
    if len(found) < resamples / 2:  # hardly ever defined (one family of two, say): no interval
        return math.nan, math.nan
    low, high = np.quantile(found, [_LEVEL / 2, 1 - _LEVEL / 2])
    return float(low), float(high)


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


def _pearson(u: np.ndarray, v: np.ndarray) -> float:
    if np.ptp(u) == 0 or np.ptp(v) == 0:
        return math.nan
    u, v = u - u.mean(), v - v.mean()
    return float(u @ v) / math.sqrt(float(u @ u) * float(v @ v))


def _spearman(u: np.ndarray, v: np.ndarray) -> float:
    return _pearson(rankdata(u), rankdata(v))
