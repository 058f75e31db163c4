"""Signatures, saved results, and the comparison of a fresh result with the reference one.

A result is a tidy CSV per exhibit with a sidecar JSON: what it was made from (the signature) and how far each
column may move between machines. Reference results are committed under `data/results/<profile>/`; fresh ones go
to `_build/results/` (or `LANGSIM_RESULTS`), never over them.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from langsim import __version__
from langsim.errors import Failure, UsageError
from langsim.paths import DATA, ROOT, atomic_write

# Parts of a signature in the order they are written; others follow by name, the library's version comes last.
ORDER = (
    "model", "corpus", "domain", "pool", "match", "items", "langs", "fisher", "batch", "recipe", "params", "measure",
    "k", "seed",
)  # fmt: skip
FLOAT_TOLERANCE = 1e-6  # for a float column that states none


def named(name: str, digest: str) -> str:
    """`name@digest12`: a name with the content it stood for. A path is shortened to its last part."""
    return f"{Path(name).name if Path(name).is_absolute() else name}@{digest[:12]}"


def signature(parts: Mapping[str, object]) -> str:
    """`model:mini-m2m@...|corpus:catalogs@...|fisher:batch|params:ffn|k:0.4|seed:0|langsim:x.y.z`.

    Empty values are left out. The library's version is added, and always last.
    """
    known = [key for key in ORDER if key in parts]
    rest = sorted(key for key in parts if key not in ORDER and key != "langsim")
    pairs = [(key, str(parts[key])) for key in known + rest if str(parts[key])]
    pairs.append(("langsim", str(parts.get("langsim", __version__))))
    for key, value in pairs:
        if "|" in key + value or ":" in key or "\n" in value:
            raise UsageError(f"signature: {key}:{value!r} may not contain '|' or a line break")
    return "|".join(f"{key}:{value}" for key, value in pairs)


def parse_signature(text: str) -> dict[str, str]:
    """The parts of a signature, in its order.

    Raises:
        UsageError: not `key:value|key:value|...`, or a key twice.
    """
    parts: dict[str, str] = {}
    for part in text.split("|"):
        key, colon, value = part.partition(":")
        if not (key and colon and value) or key in parts:
            raise UsageError(f"not a signature (key:value|key:value|...): {text!r}")
        parts[key] = value
    return parts


def signature_changes(fresh: str, reference: str) -> list[str]:
    """Which parts differ, the library's version apart: `model: mini-m2m@a -> mini-m2m@b`."""
    new, old = parse_signature(fresh), parse_signature(reference)
    keys = [key for key in {**old, **new} if key != "langsim"]
    return [f"{k}: {old.get(k, 'none')} -> {new.get(k, 'none')}" for k in keys if old.get(k) != new.get(k)]


def stale(signature: str) -> str:
    """Why a result can't stand any more: it was made with a shipped model that has been replaced since. Empty where it
    can, and for models that are not shipped."""
    from langsim import models  # which takes torch

    name, _, digest = parse_signature(signature).get("model", "").partition("@")
    if name not in models.shipped():
        return ""
    now = named(name, models.shipped_digest(name))
    return "" if f"{name}@{digest}" == now else f"it was made with {name}@{digest}, and the shipped model is {now} now"


@dataclass(frozen=True)
class Result:
    """One exhibit's numbers: a tidy frame, where they come from, how far they may move."""

    exhibit: str
    frame: pd.DataFrame
    signature: str
    tolerances: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """One place where a fresh result leaves the reference's tolerance."""

    exhibit: str
    where: str
    fresh: Any
    reference: Any
    tolerance: float | None = None

    def __str__(self) -> str:
        within = "" if self.tolerance is None else f" (tolerance {self.tolerance:g})"
        return f"{self.exhibit}: {self.where}: {self.fresh} instead of {self.reference}{within}"


def reference_dir(profile: str) -> Path:
    """The committed results of a profile."""
    return DATA / "results" / profile


def output_root() -> Path:
    """Where fresh results go: `LANGSIM_RESULTS`, or `_build/results` in the clone."""
    return Path(os.environ.get("LANGSIM_RESULTS") or ROOT / "_build" / "results").expanduser()


def output_dir(settings: Any) -> Path:
    """The folder of a run's results: a plain run of a profile and one with other parameters do not mix."""
    from langsim import profiles

    changed = profiles.overrides(settings)
    return output_root() / (f"{settings.profile}-{digest_of(changed)[:8]}" if changed else settings.profile)


