"""NLI at `mini`: does an interval follow from another?

The premise says that something lies within an interval of days or of a quantity ("3-9 May 2022", "12 hours - 20
hours"), the hypothesis that it lies within another interval, within two whole months, or within an interval in
another unit. `entailment`: the premise's interval is inside the hypothesis's; `contradiction`: the two are disjoint;
`neutral`: neither. The label is arithmetic. The three labels are equally many within every form of hypothesis, and both
widths are drawn before the label is looked at: the hypothesis is the wider one whatever the label, and only where it
lies depends on that (`validity` has what surface features reach all the same). It measures reading of numbers and
dates, not of sentences.
"""

import datetime as dt
from collections.abc import Sequence

from langsim.tasks.base import Pair
from langsim.tasks.generated import rendering
from langsim.tasks.generated.locale_data import DAYS, MONTHS, unavailable
from langsim.tasks.generated.meanings import Draw
from langsim.tasks.generated.recipe import Recipe

LABELS = ("entailment", "neutral", "contradiction")
FORMS = ("days", "months", "same unit", "other unit")
WIDTHS = (2, 30)  # of a premise, in days or units
WIDER = (2, 12)  # by so much a hypothesis is wider
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
    if form == "months":
        return form, label, *_months(draw, label), ()
    large, small, factor = draw.one_of(CONVERSIONS)
    low = draw.number(80, 480)  # far enough from 0 for a hypothesis on either side
    premise = (low, low + draw.integer(*WIDTHS))
    hypothesis = _hypothesis(draw, premise, label)
    if form == "same unit":
        return form, label, premise, hypothesis, (large, large, 1)
    return form, label, premise, hypothesis, (large, small, factor)


def _hypothesis(draw: Draw, premise: tuple[int, int], label: str) -> tuple[int, int]:
    """A wider interval, of a width that does not depend on the label, at a place that has it."""
    width = premise[1] - premise[0] + draw.integer(*WIDER)

    def propose() -> tuple[int, int]:
        low = premise[0] + draw.integer(-width - WIDER[1], premise[1] - premise[0] + WIDER[1])
        return low, low + width

    return draw.until(propose, lambda other: relation(premise, other) == label)


def _days(draw: Draw, label: str) -> tuple:
    start = draw.date()
    premise = (start.toordinal(), start.toordinal() + draw.integer(*WIDTHS))
    hypothesis = _hypothesis(draw, premise, label)
    return tuple(map(dt.date.fromordinal, premise)), tuple(map(dt.date.fromordinal, hypothesis))


def _months(draw: Draw, label: str) -> tuple:
    """The premise always goes from one month into the next, whatever the label; the hypothesis is two whole months."""
    days = dt.timedelta(days=draw.integer(2, 25))
    start = draw.until(draw.date, lambda date: date.month != (date + days).month)
    premise = (start, start + days)

    def propose() -> tuple[dt.date, dt.date]:
        first = _month(start, draw.integer(-3, 3))
        return first, _month(first, 2) - dt.timedelta(days=1)

    return premise, draw.until(propose, lambda other: relation(premise, other) == label)


def _month(date: dt.date, number: int) -> dt.date:
    """The first day of the month that is so many months later."""
    years, month = divmod(date.month - 1 + number, 12)
    return dt.date(date.year + years, month + 1, 1)


def _render(code: str, meaning: tuple, unit: str) -> Pair:
    form, label, premise, hypothesis, units = meaning
    if units:
        large, small, factor = units
        first = rendering.quantities(code, *premise, large)
        second = rendering.quantities(code, *(factor * value for value in hypothesis), small)
    else:
        first = rendering.interval(code, *premise)
        second = (rendering.months if form == "months" else rendering.interval)(code, *hypothesis)
    return Pair(first, second, label, unit)
