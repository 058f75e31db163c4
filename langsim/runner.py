"""`langsim run`: notebooks executed by papermill, with parameters checked first and finished ones skipped.

The source of a notebook is its text twin `notebooks/<part>/NN_name.md` (jupytext, MyST). It is converted, executed
in the kernel of this environment, and written to an output folder, never over a committed notebook. Beside each
output lies `<name>.run.json`: digests of everything the run depended on, so that the same call skips what is done.
"""

import ast
import hashlib
import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from langsim import open_data, profiles
from langsim.errors import Failure, LangsimError, UsageError
from langsim.paths import DATA, ROOT, atomic_write, sha256_file
from langsim.results import digest_of
from langsim.suggest import unknown

NOTEBOOKS = ROOT / "notebooks"
RUNS = ROOT / "_build" / "runs"
# Keeps kernels quiet: what they write to stderr would end up in the executed notebook.
QUIET = {
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


@dataclass(frozen=True)
class Run:
    """One notebook with the parameters it will get and the place where it goes."""

    name: str
    source: Path
    output: Path
    parameters: dict[str, Any]
    settings: profiles.Settings

    @property
    def record(self) -> Path:
        """The sidecar that says what a finished run depended on."""
        return self.output.with_suffix(".run.json")


def all_notebooks() -> list[Path]:
    """The text twins, in the order of the book."""
    return sorted(NOTEBOOKS.glob("*/[0-9][0-9]_*.md"))


def find(name: str) -> Path:
    """The source of a notebook given as a path, as `part/NN_name`, `NN_name` or `name`.

    A committed `.ipynb` stands for its text twin. Raises UsageError with suggestions.
    """
    path = Path(name).expanduser()
    if path.suffix in {".md", ".ipynb"}:
        if not path.is_file():
            raise UsageError(f"no notebook {name!r}; known here: {', '.join(map(label, all_notebooks())) or 'none'}")
        twin = path.with_suffix(".md")
        return (twin if twin.is_file() else path).resolve()
    spellings = {s: twin for twin in all_notebooks() for s in (label(twin), twin.stem, twin.stem[3:])}
    if name not in spellings:
        raise UsageError(f"notebook: {unknown(name, map(label, all_notebooks()))}")
    return spellings[name]


def label(source: Path) -> str:
    """`part/NN_name` for the project's notebooks, the bare name for others."""
    return f"{source.parent.name}/{source.stem}" if source.is_relative_to(NOTEBOOKS) else source.stem


def parse_parameters(pairs: Iterable[str] = (), texts: Iterable[str] = ()) -> dict[str, Any]:
    """Parameters from `name=value` pairs and YAML texts; values are YAML too, so `k=0.3`, `languages=[fa, hi]`.

    `no`, `yes`, `on` and `off` stay words (`no` is Norwegian), unlike in YAML 1.1; `true` and `False` are booleans.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [r for r in found if r[0] not in {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"}]
            for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(true|false)$", re.IGNORECASE), list("tTfF"))

    def load(text: str, where: str) -> Any:
        try:
            return yaml.load(text, Loader)  # a SafeLoader
        except yaml.YAMLError as error:
            raise UsageError(f"{where}: not YAML: {' '.join(str(error).split())}") from error

    parameters: dict[str, Any] = {}
    for text in texts:
        value = load(text, "-y")
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise UsageError(f'-y: expected name: value pairs such as "k: 0.3", got {text!r}')
        parameters |= value
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"-p: expected a name and a value such as -p k 0.3, got {pair!r}")
        parameters[name] = load(text, f"-p {name}")
    return parameters


def plan(
    names: Iterable[str],
    parameters: Mapping[str, Any],
    *,
    profile: str = "",
    out: str = "",
) -> list[Run]:
    """Every run with its parameters checked against its notebook and against the library, before any starts.

    Raises:
        UsageError: an unknown notebook or parameter, a wrong value, or an output among the committed notebooks.
    """
    parameters = {**({"profile": profile} if profile else {}), **parameters}
    runs = []
    for source in dict.fromkeys(map(find, names)):
        defaults = inspect(source)
        for name in parameters:
            if name not in defaults:
                raise UsageError(f"{label(source)}: parameter: {unknown(name, defaults)}")
        known = profiles.kind_of(defaults).model_fields
        own = tuple(name for name in defaults if name not in known)
        settings = profiles.from_notebook({**defaults, **parameters}, own=own)
        folder = Path(out).expanduser() if out else RUNS / _variant(settings.profile, parameters)
        part = source.parent.name if source.is_relative_to(NOTEBOOKS) else ""
        output = (folder / part / f"{source.stem}.ipynb").absolute()
        if output.resolve().is_relative_to(NOTEBOOKS) or output.resolve() == source.with_suffix(".ipynb"):
            raise UsageError(
                f"--out {folder}: would write over the committed notebooks; "
                "choose another folder (`make accept` refreshes the committed ones)"
            )
        runs.append(Run(label(source), source, output, dict(parameters), settings))
    return runs


def inspect(source: Path) -> dict[str, Any]:
    """Names and default values of a notebook's parameters cell, as papermill sees them."""
    import papermill

    with tempfile.TemporaryDirectory() as folder:
        found = papermill.inspect_notebook(_convert(source, Path(folder)))
    defaults = {}
    for name, parameter in found.items():
        try:
            defaults[name] = ast.literal_eval(parameter["default"])
        except (ValueError, SyntaxError) as error:
            raise UsageError(f"{label(source)}: the parameter {name!r} has no literal as its default") from error
    return defaults


def run(item: Run, *, force: bool = False, say: Callable[[str], None] = lambda line: None) -> bool:
    """Execute one notebook unless it is finished already; True if it was executed.

    Raises:
        UsageError, Failure: a cell failed: the line it ended with (the output notebook keeps what it had shown).
    """
    depends = dependencies(item)
    why = unfinished(item, depends)
    if not (why or force):
        say(f"{item.name}: finished before, kept ({shown(item.output)})")
        return False
    say(f"{item.name}: running" + (f" ({why})" if why else ""))
    item.record.unlink(missing_ok=True)
    started = time.time()
    _execute(item)
    seconds = time.time() - started
    record = {"digest": digest_of(depends), "depends": depends, "seconds": round(seconds, 1)}
    with atomic_write(item.record) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    say(f"{item.name}: done in {seconds:.0f} s ({shown(item.output)})")
    return True


def run_all(
    items: Iterable[Run], *, force: bool = False, jobs: int = 1, say: Callable[[str], None] = lambda line: None
) -> None:
    """Execute notebooks, `jobs` at a time in processes of their own; `say` must be fit for that.

    One at a time, a failure ends the call. Several at a time, the others are still run and the first failure is
    raised at the end.

    Raises:
        UsageError, Failure: as `run`.
    """
    if jobs == 1:
        for item in items:
            run(item, force=force, say=say)
        return
    from joblib import Parallel, cpu_count, delayed

    cores = max(1, cpu_count() // jobs)
    work = (delayed(_beside_others)(item, cores, force, say) for item in items)
    failures = [error for error in Parallel(n_jobs=jobs, batch_size=1)(work) if error is not None]
    for error in failures[1:]:
        say(str(error))
    if failures:
        raise failures[0]


def _beside_others(item: Run, cores: int, force: bool, say: Callable[[str], None]) -> LangsimError | None:
    """`run` with a share of the cores for what the notebook fans out; a failure is returned, so that others go on."""
    os.environ["LOKY_MAX_CPU_COUNT"] = str(cores)
    try:
        run(item, force=force, say=say)
    except LangsimError as error:
        return error
    return None


def dependencies(item: Run) -> dict[str, str]:
    """Digests of everything that a run's outcome depends on."""
    versions = {d.name: d.version for d in metadata.distributions()} | {"python": platform.python_version()}
    data = [p for p in DATA.rglob("*") if p.is_file() and not _reference_result(p, item.settings.profile)]
    sides = item.settings.sides
    users = {f"your data{' 2' * n}": Path(side.data) for n, side in enumerate(sides) if side.data}
    if labelled := getattr(item.settings, "tasks_path", ""):
        users["your labelled data"] = Path(labelled)
    named = [item.settings.model, *getattr(item.settings, "other_models", [])]
    folders = {f"model{f' {n}' * bool(n)}": Path(name) for n, name in enumerate(named) if Path(name).is_dir()}
    if any(side.corpus == "ntrex" for side in sides):
        folders["ntrex"] = open_data.root() / open_data.collection("ntrex").folder
    return {
        "notebook": sha256_file(item.source),
        "parameters": digest_of(item.parameters),
        "langsim": _digest_of_files((ROOT / "langsim").rglob("*.py"), ROOT),
        "environment": digest_of(versions),
        "data": _digest_of_files(data, DATA),
        **{name: _digest_of_files([user] if user.is_file() else user.rglob("*"), user) for name, user in users.items()},
        "LANGSIM_DATA": os.environ.get("LANGSIM_DATA", ""),
        # A checkpoint's and NTREX's files lie in the folder itself; what a training keeps in subfolders isn't read.
        **{name: _digest_of_files(folder.glob("*"), folder) for name, folder in folders.items()},
    }


def _execute(item: Run) -> None:
    import papermill
    from papermill.exceptions import PapermillException, PapermillExecutionError
    from traitlets.config import Config

    item.output.parent.mkdir(parents=True, exist_ok=True)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with tempfile.TemporaryDirectory() as folder:
        source = _convert(item.source, Path(folder))
        try:
            papermill.execute_notebook(
                source,
                item.output,
                item.parameters,
                kernel_name="python3",
                progress_bar=False,
                cwd=Path.cwd(),
                config=Config(
                    # not TCP: a kernel warns there that others on this machine could listen
                    KernelManager={"transport": "ipc", "ip": str(Path(folder) / "kernel")},
                    # a kernel that is told to end calls the interrupt an error
                    NotebookClient={"extra_arguments": ["--log-level=CRITICAL"]},
                ),
            )
        except PapermillExecutionError as error:
            kinds = {kind.__name__: kind for kind in (LangsimError, UsageError, Failure)}
            if error.ename in kinds:
                raise kinds[error.ename](f"{item.name}: {error.evalue}") from error
            last = (error.evalue.strip().splitlines() or [""])[-1]
            raise Failure(
                f"{item.name}, cell [{error.exec_count}]: {error.ename}: {last} (in full in {shown(item.output)})"
            ) from error
        except (PapermillException, RuntimeError, OSError) as error:  # no kernel, a dead one, a full disk
            raise Failure(f"{item.name}: {type(error).__name__}: {' '.join(str(error).split())}") from error
        finally:
            _tidy(item.output)


def _convert(source: Path, folder: Path) -> Path:
    """Write the notebook to be executed: the twin converted, old outputs gone, the kernel of this environment."""
    import jupytext
    import nbformat

    notebook = jupytext.read(source)
    notebook.metadata.pop("jupytext", None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # jupytext draws new ones at every reading
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    path = folder / f"{source.stem}.ipynb"
    nbformat.write(notebook, path)
    return path


def _tidy(output: Path) -> None:
    """Drop times and local paths that papermill leaves behind: the same run gives the same file."""
    import nbformat

    if not output.is_file():
        return
    notebook = nbformat.read(output, as_version=4)
    kept = notebook.metadata.get("papermill", {}).get("parameters", {})
    notebook.metadata["papermill"] = {"parameters": kept}
    for number, cell in enumerate(notebook.cells):
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = f"injected-{number}"
    nbformat.write(notebook, output)


def unfinished(item: Run, depends: Mapping[str, str]) -> str:
    """Why a run has to be executed: never finished, or what changed since. Empty if it need not."""
    before = _record(item).get("depends")
    if not isinstance(before, dict):
        return "new"
    if not item.output.is_file():
        return "output gone"
    changed = [key for key in depends if before.get(key) != depends[key]]
    return f"changed: {', '.join(changed)}" if changed else ""


def seconds_of(item: Run) -> float | None:
    """How long this run took when it was last finished; None if it never was."""
    seconds = _record(item).get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


def _record(item: Run) -> dict[str, Any]:
    try:
        record = json.loads(item.record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _variant(profile: str, parameters: Mapping[str, Any]) -> str:
    """A folder name for these parameters, so that two variants of a run never share an output."""
    others = {name: value for name, value in parameters.items() if name != "profile"}
    return f"{profile}-{digest_of(others)[:8]}" if others else profile


def _reference_result(path: Path, profile: str) -> bool:
    """The reference results of a profile are what its runs are compared with, not what they depend on. (Cells are, and
    so are other profiles' results, which are shown beside.) Nor do they depend on measured times."""
    parts = path.relative_to(DATA).parts
    return parts[0] == "benchmarks" or (parts[:2] == ("results", profile) and "cells" not in parts)


def _digest_of_files(paths: Iterable[Path], base: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(p for p in paths if p.is_file()):
        total.update(f"{path.relative_to(base) if path != base else path.name}:{sha256_file(path)}\n".encode())
    return total.hexdigest()


def shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
