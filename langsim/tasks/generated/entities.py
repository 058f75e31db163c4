"""NER at `mini`: names of Unicode CLDR inside messages of the catalogs, both from the pool reserved for tasks.

A message with one placeholder gets one to three names there, joined by CLDR's list pattern; each name's words are
tagged with its type: LOC (territories, cities), LANG (languages), CUR (currencies). The names are those that all
the languages have, and are split by cluster, so no test name (or near copy of one) is in a training sentence of any
language. Messages come in all splits: they are few. All languages get as many: the number that the language with
the fewest of them has, and those first that most of the languages share. A language with fewer than
`FEWEST_MESSAGES` is left out rather than to leave that few to all (`overlap` says how many two languages share). A name
is not inflected for its place. It measures whether a model knows names and their types, and where they end.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, partial

import pandas as pd
import regex

from langsim import splits
from langsim.corpora import catalogs
from langsim.corpora.base import Corpus
from langsim.errors import UsageError
from langsim.tasks import words
from langsim.tasks.base import Tokens
from langsim.tasks.generated.locale_data import LISTS, unavailable
from langsim.tasks.generated.meanings import Draw, split_of
from langsim.tasks.generated.recipe import Recipe
from langsim.tasks.generated.rendering import LITERAL, Piece, fill, listed

TYPES = {"territory": "LOC", "city": "LOC", "language": "LANG", "currency": "CUR"}
TAGS = ("O", *(f"{mark}-{kind}" for kind in ("LOC", "LANG", "CUR") for mark in "BI"))
FEWEST_MESSAGES = 12
FEWEST_NAMES = 8  # of each split, for a task that is more than a handful of words
LONGEST = 160  # characters of a message
NEEDS = (LISTS,)
NOTES = ("Intervals of rankings draw languages again, not items: they don't say what other names would change.",)
_COUNTED = regex.compile(r"\{0\} (?:\w+s|more|page|second)\b|\(s\)")  # the placeholder is a number


@cache
def _corpus() -> Corpus:
    """The catalogs: asking for them again costs a look at every package's version."""
    return catalogs.load()


def unavailable_in(code: str) -> str:
    """Why this language can't have the task, or an empty string."""
    found = len(_messages(code)) if code in _corpus().texts else 0
    if found < FEWEST_MESSAGES:
        return f"{found} messages with a placeholder are reserved for tasks in it, {FEWEST_MESSAGES} are needed"
    return unavailable(code, NEEDS)


def recipe(codes: Sequence[str]) -> Recipe:
    """The task on the names that all of `codes` have.

    Raises:
        UsageError: they share too few.
    """
    names = {split: _names(tuple(sorted(codes)), split) for split in ("train", "validation", "test")}
    for split, found in names.items():
        n = sum(map(len, found.values()))
        if n < FEWEST_NAMES or not all(found.values()):
            raise UsageError(f"the languages {', '.join(codes)} share only {n} names for {split}: leave some out")

    messages = {code: [text for _, text in own] for code, own in carriers(tuple(sorted(codes))).items()}
    size = len(next(iter(messages.values())))

    def draw(draws: Draw, number: int) -> tuple:
        """(number of the message among a language's; the names' items)."""
        own, chosen = names[draws.split], []
        for _ in range(1 + number % 3):
            kind = draws.one_of(sorted(own))
            chosen.append(draws.one_of([item for item in own[kind] if item not in chosen] or own[kind]))
        return draws.integer(0, size - 1), tuple(chosen)

    return Recipe("mini-ner", "tokens", "entity_f1", TAGS, draw, partial(_render, messages), NOTES)


@cache
def carriers(codes: tuple[str, ...]) -> Mapping[str, list[tuple[str, str]]]:
    """Language -> (item, message), as many for each: those first that most of the languages have."""
    own = {code: _messages(code) for code in codes}
    size = min(map(len, own.values()))
    shared = Counter(item for found in own.values() for item in found)
    return {
        code: [(item, found[item]) for item in sorted(found, key=lambda item: (-shared[item], item))[:size]]
        for code, found in own.items()
    }


def overlap(codes: Sequence[str]) -> pd.DataFrame:
    """(L, L) share of their messages that two languages have in common, 1 on the diagonal."""
    own = {code: {item for item, _ in found} for code, found in carriers(tuple(sorted(codes))).items()}
    values = [[len(own[one] & own[other]) / len(own[one]) for other in codes] for one in codes]
    return pd.DataFrame(values, pd.Index(codes, name="target"), pd.Index(codes, name="source"))


def _render(messages: Mapping[str, list[str]], code: str, meaning: tuple, unit: str) -> Tokens:
    place, items = meaning
    texts = _corpus().texts[code]
    names = listed(code, [[Piece(texts[item], _type(item))] for item in items])
    pieces = fill(messages[code][place].replace("{0}", "\ue000"), {"\ue000": names})
    found = []
    for text, kind in pieces:
        for number, word in enumerate(words.split(text)):
            found.append((word, "O" if kind == LITERAL else f"{'I' if number else 'B'}-{kind}"))
    return Tokens(*map(tuple, zip(*found, strict=True)), unit)


def _type(item: str) -> str:
    return TYPES[item.split(":")[1]]


@cache
def _messages(code: str) -> dict[str, str]:
    """Item -> message with one placeholder for a name, without any name of its own; of equal ones the first."""
    corpus = _corpus()
    english, own = corpus.texts["en"], corpus.texts[code]
    named = {_padded(text) for item, text in own.items() if _is_name(item) and len(text) > 1}
    found: dict[str, str] = {}
    for item in corpus.select(domain="software", pool="TASKS"):
        text = own.get(item, "")
        fits = text.count("{") == 1 and "{0}" in text and len(text) <= LONGEST
        if fits and item in english and not _COUNTED.search(english[item]) and not _names_in(text, named):
            found.setdefault(words.clean(text), item)
    return {item: text for text, item in found.items()}


def _is_name(item: str) -> bool:
    return item.startswith("cldr:") and item.split(":")[1] in TYPES


def _names_in(text: str, named: set[str]) -> bool:
    padded = _padded(text)
    return any(name in padded for name in named)


def _padded(text: str) -> str:
    return f" {' '.join(words.split(text.casefold()))} "


@cache
def _names(codes: tuple[str, ...], split: str) -> Mapping[str, list[str]]:
    """Type -> items of one split that every language has, of one type in each."""
    corpus = _corpus()
    types = {code: _types(code) for code in codes}
    units = corpus.items["unit"]
    found: dict[str, list[str]] = {}
    for item in corpus.select(domain="names", pool="TASKS"):
        shared = _is_name(item) and all(
            item in corpus.texts[code] and len(types[code][splits.normalise(corpus.texts[code][item])]) == 1
            for code in codes
        )
        if shared and split_of("name", units[item]) == split:
            found.setdefault(_type(item), []).append(item)
    return found


@cache
def _types(code: str) -> dict[str, set[str]]:
    """The types that each name stands for in one language ("Luxembourg" is a territory and a city: one type)."""
    types: dict[str, set[str]] = {}
    for item, text in _corpus().texts[code].items():
        if item.startswith("cldr:"):
            kind = item.split(":")[1]
            types.setdefault(splits.normalise(text), set()).add(TYPES.get(kind, kind))
    return types
