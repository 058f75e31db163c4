"""The set-up: one lock, one test command, notebooks that agree with their twins, links that lead somewhere."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import jupytext
import papermill
import pytest
import yaml
from docutils.core import publish_doctree
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK_LINES = [
    line for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"
]
LOCK = {canonicalize_name(r.name): r for r in map(Requirement, LOCK_LINES)}
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*/*.ipynb"))


def pyproject_requirements():
    """Every requirement of the package and its extras; without the package's own extras, and without the peers of the
    benchmarks, which no test and no page needs."""
    project = PYPROJECT["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name != "benchmarks"}
    lists = [project["dependencies"], *extras.values()]
    found = [Requirement(line) for lines in lists for line in lines]
    return [r for r in found if r.name != "langsim"]


def test_lock_pins_every_version_exactly():
    for requirement in LOCK.values():
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), requirement
    assert len(LOCK) == len(LOCK_LINES), "a package is in the lock twice"


def test_lock_names_no_host_no_hash_and_no_build_of_torch():
    text = "\n".join(LOCK_LINES)
    assert "://" not in text and "--" not in text and " @ " not in text and "+" not in text
    assert str(LOCK["torch"]) == "torch==2.13.0"
    assert not [name for name in LOCK if re.match(r"nvidia|triton|cuda|torch.", name)]


@pytest.mark.parametrize("requirement", pyproject_requirements(), ids=lambda r: r.name)
def test_lock_has_what_pyproject_asks_for(requirement):
    pinned = LOCK[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(str(pinned.specifier)[2:])


def test_jupyter_book_stays_below_2():
    asked = {r.name: r for r in pyproject_requirements()}
    assert not asked["jupyter-book"].specifier.contains("2.0")
    assert str(LOCK["jupyter-book"].specifier).startswith("==1.")


def test_conda_installs_the_same_lock():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    assert "--requirement requirements.lock" in pip and "--editable ." in pip
    python = next(Requirement(entry) for entry in conda if isinstance(entry, str) and entry.startswith("python"))
    for version in ("3.11", "3.12", "3.13"):
        assert python.specifier.contains(version)
        assert Requirement(f"x{PYPROJECT['project']['requires-python']}").specifier.contains(version)


def test_this_environment_is_the_lock():
    """The corpus is the text of the pinned packages: another version is another text."""
    wrong = []
    for requirement in LOCK.values():
        if requirement.marker is None or requirement.marker.evaluate():
            try:
                version = metadata.version(requirement.name)
            except metadata.PackageNotFoundError:
                version = "missing"
            if not requirement.specifier.contains(version, prereleases=True):
                wrong.append(f"{requirement} (installed: {version})")
    assert not wrong, f"run `make env`: {', '.join(wrong)}"


def test_ci_runs_the_test_command_of_the_readme():
    assert re.search(r"^make test\b", README, re.MULTILINE)
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").strip().splitlines()
    assert script[0].endswith("bash") and script[-1] == "make test"
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert {"run": "make test"} in jobs["test"]["steps"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


@pytest.fixture
def clone(tmp_path):
    """The files that decide whether the environment is up to date, with an environment that is."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    database = subprocess.run(["make", "-pn", "clean"], cwd=tmp_path, capture_output=True, text=True).stdout
    stamp = tmp_path / re.search(r"^STAMP := (.+)$", database, re.MULTILINE)[1].replace("$(VENV)", ".venv")
    stamp.parent.mkdir()
    stamp.touch()
    return tmp_path


def is_up_to_date(folder):
    return subprocess.run(["make", "-q", "env"], cwd=folder, capture_output=True).returncode == 0


def test_environment_is_made_again_only_when_the_lock_or_pyproject_changes(clone):
    assert is_up_to_date(clone)
    (clone / "requirements.lock").touch()
    assert is_up_to_date(clone), "the date alone must not count"
    with open(clone / "requirements.lock", "a", encoding="utf-8") as lock:
        lock.write("another==1.0\n")
    assert not is_up_to_date(clone)


def test_no_python_ends_with_one_line(tmp_path):
    command = ["sh", ROOT / "tools" / "make_venv.sh", tmp_path / "venv"]
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", "PYTHON": "/no/python"}, capture_output=True, text=True
    )
    assert done.returncode == 1 and not (tmp_path / "venv").exists()
    assert done.stderr.count("\n") == 1 and "make PYTHON=" in done.stderr


def test_every_page_and_notebook_is_in_the_book():
    for page in PAGES:
        assert any((ROOT / f"{page}{suffix}").is_file() for suffix in (".md", ".ipynb")), page
    written = [path.relative_to(ROOT).with_suffix("").as_posix() for path in (ROOT / "book").glob("*.md")]
    written += [path.relative_to(ROOT).with_suffix("").as_posix() for path in NOTEBOOKS]
    assert sorted(written) == sorted(PAGES)


def test_every_notebook_has_its_twin_and_every_twin_its_notebook():
    twins = {path.with_suffix("") for path in (ROOT / "notebooks").glob("*/[0-9][0-9]_*.md")}
    assert twins == {path.with_suffix("") for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_its_twin_executed(path):
    notebook, twin = jupytext.read(path), jupytext.read(path.with_suffix(".md"))
    assert [(c.cell_type, c.source) for c in notebook.cells] == [(c.cell_type, c.source) for c in twin.cells], (
        "run `make book` and then `make accept`"
    )
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    assert all(cell.execution_count for cell in code)
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_are_literals_that_papermill_can_read(path):
    notebook = jupytext.read(path)
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(cells) == 1
    values = {}
    for statement in ast.parse(cells[0].source).body:
        assert isinstance(statement, ast.AnnAssign) and statement.value is not None, (
            "write `name: type = value  # help`"
        )
        values[statement.target.id] = ast.literal_eval(statement.value)
    read = papermill.inspect_notebook(path)
    assert {name: ast.literal_eval(found["default"]) for name, found in read.items()} == values
    assert all(found["help"] and found["inferred_type_name"] for found in read.values())


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "book").glob("*.md"))], ids=lambda p: p.name)
def test_relative_links_lead_somewhere(page):
    text = re.sub(r"^(`{3,}|:{3,})(?!\{figure\}).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_examples_of_the_readme_use_what_exists():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    importlib.import_module(f"{node.module}.{alias.name}")
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = sys.modules.get(f"langsim.{node.value.id}")
                assert module is None or hasattr(module, node.attr), f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize(
    "docstring",
    [
        "The share |Mt & Ma| / |Mt|, F * log F, x_ and __init__ and a\\b.",
        "Shapes:\n- `F` is (L, P)\n  in rows\n- `M` is boolean\nand so on",
        "A formula:\n\n    S = sum(a * b) / |a|\n    |x| ** 2\n\nafter it.",
        "Hanging\n    code at once\nafter it",
        "Text.\n\nRaises:\n    ValueError: *one* is | not\n        enough.\n\nText again.",
    ],
)
def test_docstrings_are_plain_text(docstring, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    plain = importlib.import_module("plain_docstrings").plain
    source = "\n".join(plain(docstring.splitlines()))
    tree = publish_doctree(source, settings_overrides={"report_level": 5, "warning_stream": False})
    assert not list(tree.findall(lambda node: node.tagname == "system_message")), source
    shown = re.sub(r"[\s:`-]", "", tree.astext())
    assert shown == re.sub(r"[\s:`-]", "", docstring)
