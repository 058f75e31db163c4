"""Results that come from elsewhere: are they what they say, and may they stand as a profile's results?

A set of files as they lie in `data/results/<profile>/`: for each exhibit `<id>.csv`, its sidecar `<id>.json` and, of
some, a tree `<id>.nwk`; and cells, `cells/<kind>/<id>.json`.
"""

import json
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from langsim import cells, exhibits, profiles, results, trees
from langsim.cells import Cell
from langsim.errors import Failure, LangsimError, UsageError
from langsim.lslo_settings import LSLoSettings
from langsim.profiles import Settings, Tuning, TwoCorpora
from langsim.results import Result
from langsim.suggest import unknown

SUFFIXES = (".csv", ".json", ".nwk")
CELLS = "cells"
_NAMED = ("model", "corpus", "corpus_b")  # parts that are a name with a digest, which only the machine there knew
PART_1, PART_2 = "pf-", "lslo-"  # what exhibits' ids begin with
# The settings that their signatures are made from.
_KINDS: dict[str, tuple[type, ...]] = {PART_1: (Settings, TwoCorpora, Tuning), PART_2: (LSLoSettings,)}
_MARKUP = frozenset("`<>")  # a signature is shown on a page as it is


@dataclass(frozen=True)
class Vetted:
    """Files that were found sound.

    Attributes:
        results: exhibit -> its result. cells: kind -> how many.
    """

    results: dict[str, Result]
    cells: dict[str, int]


