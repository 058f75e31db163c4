"""The top K share of a Fisher vector, exact at any size, without sorting it.

`torch.quantile` stops at 2^24 elements and sorting copies the vector. Here a first pass over the data checks it and
draws a sample; the sample brackets the threshold; a second pass counts what lies above the bracket and collects the
few per cent inside it, among which the threshold is found. Where that fails (a bracket that misses, or one full of
different values), a radix selection on the float's bit pattern decides in one pass per 16 bits: for floats that are
not negative the order of the bits is the order of the numbers.

Tie rule (`recipe="paper"`): the mask holds *exactly* round(K n) entries, halves rounded up; of the entries equal to
the threshold, those with the lowest index. `recipe="authors_code"`: all entries >= the linearly interpolated
(1 - K) percentile, which holds more than K n entries when there are ties.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal, NamedTuple

import numpy as np

from langsim.errors import Failure, UsageError

# One array, several that follow each other, or a function that starts a new pass over the blocks of one vector.
Source = np.ndarray | Sequence[np.ndarray] | Callable[[], Iterable[np.ndarray]]
Recipe = Literal["paper", "authors_code"]

_BLOCK = 1 << 17  # elements looked at together: small enough to stay in the cache between two looks
_SAMPLE = 1 << 18
_COLLECT = 1 << 24  # never hold more candidates than this (64 MiB of float32)


class Ranked(NamedTuple):
    """The k-th largest value, how many entries are larger, and how many equal it."""

    value: np.floating
    above: int
    equal: int


@dataclass(frozen=True)
class Cut:
    """Which entries of a vector are in its mask: those > `value`, and those == `value` up to index `last_tie`.

    Attributes:
        threshold: the threshold as a number (`value`, or the interpolated percentile of the authors' code).
        count: entries in the mask.
        size: entries in the vector.
    """

    value: np.floating
    last_tie: int
    threshold: float
    count: int
    size: int

    def mask(self, values: np.ndarray, start: int = 0) -> np.ndarray:
        """The mask of a piece of the vector whose first element has index `start`: bool, shape of `values`."""
        ties = self.last_tie + 1 - start  # entries of this piece whose ties count
        if ties <= 0:
            return values > self.value
        if ties >= values.size:
            return values >= self.value
        return np.concatenate([values[:ties] >= self.value, values[ties:] > self.value])


def active_count(share: float, size: int) -> int:
    """round(share * size), halves up, with `share` read as the decimal number it was written as.

    Raises:
        UsageError: a share outside (0, 1], or one that keeps nothing.
    """
    if not 0 < share <= 1:
        raise UsageError(f"the share K = {share} is outside (0, 1]; 0.4 keeps the top 40%")
    exact = Decimal(repr(float(share))) * size
    count = int(exact.to_integral_value(ROUND_HALF_UP))
    if count == 0:
        raise UsageError(f"the share K = {share} of {size} parameters keeps none; raise K")
    return count


def top_share(source: Source, share: float, recipe: Recipe = "paper") -> Cut:
    """The cut that keeps the largest `share` of a vector, by the module's tie rule.

    Raises:
        UsageError: a bad share, an empty vector, an unknown recipe.
        Failure: a negative, NaN or infinite entry.
    """
    size = sum(block.size for block in _blocks(source)())
    if recipe == "paper":
        return _exact_share(source, active_count(share, size), size)
    if recipe == "authors_code":
        return _percentile(source, share, size)
    raise UsageError(f"no recipe {recipe!r}; choose 'paper' or 'authors_code'")


def top_mask(values: np.ndarray, share: float, recipe: Recipe = "paper") -> np.ndarray:
    """The mask of the largest `share` of an array in memory: bool, same shape; ties in C order."""
    return top_share(values.ravel(), share, recipe).mask(values.ravel()).reshape(values.shape)


def kth_largest(source: Source, k: int) -> Ranked:
    """The k-th largest entry (k = 1 is the maximum) of a vector of any size.

    Args:
        source: float32 or float64, one type throughout; not negative, finite.

    Raises:
        UsageError: an empty vector, k outside 1..size, another dtype.
        Failure: a negative, NaN or infinite entry.
    """
    blocks = _blocks(source)
    size, sample, everything = _survey(blocks)
    if not 1 <= k <= size:
        raise UsageError(f"there is no {k}-th largest of {size} entries; k counts from 1")
    if everything:
        return _among(sample, k, 0)
    return _bracketed(blocks, k, size, sample) or _radix(blocks, k, sample.dtype)


def _exact_share(source: Source, count: int, size: int) -> Cut:
    value, above, equal = kth_largest(source, count)
    wanted = count - above
    last_tie = size - 1 if wanted == equal else _position(_blocks(source), value, wanted)
    return Cut(value, last_tie, float(value), count, size)


def _percentile(source: Source, share: float, size: int) -> Cut:
    """Entries >= np.percentile(F, 100 (1 - share)), interpolated in float64."""
    active_count(share, size)  # the same errors as the exact rule
    position = (size - 1) * (round(100 * (1 - share), 10) / 100)  # index into the ascending order
    lower = int(position)
    fraction = position - lower
    value, above, equal = kth_largest(source, size - lower)
    upper = value if size - lower - 1 > above or fraction == 0 else _next_larger(_blocks(source), value)
    low, high = float(value), float(upper)
    # as NumPy does it: from the nearer end, so that rounding never leaves the interval
    threshold = low + (high - low) * fraction if fraction < 0.5 else high - (high - low) * (1 - fraction)
    if threshold > low:  # no entry lies between the two neighbours
        return Cut(value, -1, threshold, above, size)
    return Cut(value, size - 1, threshold, above + equal, size)


def _blocks(source: Source) -> Callable[[], Iterator[np.ndarray]]:
    """A function that starts a new pass over the vector in cache-sized blocks."""
    if isinstance(source, np.ndarray):
        source = [source]
    if isinstance(source, Iterator):
        raise UsageError("a generator can be read only once; pass the arrays, or a function that makes it anew")

    def walk() -> Iterator[np.ndarray]:
        for array in source() if callable(source) else source:
            flat = np.asarray(array).reshape(-1)
            for start in range(0, flat.size, _BLOCK):
                yield flat[start : start + _BLOCK]

    return walk


def _survey(blocks: Callable[[], Iterator[np.ndarray]]) -> tuple[int, np.ndarray, bool]:
    """One pass: check every entry, count them, and sample evenly. Also: whether the sample is everything."""
    kept: list[np.ndarray] = []
    size, held, stride, phase = 0, 0, 1, 0
    for block in blocks():
        _check(block, size)
        kept.append(block[phase::stride].copy())
        phase = (phase - block.size) % stride
        size += block.size
        held += kept[-1].size
        if held > _SAMPLE:
            # Thin by 3, not 2: a stride that is a power of two would only ever see a few columns of the matrices.
            whole = np.concatenate(kept)
            kept = [whole[::3].copy()]
            phase = (phase + stride * (-whole.size % 3)) % (3 * stride)
            held, stride = kept[0].size, 3 * stride
    if not size:
        raise UsageError("an empty vector has no threshold; select at least one parameter")
    return size, np.concatenate(kept), stride == 1


def _check(block: np.ndarray, position: int) -> None:
    if block.dtype not in (np.float32, np.float64):
        raise UsageError(f"thresholds are for float32 or float64, not {block.dtype}; convert the vector first")
    # As unsigned integers, infinity, NaN and everything with a sign are larger than every number allowed here.
    unsigned = block.view(f"u{block.itemsize}")
    if unsigned.max(initial=0) < np.array(np.inf, block.dtype).view(unsigned.dtype):
        return
    bad = ~(block >= 0) | np.isinf(block)
    if bad.any():  # a negative zero is a zero
        first = int(np.argmax(bad))
        raise Failure(f"entry {position + first} of a Fisher vector is {block[first]}; estimate that vector again")


def _among(values: np.ndarray, k: int, above: int) -> Ranked:
    """The k-th largest overall, known to be among `values`, with `above` entries larger than all of them."""
    index = values.size - (k - above)
    value = np.partition(values, index)[index]
    return Ranked(value, above + int(np.count_nonzero(values > value)), int(np.count_nonzero(values == value)))


def _bracketed(blocks: Callable, k: int, size: int, sample: np.ndarray) -> Ranked | None:
    """Find the value inside a bracket drawn from the sample; None if the bracket misses or holds too much."""
    sample = np.sort(sample)
    place = sample.size - k / size * sample.size
    # six standard deviations of a sampled rank; correlated neighbours can still defeat it, hence the radix
    margin = 6 * np.sqrt(sample.size * (k / size) * (1 - k / size)) + 8
    left, right = int(place - margin), int(place + margin)
    low = sample[left] if left >= 0 else sample.dtype.type(0)
    high = sample[right] if right < sample.size else sample.dtype.type(np.inf)
    above = held = 0
    inside: list[np.ndarray] = []
    for block in blocks():
        reaches = block >= low
        if low == high:  # one value fills the bracket (many zeros, say): counting it is enough
            held += np.count_nonzero(reaches)
            above += np.count_nonzero(block > high)
            continue
        beyond = block > high
        above += np.count_nonzero(beyond)
        inside.append(np.compress(reaches ^ beyond, block))  # twice as fast as a boolean index
        held += inside[-1].size
        if held > _COLLECT:
            return None
    if low == high:
        equal = held - above
        return Ranked(low, int(above), int(equal)) if above < k <= above + equal else None
    return _among(np.concatenate(inside), k, int(above)) if above < k <= above + held else None


def _radix(blocks: Callable, k: int, dtype: np.dtype) -> Ranked:
    """Most significant 16 bits first: the bucket that holds rank k fixes the digit, the next pass looks inside."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    prefix, above, equal = 0, 0, 0
    for shift in range(8 * dtype.itemsize - 16, -1, -16):
        counts = np.zeros(1 << 16, np.int64)
        for block in blocks():
            bits = (block + dtype.type(0)).view(unsigned)  # adding zero turns -0.0 into 0.0
            if shift + 16 < 8 * dtype.itemsize:
                bits = bits[bits >> unsigned.type(shift + 16) == prefix]
            digits = (bits >> unsigned.type(shift)) & unsigned.type(0xFFFF)
            counts += np.bincount(digits.astype(np.intp), minlength=1 << 16)
        reached = above + np.cumsum(counts[::-1])  # entries at or above each digit, from the top
        digit = (1 << 16) - 1 - int(np.searchsorted(reached, k))
        equal = int(counts[digit])
        above = int(reached[(1 << 16) - 1 - digit]) - equal
        prefix = (prefix << 16) | digit
    return Ranked(np.array(prefix, unsigned).view(dtype)[()], above, equal)


def _position(blocks: Callable, value: np.floating, number: int) -> int:
    """Index of the `number`-th entry equal to `value` (counting from 1)."""
    start = 0
    for block in blocks():
        hits = np.flatnonzero(block == value)
        if number <= hits.size:
            return start + int(hits[number - 1])
        number -= hits.size
        start += block.size
    raise AssertionError("fewer ties than were counted: the vector changed between two passes")


def _next_larger(blocks: Callable, value: np.floating) -> np.floating:
    return min(block[block > value].min(initial=np.inf) for block in blocks())
