"""Cells: units of expensive work whose scores are committed and signed, and how they are made again.

A cell's scores are one small JSON file, `data/results/<profile>/cells/<kind>/<id>.json`, signed with everything
that determines them: digests of model, data and settings (`inputs`) and the version of the procedure, an integer
raised by hand when the procedure changes. The library's version is recorded and never compared. Notebooks read
cells; only `langsim reproduce` and the audit compute them.
"""

import importlib
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from langsim import __version__
from langsim.errors import Failure, UsageError
from langsim.paths import atomic_write, cache_dir
from langsim.results import digest_of, reference_dir
from langsim.suggest import unknown

# The modules whose `@procedure`s `langsim reproduce` knows, in the order in which cells depend on each other.
PROCEDURE_MODULES: tuple[str, ...] = (
    "langsim.evaluation",
    "langsim.gate",
    "langsim.sweep",
    "langsim.table2",
    "langsim.lslo.procedures",
    "langsim.masked_evaluation",
    "langsim.xsns.procedures",
)

Scores = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One unit of expensive work, named by kind and id and signed by what goes into it.

    `inputs` maps the name of each ingredient to its digest or value (strings): two cells with the same inputs
    and the same `procedure_version` have the same scores, within the procedure's tolerances. `folder` is where the
    scores lie, if they are not among the profile's own.
    """

    kind: str
    id: str
    inputs: Mapping[str, str]
    procedure_version: int
    profile: str = "mini"
    folder: Path | None = None

    def __post_init__(self) -> None:
        for name in (self.kind, self.id, self.profile):
            if not name or name != Path(name).name or name.startswith("."):
                raise UsageError(f"cell: {name!r} cannot be a file name")

    @property
    def path(self) -> Path:
        """Where its scores lie."""
        folder = self.folder or reference_dir(self.profile) / "cells" / self.kind
        return folder / f"{self.id}.json"

    @property
    def signed(self) -> dict[str, Any]:
        """What a saved cell must agree with to be read."""
        return {"inputs": dict(self.inputs), "procedure_version": self.procedure_version}


@dataclass(frozen=True)
class Procedure:
    """How the cells of one kind are made.

    Attributes:
        plan: profile -> {id: inputs}, every cell of this kind that the profile has. Cheap: digests only.
        compute: cell -> scores (a JSON object; numbers, strings, or nested). Expensive.
        minutes: about how long one cell takes on two cores, for messages. Of a profile that wants a GPU they say
            nothing of the kind: its models are others.
        tolerances: score name, or what it is under ("curve", "means.nll") -> how far a recomputed value may be from the
            saved one (absolute; infinite: it is not compared).
    """

    kind: str
    version: int
    minutes: float
    plan: Callable[[str], Mapping[str, Mapping[str, str]]]
    compute: Callable[[Cell], Scores]
    tolerances: Mapping[str, float] = field(default_factory=dict)


REGISTRY: dict[str, Procedure] = {}


def procedure(
    kind: str,
    *,
    version: int,
    minutes: float,
    plan: Callable[[str], Mapping[str, Mapping[str, str]]],
    tolerances: Mapping[str, float] | None = None,
) -> Callable[[Callable[[Cell], Scores]], Callable[[Cell], Scores]]:
    """Register the decorated function as the procedure of a kind of cells.

    @procedure("model-card", version=1, minutes=2, plan=held_out, tolerances={"chrf": 0.5})
    def model_card(cell): ...
    """

    def register(compute: Callable[[Cell], Scores]) -> Callable[[Cell], Scores]:
        known = REGISTRY.get(kind)
        if known and (known.compute.__module__, known.compute.__qualname__) != (
            compute.__module__,
            compute.__qualname__,
        ):
            raise UsageError(f"two procedures for cells of kind {kind!r}")
        REGISTRY[kind] = Procedure(kind, version, minutes, plan, compute, dict(tolerances or {}))
        return compute

    return register


def procedures() -> dict[str, Procedure]:
    """Every registered procedure by kind, in order of dependence."""
    for module in PROCEDURE_MODULES:
        importlib.import_module(module)
    return dict(REGISTRY)


def procedure_of(kind: str) -> Procedure:
    """The procedure of a kind; a UsageError with suggestions if there is none."""
    known = procedures()
    if kind not in known:
        raise UsageError(f"cells: {unknown(kind, known)}")
    return known[kind]


def planned(kind: str, profile: str = "mini") -> list[Cell]:
    """The cells of a kind that a profile has, in the order of their ids."""
    how = procedure_of(kind)
    plan = how.plan(profile)
    return [Cell(kind, id, dict(plan[id]), how.version, profile) for id in sorted(plan)]


def command(cell: Cell) -> str:
    """The command that makes a cell."""
    return f"langsim reproduce --profile {cell.profile} --only {cell.kind}"


def problem(cell: Cell) -> str | None:
    """Why a saved cell can't be used, or None: missing, damaged, or stale (and which part differs)."""
    try:
        saved = json.loads(cell.path.read_text(encoding="utf-8"))
        checksum = saved.pop("sha256")
        signed = {key: saved[key] for key in ("inputs", "procedure_version")}
        if checksum != digest_of(saved) or not isinstance(saved["scores"], dict):
            return "is damaged"
    except FileNotFoundError:
        return "is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "is damaged"
    now = {**cell.inputs, "procedure version": cell.procedure_version}
    then = {**signed["inputs"], "procedure version": signed["procedure_version"]}
    changed = [
        f"{key} {_short(then.get(key))} -> {_short(now.get(key))}"
        for key in {**then, **now}
        if then.get(key) != now.get(key)
    ]
    return f"is stale ({', '.join(changed)})" if changed else None


