"""What the generated tasks speak of: dates, times of day and numbers, each on one side of the split in all languages.

A value belongs to training, validation or test by its hash, whatever the language, the task or the seed. So no drawn
date or number of a test item is one of a training item in any language. What is computed from them (the far end of an
interval, a hypothesis) may coincide.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from langsim import splits

SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}
# Names are few: an item is drawn from a handful of them, so that the test needs about as many as the training.
NAMES = {"train": 0.45, "validation": 0.13, "test": 0.42}
YEARS = (2001, 2035)
TRIES = 300
T = TypeVar("T")


def split_of(kind: str, value: object) -> str:
    """The split that a value of one kind belongs to (`date`, `clock`, `number`, `name`)."""
    return splits.draw(f"task value:{kind}:{value}", NAMES if kind == "name" else SHARES)


class Unlucky(Exception):
    """No value fits what was drawn before: the item is drawn again."""


class Draw:
    """Random values of one split, the same for the same task, split and seed."""

    def __init__(self, task: str, split: str, seed: int) -> None:
        mixed = hashlib.blake2b(f"{task}:{split}".encode(), digest_size=8).digest()
        self.rng = np.random.default_rng([seed, int.from_bytes(mixed, "big")])
        self.split = split

    def integer(self, low: int, high: int) -> int:
        """Between `low` and `high`, both included; any split."""
        return int(self.rng.integers(low, high + 1))

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[self.integer(0, len(choices) - 1)]

    def date(self) -> dt.date:
        """No later than the 28th, so that each field can change alone."""
        return self._own("date", lambda: dt.date(self.integer(*YEARS), self.integer(1, 12), self.integer(1, 28)))

    def other_date(self, date: dt.date) -> dt.date:
        """A date of this split that differs from `date` in the day, the month or the year alone."""
        return self._own("date", lambda: _change(date, self.one_of(("day", "month", "year")), self))

    def clock(self) -> dt.time:
        return self._own("clock", lambda: dt.time(self.integer(0, 23), self.integer(0, 59)))

    def number(self, low: int, high: int) -> int:
        """`low` is at least 3: CLDR writes some units of 1 and 2 without the number."""
        return self._own("number", lambda: self.integer(low, high))

    def until(self, propose: Callable[[], T], fits: Callable[[T], bool]) -> T:
        """The first proposal that fits.

        Raises:
            Unlucky: none of `TRIES` does; what was drawn before leaves too little choice.
        """
        for _ in range(TRIES):
            value = propose()
            if fits(value):
                return value
        raise Unlucky

    def _own(self, kind: str, propose: Callable[[], T]) -> T:
        return self.until(propose, lambda value: split_of(kind, value) == self.split)


def _change(date: dt.date, field: str, draw: Draw) -> dt.date:
    low, high = {"day": (1, 28), "month": (1, 12), "year": (date.year - 4, date.year + 4)}[field]
    values = [value for value in range(low, high + 1) if value != getattr(date, field)]
    return date.replace(**{field: draw.one_of(values)})
