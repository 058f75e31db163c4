"""POS at `mini`: the field of every word in localized dates, times, numbers, amounts and quantities.

The tag is the field of CLDR's pattern that the word was printed for, so it is right by construction. It measures
whether a model reads the fields of such expressions (which number is the day, which the year); it says nothing of
syntax, and the vocabulary is small.
"""

from collections.abc import Sequence

from langsim.tasks.base import Tokens
from langsim.tasks.generated import rendering
from langsim.tasks.generated.locale_data import DAYS, LISTS, MONTHS, unavailable
from langsim.tasks.generated.meanings import Draw
from langsim.tasks.generated.recipe import Recipe

TAGS = (
    "DAY", "MONTH", "YEAR", "WEEKDAY", "HOUR", "MINUTE", "SECOND", "NUM", "UNIT", "CURRENCY", "PERCENT", "PUNCT",
    "WORD",
)  # fmt: skip
DATES = ("date:full", "date:long", "date:short", "yMMMEd", "yMd", "yMMMM")
UNITS = (
    "duration-minute", "duration-hour", "duration-day", "duration-week", "length-kilometer", "length-meter",
    "mass-kilogram", "mass-gram", "volume-liter", "digital-gigabyte", "temperature-celsius",
)  # fmt: skip
CURRENCIES = ("USD", "EUR", "GBP", "INR", "CNY")
NEEDS = (MONTHS, DAYS, LISTS)


def unavailable_in(code: str) -> str:
    """Why this language can't have the task, or an empty string."""
    return unavailable(code, NEEDS, UNITS)


def recipe(codes: Sequence[str]) -> Recipe:
    """The task; `codes` does not matter to it."""
    return Recipe("mini-pos", "tokens", "token_f1", TAGS, _draw, _render)


def _draw(draw: Draw, number: int) -> tuple:
    """Two or three expressions, each (kind, value, form)."""
    return tuple(_expression(draw) for _ in range(2 + number % 2))


def _expression(draw: Draw) -> tuple:
    kind = draw.one_of(("date", "date", "date", "clock", "amount", "quantity", "percent", "number"))
    match kind:
        case "date":
            return kind, draw.date(), draw.one_of(DATES)
        case "clock":
            return kind, draw.clock().replace(second=draw.integer(0, 59)), draw.one_of(("Hm", "Hms"))
        case "amount":
            return kind, draw.number(300, 999999) / 100, draw.one_of(CURRENCIES)
        case "quantity":
            return kind, draw.number(3, 999), draw.one_of(UNITS)
        case "percent":
            return kind, draw.number(3, 100), ""
        case _:
            return kind, draw.number(3, 99999), ""


def _render(code: str, meaning: tuple, unit: str) -> Tokens:
    words, tags = rendering.tagged(rendering.listed(code, [_pieces(code, *one) for one in meaning]))
    return Tokens(words, tags, unit)


def _pieces(code: str, kind: str, value, form: str) -> list[rendering.Piece]:
    match kind:
        case "date" | "clock":
            return rendering.moment(code, form, value)
        case "amount":
            return rendering.amount(code, value, form)
        case "quantity":
            return rendering.quantity(code, value, form)
        case "percent":
            return rendering.percent(code, value)
        case _:
            return rendering.number(code, value)
