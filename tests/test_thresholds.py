"""Exact thresholds against np.partition, np.percentile and a stable sort, on inputs made to break them."""

from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from langsim import thresholds
from langsim.errors import Failure, UsageError
from langsim.thresholds import active_count, kth_largest, top_mask, top_share

TINY = np.finfo(np.float32).smallest_subnormal
EDGES = [0.0, -0.0, TINY, 2 * TINY, np.finfo(np.float32).tiny, 1e-9, 1.0, np.nextafter(np.float32(1), np.float32(2))]
EDGES = [float(np.float32(value)) for value in [*EDGES, np.finfo(np.float32).max]]
elements = st.sampled_from(EDGES) | st.floats(0, 2.0**100, width=32)
vectors = arrays(np.float32, st.integers(1, 400), elements=elements, fill=st.sampled_from(EDGES))
doubles = arrays(np.float64, st.integers(1, 200), elements=st.sampled_from(EDGES) | st.floats(0, 1e300))
shares = st.floats(0.01, 1.0)


@contextmanager
def path(name):
    """Make small vectors take the path of large ones."""
    constants = {
        "everything": {},
        "bracket": {"_SAMPLE": 12, "_BLOCK": 16},
        "radix": {"_SAMPLE": 12, "_BLOCK": 16, "_COLLECT": -1},
    }[name]
    with patch.multiple(thresholds, **constants) if constants else patch.object(thresholds, "_SAMPLE", 1 << 18):
        yield


def oracle(values, k):
    value = np.partition(values, values.size - k)[values.size - k]
    return value, int((values > value).sum()), int((values == value).sum())


@pytest.mark.parametrize("name", ["everything", "bracket", "radix"])
@settings(max_examples=150, deadline=None)
@given(values=vectors | doubles, data=st.data())
def test_kth_largest_is_that_of_a_partition(name, values, data):
    k = data.draw(st.integers(1, values.size))
    with path(name):
        assert tuple(kth_largest(values, k)) == oracle(values, k)


@settings(max_examples=100, deadline=None)
@given(values=vectors, data=st.data())
def test_radix_alone(values, data):
    k = data.draw(st.integers(1, values.size))
    assert tuple(thresholds._radix(thresholds._blocks(values), k, values.dtype)) == oracle(values, k)


@pytest.mark.parametrize("name", ["everything", "bracket", "radix"])
@settings(max_examples=100, deadline=None)
@given(values=vectors, share=shares)
def test_paper_masks_hold_exactly_the_share_lowest_index_first(name, values, share):
    if share * values.size < 0.51:
        return
    with path(name):
        mask = top_mask(values, share)
    count = active_count(share, values.size)
    best = np.lexsort((np.arange(values.size), -values.astype(float)))[:count]
    expected = np.zeros(values.size, bool)
    expected[best] = True
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize("count", range(1, 9))
def test_of_equal_entries_the_first_are_kept(count):
    values = np.full(8, 0.5, np.float32)
    cut = top_share(values, count / 8)
    assert cut.mask(values).tolist() == [True] * count + [False] * (8 - count)
    pieces = [cut.mask(values[start : start + 3], start) for start in (0, 3, 6)]
    assert np.concatenate(pieces).tolist() == cut.mask(values).tolist()


@pytest.mark.parametrize("name", ["everything", "bracket", "radix"])
@settings(max_examples=100, deadline=None)
@given(values=vectors, percent=st.integers(1, 99))
def test_authors_masks_are_those_of_np_percentile(name, values, percent):
    share = (100 - percent) / 100
    if share * values.size < 0.51:
        return
    threshold = np.percentile(values.astype(np.float64), percent)
    with path(name):
        cut = top_share(values, share, "authors_code")
    assert cut.threshold == threshold
    assert np.array_equal(cut.mask(values), values.astype(np.float64) >= threshold)
    assert cut.count == int((values >= threshold).sum())


@settings(max_examples=50, deadline=None)
@given(values=vectors, cuts=st.lists(st.integers(0, 400), max_size=6), share=shares)
def test_several_tensors_and_streams_are_one_vector(values, cuts, share):
    if share * values.size < 0.51:
        return
    parts = np.split(values, sorted(min(cut, values.size) for cut in cuts))
    whole = top_share(values, share)
    assert top_share(parts, share) == whole
    assert top_share(lambda: iter(parts), share) == whole
    starts = np.cumsum([0] + [part.size for part in parts])
    pieces = [whole.mask(part, start) for part, start in zip(parts, starts, strict=False)]
    assert np.array_equal(np.concatenate(pieces), whole.mask(values))


