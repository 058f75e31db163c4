"""Dates, times, numbers, amounts, quantities and intervals as a language writes them, in tagged pieces.

A rendering is a list of `Piece`s; their texts joined are what Babel would print (with the digits that the language
uses, and without invisible marks of direction). The tag of a piece is the pattern's field that it comes from.
"""

import datetime as dt
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import regex
from babel import dates, lists, numbers, units

from langsim.errors import Failure
from langsim.tasks import words
from langsim.tasks.generated.locale_data import digits_of, locale_of

LITERAL = "WORD"
FIELDS = {
    **dict.fromkeys("yYur", "YEAR"), **dict.fromkeys("ML", "MONTH"), **dict.fromkeys("Eec", "WEEKDAY"),
    **dict.fromkeys("hHkK", "HOUR"), **dict.fromkeys("abB", "DAYPERIOD"),
    "d": "DAY", "m": "MINUTE", "s": "SECOND",
}  # fmt: skip
_CORE = regex.compile(r"[#0][#0,.]*")
_SLOT = regex.compile("[\ue000-\ue0ff]")


class Piece(NamedTuple):
    """A stretch of text and the field it renders (`WORD` for the pattern's own words and marks)."""

    text: str
    field: str


def plain(pieces: Sequence[Piece]) -> str:
    """The text of a rendering, cleaned."""
    return words.clean("".join(piece.text for piece in pieces))