def read(cell: Cell) -> Scores:
    """The saved scores of a cell.

    Raises:
        Failure: missing, damaged or stale: which, why, how long it would take, and the command.
    """
    wrong = problem(cell)
    if wrong:
        known = procedures().get(cell.kind)
        cost = f"about {known.minutes:g} min; " if known and _on_two_cores(cell.profile) else ""
        raise Failure(f"cell {cell.profile}/{cell.kind}/{cell.id} {wrong}; {cost}run: {command(cell)}")
    return json.loads(cell.path.read_text(encoding="utf-8"))["scores"]


def write(cell: Cell, scores: Scores) -> Path:
    """Save a cell's scores, signed and with a checksum; whole or not at all."""
    content = {"kind": cell.kind, "id": cell.id, **cell.signed, "langsim": __version__, "scores": scores}
    content = json.loads(json.dumps(content, allow_nan=False))  # what a reader will see, and plain JSON only
    content["sha256"] = digest_of(content)
    with atomic_write(cell.path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return cell.path


def reproduce(
    profile: str = "mini",
    *,
    only: Sequence[str] = (),
    fresh: bool = False,
    jobs: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, int]:
    """Compute every missing, damaged or stale cell of a profile; with `fresh`, every cell, the good ones too.

    Interrupted, the same call continues: each cell is written as soon as it is done, and a `fresh` round keeps
    marks in the cache of what it has already made again. Cells of one kind go through joblib, kinds in order.

    Returns: {"computed": n, "kept": n}
    """
    from joblib import Parallel, delayed

    kinds = [kind for name in only for kind in _kinds(name)] or list(procedures())
    marks = cache_dir() / "reproduce" / profile
    counts = {"computed": 0, "kept": 0}
    for kind in kinds:
        everything = planned(kind, profile)
        todo = [c for c in everything if problem(c) or (fresh and not _marked(marks, c))]
        counts["kept"] += len(everything) - len(todo)
        minutes = len(todo) * procedure_of(kind).minutes / max(jobs, 1)
        if todo:
            time = f", about {minutes:.0f} min" if _on_two_cores(profile) else ""
            progress(f"{kind}: {len(todo)} cells to compute{time}")
        work = (delayed(_compute)(procedure_of(kind), cell) for cell in todo)
        for cell, scores in Parallel(n_jobs=jobs, return_as="generator_unordered")(work):
            write(cell, scores)
            if fresh:
                _mark(marks, cell)
            counts["computed"] += 1
            progress(f"{kind}/{cell.id}")
    if fresh:
        for kind in kinds:
            shutil.rmtree(marks / kind, ignore_errors=True)
    return counts


def audit(cell: Cell) -> list[str]:
    """Compute a cell again, compare with the saved scores: one line for each score outside its tolerance.

    Nothing is written. An empty list is a pass.
    """
    saved, how = read(cell), procedure_of(cell.kind)
    fresh = json.loads(json.dumps(how.compute(cell)))
    return _differences(fresh, saved, how.tolerances)


def audit_choice(kind: str, cells: Sequence[Cell], week: int) -> Cell:
    """The cell of a kind whose turn it is in ISO week `week`: by id, one after the other, all in their turn."""
    if not cells:
        raise UsageError(f"cells: no cell of kind {kind!r} to audit")
    return sorted(cells, key=lambda cell: cell.id)[week % len(cells)]


def this_week(today: date | None = None) -> int:
    """ISO weeks counted through the years (they change on Mondays), so that long tables get their turn too."""
    return ((today or date.today()).toordinal() - 1) // 7


def _kinds(name: str) -> list[str]:
    """A kind of this name, else all kinds whose names begin with it and go on with a dash; a UsageError if none."""
    known = procedures()
    group = [] if name in known else [kind for kind in known if kind.startswith(f"{name}-")]
    return group or [procedure_of(name).kind]


def _on_two_cores(profile: str) -> bool:
    """Whether a profile's cells are meant for a CPU, so that a procedure's minutes are theirs."""
    from langsim import profiles

    return profile not in profiles.names() or profiles.defaults(profile)["device"] == "cpu"


def _compute(how: Procedure, cell: Cell) -> tuple[Cell, Scores]:
    """What a worker does; only the calling process writes, so that workers need not share its disk."""
    return cell, how.compute(cell)


def _mark(marks: Path, cell: Cell) -> None:
    with atomic_write(marks / cell.kind / cell.id) as temporary:
        temporary.write_text(digest_of(cell.signed))


def _marked(marks: Path, cell: Cell) -> bool:
    try:
        return (marks / cell.kind / cell.id).read_text() == digest_of(cell.signed)
    except OSError:
        return False


def _tolerance(where: str, tolerances: Mapping[str, float]) -> float:
    """Of a score: by the last part of its path, by its whole path, or of what it is under."""
    parts = where.split(".")
    paths = [parts[-1], *(".".join(parts[:n]) for n in range(len(parts), 0, -1))]
    return next((tolerances[path] for path in paths if path in tolerances), 0.0)


def _differences(fresh: Any, saved: Any, tolerances: Mapping[str, float], where: str = "") -> list[str]:
    tolerance = _tolerance(where, tolerances)
    if tolerance == math.inf:  # what is kept, and not compared: the words of a translation
        return []
    if isinstance(fresh, dict) and isinstance(saved, dict):
        found = []
        for key in {**saved, **fresh}:
            name = f"{where}.{key}" if where else str(key)
            if key in fresh and key in saved:
                found += _differences(fresh[key], saved[key], tolerances, name)
            else:
                found.append(f"{name}: {'new' if key in fresh else 'gone'}")
        return found
    if isinstance(fresh, list) and isinstance(saved, list) and len(fresh) == len(saved):
        pairs = zip(fresh, saved, strict=True)
        return [line for a, b in pairs for line in _differences(a, b, tolerances, where)]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (fresh, saved))
    if fresh == saved or (numbers and abs(fresh - saved) <= tolerance):
        return []
    return [f"{where}: {fresh} instead of {saved} (tolerance {tolerance:g})"]


def _short(value: object) -> str:
    return "none" if value is None else str(value)[:12]
