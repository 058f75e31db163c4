"""What Unicode CLDR really has for a language: words that are neither `root`'s nor English.

Babel fills what a locale lacks from `root`, whose month names are "M01" and whose units are symbols. A task whose
text came from there would compare a language with nobody's, so such a language is "not available", with the reason.
"""

import copy
from collections.abc import Iterable, Sequence
from functools import cache

from babel import Locale, localedata

from langsim import languages

Path = tuple[str, ...]
MONTHS = ("months", "format", "wide")
DAYS = ("days", "format", "wide")
LISTS = ("list_patterns", "standard")
_ZERO = {
    "latn": "0", "arab": "٠", "arabext": "۰", "beng": "০", "deva": "०", "gujr": "૦", "guru": "੦", "khmr": "០",
    "knda": "೦", "laoo": "໐", "mlym": "൦", "mymr": "၀", "nkoo": "߀", "olck": "᱐", "orya": "୦", "telu": "౦",
    "thai": "๐", "tibt": "༠",
}  # fmt: skip


@cache
def locale_of(code: str) -> Locale:
    """The Babel locale of a language of the registry (which must have one)."""
    return Locale.parse(languages.get(code).cldr)


@cache
def digits_of(code: str) -> dict[int, str]:
    """A table for `str.translate`: ASCII digits to those that the language writes by default."""
    zero = ord(_ZERO[locale_of(code).default_numbering_system])
    return {ord("0") + i: chr(zero + i) for i in range(10)}


def unavailable(code: str, needs: Iterable[Path], units: Sequence[str] = ()) -> str:
    """Why a task with these needs has no text in this language, or an empty string.

    Args:
        needs: paths in CLDR's data that hold words; the language's must be neither those of `root` nor of English.
        units: units of measurement that the task names; at least half of them must be written otherwise than in
            `root` (where they are symbols, some of which, such as "km", are used in many languages).
    """
    language = languages.get(code)
    if not language.cldr:
        return "Unicode CLDR has no locale for it"
    if locale_of(code).default_numbering_system not in _ZERO:
        return f"its digits ({locale_of(code).default_numbering_system}) are not known here"
    for path in needs:
        named, here = "/".join(path), _at(language.cldr, path)
        if not here or here == _at("root", path):
            return f"CLDR has no {named} of its own for it"
        if code != "en" and here == _at("en", path) and path in (MONTHS, DAYS):
            return f"its {named} in CLDR is English"
    own = [unit for unit in units if _unit(language.cldr, unit) not in ({}, _unit("root", unit))]
    if len(own) < len(units) / 2:
        return f"CLDR names only {len(own)} of {len(units)} units in it"
    return ""


def _unit(locale: str, unit: str) -> dict:
    """A unit's patterns in words, or the short ones where CLDR leaves those out."""
    return _at(locale, ("unit_patterns", unit, "long")) or _at(locale, ("unit_patterns", unit, "short"))


@cache
def _data(locale: str) -> localedata.LocaleDataDict:
    """A copy of Babel's data: it resolves aliases in place when it is read, and what was resolved in `root` would be
    inherited by the locales that are loaded later (Korean months then are "M 09")."""
    return localedata.LocaleDataDict(copy.deepcopy(localedata.load(locale)))


@cache
def _at(locale: str, path: Path) -> dict:
    here = _data(locale)
    for key in path:
        here = here.get(key, {})
    return dict(here)
