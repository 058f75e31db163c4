"""A zip file of small files with a manifest of their checksums: written the same way every time, read with care.

What is read was written by others: names, sizes, kinds of entries and checksums are looked at before a byte is used,
and nothing is unpacked on disk.
"""

import hashlib
import io
import json
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from langsim import __version__
from langsim.errors import Failure, UsageError
from langsim.paths import atomic_write

FORMAT = 1
MANIFEST = "manifest.json"
LARGEST = 256 << 20  # bytes: of an archive, and of everything in it unpacked
MOST = 20_000  # files
_PART = r"[A-Za-z0-9][A-Za-z0-9._=+,@-]{0,199}"  # of a path: never a dot first, no separator, no drive
_NAME = re.compile(rf"{_PART}(/{_PART}){{0,3}}")
_DATE = (1980, 1, 1, 0, 0, 0)  # the first there is in a zip file: no archive shows when it was made
_REGULAR = stat.S_IFREG | 0o644
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError)


class Entry(BaseModel):
    """What the manifest says of one file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What is in an archive, whose results they are, and which langsim packed them (recorded, never compared)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: int
    profile: str
    langsim: str
    files: dict[str, Entry]


def write(path: Path, profile: str, files: Mapping[str, bytes]) -> Path:
    """Pack `files` (name -> content) with their manifest; the same files give the same bytes.

    Raises:
        UsageError: a name or a size that `read` would refuse.
        Failure: the disk is full (no half archive is left).
    """
    manifest = Manifest(
        format=FORMAT,
        profile=profile,
        langsim=__version__,
        files={name: _entry(content) for name, content in sorted(files.items())},
    )
    wrong = [name for name in files if not _NAME.fullmatch(name)]
    if wrong:
        raise UsageError(f"cannot pack {wrong[0]!r}: not a name that fits every file system; rename it")
    text = json.dumps(manifest.model_dump(), indent=1, sort_keys=True) + "\n"
    packed = {MANIFEST: text.encode(), **dict(sorted(files.items()))}
    if len(packed) > MOST or sum(map(len, packed.values())) > LARGEST:
        raise UsageError(f"too much for one archive: more than {MOST} files or {LARGEST >> 20} MB; pack fewer results")
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file, such as {path / f'{profile}.zip'}")
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in packed.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, _REGULAR << 16  # Unix everywhere
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, 9)
    return path


def read(path: Path) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest, and name -> content of everything that it lists.

    Raises:
        UsageError: no such file, or a format that this version does not read.
        Failure: not a whole archive, or one whose content is not what its manifest says: what is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no file {path}; name one that was made with: langsim results export")
    try:
        if path.stat().st_size > LARGEST:
            raise Failure(f"{path}: larger than {LARGEST >> 20} MB, which no archive of results is")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            packed = {info.filename: archive.read(info) for info in _sound(path, archive.infolist())}
    except _UNREADABLE as error:
        raise Failure(f"{path}: damaged, or no zip file ({error}); get it again") from error
    manifest = _manifest(path, packed.pop(MANIFEST, None))
    for name in sorted(packed.keys() | manifest.files.keys()):
        if name not in manifest.files:
            raise Failure(f"{path}: {name} is not in its {MANIFEST}; export it again")
        if name not in packed:
            raise Failure(f"{path}: {name} is missing; export it again")
        if _entry(packed[name]) != manifest.files[name]:
            raise Failure(f"{path}: {name} is not what its {MANIFEST} says; get it again")
    return manifest, packed


def _entry(content: bytes) -> Entry:
    return Entry(size=len(content), sha256=hashlib.sha256(content).hexdigest())


def _sound(path: Path, entries: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """The entries, if all may be unpacked. (`zipfile` reads no more of an entry than its header announces.)"""
    if len(entries) > MOST or sum(entry.file_size for entry in entries) > LARGEST:
        raise Failure(f"{path}: more than {MOST} files or {LARGEST >> 20} MB unpacked, which no archive of results is")
    seen: set[str] = set()
    for entry in entries:
        name = entry.orig_filename
        if name != entry.filename or not _NAME.fullmatch(name):
            raise Failure(f"{path}: {name!r} is not the name of a file that may be unpacked; nothing is taken from it")
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise Failure(f"{path}: {name} is a link or no plain file; nothing is taken from it")
        if entry.compress_type not in _PLAIN or entry.flag_bits & 1:
            raise Failure(f"{path}: {name} is encrypted or packed in an unusual way; nothing is taken from it")
        if name.casefold() in seen:
            raise Failure(f"{path}: {name} is there twice; nothing is taken from it")
        seen.add(name.casefold())
    return entries


def _manifest(path: Path, content: bytes | None) -> Manifest:
    if content is None:
        raise Failure(f"{path}: no {MANIFEST}; make the archive with: langsim results export")
    try:
        raw = json.loads(content)
        if isinstance(raw, dict) and type(raw.get("format")) is int and raw["format"] != FORMAT:
            raise UsageError(f"{path}: format {raw['format']}, and this langsim reads {FORMAT}; update langsim")
        return Manifest.model_validate(raw)
    except (ValidationError, ValueError, RecursionError) as error:
        raise Failure(f"{path}: its {MANIFEST} cannot be read; export it again") from error
