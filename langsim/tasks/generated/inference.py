"""NLI at `mini`: does an interval follow from another?

The premise says that something lies within an interval of days or of a quantity ("3-9 May 2022", "12 hours - 20
hours"), the hypothesis that it lies within another interval, a month, or an interval in another unit. `entailment`:
the premise's interval is inside the hypothesis's; `contradiction`: the two are disjoint; `neutral`: neither. The
label is arithmetic. The three labels are equally many within every form of hypothesis. It measures reading of
numbers and dates, not of sentences; longer hypotheses are somewhat more often entailed (see `validity`).
"""

import datetime as dt
from calendar import monthrange
from collections.abc import Sequence

from langsim.tasks.base import Pair
from langsim.tasks.generated import rendering
from langsim.tasks.generated.locale_data import DAYS, MONTHS, unavailable
from langsim.tasks.generated.meanings import Draw
from langsim.tasks.generated.recipe import Recipe

LABELS = ("entailment", "neutral", "contradiction")
FORMS = ("days", "month", "same unit", "other unit")
CONVERSIONS = (  # larger unit, smaller unit, how many of them
    ("duration-hour", "duration-minute", 60),
    ("duration-day", "duration-hour", 24),
    ("duration-week", "duration-day", 7),
    ("length-kilometer", "length-meter", 1000),
    ("mass-kilogram", "mass-gram", 1000),
)
UNITS = sorted({unit for *pair, _ in CONVERSIONS for unit in pair})
NEEDS = (MONTHS, DAYS)


def unavailable_in(code: str) -> str:
    """Why this language can't have the task, or an empty string."""
    return unavailable(code, NEEDS, UNITS)


def recipe(codes: Sequence[str]) -> Recipe:
    """The task; `codes` does not matter to it."""
    return Recipe("mini-nli", "pair", "accuracy", LABELS, _draw, _render)


def relation(premise: tuple, hypothesis: tuple) -> str:
    """The label for two closed intervals (low, high)."""
    if hypothesis[0] <= premise[0] and premise[1] <= hypothesis[1]:
        return "entailment"
    return "contradiction" if hypothesis[1] < premise[0] or premise[1] < hypothesis[0] else "neutral"


def _draw(draw: Draw, number: int) -> tuple:
    """(form, label, premise, hypothesis, units): intervals as (low, high)."""
    label, form = LABELS[number % 3], FORMS[number // 3 % len(FORMS)]
    if form == "days":
        return form, label, *_days(draw, label), ()
    if form == "month":
        return form, label, *_month(draw, label), ()
    large, small, factor = draw.one_of(CONVERSIONS)
    low = draw.number(9, 400)
    premise = (low, low + draw.integer(2, 30))
    hypothesis = _hypothesis(draw, premise, label)
    if form == "same unit":
        return form, label, premise, hypothesis, (large, large, 1)
    return form, label, premise, hypothesis, (large, small, factor)


def _near(draw: Draw, premise: tuple[int, int]) -> tuple[int, int]:
    """An interval of whole numbers from 3 up, somewhere about the premise."""
    reach = premise[1] - premise[0] + 6
    low = max(3, premise[0] + draw.integer(-reach, reach))
    return low, low + draw.integer(2, 2 * reach)


def _days(draw: Draw, label: str) -> tuple:
    start = draw.date()
    premise = (start.toordinal(), start.toordinal() + draw.integer(2, 40))
    hypothesis = _hypothesis(draw, premise, label)
    return tuple(map(dt.date.fromordinal, premise)), tuple(map(dt.date.fromordinal, hypothesis))


def _month(draw: Draw, label: str) -> tuple:
    def propose() -> tuple:
        start = draw.date()
        premise = (start, start + dt.timedelta(days=draw.integer(2, 25)))
        month = dt.timedelta(days=31)
        day = draw.one_of((start, premise[1], start - month, premise[1] + month))
        return premise, (day.replace(day=1), day.replace(day=monthrange(day.year, day.month)[1]))

    return draw.until(propose, lambda pair: relation(*pair) == label)


def _hypothesis(draw: Draw, premise: tuple[int, int], label: str) -> tuple[int, int]:
    """Another interval that has the wanted relation to the premise."""
    return draw.until(
        lambda: _near(draw, premise), lambda other: relation(premise, other) == label and other != premise
    )


def _render(code: str, meaning: tuple, unit: str) -> Pair:
    form, label, premise, hypothesis, units = meaning
    if units:
        large, small, factor = units
        first = rendering.quantities(code, *premise, large)
        second = rendering.quantities(code, *(factor * value for value in hypothesis), small)
    else:
        first = rendering.interval(code, *premise)
        month = rendering.plain(rendering.moment(code, "yMMMM", hypothesis[0]))
        second = month if form == "month" else rendering.interval(code, *hypothesis)
    return Pair(first, second, label, unit)
