"""Fisher vectors on disk: one checksummed safetensors file per language, written atomically, read by memory map.

The layout of a vector *is* the header of its file: every parameter is a tensor with its own name and shape, all of
them lie one after the other, and so any safetensors reader opens the file. Nothing is unpickled.
"""

import hashlib
import json
import mmap
import os
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from langsim.errors import Failure, UsageError
from langsim.layout import Layout, checked
from langsim.paths import atomic_write, sweep

SUFFIX = ".safetensors"
FORMAT = "langsim-fisher-1"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_@+-]*(\.[A-Za-z0-9_@+-]+)*")
_BLOCK = 1 << 22  # elements handled at a time: 16 MiB, whatever the size of the model

# Files whose checksum this process has already seen to be right, by identity on disk: reading 17 vectors of a large
# model twice just to hash them again would cost more than comparing them.
_verified: set[tuple[int, int, int, int]] = set()


@dataclass(frozen=True)
class StoredVector:
    """A Fisher vector as it lies on disk.

    Attributes:
        values: float32 (P,), memory-mapped and read-only.
        layout: [(parameter name, shape, offset in elements)], in offset order.
        metadata: what `put` was given.
        sha256: hex digest of the data.
    """

    key: str
    path: Path
    values: np.ndarray
    layout: Layout
    metadata: dict[str, Any]
    sha256: str
    _map: mmap.mmap = field(repr=False, compare=False)

    @property
    def signature(self) -> str:
        return str(self.metadata.get("signature", ""))

    def tensor(self, name: str) -> np.ndarray:
        """One parameter's Fisher values in the parameter's shape (a view).

        Raises:
            UsageError: no such parameter.
        """
        for known, shape, offset in self.layout:
            if known == name:
                return self.values[offset : offset + prod(shape)].reshape(shape)
        raise UsageError(f"no parameter {name!r} in {self.path}; see its layout")

    def release(self) -> None:
        """Give back the memory of the pages read so far; they are read again from the file when needed."""
        if hasattr(mmap, "MADV_DONTNEED"):  # absent on Windows, where the system trims mapped pages by itself
            self._map.madvise(mmap.MADV_DONTNEED)


class FisherStore:
    """A folder of Fisher vectors, one file per key (a language, or anything that names one vector).

    Writers may be many processes: a file appears whole or not at all, and the last writer wins.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)

    def path(self, key: str) -> Path:
        """The file of `key`.

        Raises:
            UsageError: a key that would not be a plain file name.
        """
        if not isinstance(key, str) or len(key) > 128 or not _KEY.fullmatch(key):
            raise UsageError(f"{key!r} can't name a Fisher vector; use letters, digits and . _ @ + - only")
        return self.folder / f"{key}{SUFFIX}"

    def keys(self) -> list[str]:
        """The keys that have a file, sorted. A file may still prove damaged when it is read."""
        names = (path.name.removesuffix(SUFFIX) for path in self.folder.glob(f"*{SUFFIX}"))
        return sorted(name for name in names if _KEY.fullmatch(name))

    def put(
        self,
        key: str,
        vector: np.ndarray,
        layout: Iterable[Sequence],
        metadata: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write one vector, replacing the file of the same key.

        Args:
            vector: float32 (P,), finite and not negative.
            layout: [(name, shape, offset)] that tiles the vector.
            metadata: JSON-able facts about it; `signature` is what `has` compares.

        Raises:
            UsageError: a bad key, type, shape or layout, or metadata that JSON can't hold.
            Failure: a negative, NaN or infinite value; a full disk (no file is left behind).
        """
        path = self.path(key)
        vector = np.asarray(vector)
        if vector.dtype != np.float32 or vector.ndim != 1:
            raise UsageError(f"a Fisher vector is 1-D float32, not {vector.ndim}-D {vector.dtype}; convert it first")
        header = _header(key, vector, checked(layout, vector.size), dict(metadata or {}))
        sweep(self.folder)
        with atomic_write(path) as temporary, open(temporary, "wb") as stream:
            stream.write(header)
            for start in range(0, vector.size, _BLOCK):
                stream.write(np.ascontiguousarray(vector[start : start + _BLOCK], dtype="<f4").data)
        return path

    def get(self, key: str) -> StoredVector:
        """Open one vector without loading it; its checksum is verified once per process.

        Raises:
            UsageError: a bad key.
            Failure: no such vector, or a damaged file; the message names the file and the remedy.
        """
        path = self.path(key)
        try:
            with open(path, "rb") as stream:
                return _open(key, path, stream)
        except FileNotFoundError as error:
            raise Failure(f"no Fisher vector {key!r} in {self.folder}; estimate it first (langsim fisher)") from error
        except OSError as error:
            raise Failure(f"cannot read {path}: {error.strerror}; check the file or delete it") from error

    def has(self, key: str, signature: str | None = None) -> bool:
        """Whether a sound file with this signature (any, for None) is there; when not, compute and `put` again."""
        if not self.path(key).is_file():
            return False
        try:
            stored = self.get(key)
        except Failure:
            return False
        return signature is None or stored.signature == signature

    def verify(self) -> dict[str, str]:
        """Every damaged file: key to the message that `get` would raise."""
        problems = {}
        for key in self.keys():
            try:
                self.get(key)
            except Failure as failure:
                problems[key] = str(failure)
        return problems

    def delete(self, key: str) -> None:
        """Remove one vector, if it is there."""
        self.path(key).unlink(missing_ok=True)