class _Sidecar(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    signature: str
    langsim: str
    columns: list[str]
    tolerances: dict[str, float]


class _Saved(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    kind: str
    id: str
    inputs: dict[str, str]
    procedure_version: int
    langsim: str
    scores: dict[str, Any]
    sha256: str


def known_results() -> set[str]:
    """The exhibits, and what notebooks save beside them: whatever the reference results have."""
    beside = {path.stem for path in results.reference_dir("mini").glob("*.csv")}
    return {exhibit.id for exhibit in exhibits.all_exhibits()} | beside


def vet(profile: str, files: Mapping[str, bytes]) -> Vetted:
    """Look at every file (name -> content) of a set that is to stand as the results of a profile.

    Raises:
        UsageError: an unknown profile or exhibit; a result of other parameters than the profile's.
        Failure: a file that has no place there, that cannot be read, does not fit its signature, or is out of date.
    """
    profiles.defaults(profile)  # an unknown name ends here
    for name in files:
        if not (_is_cell(Path(name)) or _is_result(Path(name))):
            raise Failure(f"{name} is no result and no cell; leave it out")
    found = Vetted({}, {})
    with tempfile.TemporaryDirectory(prefix="langsim-") as folder:
        root = Path(folder)
        try:
            _unpack(root, files)
            for name in sorted(files):
                _vet(profile, root, Path(name), files, found)
        except LangsimError as error:  # the folder is nobody's business
            raise type(error)(str(error).replace(f"{root}/", "")) from error
        except OSError as error:
            raise Failure(f"cannot write to {root.parent}: {error.strerror}; free some space or set TMPDIR") from error
    return found


def differs(signature: str, profile: str, part: str = PART_1) -> list[str]:
    """Which parts of a signature say that something else was measured than the profile measures: `k 0.3, not 0.4`.

    A profile has more than one kind of settings, and any of the exhibits' part will do. How much was measured, in what
    order and on which machine (items, seeds, batches, updates) is said by the signature and left to the reader.

    Args:
        part: what the exhibits' ids begin with.
    """
    allowed = [_told(profiles.resolve(profile, kind=kind)) for kind in _KINDS[part]]
    wrong = []
    for key, value in results.parse_signature(signature).items():
        values = list(dict.fromkeys(option for told in allowed for option in told.get(key, ())))
        name = value.partition("@")[0] if key in _NAMED else value
        if values and name not in values:
            wrong.append(f"{key} {value}, not {' or '.join(filter(None, values)) or 'any'}")
    return wrong


def _unpack(root: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def _is_cell(path: Path) -> bool:
    return len(path.parts) == 3 and path.parts[0] == CELLS and path.suffix == ".json"


def _is_result(path: Path) -> bool:
    return len(path.parts) == 1 and path.suffix in SUFFIXES


def _vet(profile: str, root: Path, path: Path, files: Iterable[str], found: Vetted) -> None:
    """One file; what is sound is added to `found`."""
    try:
        if _is_cell(path):
            _cell(profile, root, path)
            found.cells[path.parts[1]] = found.cells.get(path.parts[1], 0) + 1
            return
        _belongs(path, files)
        if path.suffix == ".csv":
            found.results[path.stem] = _result(profile, root / path)
        elif path.suffix == ".nwk":
            with warnings.catch_warnings(action="ignore"):  # what is no tree is said once
                trees.read_newick(root / path)
    except RecursionError as error:
        raise Failure(f"{path} is nested too deep to be read") from error


def _belongs(path: Path, files: Iterable[str]) -> None:
    """A result is a table with its sidecar, of something that is known."""
    known = known_results()
    if path.stem not in known:
        raise UsageError(f"{path}: {unknown(path.stem, known)}")
    for suffix in (".csv", ".json"):
        if str(path.with_suffix(suffix)) not in files:
            raise Failure(f"{path} is there without {path.with_suffix(suffix)}; export both")


def _result(profile: str, path: Path) -> Result:
    sidecar = _model(_Sidecar, path.with_suffix(".json"))
    result = results.read_result(path)
    exhibit = path.name
    if not sidecar.signature.isprintable() or _MARKUP & set(sidecar.signature):
        raise Failure(f"{exhibit}: its signature holds characters that no signature has; make it again")
    results.parse_signature(sidecar.signature)
    if result.frame.empty:
        raise Failure(f"{exhibit} has no rows; make it again with: langsim run")
    strange = sidecar.tolerances.keys() - set(sidecar.columns)
    if strange:
        raise Failure(f"{exhibit}: a tolerance for {min(strange)!r}, which is no column of it")
    _fits(result)
    why = results.stale(sidecar.signature)
    if why:
        raise Failure(f"{exhibit}: {why}; make it again with: langsim run")
    part = next((part for part in _KINDS if path.stem.startswith(part)), None)
    other = differs(sidecar.signature, profile, part) if part else []
    if other:
        raise UsageError(f"{exhibit} is no result of the profile {profile!r} as it is: {'; '.join(other)}")
    return result


def _fits(result: Result) -> None:
    """It has the columns of the reference result, where there is one, and numbers where that has numbers."""
    path = results.reference_dir("mini") / f"{result.exhibit}.csv"
    if not path.is_file():
        return
    reference = results.read_result(path).frame
    here, there = list(result.frame.columns), list(reference.columns)
    if here != there:
        raise Failure(
            f"{result.exhibit}.csv has the columns {' '.join(map(str, here))}; those of this exhibit are "
            f"{' '.join(there)}"
        )
    for column in there:
        numeric = [pd.api.types.is_numeric_dtype(table[column]) for table in (result.frame, reference)]
        if numeric == [False, True] and reference[column].notna().any() and result.frame[column].notna().any():
            raise Failure(f"{result.exhibit}.csv: {column} is to be a number in every row")


def _cell(profile: str, root: Path, path: Path) -> None:
    saved = _model(_Saved, root / path)
    if (saved.kind, saved.id) != (path.parts[1], path.stem):
        raise Failure(f"{path} says that it is {saved.kind}/{saved.id}; make it again with: langsim reproduce")
    version = cells.procedure_of(saved.kind).version
    cell = Cell(saved.kind, saved.id, saved.inputs, version, profile, folder=(root / path).parent)
    wrong = cells.problem(cell)  # with its own inputs, so that what remains is damage and the procedure
    why = f" {wrong}" if wrong else results.stale(f"model:{saved.inputs.get('model') or 'none'}")
    if why:
        raise Failure(f"{path}{why if wrong else f': {why}'}; make it again with: {cells.command(cell)}")


def _model(kind: type[BaseModel], path: Path) -> Any:
    """A JSON file as `kind` has it; numbers are numbers."""
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number))
    except (ValidationError, ValueError, RecursionError) as error:
        raise Failure(f"{path} cannot be read, or lacks what it should say; export it again") from error


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _told(settings: Settings | LSLoSettings) -> dict[str, tuple[str, ...]]:
    """What a signature would say of the settings: of each part the values that it may have."""
    if isinstance(settings, LSLoSettings):
        return _told_of_lslo(settings)
    names = [*settings.languages, settings.target_language]
    count = str(len(settings.languages))
    told = {
        "model": (settings.model, Path(settings.model).name),  # a copy in a folder is told by the folder's name
        "corpus": (settings.corpus,),
        "domain": (settings.domain,),
        "langs": (results.named(count, results.digest_of(names)),),
        "fisher": (settings.estimator,),
        "recipe": (settings.recipe,),
        "params": (settings.params,),
        "measure": (settings.measure,),
        "k": (str(settings.k),),
    }
    if isinstance(settings, TwoCorpora):
        told |= {"corpus_b": (settings.corpus_b,), "domain_b": (settings.domain_b,)}
    if isinstance(settings, Tuning):
        told |= {"domain": (settings.adaptation,), "families": (settings.families,), "langs": (count,)}
        told |= {"targets": ("+".join(settings.targets),)}
    return told


def _told_of_lslo(settings: LSLoSettings) -> dict[str, tuple[str, ...]]:
    sets = (settings.languages, settings.more_languages)
    return {
        "model": (settings.model, Path(settings.model).name),
        "corpus": (settings.corpus,),
        "domain": (settings.domain,),
        "langs": tuple(results.named(str(len(codes)), results.digest_of(codes)) for codes in sets),
        "ranks": ("+".join(settings.ranks),),
        "span": (settings.span,),
        "init": (settings.init,),
    }
