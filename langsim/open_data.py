"""The open corpora: what there is, under which licence, and where it lies on this machine.

`data/open_corpora.tsv` holds the facts about every file: size, sha256, repository, commit and path there, licence.
The files themselves are in the folder that `LANGSIM_DATA` names, or where `langsim data fetch` puts them without it.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from langsim import paths
from langsim.errors import Failure, UsageError
from langsim.suggest import unknown
from langsim.tables import read_table

COLUMNS = ("file", "bytes", "sha256", "repository", "commit", "path", "license")
SHOWN = ("corpus", "what", "licence", "size", "files", "where")


@dataclass(frozen=True)
class Collection:
    """One open corpus: the folder that holds it, and a line on what it is."""

    folder: str
    what: str


COLLECTIONS = {
    "ntrex": Collection("ntrex128", "NTREX-128: news, translated, line by line"),
    "ud": Collection("ud-pos", "Universal Dependencies: parts of speech"),
    "uner": Collection("uner", "Universal NER: named entities"),
    "xquad": Collection("xquad", "XQuAD: questions on translated paragraphs"),
}


@dataclass(frozen=True)
class OpenFile:
    """One file: `file` is its path in the local folder, `path` in the repository; `size` in bytes."""

    file: str
    size: int
    sha256: str
    repository: str
    commit: str
    path: str
    licence: str


def root() -> Path:
    """The folder that holds the corpora's folders: `LANGSIM_DATA`, or `open` in the cache."""
    return Path(os.environ.get("LANGSIM_DATA") or paths.cache_dir() / "open").expanduser()


def collection(name: str) -> Collection:
    """The collection called `name`.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in COLLECTIONS:
        raise UsageError(f"open corpus: {unknown(name, COLLECTIONS)}")
    return COLLECTIONS[name]


def files(name: str) -> list[OpenFile]:
    """The files of one corpus.

    Raises:
        UsageError: no such corpus.
        Failure: the table of facts is missing or damaged.
    """
    start = f"{collection(name).folder}/"
    return [file for file in _table(paths.DATA / "open_corpora.tsv") if file.file.startswith(start)]


def folder(name: str) -> Path:
    """Where a corpus lies.

    Raises:
        UsageError: no such corpus, or it is not there; the line says how to get it.
    """
    path = root() / collection(name).folder
    if not any((root() / file.file).is_file() for file in files(name)):
        raise UsageError(
            f"the corpus '{name}' is not in {path.parent} (nothing in {path.name}/): get it with "
            f"`langsim data fetch {name}`, or set LANGSIM_DATA to a folder that holds it"
        )
    return path


def listing() -> list[dict[str, str | int]]:
    """One row a corpus, with the keys of `SHOWN`; `files` counts those here in their full size ("59 of 59")."""
    rows = []
    for name, corpus in COLLECTIONS.items():
        wanted = files(name)
        here = [file for file in wanted if _size(root() / file.file) == file.size]
        row = {"corpus": name, "what": corpus.what, "licence": ", ".join(sorted({file.licence for file in wanted}))}
        row |= {"size": sum(file.size for file in wanted), "files": f"{len(here)} of {len(wanted)}"}
        rows.append({**row, "where": str(root() / corpus.folder)})
    return rows


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


@cache
def _table(facts: Path) -> list[OpenFile]:
    rows = [tuple(row[column] for column in COLUMNS) for row in read_table(facts, COLUMNS)]
    try:
        return [OpenFile(file, int(size), *others) for file, size, *others in rows]
    except ValueError as error:
        raise Failure(f"{facts}: a size is no number; restore the file from the repository") from error
