"""The one registry of languages (`data/languages.csv`), and how a code or a name finds its language.

The canonical code is ISO 639-1 where it exists, else ISO 639-3 (`fa`, `zh`, `no`, `sr`, `ckb`). The registry
holds every language of the three papers, of Django's locales, of M2M-100, of the other packages whose catalogs
are harvested, and of NTREX-128 (but Hassaniyya, Tashelhit and Hmong, where the sources disagree on variety or
script).

The rule of resolution, for `get`, `resolve` and everything that takes a code:

1. Case, `-` against `_`, accents and a codeset do not matter: `zh_hans`, `ZH-Hans`, `zh_Hans.UTF-8` are one.
2. Any code of a source is understood: ISO 639-1 and 639-3, M2M-100, FLORES, NTREX, UD, CLDR, Django, URIEL;
   then English names (`Persian`, `Farsi`), and old codes (`iw`, `ger`) through CLDR's table of aliases.
3. A macrolanguage and its standard member are one language, the one the sources write: `zho` and `cmn` are
   `zh`, `fas` and `pes` `fa`, `msa` and `zsm` `ms`, `ara` and `arb` `ar`, `swa` and `swh` `sw`, `est` and `ekk`
   `et`, `lav` and `lvs` `lv`, `sqi` and `als` `sq` (Tosk, as in ISO and FLORES, not Alemannic), `nor`, `nb` and
   `nob` `no` (Bokmål), `kur` and `kmr` `ku`; `nn` is Nynorsk, `prs` Dari, `ckb` Central Kurdish: languages of
   their own.
4. Script: a language has one default script. A code that names it is the language (`sr-Cyrl`, `srp_Cyrl` are
   `sr`; `zh-Hans`, `zh-CN` are `zh`). Two languages are written in a second script by a source that we read,
   and that text is never passed off as the other: `sr-Latn` (also `srp-Latn`, `sr@latin`) and `zh-Hant` (also
   `zh-TW`, `zh-HK`, `zh-MO`) are entries of their own, with `variety_of` naming the language. Where a source
   does not tell scripts apart (M2M-100, UD, URIEL) both have its one code, and `from_source` gives the
   language. (UD and Universal NER write their `sr` in Latin script.) Any other script is an error, not a guess.
5. Region: except for Chinese above, a region is dropped (`pt-BR` is `pt`, `de_CH` `de`): no paper and no model
   here tells regions apart. Regional locales and files of a source are listed in `variants`.
6. A code that covers several of our languages is an error that names them: `sh`, `hbs` (bs, hr, sr), "Kurdish"
   (ku, ckb), "Sorbian" (dsb, hsb).
7. Anything else is an error with the nearest codes and names.

`family` has the names of the first paper's Figure 1 for its 17 languages, and the same level for the others
(branches of Indo-European, else whole families); `family_lslo` is the second paper's column.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from babel.core import get_global

from langsim import paths
from langsim.errors import UsageError
from langsim.pools import Member, pool, pool_members, pools, role, role_members, roles
from langsim.suggest import nearest
from langsim.tables import read_table

__all__ = [
    "SOURCES", "Language", "Member", "all_languages", "code_for", "from_source", "get", "pool",
    "pool_members", "pools", "resolve", "role", "role_members", "roles",
]  # fmt: skip

SOURCES = ("m2m", "flores", "ntrex", "ud", "cldr", "django", "uriel")
_CODES = ("code", "iso639_1", "iso639_3", *SOURCES)
_COLUMNS = (*_CODES, "name", "aliases", "family", "family_lslo", "script", "variety_of", "variants")
_TRADITIONAL_REGIONS = {"tw", "hk", "mo"}
_SEVERAL = {
    "sh": ("bs", "hr", "sr"),
    "hbs": ("bs", "hr", "sr"),
    "serbo-croatian": ("bs", "hr", "sr"),
    "kurdish": ("ku", "ckb"),
    "sorbian": ("dsb", "hsb"),
}


@dataclass(frozen=True)
class Language:
    """One language, or a language in its second script (`variety_of` set); an empty code: not in that source.

    Source codes are the ones to use by default: `ntrex` the suffix of the file name (`srp-Cyrl`), `cldr` the
    Babel locale, `django` the folder under `conf/locale`, `flores` the FLORES-200 code, `uriel` the ISO 639-3
    code that lang2vec uses. `variants` has further (source, code) pairs: regional locales and files.
    """

    code: str
    name: str
    iso639_1: str
    iso639_3: str
    m2m: str
    flores: str
    ntrex: str
    ud: str
    cldr: str
    django: str
    uriel: str
    family: str
    family_lslo: str
    script: str
    variety_of: str = ""
    aliases: tuple[str, ...] = ()
    variants: tuple[tuple[str, str], ...] = ()

    def codes(self, source: str) -> tuple[str, ...]:
        """All codes of this language in `source`, the default first, regional ones after it; () if none."""
        default = getattr(self, _known_source(source))
        more = tuple(code for origin, code in self.variants if origin == source)
        return ((default,) if default else ()) + more


@cache
def _registry() -> dict[str, Language]:
    languages = {}
    for row in read_table(paths.DATA / "languages.csv", _COLUMNS):
        row["aliases"] = tuple(filter(None, row["aliases"].split("|")))
        row["variants"] = tuple(tuple(pair.split(":", 1)) for pair in row["variants"].split())
        languages[row["code"]] = Language(**row)
    return languages


def _key(text: str) -> str:
    """What spellings of one code or name share (`zh_Hant.UTF-8` -> `zh-hant`, `Bokmål` -> `bokmal`)."""
    plain = unicodedata.normalize("NFKD", text.strip().split(".")[0])
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter)).casefold()
    return re.sub(r"[\W_]+", "-", plain).strip("-")


@cache
def _index() -> dict[str, str]:
    """Normalised code or name -> canonical code. Own codes win over borrowed, languages over varieties."""
    entries = sorted(_registry().values(), key=lambda language: bool(language.variety_of))
    index = {_key(language.code): language.code for language in entries}
    for language in entries:
        for column in _CODES:
            index.setdefault(_key(getattr(language, column)), language.code)
        for word in (*(code for _, code in language.variants), *language.aliases, language.name):
            index.setdefault(_key(word), language.code)
    for old, code in get_global("language_aliases").items():
        if code in _registry():
            index.setdefault(old, code)
    index.pop("", None)  # the key of an absent code
    return index


def all_languages() -> list[Language]:
    """Every entry of the registry, ordered by code."""
    return list(_registry().values())


def get(code: str) -> Language:
    """The language of any known code, alias or English name, by the rule in the module's docstring.

    Raises:
        UsageError: unknown (with the nearest suggestions), ambiguous, or in a script that is not in the registry.
    """
    if not isinstance(code, str):
        hint = "; YAML reads a bare `no` as false: write 'no' in quotes" if code is False else ""
        raise UsageError(f"a language is given by a text such as 'fa', not by {code!r}{hint}")
    key = _key(code)
    if key in _SEVERAL:
        raise UsageError(f"{code!r} covers several languages here: choose one of {', '.join(_SEVERAL[key])}")
    found = _index().get(key) or _by_subtags(code, key)
    if not found:
        hint = f"{_suggestions(key)} (`langsim languages` lists all)" if key else "`langsim languages` lists all"
        raise UsageError(f"unknown language {code!r}; {hint}")
    return _registry()[found]


def resolve(codes: Iterable[str]) -> list[str]:
    """Canonical codes, in the order given.

    Raises:
        UsageError: an unknown code, one language named twice, or a bare text where a list is expected.
    """
    if isinstance(codes, str):
        raise UsageError(f"languages are given as a list, such as [fa, hi], not as the text {codes!r}")
    seen: dict[str, str] = {}
    for code in codes:
        canonical = get(code).code
        if canonical in seen:
            raise UsageError(f"{seen[canonical]!r} and {code!r} are one language ({canonical}): name it once")
        seen[canonical] = code
    return list(seen)


def code_for(code: str, source: str) -> str:
    """The code that `source` (one of SOURCES) uses for a language.

    Raises:
        UsageError: unknown language or source, or the source lacks the language.
    """
    language = get(code)
    found = getattr(language, _known_source(source))
    if not found:
        raise UsageError(f"{source} has no {language.name} ({language.code}); choose a language that it has")
    return found


def from_source(source: str, code: str) -> str:
    """The canonical code of the language that `source` calls `code` (case and -/_ aside).

    Stricter than `get`: the code must be one of that source's own, regional ones included.

    Raises:
        UsageError: unknown source, or a code that this source does not use.
    """
    _known_source(source)
    wanted = _key(code)
    entries = sorted(all_languages(), key=lambda language: bool(language.variety_of))
    for language in entries:
        if wanted in map(_key, language.codes(source)):
            return language.code
    known = nearest(code, (own for language in entries for own in language.codes(source)))
    raise UsageError(f"{source} has no language {code!r}; nearest there: {', '.join(known)}")


def _known_source(source: str) -> str:
    if source not in SOURCES:
        raise UsageError(f"unknown source {source!r}; choose one of {', '.join(SOURCES)}")
    return source


def _by_subtags(code: str, key: str) -> str:
    """Rules 4 and 5: language[-Script][-REGION]; the canonical code, or "" if the text has another form."""
    match = re.fullmatch(r"([a-z]{2,3})(?:-([a-z]{4}))?(?:-([a-z]{2}|[0-9]{3}))?", key)
    base = _index().get(match[1]) if match else None
    if not base:
        return ""
    language = _registry()[base]
    script = match[2]
    if base == "zh" and not script and match[3] in _TRADITIONAL_REGIONS:
        script = "hant"
    if not script or script == language.script.casefold():
        return base
    with_script = _index().get(f"{match[1]}-{script}")  # 'zh-Hant' in 'zh-Hant-HK'
    if with_script:
        return with_script
    for other in all_languages():
        if other.variety_of == base and other.script.casefold() == script:
            return other.code
    raise UsageError(
        f"{code!r} is {language.name} in the script {script.title()}, which is not in the registry; "
        f"{base} is written in {language.script}"
    )


def _suggestions(key: str) -> str:
    found = (_index()[word] for word in nearest(key, _index(), n=30))
    shown = [f"{code} ({_registry()[code].name})" for code in list(dict.fromkeys(found))[:3]]
    return f"did you mean {', '.join(shown[:-1])} or {shown[-1]}?"