def tagged(pieces: Sequence[Piece]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words and their tags; a mark of punctuation is `PUNCT` whatever field it stands in."""
    found = [(word, piece.field) for piece in pieces for word in words.split(piece.text)]
    tags = ("PUNCT" if words.is_punctuation(word) else field for word, field in found)
    return tuple(word for word, _ in found), tuple(tags)


def moment(code: str, form: str, value: dt.date | dt.datetime | dt.time) -> list[Piece]:
    """A date or time of day. `form` is `date:<width>`, `time:<width>`, or a CLDR skeleton such as `yMMMd`."""
    format_ = dates.DateTimeFormat(value, locale_of(code))
    pieces = []
    for kind, content in dates.tokenize_pattern(_pattern(code, form)):
        if kind == "field":
            letter, count = content
            pieces.append(Piece(format_[letter * count].translate(digits_of(code)), FIELDS.get(letter, LITERAL)))
        else:
            pieces.append(Piece(content, LITERAL))
    return pieces


@cache
def _pattern(code: str, form: str) -> str:
    locale = locale_of(code)
    kind, _, width = form.partition(":")
    table = {"date": locale.date_formats, "time": locale.time_formats}.get(kind)
    return table[width].pattern if table else locale.datetime_skeletons[form].pattern


def number(code: str, value: float) -> list[Piece]:
    """A number, with the language's digits and separators."""
    return [Piece(_decimal(code, value), "NUM")]


def percent(code: str, value: int) -> list[Piece]:
    """`value` percent."""
    text = numbers.format_percent(value / 100, locale=locale_of(code), numbering_system="default")
    return _around(code, text, _decimal(code, value), "PERCENT")


def amount(code: str, value: float, currency: str, *, iso: bool = False) -> list[Piece]:
    """An amount of money with the currency's symbol, or (`iso`) its ISO code.

    A symbol that ends in a letter is parted from the digits by a space, as CLDR's rule of currency spacing says.
    """
    pattern = locale_of(code).currency_formats["standard"].pattern.split(";")[0]
    core = _CORE.search(pattern)
    symbol = currency if iso else numbers.get_currency_symbol(currency, locale=locale_of(code))
    text = _decimal(code, value, core[0])
    before, after = pattern[: core.start()], pattern[core.end() :]
    pieces = [*_symbol(before, symbol), Piece(text, "NUM"), *_symbol(after, symbol)]
    for i in range(len(pieces) - 1):  # the letter may stand on either side of the digits
        left, right = pieces[i], pieces[i + 1]
        if "NUM" in (left.field, right.field) and regex.search(r"\p{L}", left.text[-1:] + right.text[:1]):
            return [*pieces[: i + 1], Piece(" ", LITERAL), *pieces[i + 1 :]]
    return pieces


def _symbol(affix: str, symbol: str) -> list[Piece]:
    before, sign, after = words.clean(affix.replace(" ", "\x00").replace("\xa0", "\x00")).partition("¤")
    pieces = [Piece(before, LITERAL), Piece(symbol if sign else "", "CURRENCY"), Piece(after, LITERAL)]
    return [Piece(piece.text.replace("\x00", " "), piece.field) for piece in pieces if piece.text]


def quantity(code: str, value: float, unit: str, length: str = "long") -> list[Piece]:
    """A number of units, `unit` as CLDR names it (`length-kilometer`).

    CLDR leaves out a long form that is the short one, and Babel then prints the unit's name: the short one is meant.
    """
    for width in dict.fromkeys((length, "short")):
        text = units.format_unit(value, unit, width, locale=locale_of(code), numbering_system="default")
        if unit not in text:
            return _around(code, text, _decimal(code, value), "UNIT")
    raise Failure(f"CLDR has no form of {unit} for {value} in '{code}'")


def date_and_time(code: str, date_form: str, time_form: str, value: dt.datetime) -> list[Piece]:
    """A date with the time of day, joined by CLDR's pattern."""
    glue = dates.get_datetime_format("medium", locale=locale_of(code)).replace("'", "")
    parts = {"\ue000": moment(code, time_form, value), "\ue001": moment(code, date_form, value)}
    return fill(glue.replace("{0}", "\ue000").replace("{1}", "\ue001"), parts)


def interval(code: str, start: dt.date, end: dt.date, skeleton: str = "yMMMd") -> str:
    """From one date to another, by CLDR's interval pattern.

    Where that pattern, as Babel applies it, leaves out a field that differs, both dates are written in full.
    """
    if _shows_all_fields(code, skeleton):
        return _interval(code, start, end, skeleton)
    return _range(code, moment(code, skeleton, start), moment(code, skeleton, end))


def _interval(code: str, start: dt.date, end: dt.date, skeleton: str) -> str:
    return words.clean(dates.format_interval(start, end, skeleton, locale=locale_of(code)).translate(digits_of(code)))


@cache
def _shows_all_fields(code: str, skeleton: str) -> bool:
    """Whether intervals that differ in one field of one end are written differently."""
    low, high = dt.date(2019, 3, 5), dt.date(2020, 10, 25)
    for shared in ({}, {"year": 2020}, {"year": 2020, "month": 10}):
        start = low.replace(**shared)
        told = _interval(code, start, high, skeleton)
        for field, other in (("day", 7), ("month", 4), ("year", 2018)):
            if field not in shared and _interval(code, start.replace(**{field: other}), high, skeleton) == told:
                return False
            later = high.replace(**{field: {"day": 26, "month": 11, "year": 2021}[field]})
            if field not in shared and _interval(code, start, later, skeleton) == told:
                return False
    return True


def months(code: str, start: dt.date, end: dt.date) -> str:
    """From one month to another, both with their years, joined by CLDR's general pattern of ranges."""
    return _range(code, moment(code, "yMMMM", start), moment(code, "yMMMM", end))


def quantities(code: str, low: float, high: float, unit: str) -> str:
    """From one number of units to another, joined by CLDR's general pattern of ranges (`root`'s is a bare dash)."""
    return _range(code, quantity(code, low, unit), quantity(code, high, unit))


def _range(code: str, low: Sequence[Piece], high: Sequence[Piece]) -> str:
    return words.clean(locale_of(code).interval_formats[None].format(plain(low), plain(high)))


def listed(code: str, parts: Sequence[Sequence[Piece]]) -> list[Piece]:
    """Renderings as one enumeration, by CLDR's list pattern ("a, b and c")."""
    marks = [chr(0xE000 + i) for i in range(len(parts))]
    return fill(lists.format_list(marks, locale=locale_of(code)), dict(zip(marks, parts, strict=True)))


def fill(text: str, slots: dict[str, Sequence[Piece]]) -> list[Piece]:
    """`text` with each one-character slot replaced by a rendering."""
    pieces = []
    position = 0
    for match in _SLOT.finditer(text):
        pieces += [Piece(text[position : match.start()], LITERAL), *slots[match[0]]]
        position = match.end()
    return [piece for piece in [*pieces, Piece(text[position:], LITERAL)] if piece.text]


def _decimal(code: str, value: float, pattern: str | None = None) -> str:
    text = numbers.format_decimal(value, format=pattern, locale=locale_of(code), numbering_system="default")
    return text.translate(digits_of(code))


def _around(code: str, text: str, digits: str, field: str) -> list[Piece]:
    """Split a formatted text at its number."""
    before, found, after = text.translate(digits_of(code)).partition(digits)
    if not found:
        raise Failure(f"CLDR writes {text!r} without the number {digits} in '{code}'")
    return [piece for piece in (Piece(before, field), Piece(digits, "NUM"), Piece(after, field)) if piece.text]