@pytest.mark.parametrize("kind", ["skewed", "half zeros", "all equal", "sorted", "two values", "one row huge"])
def test_large_vectors(kind):
    generator = np.random.default_rng(1)
    size = 1_500_001
    values = (generator.standard_normal(size) ** 2 * np.exp(3 * generator.standard_normal(size)) * 1e-9).astype("f4")
    if kind == "half zeros":
        values[generator.random(size) < 0.7] = 0
    elif kind == "all equal":
        values[:] = 3e-12
    elif kind == "sorted":
        values.sort()
    elif kind == "two values":
        values = generator.choice(np.float32([1e-8, 2e-8]), size)
    elif kind == "one row huge":
        values[1000:200_000] *= 1e6
    for share in (0.4, 0.15, 0.999):
        k = active_count(share, size)
        assert tuple(kth_largest(values, k)) == oracle(values, k)
    mask = top_mask(values, 0.4)
    assert mask.sum() == active_count(0.4, size)
    assert values[mask].min() >= values[~mask].max()


def test_the_quick_path_is_taken_on_ordinary_vectors():
    values = np.random.default_rng(0).exponential(size=1_000_000).astype(np.float32)
    with patch.object(thresholds, "_radix", side_effect=AssertionError("fell back to the radix")):
        assert tuple(kth_largest(values, 400_000)) == oracle(values, 400_000)


@pytest.mark.parametrize(
    "misleading",
    [np.zeros(1000), np.linspace(1e-7, 1e-3, 1000), np.linspace(20, 30, 1000)],
    ids=["one value", "too low", "too high"],
)
def test_a_bracket_that_misses_falls_back(misleading):
    values = np.random.default_rng(0).exponential(size=400_000).astype(np.float32)
    misleading, k = misleading.astype(np.float32), 200_000
    assert thresholds._bracketed(thresholds._blocks(values), k, values.size, misleading) is None
    with patch.object(thresholds, "_survey", return_value=(values.size, misleading, False)):
        assert tuple(kth_largest(values, k)) == oracle(values, k)


def test_the_sample_is_even():
    """Every stretch of the vector is represented, whatever the sizes of the blocks."""
    with patch.multiple(thresholds, _SAMPLE=300, _BLOCK=77):
        size, sample, everything = thresholds._survey(thresholds._blocks(np.arange(20_000, dtype=np.float32)))
    assert size == 20_000 and not everything
    assert np.unique(np.diff(sample)).tolist() == [3.0**4] or np.unique(np.diff(sample)).tolist() == [3.0**5]


@pytest.mark.parametrize("share,size,count", [(0.4, 17, 7), (0.5, 5, 3), (0.145, 100, 15), (0.15, 10, 2), (1, 3, 3)])
def test_rounding_is_half_up_of_the_written_decimal(share, size, count):
    assert active_count(share, size) == count


@pytest.mark.parametrize("share", [0, -0.1, 1.5, float("nan")])
def test_shares_outside_the_unit_interval(share):
    with pytest.raises(UsageError, match="outside"):
        active_count(share, 10)


def test_a_share_that_keeps_nothing():
    with pytest.raises(UsageError, match="keeps none; raise K"):
        active_count(0.01, 10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1.0, -TINY])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bad_entries_are_named(bad, dtype):
    values = np.ones(300_000, dtype)
    values[200_000] = bad
    with pytest.raises(Failure, match="entry 200000 of a Fisher vector is"):
        top_share(values, 0.4)


def test_a_nan_with_a_sign_bit_is_noticed():
    values = np.ones(10, np.float32)
    values.view(np.uint32)[3] = 0xFFC00001
    with pytest.raises(Failure, match="entry 3"):
        top_share(values, 0.4)


def test_misuse():
    values = np.ones(10, np.float32)
    with pytest.raises(UsageError, match="only once"):
        kth_largest(iter([values]), 1)
    with pytest.raises(UsageError, match="empty vector"):
        kth_largest(values[:0], 1)
    with pytest.raises(UsageError, match="11-th largest of 10"):
        kth_largest(values, 11)
    with pytest.raises(UsageError, match="not float16"):
        kth_largest(values.astype(np.float16), 1)
    with pytest.raises(UsageError, match="no recipe"):
        top_share(values, 0.4, "papr")
