"""Where things lie: the project's data, the local cache; and writing files so that no half file is ever seen."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from langsim.errors import Failure

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"


def cache_dir() -> Path:
    """The local cache: `LANGSIM_CACHE`, or `.cache` in the clone. Everything in it can be recomputed."""
    return Path(os.environ.get("LANGSIM_CACHE") or ROOT / ".cache").expanduser()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it over `path`.

    A reader sees the old file or the whole new one, never a part; two processes may write the same path, and
    the last rename wins.

    Raises:
        Failure: the disk is full or the folder can't be written (the temporary file is removed).
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}; free some space or set LANGSIM_CACHE") from error
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes private files; results are meant to be shared
        os.replace(temporary, path)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}; free some space or set LANGSIM_CACHE") from error
    finally:
        temporary.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
