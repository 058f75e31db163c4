"""Numbers that are known as printed: a value, and how far the rounding of what it is computed from lets it move.

A number printed as 33.9 stands for anything from 33.85 to 33.95. Sums, differences, products with a constant, ratios of
positive numbers and maxima carry these intervals on. The result is exact, both ends can be reached, as long as no
printed number enters twice; the formulas of the audit are written so.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from langsim.errors import Failure

_TINY = 1e-9  # relative to the numbers of the papers nothing; decides that a number half way may be rounded either way


@dataclass(frozen=True)
class Interval:
    """A value and what rounding permits, low <= value <= high; a count, or what is exact, has all three equal."""

    value: float
    low: float
    high: float

    def __add__(self, other: "Interval") -> "Interval":
        return Interval(self.value + other.value, self.low + other.low, self.high + other.high)

    def __sub__(self, other: "Interval") -> "Interval":
        return Interval(self.value - other.value, self.low - other.high, self.high - other.low)

    def __truediv__(self, other: "Interval") -> "Interval":
        """Of positive numbers."""
        return Interval(self.value / other.value, self.low / other.high, self.high / other.low)

    def times(self, factor: float) -> "Interval":
        """`factor` >= 0."""
        return Interval(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Count:
    """What a statement says of several cases: how many there are, those that it does not hold for, in words, and how
    many more are not legible."""

    cases: int
    exceptions: tuple[str, ...] = ()
    lost: int = 0


def exact(value: float) -> Interval:
    """A number that no rounding has touched."""
    return Interval(float(value), float(value), float(value))


def half_unit(text: str) -> float:
    """Half a unit of the last printed digit: 0.05 of "33.9", 0.5 of "615".

    Raises:
        Failure: not a number as papers print them.
    """
    try:
        float(text)
    except ValueError as error:
        raise Failure(f"not a printed number: {text!r}; restore the file from the repository") from error
    return 0.5 * 10.0 ** -len(text.partition(".")[2])


def printed(text: str) -> Interval:
    """A printed number with what it stands for.

    Raises:
        Failure: as `half_unit`.
    """
    half = half_unit(text)
    value = float(text)
    return Interval(value, value - half, value + half)


def total(numbers: Iterable[Interval]) -> Interval:
    """The sum."""
    found = exact(0)
    for number in numbers:
        found = found + number
    return found


def mean(numbers: Iterable[Interval]) -> Interval:
    """The plain mean of at least one number."""
    listed = list(numbers)
    return total(listed).times(1 / len(listed))


def largest(numbers: Iterable[Interval]) -> Interval:
    """The largest of at least one number: where two are close, rounding may make either the largest."""
    listed = list(numbers)
    return Interval(max(n.value for n in listed), max(n.low for n in listed), max(n.high for n in listed))


def rounds_to(found: Interval, text: str) -> bool:
    """Whether the recomputed value, rounded as print is, gives the printed one; half way, either side will do."""
    return abs(found.value - float(text)) <= half_unit(text) + _TINY


def permits(found: Interval, text: str) -> bool:
    """Whether some numbers that round to the printed ones give a value that rounds to the printed `text`."""
    return beyond(found, text) == 0


def beyond(found: Interval, text: str) -> float:
    """By how much the printed number lies outside what rounding permits (positive: above); 0 inside."""
    wanted = printed(text)
    if wanted.low > found.high + _TINY:
        return wanted.low - found.high
    if wanted.high < found.low - _TINY:
        return wanted.high - found.low
    return 0.0


def cut_off(found: Interval, text: str) -> bool:
    """Whether the printed number is the recomputed one with its further digits dropped, which is not rounding."""
    unit, value = 2 * half_unit(text), float(text)
    inside = abs(value) - _TINY <= abs(found.value) < abs(value) + unit
    return inside and found.value * value > 0 and not rounds_to(found, text)
