"""`langsim data fetch`: the open corpora, downloaded file by file from pinned commits and checked.

A file appears under its name when its size and sha256 are those of `data/open_corpora.tsv`, never before. Until then it
is NAME.part, which the next call continues. `LANGSIM_MIRROR` names another server with the same paths.
"""

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from langsim import open_data
from langsim.errors import Failure
from langsim.open_data import OpenFile
from langsim.paths import sha256_file

if TYPE_CHECKING:
    from requests import Response, Session
    from tqdm import tqdm

SERVER = "https://raw.githubusercontent.com"
TRIES = 4
PAUSE = 0.5  # seconds before the second try, twice as long before each further one
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of an answer
_PIECE = 1 << 12  # bytes; what is lost of a connection that breaks is less
_BUSY = (408, 429, 500, 502, 503, 504)  # answers that may be others in a moment


@dataclass(frozen=True)
class Fetched:
    """What a call did: files downloaded, and files that were there already."""

    folder: Path
    downloaded: int
    kept: int


class _Broken(Exception):
    """A download that ended early, or an answer that may be another in a moment: worth a further try."""


def fetch(name: str) -> Fetched:
    """Download the missing and the damaged files of one open corpus into `open_data.root()`.

    A bar on the terminal shows progress; without a terminal there is none.

    Raises:
        UsageError: no such corpus.
        Failure: offline, a file that the server lacks or has with another content, a full disk, another process at it.
    """
    folder = open_data.root() / open_data.collection(name).folder
    files = open_data.files(name)
    todo = [file for file in files if not _sound(open_data.root() / file.file, file)]
    if todo:
        _download_all(todo, folder)
    return Fetched(folder, len(todo), len(files) - len(todo))


def _download_all(files: list[OpenFile], folder: Path) -> None:
    from filelock import FileLock, Timeout
    from requests import Session
    from tqdm import tqdm

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0),
            Session() as session,
            tqdm(total=sum(file.size for file in files), unit="B", unit_scale=True, disable=None, leave=False) as bar,
        ):
            for file in files:
                bar.set_description(Path(file.file).name)
                _download(session, file, open_data.root() / file.file, bar)
    except Timeout as error:
        raise Failure(f"another process is fetching into {folder}; wait until it has finished") from error
    except OSError as error:
        raise Failure(_cannot_write(folder, error)) from error


def _download(session: "Session", file: OpenFile, path: Path, bar: "tqdm") -> None:
    """One file, in at most `TRIES` tries, each of which goes on where the last one ended."""
    part = path.with_name(f"{path.name}.part")
    start = bar.n
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        resumed = part.exists()
        try:
            for have in _receive(session, file, part):
                bar.update(start + have - bar.n)
        except _Broken as error:
            problem = f"{error}; give the same command again to continue"
            continue
        if _sound(part, file):
            with open(part, "rb") as written:
                os.fsync(written.fileno())
            os.replace(part, path)
            return
        part.unlink()
        problem = f"{_url(file)} has another content than data/open_corpora.tsv says; nothing of it was kept{_hint()}"
        if not resumed:  # else what was there before may have been damaged: once more, from the first byte
            break
    raise Failure(problem)


def _receive(session: "Session", file: OpenFile, part: Path) -> Iterator[int]:
    """Append to `part` what it lacks of the file, telling after each piece how many bytes it has.

    Raises:
        _Broken: no answer, one that ended early, or one that may be another in a moment.
        Failure: an answer that no further try will change, or a full disk (the part is removed).
    """
    import requests

    have = part.stat().st_size if part.exists() else 0
    if have == file.size:
        return
    headers = {"Accept-Encoding": "identity"}  # else a range would be one of the compressed bytes
    if 0 < have < file.size:
        headers["Range"] = f"bytes={have}-"
    try:
        answer = session.get(_url(file), headers=headers, stream=True, timeout=TIMEOUT)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _Broken(f"no connection to {urlsplit(_url(file)).netloc} (is this machine offline?)") from error
    except requests.RequestException as error:
        raise Failure(f"{_url(file)}: {error}{_hint()}") from error
    try:
        with answer, open(part, "ab" if _continues(answer, file, have) else "wb") as stream:
            have = stream.tell()
            for piece in answer.iter_content(_PIECE):
                stream.write(piece)
                have += len(piece)
                yield have
                if have > file.size:
                    return
    except requests.RequestException as error:
        raise _Broken(f"the connection broke after {have:,} of the {file.size:,} bytes of {file.file}") from error
    except OSError as error:
        part.unlink(missing_ok=True)
        raise Failure(_cannot_write(part, error)) from error
    if have < file.size:
        raise _Broken(f"the connection broke after {have:,} of the {file.size:,} bytes of {file.file}")


def _continues(answer: "Response", file: OpenFile, have: int) -> bool:
    """Whether an answer goes on after byte `have`; False where it begins with the first.

    Raises:
        _Broken: the server is too busy.
        Failure: it has no such file, or one of another length.
    """
    status, headers = answer.status_code, answer.headers
    if status in _BUSY:
        raise _Broken(f"{_url(file)} answers {status} {answer.reason}")
    if status == 404:
        raise Failure(f"{_url(file)} is not there (404){_hint()}")
    if status not in (200, 206):
        raise Failure(f"{_url(file)} answers {status} {answer.reason}{_hint()}")
    begin, total = f"bytes {have}-", headers.get("Content-Length")
    if status == 206:
        total = headers.get("Content-Range", "").rpartition("/")[2]
        if not headers.get("Content-Range", "").startswith(begin):
            raise Failure(f"{_url(file)} answers with another range than it was asked for{_hint()}")
    if total and total.isdigit() and int(total) != file.size and "Content-Encoding" not in headers:
        raise Failure(f"{_url(file)} has {int(total):,} bytes, expected {file.size:,}{_hint()}")
    return status == 206


def _url(file: OpenFile) -> str:
    server = (os.environ.get("LANGSIM_MIRROR") or SERVER).rstrip("/")
    return quote(f"{server}/{file.repository}/{file.commit}/{file.path}", safe=":/")


def _hint() -> str:
    return "; check LANGSIM_MIRROR" if os.environ.get("LANGSIM_MIRROR") else "; try again later"


def _sound(path: Path, file: OpenFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size and sha256_file(path) == file.sha256


def _cannot_write(path: Path, error: OSError) -> str:
    reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
    return f"cannot write {path}: {reason}; free some space, or set LANGSIM_DATA to another folder"
