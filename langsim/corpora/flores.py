"""What FLORES-101, FLORES-200 and FLORES+ share: 3,001 sentences of Wikimedia articles, translated by professionals.

Published are dev (997 sentences) and devtest (1,012). The LSLo paper trains on dev and scores on devtest, so dev is the
pool FINETUNE and devtest TEST; where the articles are known, one in ten of dev's is held out whole as DEV (the paper
keeps the last checkpoint and holds out nothing: its training text is both pools together). The article (its URL) is
the resampling unit, and the site it is from (wikinews, wikibooks, wikivoyage) the domain.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from langsim import languages as registry
from langsim import splits
from langsim.corpora import hub
from langsim.corpora.base import Corpus
from langsim.errors import UsageError

SPLITS = ("dev", "devtest")
SHARES = {"FINETUNE": 0.9, "DEV": 0.1}  # of dev's articles


@dataclass(frozen=True)
class Release:
    """One release.

    Attributes:
        name, title: what the corpus is called here, and by its makers.
        repository, revision: where the hub has it, a configuration a language.
        columns: its columns there for text, article and site.
        codes: its codes, with the registry's; where a language has two, the hub's own first.
    """

    name: str
    title: str
    repository: str
    revision: str | None
    columns: tuple[str, str, str]
    codes: Callable[[], Mapping[str, str]]

    def code(self, language: str) -> str:
        """The release's own code of a language.

        Raises:
            UsageError: it is not in this release.
        """
        for code, ours in self.codes().items():
            if ours == language:
                return code
        raise UsageError(f"{self.title} has no {registry.get(language).name} ({language}); leave it out")


@dataclass(frozen=True)
class Row:
    """One sentence in one language; article and site are empty where they are not told."""

    split: str
    number: int
    language: str
    text: str
    article: str
    site: str


Read = Callable[[Release, Path, Counter], Iterator[Row]]


@cache
def codes_200() -> dict[str, str]:
    """FLORES-200's codes: those of the registry."""
    return {language.flores: language.code for language in registry.all_languages() if language.flores}


def load(release: Release, read: Read, path: str, languages: Sequence[str]) -> Corpus:
    """A release in the given languages (none: in all that the folder has), from `path`, read by `read`, or the hub.

    Raises:
        UsageError: a language that the release or the folder lacks; a folder that is laid out otherwise; from the hub,
            no languages.
        Failure: the hub can't be reached.
    """
    wanted = tuple(sorted(registry.resolve(languages)))
    for code in wanted:
        release.code(code)
    if not path and not wanted:
        raise UsageError(
            f"the corpus '{release.name}' comes from the hub by language: name them, or a folder with data"
        )
    return _load(release, read, path, _state(path), wanted)


@lru_cache(maxsize=1)
def _load(release: Release, read: Read, path: str, state: tuple, wanted: tuple[str, ...]) -> Corpus:
    notes: Counter = Counter()
    folder = Path(path).expanduser()
    rows = read(release, _checked(folder, release), notes) if path else _from_hub(release, wanted)
    items: dict[str, tuple[str, str, str]] = {}
    texts: dict[str, dict[str, str]] = {}
    for row in rows:
        if (wanted and row.language not in wanted) or not row.text.strip():
            continue
        item = f"{release.name}:{row.split}:{row.number:04d}"
        unit = f"{release.name}:{row.article}" if row.article else item
        items.setdefault(item, (row.site or "wikimedia", unit, _pool(row)))
        if item in texts.setdefault(row.language, {}):
            raise UsageError(f"{release.title}, {row.split}, {row.language}: sentence {row.number} is there twice")
        texts[row.language][item] = " ".join(row.text.split())
    lacking = [code for code in wanted if code not in texts]
    if lacking or not items:
        missing = ", ".join(f"{code} ({release.code(code)})" for code in lacking) or "any language of the registry"
        raise UsageError(f"no text of {release.title} in {missing} in {path or release.repository}")
    table = pd.DataFrame.from_dict(items, orient="index", columns=["domain", "unit", "pool"]).sort_index()
    warnings = hub.script_warnings(texts, release.name) + _shared(table, release)
    return Corpus(release.name, table, texts, notes, warnings=warnings)


def _pool(row: Row) -> str:
    if row.split == "devtest":
        return "TEST"
    return splits.draw(f"flores:{row.article}", SHARES) if row.article else "FINETUNE"


