"""The pruning schedule against Eq. 6 as it is printed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsim.errors import UsageError
from langsim.lslo.schedule import Schedule, published

TABLE3 = [(p, 2, 8, 15) for p in (0.1, 0.3, 0.5, 0.7, 0.9)]  # P, E, k, T


def eq6(p, e, start, k, total):
    if e <= start:
        return 0
    if start < e <= (start + k):
        return p - p * (1 - (e - start) / k) ** 3
    if (start + k) < e <= total:
        return p
    raise AssertionError


@pytest.mark.parametrize(("p", "start", "k", "total"), TABLE3)
def test_is_eq_6_at_every_epoch_of_table_3(p, start, k, total):
    schedule = Schedule.of(p, start, k, total)
    found = [schedule.at(e) for e in range(1, total + 1)]
    assert found == [eq6(p, e, start, k, total) for e in range(1, total + 1)]
    assert found[:2] == [0, 0] and found[9:] == [p] * 6 and 0 < found[2] < found[8] < p


def test_published_ones():
    assert published("LSLo") == [Schedule.of(*row) for row in TABLE3]
    assert published("ISE") == published("LSP") == [Schedule.of(0.7, 2, 8, 15)]
    with pytest.raises(UsageError, match="experiment of Table 3: unknown 'GPS'"):
        published("GPS")


times = st.floats(0, 100, allow_subnormal=False)


@given(st.floats(0, 1), times, times.filter(lambda x: x > 0.01), times, st.integers(1, 5000))
def test_never_less_and_alike_in_other_units(ratio, start, length, rest, total):
    schedule = Schedule.of(ratio, start, length, start + length + rest)
    scaled = schedule.scaled(total)
    last = 0.0
    for i in range(21):
        share = schedule.at(schedule.total * (i / 20))
        assert last <= share + 1e-12 and 0 <= share <= ratio
        assert scaled.at(scaled.total * (i / 20)) == pytest.approx(share, abs=1e-6)
        last = share
    assert schedule.at(schedule.total) == ratio == scaled.at(total)


def test_of_updates():
    by_update = Schedule.of(0.9, 2, 8, 15).scaled(300)
    assert [by_update.at(20 * e) for e in (2, 6, 10, 15)] == pytest.approx([0, 0.9 - 0.9 * 0.125, 0.9, 0.9])
    assert by_update.at(41) > 0 == by_update.at(40)


def test_refusals():
    for arguments, message in [
        ((1.1, 2, 8, 15), "pruning schedule: ratio: "),
        ((0.5, -1, 8, 15), "pruning schedule: start: "),
        ((0.5, 2, 0, 15), "pruning schedule: length: "),
        ((0.5, 8, 8, 15), "start 8 and length 8 go beyond the end, 15"),
    ]:
        with pytest.raises(UsageError, match=message):
            Schedule.of(*arguments)
    with pytest.raises(UsageError, match="no time 16, it goes from 0 to 15"):
        Schedule.of(*TABLE3[0]).at(16)
    with pytest.raises(UsageError, match="total 0 is not positive"):
        Schedule.of(*TABLE3[0]).scaled(0)
