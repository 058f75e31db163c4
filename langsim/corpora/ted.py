"""TED talks (Qi et al., 2018): 60 languages, sentence by sentence, with the talk as the resampling unit.

From the hub (`neulab/ted_multi`, in the parquet files that the hub itself made of it), or from a local folder: those
files, or the original `all_talks_train.tsv`, `all_talks_dev.tsv`, `all_talks_test.tsv`. Both forms give the same items.
The text is tokenised as it was published ("there 'll be"); only its character entities (&apos;) are resolved.
TED's train is the pool FINETUNE, its dev DEV, its test TEST.
"""

import html
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from langsim import languages as registry
from langsim.corpora import hub
from langsim.corpora.base import Corpus
from langsim.errors import UsageError

REPOSITORY = "neulab/ted_multi"
REVISION = "refs/convert/parquet"
FILES = {"train": "all_talks_train.tsv", "validation": "all_talks_dev.tsv", "test": "all_talks_test.tsv"}

# Columns that aren't read, because another one has more of the same language: column -> that one.
SECOND = {"pt": "pt-br", "zh": "zh-cn", "fr-ca": "fr"}
_MISSING = ("__NULL__", "_ _ NULL _ _")  # in place of a translation, or within one that is incomplete


@dataclass(frozen=True)
class Row:
    """One sentence: its split, its number there from 1, and (column, text) pairs."""

    split: str
    number: int
    talk: str
    cells: Iterable[tuple[str, str]]


def load(path: str = "", languages: Sequence[str] = ()) -> Corpus:
    """The talks in the given languages (none: in all of them, which takes several GB of memory).

    Raises:
        UsageError: nothing in `path` that can be read.
        Failure: the hub can't be reached.
    """
    return _load(path, hub.state(path), tuple(sorted({registry.get(code).code for code in languages})))


@lru_cache(maxsize=1)
def _load(path: str, state: tuple, wanted: tuple[str, ...]) -> Corpus:
    notes: Counter = Counter()
    problems: list[str] = []
    items: dict[str, tuple[str, str, str]] = {}
    texts: dict[str, dict[str, str]] = {}
    for row in tqdm(_rows(path, problems), desc="TED talks", unit=" sentences", disable=None, leave=False):
        found = _usable(row.cells, wanted, notes)
        if len(found) < 2:
            continue
        item = f"ted:{row.split}:{row.number:06d}"
        items[item] = ("talks", f"ted:{row.talk}", hub.POOLS[row.split])
        for code, text in found.items():
            texts.setdefault(code, {})[item] = text
    if not items:
        raise UsageError(f"no sentence in two of the languages {', '.join(wanted) or 'of TED'} in {path or REPOSITORY}")
    table = pd.DataFrame.from_dict(items, orient="index", columns=["domain", "unit", "pool"])
    return Corpus("ted", table, texts, notes, problems, hub.script_warnings(texts, "ted"))


def _usable(cells: Iterable[tuple[str, str]], wanted: Sequence[str], notes: Counter) -> dict[str, str]:
    """Language -> text, of the wanted languages; what belongs to no language that is read is counted."""
    found = {}
    for column, text in cells:
        if not text or any(mark in text for mark in _MISSING):
            continue
        code, reason = _language(column)
        if reason:
            notes[reason] += 1
        elif (not wanted or code in wanted) and (words := html.unescape(text).split()):
            found[code] = " ".join(words)
    return found


@cache
def _language(column: str) -> tuple[str, str]:
    """The language of a column, or why the column isn't read."""
    if column in SECOND:
        return "", f"column {column}: {SECOND[column]} has more of this language"
    try:
        return registry.get(column).code, ""
    except UsageError:
        return "", f"column {column}: not a language of the registry"


def _rows(path: str, problems: list[str]) -> Iterator[Row]:
    folder = Path(path).expanduser()
    if path and any((folder / name).is_file() for name in FILES.values()):
        for split, name in FILES.items():
            if (folder / name).is_file():
                yield from _tsv(folder / name, split, problems)
        return
    columns = ("translations", "talk_name")
    for split, rows in hub.splits(REPOSITORY, columns, path=path, revision=REVISION).items():
        for number, row in enumerate(rows, start=1):
            told = row["translations"]
            yield Row(split, number, row["talk_name"], zip(told["language"], told["translation"], strict=True))


def _tsv(file: Path, split: str, problems: list[str]) -> Iterator[Row]:
    """The rows of an original file, where a quotation mark is a letter like any other.

    Raises:
        UsageError: no column `talk_name`, or text that is not UTF-8.
    """
    try:
        with open(file, encoding="utf-8-sig", newline="\n") as stream:
            header = stream.readline().rstrip("\r\n").split("\t")
            if "talk_name" not in header:
                raise UsageError(f"{file}:1: no column talk_name; is it a file of the TED talks?")
            lines = (line.rstrip("\r\n") for line in stream)
            for number, line in enumerate(filter(None, lines), start=1):
                values = line.split("\t")
                if len(values) != len(header):
                    problems.append(f"{file.name}, row {number}: {len(values)} columns, expected {len(header)}")
                    continue
                row = dict(zip(header, values, strict=True))
                yield Row(split, number, row.pop("talk_name"), row.items())
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8; download it again") from error