def _header(key: str, vector: np.ndarray, layout: Layout, metadata: dict[str, Any]) -> bytes:
    """The file's first bytes: length, then JSON with the tensors, the metadata and the checksums."""
    digest = hashlib.sha256()
    for start in range(0, vector.size, _BLOCK):
        block = np.ascontiguousarray(vector[start : start + _BLOCK], dtype="<f4")
        if not (block.min() >= 0 and block.max() < np.inf):  # also false for NaN
            raise Failure(f"the Fisher vector of {key!r} has a negative, NaN or infinite value; estimate it again")
        digest.update(block.data)
    tensors = {
        name: {"dtype": "F32", "shape": list(shape), "data_offsets": [4 * offset, 4 * (offset + prod(shape))]}
        for name, shape, offset in layout
    }
    try:
        facts = json.dumps(metadata, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the metadata of {key!r} is not plain JSON: {error}; use strings and numbers") from error
    notes = {"format": FORMAT, "metadata": facts, "sha256": digest.hexdigest()}
    notes["header_sha256"] = _header_digest(tensors, notes)
    text = json.dumps({"__metadata__": notes, **tensors}).encode()
    text += b" " * (-len(text) % 8)  # the data starts on a multiple of 8 bytes
    return struct.pack("<Q", len(text)) + text


def _header_digest(tensors: dict, notes: dict) -> str:
    return hashlib.sha256(json.dumps([tensors, notes], sort_keys=True).encode()).hexdigest()


def _open(key: str, path: Path, stream: BinaryIO) -> StoredVector:
    """Check header, size and checksum, and map the data. One file descriptor for all, so that a rename by another
    process in the middle can't mix two files."""
    damaged = f"{path} is damaged ({{}}); delete it and estimate {key!r} again"
    size = os.fstat(stream.fileno()).st_size
    try:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > size - 8:
            raise ValueError("header past the end")
        tensors = json.loads(stream.read(length))
        notes = tensors.pop("__metadata__")
        claimed = notes.pop("header_sha256")
        if notes["format"] != FORMAT or claimed != _header_digest(tensors, notes):
            raise ValueError("header checksum")
        metadata = json.loads(notes["metadata"])
    except (struct.error, ValueError, KeyError, AttributeError, TypeError) as error:
        raise Failure(damaged.format("its header can't be trusted")) from error
    start = 8 + length
    layout = sorted(
        ((name, tuple(entry["shape"]), entry["data_offsets"][0] // 4) for name, entry in tensors.items()),
        key=lambda entry: entry[2],
    )
    count = sum(prod(shape) for _, shape, _ in layout)
    if size != start + 4 * count:
        raise Failure(damaged.format(f"{size} bytes where {start + 4 * count} belong"))
    if not _sound(stream, notes["sha256"]):
        raise Failure(damaged.format("the checksum differs"))
    mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    values = np.frombuffer(mapped, dtype="<f4", count=count, offset=start)
    return StoredVector(key, path, values, layout, metadata, notes["sha256"], mapped)


def _sound(stream: BinaryIO, expected: str) -> bool:
    """Whether the rest of the stream has the expected sha256; remembered while the file stays as it is."""
    status = os.fstat(stream.fileno())
    identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    if identity in _verified:
        return True
    digest = hashlib.sha256()
    while block := stream.read(4 * _BLOCK):
        digest.update(block)
    if digest.hexdigest() != expected:
        return False
    _verified.add(identity)
    return True
