"""What one machine computed at a profile, as one file that another can check and take over.

    langsim results export --profile paper      # where it was computed: langsim-paper.zip
    langsim results import langsim-paper.zip    # where it is to be shown

A bundle is a zip file (`langsim.archive`) that holds the results of a profile and its cells as they lie in
`data/results/<profile>/`. Everything in it is vetted (`langsim.vetting`) before a file is packed or taken over.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from langsim import archive, profiles, results, vetting
from langsim.errors import Failure, LangsimError, UsageError
from langsim.paths import ABANDONED

COMPUTED_HERE = "mini"  # its reference results are made with `make accept`, by whoever builds the book


@dataclass(frozen=True)
class Bundle:
    """A bundle that was found sound: its files by their names below `data/results/<profile>/`, and what they are."""

    profile: str
    langsim: str
    files: dict[str, bytes]
    vetted: vetting.Vetted

    def listing(self) -> list[tuple[str, str]]:
        """What is in it: results with their signatures, kinds of cells with their number."""
        signed = [(exhibit, result.signature) for exhibit, result in self.vetted.results.items()]
        return signed + [(f"cells/{kind}", f"{count} cells") for kind, count in self.vetted.cells.items()]


@dataclass(frozen=True)
class Exported:
    """`path`: the bundle. `files`: names of what it holds. `left_out`: files beside them that are no known result."""

    path: Path
    files: list[str]
    left_out: list[Path]


@dataclass(frozen=True)
class Imported:
    """Files that were written, those of them that replaced others, trees that are gone, and how many were there."""

    written: list[Path]
    replaced: list[Path]
    removed: list[Path]
    kept: int


def export(profile: str, out: Path | None = None, folder: Path | None = None) -> Exported:
    """Pack the results of a profile and its cells.

    Args:
        out: the file to write; default `langsim-<profile>.zip` here.
        folder: where the results lie; default: those of the last `langsim run` of the profile as it is. Cells are
            those of `langsim reproduce`.

    Raises:
        UsageError: an unknown profile, or `mini`; nothing to pack; a result of other parameters than the profile's.
        Failure: a damaged or outdated result or cell; a full disk.
    """
    _not_computed_here(profile)
    source = Path(folder) if folder else results.output_root() / profile
    if folder and not source.is_dir():
        raise UsageError(f"no folder {folder}; name the one that the results lie in")
    known, own = vetting.known_results(), results.reference_dir(profile)
    tables = [path for path in sorted(source.glob("*")) if path.suffix in vetting.SUFFIXES]
    chosen = {path.name: path for path in tables if path.stem in known}
    chosen |= {path.relative_to(own).as_posix(): path for path in sorted((own / vetting.CELLS).glob("*/*.json"))}
    if not chosen:
        raise UsageError(
            f"no results in {source} and no cells of the profile {profile!r}; make them with: "
            f"langsim run --all --profile {profile}"
        )
    files = {name: path.read_bytes() for name, path in chosen.items()}
    vetting.vet(profile, files)
    written = archive.write(Path(out) if out else Path(f"langsim-{profile}.zip"), profile, files)
    return Exported(written, list(files), [path for path in tables if path.name not in files])


def load(path: Path) -> Bundle:
    """Read a bundle and look at everything in it; nothing is written.

    Raises:
        UsageError, Failure: as `archive.read` and `vetting.vet`, with the bundle's name.
    """
    manifest, files = archive.read(path)
    try:
        return Bundle(manifest.profile, manifest.langsim, files, vetting.vet(manifest.profile, files))
    except LangsimError as error:
        raise type(error)(f"{path}: {error}") from error


def import_(path: Path, *, force: bool = False) -> Imported:
    """Take over a bundle's files as results of its profile: all of them or none.

    Files that are equal already are left untouched. Interrupted by a kill, the same call finishes the work.

    Args:
        force: replace results and cells that differ.

    Raises:
        UsageError: as `load`; results of `mini`; without `force`, files that differ (they are named).
        Failure: as `load`; a full disk (nothing is taken over).
    """
    bundle = load(path)
    _not_computed_here(bundle.profile)
    target = results.reference_dir(bundle.profile)
    new = {name: content for name, content in bundle.files.items() if _content(target / name) != content}
    gone = [
        f"{exhibit}.nwk"  # the tree of the table that is replaced
        for exhibit in bundle.vetted.results
        if f"{exhibit}.nwk" not in bundle.files and (target / f"{exhibit}.nwk").exists()
    ]
    replaced = sorted([*(name for name in new if (target / name).exists()), *gone])
    if replaced and not force:
        raise UsageError(
            f"{path} would replace {len(replaced)} files in {target} ({_some(replaced)}); nothing was taken over; "
            "replace them with: --force"
        )
    _take_over(target, new, gone)
    written, there, removed = ([target / name for name in names] for names in (new, replaced, gone))
    return Imported(written, there, removed, kept=len(bundle.files) - len(new))


def _not_computed_here(profile: str) -> None:
    profiles.defaults(profile)  # an unknown name ends here
    if profile == COMPUTED_HERE:
        raise UsageError(
            f"results of {profile!r} are not handed on: everyone computes them with `make book`, and `make accept` "
            "makes them the reference"
        )


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def _take_over(target: Path, new: Mapping[str, bytes], gone: Iterable[str]) -> None:
    """Write everything beside the folder first, copies of what is replaced too; then rename, and on an error rename
    back: what could fail for want of space has been done by then."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as error:
        raise _cannot(target, error) from error
    done: list[str] = []
    try:
        for name, content in new.items():
            _write(staging / "new" / name, content)
        for name in [*new, *gone]:
            before = _content(target / name)
            if before is not None:
                _write(staging / "old" / name, before)
        for name in new:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            done.append(name)
            os.replace(staging / "new" / name, target / name)
        for name in gone:
            done.append(name)
            (target / name).unlink()
    except BaseException as error:
        _undo(target, staging, done)
        if isinstance(error, OSError):
            raise _cannot(target, error) from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _undo(target: Path, staging: Path, done: list[str]) -> None:
    for name in reversed(done):
        if (staging / "old" / name).exists():
            os.replace(staging / "old" / name, target / name)
        elif not (staging / "new" / name).exists():  # it was renamed, and nothing was there before
            (target / name).unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sweep(target: Path) -> None:
    """Remove what imports that were killed left behind, a day ago or more."""
    for leftover in target.parent.glob(f".{target.name}.*.part"):
        if leftover.is_dir() and time.time() - leftover.stat().st_mtime > ABANDONED:
            shutil.rmtree(leftover, ignore_errors=True)


def _cannot(target: Path, error: OSError) -> Failure:
    return Failure(f"cannot write {target}: {error.strerror}; nothing was taken over; free some space and try again")
