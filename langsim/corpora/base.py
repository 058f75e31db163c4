"""What every corpus offers: aligned pairs, plain text, pools, and a digest of its content.

A corpus is one table of *items*. An item is one thing said in several languages: a message of a program, a name,
a sentence. Whatever has the same item number is a translation of the same text, in any two languages.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any

import pandas as pd

from langsim import languages
from langsim.errors import UsageError
from langsim.suggest import unknown

# Each a module of this package with a `load`, and the options that it takes.
OPTIONS = {
    "catalogs": (),
    "files": ("path",),
    "ntrex": (),
    "ted": ("path", "languages"),
    "opus100": ("path", "languages", "max_items", "seed"),
    "flores101": ("path", "languages"),
    "flores200": ("path", "languages"),
    "flores_plus": ("path", "languages"),
}
NAMES = tuple(OPTIONS)
FROM_HUB = ("ted", "opus100", "flores101", "flores200", "flores_plus")  # without a `path`, a first call downloads it


@dataclass(frozen=True)
class Pair:
    """One aligned pair. `unit` is what resampling draws: a cluster of near-identical messages, or a document."""

    id: str
    source_text: str
    target_text: str
    domain: str
    unit: str


@dataclass
class Corpus:
    """Aligned text in several languages.

    Attributes:
        name: what the corpus is called in a signature.
        items: one row an item, indexed by item id, with columns `domain`, `unit`, `pool`.
        texts: for each language, item id -> text. English is a language like any other.
        notes: what was dropped while reading, reason -> count. Shown, never hidden.
        problems: one line for each malformed line of a user's file, with file and line number.
        warnings: what a reader of any number made from this text has to know.
    """

    name: str
    items: pd.DataFrame
    texts: Mapping[str, Mapping[str, str]]
    notes: Mapping[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not any(self.texts.values()):
            raise UsageError(f"corpus '{self.name}' is empty: it holds no text in any language")
        self._digest = ""

    @property
    def languages(self) -> list[str]:
        """Registry codes of the languages with any text, sorted."""
        return sorted(code for code, texts in self.texts.items() if texts)

    @property
    def digest(self) -> str:
        """Hex sha256 of every item, its pool and its text in every language: equal digests, equal corpora."""
        if not self._digest:
            total = hashlib.sha256()
            for item, domain, unit, pool in self.items[["domain", "unit", "pool"]].sort_index().itertuples():
                total.update(f"{item}\t{domain}\t{unit}\t{pool}\n".encode())
            for code in self.languages:
                lines = [f"{item}\t{text}\n" for item, text in sorted(self.texts[code].items())]
                total.update("".join([f"[{code}]\n", *lines]).encode())
            self._digest = total.hexdigest()
        return self._digest

    @property
    def domains(self) -> list[str]:
        """The kinds of text that are kept apart, sorted."""
        return sorted(self.items["domain"].unique())

    def select(self, *, domain: str = "", pool: str = "") -> pd.Index:
        """Ids of the items of one domain and pool (an empty string: any), in a stable order.

        Raises:
            UsageError: no such domain or pool in this corpus.
        """
        keep = pd.Series(True, index=self.items.index)
        for column, value in (("domain", domain), ("pool", pool)):
            if value:
                known = sorted(self.items[column].unique())
                if value not in known:
                    raise UsageError(f"{column} of corpus '{self.name}': {unknown(value, known)}")
                keep &= self.items[column] == value
        return self.items.index[keep]

    def text(self, language: str, *, domain: str = "", pool: str = "") -> list[str]:
        """Plain text of one language, in item order."""
        texts = self._of(language)
        return [texts[item] for item in self.select(domain=domain, pool=pool) if item in texts]

    def pairs(self, source: str, target: str = "en", *, domain: str = "", pool: str = "") -> list[Pair]:
        """Every item that both languages have, in item order.

        Raises:
            UsageError: an unknown language, or one the corpus has no text for.
        """
        items = self.select(domain=domain, pool=pool)
        return self.pairs_of(items, source, target)

    def pairs_of(self, items: pd.Index | list[str], source: str, target: str = "en") -> list[Pair]:
        """The pairs of the given items, where both languages have them."""
        source_texts, target_texts = self._of(source), self._of(target)
        domain, unit = self._facts["domain"], self._facts["unit"]
        return [
            Pair(item, source_texts[item], target_texts[item], domain[item], unit[item])
            for item in items
            if item in source_texts and item in target_texts
        ]

    @cached_property
    def _facts(self) -> dict[str, dict[str, str]]:
        """`items` as plain dicts: a look-up in a data frame costs more than all else in `pairs_of`."""
        return self.items[["domain", "unit"]].to_dict()

    def _of(self, language: str) -> Mapping[str, str]:
        code = languages.get(language).code
        if not self.texts.get(code):
            raise UsageError(f"corpus '{self.name}' has no text in '{code}'; it has {', '.join(self.languages)}")
        return self.texts[code]


def load(name: str = "catalogs", **options: Any) -> Corpus:
    """The corpus called `name`, with the options of `OPTIONS`.

    `catalogs` (offline, the default), `files` (`path=`), `ntrex`, `ted` (`languages=[...]`, `path=` a local copy),
    `flores101`, `flores200`, `flores_plus` (the same), or `opus100` (the same, and `max_items=`, `seed=`).

    Raises:
        UsageError: an unknown corpus or option, or a corpus whose text is not there.
    """
    if name not in NAMES:
        raise UsageError(f"corpus: {unknown(name, NAMES)}")
    for option in options:
        if option not in OPTIONS[name]:
            raise UsageError(f"option of corpus '{name}': {unknown(option, OPTIONS[name])}")
    return import_module(f"langsim.corpora.{name}").load(**options)