def _shared(items: pd.DataFrame, release: Release) -> list[str]:
    test = items["pool"] == "TEST"
    both = set(items["unit"][test]) & set(items["unit"][~test])
    return [f"{release.title}: {len(both)} articles have sentences in dev and in devtest."] if both else []


def _state(path: str) -> tuple:
    """What tells whether the files in a local folder are still the same."""
    files = sorted(file for file in Path(path).expanduser().rglob("*") if file.is_file()) if path else ()
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)


def _checked(folder: Path, release: Release) -> Path:
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder}")
    if not any((folder / split).is_dir() for split in SPLITS):
        raise UsageError(f"no dev/ or devtest/ in {folder}: name the folder of {release.title} that holds them")
    return folder


def _from_hub(release: Release, wanted: Sequence[str]) -> Iterator[Row]:
    for code in wanted:
        where = {"config": release.code(code), "revision": release.revision}
        found = hub.splits(release.repository, ("id", *release.columns), names=SPLITS, **where)
        for split, rows in found.items():
            for row in rows:
                yield _row(release, split, code, row)


def _row(release: Release, split: str, language: str, row: Mapping[str, Any]) -> Row:
    if not isinstance(row["id"], int):
        raise UsageError(f"{release.title}, {split}, {language}: the id {row['id']!r} is not a number; get it again")
    text, article, site = (str(row[column] or "").strip() for column in release.columns)
    return Row(split, row["id"], language, text, article, site.lower())


def read_lines(release: Release, folder: Path, notes: Counter) -> Iterator[Row]:
    """FLORES-101's and FLORES-200's own layout: `dev/CODE.dev`, `devtest/CODE.devtest`, `metadata_dev.tsv`, ...

    Raises:
        UsageError: files of different lengths, or text that is not UTF-8.
    """
    for split in SPLITS:
        facts, first = _metadata(folder / f"metadata_{split}.tsv"), None
        for file, language in _files(release, folder / split, (f".{split}",), notes):
            lines = _lines(file)
            first = first or (file, len(lines))
            for other, length in (first, *([(folder / f"metadata_{split}.tsv", len(facts))] if facts else [])):
                if length != len(lines):
                    raise UsageError(f"{other} has {length} lines and {file.name} {len(lines)}: they must be aligned")
            for number, line in enumerate(lines, start=1):
                article, site = facts[number - 1] if facts else ("", "")
                yield Row(split, number, language, line, article, site)


def read_tables(release: Release, folder: Path, notes: Counter) -> Iterator[Row]:
    """FLORES+'s layout on the hub: `dev/CODE.parquet` or `dev/CODE.jsonl`, and the same in `devtest`.

    Raises:
        UsageError: a damaged file, or one without the columns.
    """
    columns = ("id", *release.columns)
    for split in SPLITS:
        for file, language in _files(release, folder / split, (".parquet", ".jsonl"), notes):
            for row in hub.parquet(file, columns) if file.suffix == ".parquet" else _jsonl(file, columns):
                yield _row(release, split, language, row)


def _files(release: Release, folder: Path, kinds: Sequence[str], notes: Counter) -> Iterator[tuple[Path, str]]:
    """The files of a split that are of a language of the registry; of two of one language, the first."""
    read: set[str] = set()
    for file in sorted(folder.glob("*")):
        if file.suffix not in kinds:
            continue
        language = release.codes().get(file.stem, "")
        if language and language not in read:
            read.add(language)
            yield file, language
        else:
            notes["files of another language or spelling than the registry's"] += 1


def _metadata(file: Path) -> list[tuple[str, str]]:
    """Article and site of each sentence; nothing where the file is not there."""
    if not file.is_file():
        return []
    rows = csv.DictReader(_lines(file), delimiter="\t", quoting=csv.QUOTE_NONE)
    if not {"URL", "domain"} <= set(rows.fieldnames or ()):
        raise UsageError(f"{file}:1: no columns URL and domain; is it the metadata of FLORES?")
    return [((row["URL"] or "").strip(), (row["domain"] or "").strip().lower()) for row in rows]


def _lines(file: Path) -> list[str]:
    try:
        lines = file.read_bytes().decode("utf-8-sig").split("\n")  # not splitlines: a line may hold another separator
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 (byte {error.start}): get it again") from error
    return [line.rstrip("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]


def _jsonl(file: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_lines(file), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{file}:{number}: not JSON; get it again") from error
        lacking = [column for column in columns if not isinstance(row, dict) or column not in row]
        if lacking:
            raise UsageError(f"{file}:{number}: no column {', '.join(lacking)}: is it another dataset?")
        yield row
