"""PI at `mini`: do two renderings say the same?

One computed meaning (a date, a date with a time, an amount, a quantity, a range of days) is rendered in two forms
that CLDR has for it; in a negative, exactly one field of the second was changed. The two labels are equally many. It
measures whether a model relates forms of the same value; it says nothing of paraphrase by other words.
"""

import datetime as dt
from collections.abc import Sequence

from langsim.tasks.base import Pair
from langsim.tasks.generated import rendering
from langsim.tasks.generated.inference import CONVERSIONS, UNITS
from langsim.tasks.generated.locale_data import DAYS, MONTHS, unavailable
from langsim.tasks.generated.meanings import Draw
from langsim.tasks.generated.recipe import Recipe

LABELS = ("different", "same")
FORMS = {  # kind -> pairs of forms
    "date": (("date:full", "yMd"), ("date:long", "date:short"), ("date:full", "date:short")),
    "moment": (("date:long", "yMd"), ("date:full", "date:short")),
    "amount": (("symbol", "code"),),
    "quantity": (("large", "small"),),
    "range": (("yMMMd", "yMd"),),
}
CURRENCIES = ("USD", "EUR", "GBP", "INR")
NEEDS = (MONTHS, DAYS)


def unavailable_in(code: str) -> str:
    """Why this language can't have the task, or an empty string."""
    return unavailable(code, NEEDS, UNITS)


def recipe(codes: Sequence[str]) -> Recipe:
    """The task; `codes` does not matter to it."""
    return Recipe("mini-pi", "pair", "accuracy", LABELS, _draw, _render)


def _draw(draw: Draw, number: int) -> tuple:
    """(kind, the two forms, meaning of the first, meaning of the second)."""
    kind = tuple(FORMS)[number // 2 % len(FORMS)]
    forms = draw.one_of(FORMS[kind])
    if draw.integer(0, 1):
        forms = forms[::-1]
    meaning = _meaning(draw, kind)
    return kind, forms, meaning, meaning if number % 2 else _changed(draw, kind, meaning)


def _meaning(draw: Draw, kind: str) -> tuple:
    match kind:
        case "date":
            return (draw.date(),)
        case "moment":
            return draw.date(), draw.clock()
        case "amount":
            return draw.number(300, 999999), draw.one_of(CURRENCIES)  # in hundredths
        case "quantity":
            return draw.number(3, 400), draw.one_of(CONVERSIONS)
        case _:
            start = draw.date()
            return start, start + dt.timedelta(days=draw.integer(2, 60))


def _changed(draw: Draw, kind: str, meaning: tuple) -> tuple:
    """The meaning with one field changed."""
    if kind == "range":
        return meaning[0], meaning[1] + dt.timedelta(days=draw.integer(1, 9))
    place = draw.integer(0, len(meaning) - 1)

    def propose() -> object:
        if place == 0 and isinstance(meaning[0], dt.date):
            return draw.other_date(meaning[0])
        if place == 0 and draw.integer(0, 1):  # a number that looks much like the first
            return draw.number(max(3, meaning[0] - 20), meaning[0] + 20)
        return _meaning(draw, kind)[place]

    other = draw.until(propose, lambda value: value != meaning[place])
    return (*meaning[:place], other, *meaning[place + 1 :])


def _render(code: str, meaning: tuple, unit: str) -> Pair | None:
    """None where the language writes both forms alike, or the change does not show in the second form."""
    kind, forms, first, second = meaning
    one, other = _told(code, kind, forms[0], first), _told(code, kind, forms[1], second)
    if one == other or (first != second and _told(code, kind, forms[1], first) == other):
        return None
    return Pair(one, other, LABELS[first == second], unit)


def _told(code: str, kind: str, form: str, meaning: tuple) -> str:
    match kind:
        case "date":
            return rendering.plain(rendering.moment(code, form, meaning[0]))
        case "moment":
            return rendering.plain(rendering.date_and_time(code, form, "Hm", dt.datetime.combine(*meaning)))
        case "amount":
            cents, currency = meaning
            return rendering.plain(rendering.amount(code, cents / 100, currency, iso=form == "code"))
        case "quantity":
            value, (large, small, factor) = meaning
            told = (value, large) if form == "large" else (value * factor, small)
            return rendering.plain(rendering.quantity(code, *told))
        case _:
            return rendering.interval(code, *meaning, skeleton=form)
