"""`langsim run` and plain papermill on a small notebook with the house's two first cells."""

import json
import subprocess
import sys

import joblib
import jupytext
import nbformat
import pytest

from langsim import paths, runner
from langsim.errors import Failure, UsageError

NOTEBOOK = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# Demo

```{code-cell} ipython3
:tags: [parameters]

profile: str = "mini"  # mini, open or paper
model: str = "organisation/name"  # a model
languages: list[str] = []  # codes, or a pool
k: float = 0.0  # share of active parameters
```

```{code-cell} ipython3
from langsim import profiles

settings = profiles.from_notebook(globals())
```

```{code-cell} ipython3
from langsim.errors import Failure

if settings.k == 0.9:
    raise Failure("the disk is full; free some space")
if settings.k == 0.8:
    1 / 0
print(settings.k, *settings.languages)
```
"""


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """A project with one notebook, `part/01_demo`, both as text twin and as committed `.ipynb`."""
    folder = tmp_path / "notebooks"
    twin = folder / "part" / "01_demo.md"
    twin.parent.mkdir(parents=True)
    twin.write_text(NOTEBOOK)
    jupytext.write(jupytext.read(twin), twin.with_suffix(".ipynb"))
    monkeypatch.setattr(runner, "NOTEBOOKS", folder)
    monkeypatch.setattr(runner, "RUNS", tmp_path / "runs")
    monkeypatch.setenv("PYTHONPATH", str(paths.ROOT))
    monkeypatch.chdir(tmp_path)
    return twin


def plan(demo, out, **parameters):
    return runner.plan(["demo"], parameters, out=str(out))[0]


def printed(path):
    cells = nbformat.read(path, as_version=4).cells
    return "".join(out.text for cell in cells for out in cell.get("outputs", []) if out.output_type == "stream")


def test_a_notebook_has_many_names(demo):
    for name in ("demo", "01_demo", "part/01_demo", str(demo), str(demo.with_suffix(".ipynb"))):
        assert runner.find(name) == demo
    with pytest.raises(UsageError, match="did you mean 'part/01_demo'"):
        runner.find("part/01_dmo")
    with pytest.raises(UsageError, match="no notebook"):
        runner.find("other.ipynb")


def test_parameters_are_inspected_as_papermill_sees_them(demo):
    assert runner.inspect(demo) == {"profile": "mini", "model": "organisation/name", "languages": [], "k": 0.0}


def test_parameters_are_read_as_yaml_that_knows_norwegian():
    parameters = runner.parse_parameters(["k=0.3", "languages=[no, sv, on]"], ["seed: 3\nmeasure: kl"])
    assert parameters == {"k": 0.3, "languages": ["no", "sv", "on"], "seed": 3, "measure": "kl"}
    for pairs, texts in ((["k"], []), ([], ["k"]), ([], ["[1]"]), (["k=[1"], []), ([], ["k: [1"])):
        with pytest.raises(UsageError, match=r"^-[py]"):
            runner.parse_parameters(pairs, texts)


def test_booleans_are_true_and_false_alone():
    given = runner.parse_parameters(["a=true", "b=False"], ["{c: TRUE, d: no, e: truest, f: [false, off]}"])
    assert given == {"a": True, "b": False, "c": True, "d": "no", "e": "truest", "f": [False, "off"]}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"lanugages": ["fa"]}, r"part/01_demo: parameter: unknown 'lanugages' \(did you mean 'languages'\?\)"),
        ({"seed": 1}, "parameter: unknown 'seed'"),  # a setting, but not one of this notebook
        ({"languages": ["xx", "fa"]}, "'xx'"),
        ({"profile": "minni"}, "did you mean 'mini'"),
        ({"k": "much"}, "k: "),
    ],
)
def test_mistakes_end_the_run_before_it_starts(demo, tmp_path, parameters, words):
    with pytest.raises(UsageError, match=words):
        plan(demo, tmp_path / "out", **parameters)
    assert not (tmp_path / "out").exists()


def test_committed_notebooks_are_never_written(demo, tmp_path):
    for out in (tmp_path / "notebooks", tmp_path / "notebooks" / "part", "notebooks"):
        with pytest.raises(UsageError, match="over the committed notebooks"):
            plan(demo, out)


def test_variants_have_folders_of_their_own(demo, tmp_path):
    plain, other = (runner.plan(["demo"], parameters)[0].output for parameters in ({}, {"k": 0.3}))
    assert plain == tmp_path / "runs" / "mini" / "part" / "01_demo.ipynb"
    assert other.parent.parent.name.startswith("mini-")


def test_a_run_is_executed_once_and_again_when_something_changed(demo, tmp_path):
    committed = demo.with_suffix(".ipynb").read_bytes()
    item, said = plan(demo, tmp_path / "out", k=0.3, languages=["pes", "hi"]), []
    assert runner.run(item, say=said.append)
    assert printed(item.output) == "0.3 fa hi\n"
    first = item.output.read_text()
    assert str(tmp_path) not in first  # no local paths in what may be committed
    assert not runner.run(item, say=said.append)
    assert "finished before" in said[-1]
    assert runner.run(item, force=True)
    assert item.output.read_text() == first
    demo.write_text(NOTEBOOK + "\nOne more sentence.\n")
    why = runner.unfinished(item, runner.dependencies(item))
    assert why == "changed: notebook"
    item.output.unlink()
    assert runner.unfinished(item, runner.dependencies(item)) == "output gone"
    assert demo.with_suffix(".ipynb").read_bytes() == committed


def test_a_failing_cell_is_one_line_and_is_not_finished(demo, tmp_path):
    failing = plan(demo, tmp_path / "out", k=0.9)
    with pytest.raises(Failure) as error:
        runner.run(failing)
    assert str(error.value) == "part/01_demo: the disk is full; free some space"
    assert failing.output.exists() and not failing.record.exists()
    with pytest.raises(Failure, match=r"part/01_demo, cell \[4\]: ZeroDivisionError: division by zero \(in full in "):
        runner.run(plan(demo, tmp_path / "out", k=0.8))


@pytest.mark.parametrize(("jobs", "executed"), [(1, [False, False]), (2, [False, True])])
def test_a_failure_ends_one_run_at_a_time_and_leaves_others_alone(demo, tmp_path, jobs, executed):
    items = [plan(demo, tmp_path / str(k), k=k) for k in (0.9, 0.3)]
    with pytest.raises(Failure, match="part/01_demo: the disk is full; free some space"):
        runner.run_all(items, jobs=jobs)
    assert [item.record.exists() for item in items] == executed


def test_several_at_a_time_give_the_same_and_share_the_cores(demo, tmp_path):
    demo.write_text(NOTEBOOK.replace("print(", "import joblib\n\nprint(joblib.cpu_count(), "))
    for jobs in (1, 2):
        runner.run_all([plan(demo, tmp_path / str(jobs) / str(k), k=k) for k in (0.3, 0.4)], jobs=jobs)
    alone, beside = (
        [printed(plan(demo, tmp_path / str(jobs) / str(k), k=k).output).split()[:2] for k in (0.3, 0.4)]
        for jobs in (1, 2)
    )
    cores = joblib.cpu_count()
    assert alone == [[str(cores), "0.3"], [str(cores), "0.4"]]
    assert beside == [[str(max(1, cores // 2)), "0.3"], [str(max(1, cores // 2)), "0.4"]]


def test_the_users_own_files_count_as_dependencies(demo, tmp_path):
    data = tmp_path / "text.tsv"
    data.write_text("en\tfa\nyes\tbale\n")
    item = plan(demo, tmp_path / "out")
    item = runner.Run(item.name, item.source, item.output, {}, item.settings.model_copy(update={"data": str(data)}))
    before = runner.dependencies(item)
    data.write_text("en\tfa\nyes\tare\n")
    after = runner.dependencies(item)
    assert [key for key in before if before[key] != after[key]] == ["your data"]


def changed_by(item, change):
    before = runner.dependencies(item)
    change()
    after = runner.dependencies(item)
    return [key for key in after if before[key] != after[key]]


def test_a_local_checkpoint_counts_as_a_dependency(demo, tmp_path):
    model = tmp_path / "model"
    (model / "checkpoint-5").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"one")
    item = plan(demo, tmp_path / "out", model=str(model))
    assert changed_by(item, lambda: (model / "model.safetensors").write_bytes(b"two")) == ["model"]
    assert changed_by(item, lambda: (model / "config.json").write_text('{"dropout": 0.3}')) == ["model"]
    assert changed_by(item, lambda: (model / "checkpoint-5" / "x").write_bytes(b"x")) == []
    assert "model" not in runner.dependencies(plan(demo, tmp_path / "out"))  # one from the hub


def test_the_content_of_ntrex_counts_where_it_is_the_corpus(demo, tmp_path, monkeypatch):
    file = tmp_path / "ntrex128" / "newstest2019-ref.deu.txt"
    file.parent.mkdir()
    file.write_text("eins\n")
    monkeypatch.setenv("LANGSIM_DATA", str(tmp_path))
    catalogs, ntrex = (runner.plan(["demo"], {"profile": p}, out=str(tmp_path / "out"))[0] for p in ("mini", "open"))
    assert ntrex.settings.corpus == "ntrex" != catalogs.settings.corpus
    assert changed_by(ntrex, lambda: file.write_text("zwei\n")) == ["ntrex"]
    assert changed_by(catalogs, lambda: file.write_text("drei\n")) == []
    monkeypatch.delenv("LANGSIM_DATA")  # then it is where `langsim data fetch` puts it
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "cache"))
    fetched = tmp_path / "cache" / "open" / "ntrex128" / "newstest2019-ref.deu.txt"
    fetched.parent.mkdir(parents=True)
    assert changed_by(ntrex, lambda: fetched.write_text("eins\n")) == ["ntrex"]


def test_plain_papermill_works_and_ends_with_one_clear_line(demo, tmp_path):
    command = [sys.executable, "-m", "papermill", str(demo.with_suffix(".ipynb")), str(tmp_path / "out.ipynb")]
    command += ["--no-progress-bar", "--log-level", "ERROR", "-y"]
    done = subprocess.run([*command, "languages: [gl, es]"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert printed(tmp_path / "out.ipynb") == "0.4 gl es\n"
    done = subprocess.run([*command, "{profile: minni, langs: [xx]}"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("UsageError: profile: unknown 'minni' (did you mean 'mini'?); parameter: unknown 'langs'")


def test_every_notebook_of_the_book_has_a_sound_parameters_cell():
    for source in runner.all_notebooks():
        defaults = runner.inspect(source)
        assert next(iter(defaults)) == "profile", f"{source}: profile comes first"
        cells = [cell for cell in jupytext.read(source).cells if "parameters" in cell.metadata.get("tags", [])]
        assert len(cells) == 1
        assigned = {line.split(":")[0].split("=")[0].strip() for line in cells[0].source.splitlines() if "=" in line}
        assert set(defaults) == assigned, f"{source}: a parameter that papermill does not see"


def test_the_record_says_what_the_run_depended_on(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "_execute", lambda item: item.output.parent.mkdir(parents=True, exist_ok=True))
    item = plan(demo, tmp_path / "out")
    runner.run(item)
    record = json.loads(item.record.read_text())
    assert set(record["depends"]) >= {"notebook", "parameters", "langsim", "environment", "data"}


TWO = NOTEBOOK.replace(
    "k: float = 0.0  # share of active parameters\n",
    'k: float = 0.0  # share of active parameters\ncorpus_b: str = ""  # a corpus\ndata_b: str = ""  # a folder\n',
)


def test_a_notebook_of_two_corpora_is_checked_and_followed(demo, tmp_path):
    demo.write_text(TWO)
    with pytest.raises(UsageError, match="corpus_b: unknown 'catalog'"):
        plan(demo, tmp_path / "out", corpus_b="catalog")
    text = tmp_path / "text.tsv"
    text.write_text("en\tfa\nyes\tbale\n")
    item = plan(demo, tmp_path / "out", corpus_b="files", data_b=str(text))
    assert item.settings.data_b == str(text)
    assert changed_by(item, lambda: text.write_text("en\tfa\nyes\tare\n")) == ["your data 2"]


def test_runs_depend_on_other_profiles_results_and_not_on_their_own(demo, tmp_path, monkeypatch):
    """The others are shown beside; what a run is compared with afterwards is no part of it."""
    monkeypatch.setattr(runner, "DATA", tmp_path / "data")
    files = [tmp_path / "data" / "results" / place for place in ("mini/x.csv", "open/x.csv", "mini/cells/k/c.json")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1")
    item = plan(demo, tmp_path / "out")
    changed = [changed_by(item, lambda file=file: file.write_text("2")) for file in files]
    assert changed == [[], ["data"], ["data"]]