def digest_of(value: Any) -> str:
    """Hex sha256 of a JSON value, independent of the order of its keys."""
    import hashlib

    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_result(
    exhibit: str,
    frame: pd.DataFrame,
    *,
    signature: str,
    folder: Path,
    tolerances: Mapping[str, float] | None = None,
) -> Path:
    """Write `<exhibit>.csv` and its sidecar `<exhibit>.json` into `folder`; return the CSV's path.

    Nothing in the files depends on the time, so the same numbers give the same bytes. `tolerances` are absolute,
    per column; a float column without one gets 1e-6, every other column is compared exactly.

    Raises:
        UsageError: a tolerance for a column that is not there or not numeric, or a broken signature.
    """
    parse_signature(signature)
    tolerances = dict(tolerances or {})
    for column in tolerances:
        if column not in frame.columns or not _numeric(frame[column]):
            raise UsageError(f"{exhibit}: a tolerance for {column!r}, which is no numeric column of the result")
    path = Path(folder) / f"{exhibit}.csv"
    with atomic_write(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.10g", lineterminator="\n")
    sidecar = {
        "signature": signature,
        "langsim": parse_signature(signature).get("langsim", __version__),
        "columns": list(map(str, frame.columns)),
        "tolerances": tolerances,
    }
    with atomic_write(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(sidecar, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def write_if_any(
    exhibit: str, frame: pd.DataFrame, *, signature: str, folder: Path, tolerances: Mapping[str, float] | None = None
) -> list[Path]:
    """`write_result`, of which nothing is written where the frame has no rows."""
    if frame.empty:
        return []
    return [write_result(exhibit, frame, signature=signature, folder=folder, tolerances=tolerances)]


def read_result(path: Path) -> Result:
    """Read a result by the path of its CSV.

    Raises:
        Failure: missing, or the CSV and its sidecar don't fit together.
    """
    path = Path(path)
    try:
        sidecar = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        # "NA" and "nan" can be words in a table of languages: only the empty field is missing
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
        columns, tolerances = sidecar["columns"], sidecar["tolerances"]
    except FileNotFoundError as error:
        raise Failure(f"no result {error.filename}; make it with: langsim run") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"damaged result {path} ({error}); make it again with: langsim run") from error
    if list(frame.columns) != columns:
        raise Failure(f"{path} and its .json have different columns; make them again with: langsim run")
    return Result(path.stem, frame, sidecar["signature"], dict(tolerances))


def compare(
    fresh: pd.DataFrame,
    reference: pd.DataFrame,
    tolerances: Mapping[str, float],
    *,
    exhibit: str = "result",
) -> list[Difference]:
    """Every cell of `fresh` that leaves its column's tolerance around `reference`, and every change of shape.

    Numbers: |fresh - reference| <= tolerance (absolute; NaN equals NaN only). Everything else: equal.
    """
    if list(fresh.columns) != list(reference.columns):
        return [Difference(exhibit, "columns", list(fresh.columns), list(reference.columns))]
    if len(fresh) != len(reference):
        return [Difference(exhibit, "number of rows", len(fresh), len(reference))]
    found = []
    for column in reference.columns:
        new, old = fresh[column].reset_index(drop=True), reference[column].reset_index(drop=True)
        tolerance = None
        if _numeric(new) and _numeric(old):
            exact = pd.api.types.is_integer_dtype(old) and pd.api.types.is_integer_dtype(new)
            tolerance = tolerances.get(column, 0.0 if exact else FLOAT_TOLERANCE)
            a, b = new.to_numpy(float), old.to_numpy(float)
            with np.errstate(invalid="ignore"):
                same = (np.isnan(a) & np.isnan(b)) | (a == b) | (np.abs(a - b) <= tolerance)
        else:
            same = ((new.isna() & old.isna()) | (new.astype(str) == old.astype(str))).to_numpy()
        for row in np.flatnonzero(~same):
            where = f"row {row + 1}, {column}"
            found.append(Difference(exhibit, where, new.iloc[row], old.iloc[row], tolerance))
    return found


def compare_folders(fresh: Path, reference: Path) -> list[Difference]:
    """Every difference of the reference results from the fresh ones, the missing and the unknown included."""
    if not Path(fresh).is_dir():
        raise UsageError(f"no folder of fresh results {fresh}; make them with: make book, or langsim run --all")
    found = []
    names = {path.stem for folder in (fresh, reference) for path in Path(folder).glob("*.csv")}
    for name in sorted(names):
        new, old = Path(fresh) / f"{name}.csv", Path(reference) / f"{name}.csv"
        if not new.exists() or not old.exists():
            found.append(Difference(name, "file", *("present" if p.exists() else "missing" for p in (new, old))))
            continue
        a, b = read_result(new), read_result(old)
        for change in signature_changes(a.signature, b.signature):
            found.append(Difference(name, f"signature, {change}", "changed", "the reference"))
        found += compare(a.frame, b.frame, b.tolerances, exhibit=name)
    return found


def accept(fresh: Path, reference: Path) -> list[Path]:
    """Make the fresh results the reference ones; files that are equal already are left untouched.

    Raises:
        UsageError: no such folder.
        Failure: a result of a model that has been replaced since: nothing is taken over then.
    """
    if not Path(fresh).is_dir():
        raise UsageError(f"no folder of fresh results {fresh}; make them with: make book, or langsim run --all")
    for path in sorted(Path(fresh).glob("*.csv")):
        why = stale(read_result(path).signature)
        if why:
            raise Failure(f"{path}: {why}; make it again with: langsim run")
    changed = []
    for path in sorted(p for p in Path(fresh).iterdir() if p.suffix in {".csv", ".json", ".nwk"}):
        target = Path(reference) / path.name
        if not target.exists() or target.read_bytes() != path.read_bytes():
            with atomic_write(target) as temporary:
                shutil.copyfile(path, temporary)
            changed.append(target)
    return changed


def _numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
