"""Where things lie: the project's data, the local cache; and writing files so that no half file is ever seen."""

import glob
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from langsim.errors import Failure

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

ABANDONED = 24 * 3600.0  # seconds after which a file that can't be locked is taken for a dead writer's

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"


def cache_dir() -> Path:
    """The local cache: `LANGSIM_CACHE`, or `.cache` in the clone. Everything in it can be recomputed."""
    return Path(os.environ.get("LANGSIM_CACHE") or ROOT / ".cache").expanduser()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it over `path`.

    A reader sees the old file or the whole new one, never a part; two processes may write the same path, and
    the last rename wins. What a killed writer of the same path left behind is removed.

    Raises:
        Failure: the disk is full or the folder can't be written (the temporary file is removed).
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, glob.escape(path.name))
        temporary, lock = _temporary(path)
    except OSError as error:
        raise Failure(_cannot_write(path, error)) from error
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes private files; results are meant to be shared
        os.replace(temporary, path)
    except OSError as error:
        raise Failure(_cannot_write(path, error)) from error
    finally:
        temporary.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def one_maker(path: Path) -> Iterator[None]:
    """Hold the right to make `path`: another process that wants to make it too waits, then finds it made.

    Look once more whether it is there after entering. Where files can't be locked nobody waits: both make the same
    file. A killed process holds nothing.
    """
    from filelock import FileLock

    mark = path.with_name(f".{path.name}.lock")
    lock = FileLock(mark)
    # Where the folder can't be written, it is the writing of `path` that says so.
    with suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        if lock.is_locked:
            mark.unlink(missing_ok=True)  # before it is given up: who waits for it notices, and makes a new one
            lock.release()


def _cannot_write(path: Path, error: OSError) -> str:
    return f"cannot write {path}: {error.strerror}; free some space or set LANGSIM_CACHE"


def _temporary(path: Path) -> tuple[Path, int | None]:
    """A new file beside `path`, and a descriptor whose lock says that its writer lives (None where none can be had)."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        if fcntl is None:
            os.close(handle)
            return Path(name), None
        # Another process may sweep the file before it is locked; then a new one is made.
        if _locked(handle) is not False and os.fstat(handle).st_nlink:
            return Path(name), handle
        os.close(handle)
        Path(name).unlink(missing_ok=True)


def sweep(folder: Path, name: str = "*") -> None:
    """Remove what killed writers left behind in a folder: of the files of that name (a pattern), or of all."""
    for leftover in folder.glob(f".{name}.*.part"):
        try:
            _remove_if_abandoned(leftover)
        except OSError:  # another process was quicker
            continue


def _remove_if_abandoned(leftover: Path) -> None:
    """Remove a temporary file unless its writer lives: that one holds a lock, or, where files can't be locked, has
    written lately."""
    if fcntl is None:
        handle, locked = None, None
    else:
        handle = os.open(leftover, os.O_RDWR)
        locked = _locked(handle)
    try:
        if locked or (locked is None and time.time() - leftover.stat().st_mtime > ABANDONED):
            leftover.unlink()  # before the lock is given back: a writer that has just made this file waits for it
    finally:
        if handle is not None:
            os.close(handle)


def _locked(handle: int) -> bool | None:
    """Lock an open file for this process: False if another has it, None where the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
