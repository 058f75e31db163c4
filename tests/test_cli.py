"""The command line: fast, quiet, exact JSON, one line an error, and the right exit status."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from tiny import save_names, save_tiny_m2m

from langsim import __version__, cells, cli, exhibits, languages, paths, pipeline, profiles, results, runner
from langsim.errors import Failure


def call(capsys, *arguments):
    """(exit status, stdout, stderr) of a command in this process."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(arguments))
    printed = capsys.readouterr()
    return stopped.value.code, printed.out, printed.err


def test_version(capsys):
    assert call(capsys, "--version") == (0, f"langsim {__version__}\n", "")


def test_languages_lists_the_registry(capsys):
    status, out, err = call(capsys, "languages", "--json")
    listed = {language["code"]: language for language in json.loads(out)}
    assert (status, err) == (0, "")
    assert set(listed) == {language.code for language in languages.all_languages()}
    assert listed["fa"]["iso639_3"] == "fas" and listed["fa"]["name"] == "Persian"
    assert {"m2m", "flores", "ntrex", "ud", "cldr", "uriel", "family", "script"} <= set(listed["fa"])
    status, out, _ = call(capsys, "languages")
    assert status == 0 and len(out.splitlines()) == len(listed) + 1


def test_exhibits_lists_all_34(capsys):
    status, out, _ = call(capsys, "exhibits", "--json")
    listed = json.loads(out)
    assert status == 0 and listed == exhibits.listing() and len(listed) == 34
    for exhibit in listed:
        assert list(exhibit) == ["id", "paper", "exhibit", "notebook", "published", "results"]
    assert call(capsys, "exhibits")[0] == 0


@pytest.mark.parametrize("arguments", [["languages", "--json"], ["exhibits", "--json"], ["similarity", "--help"]])
def test_light_commands_load_no_heavy_library(arguments):
    program = (
        "import sys\nfrom langsim import cli\n"
        f"try:\n    cli.main({arguments!r})\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'transformers', 'pandas', 'scipy', 'sklearn', 'papermill'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=paths.ROOT, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["langages"], "'langages'"),
        (["languages", "--jsn"], "--jsn"),
        (["similarity", "--k", "much"], "'--k'"),
        (["family"], "--target"),
        (["similarity", "--profile", "minni"], "did you mean 'mini'"),
        (["similarity", "--languages", "xx,fa"], "'xx'"),
        (["similarity", "--measure", "overlp"], "did you mean 'overlap'"),
        (["family", "--target", "xx"], "'xx'"),
        (["fisher", "--corpus", "files", "--data", "no/such/place"], "no/such/place"),
        (["run"], "name the notebooks"),
        (["run", "--all", "x"], "name the notebooks"),
        (["run", "no_such_notebook"], "no_such_notebook"),
        (["reproduce", "--profile", "minni"], "did you mean 'mini'"),
        (["reproduce", "--only", "nothing"], "'nothing'"),
        (["results", "compare", "--fresh", "no/such/place"], "no folder of fresh results"),
        (["cache", "clear", "everything"], "'everything'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(capsys, arguments, words):
    status, out, err = call(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("langsim: ") and err.count("\n") == 1
    assert words in err


def test_a_failure_is_one_line_and_status_1(capsys, monkeypatch):
    def fails(*arguments, **options):
        raise Failure("the disk is full;\nfree some space")

    monkeypatch.setattr(cells, "reproduce", fails)
    assert call(capsys, "reproduce") == (1, "", "langsim: the disk is full; free some space\n")
    monkeypatch.setattr(cells, "reproduce", lambda *arguments, **options: 1 / 0)
    status, _, err = call(capsys, "reproduce")
    assert status == 1 and err.count("\n") == 1 and "ZeroDivisionError" in err and "LANGSIM_DEBUG" in err


def test_an_interrupt_is_one_line_and_status_130(capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cells, "reproduce", interrupted)
    status, _, err = call(capsys, "reproduce")
    assert (status, err) == (130, "langsim: interrupted; the same command continues where it stopped\n")


def test_a_reader_that_stops_reading_is_no_error():
    command = f"{sys.executable} -m langsim.cli languages --json | head -c 10"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=paths.ROOT, check=True)
    assert len(done.stdout) == 10 and done.stderr == ""


def test_parameters_of_run_are_spelled_as_papermill_does(capsys, monkeypatch):
    seen = {}

    def plan(names, parameters, **options):
        seen.update(names=names, parameters=parameters, **options)
        return []

    monkeypatch.setattr(runner, "plan", plan)
    arguments = ["run", "a", "b", "-p", "k", "0.3", "-p", "languages", "[no, sv]", "-y", "seed: 1", "--profile", "open"]
    assert call(capsys, *arguments)[0] == 0
    assert seen["names"] == ["a", "b"] and seen["profile"] == "open"
    assert seen["parameters"] == {"k": 0.3, "languages": ["no", "sv"], "seed": 1}


def test_results_are_compared_and_a_difference_is_a_failure(capsys, tmp_path):
    import pandas as pd

    for name, value in (("fresh", 0.5), ("reference", 0.5)):
        frame = pd.DataFrame({"target": ["fa"], "value": [value]})
        results.write_result("x", frame, signature="k:0.4", folder=tmp_path / name, tolerances={"value": 0.01})
    arguments = ("results", "compare", "--fresh", str(tmp_path / "fresh"), "--reference", str(tmp_path / "reference"))
    assert call(capsys, *arguments) == (0, "no differences\n", "")
    frame = pd.DataFrame({"target": ["fa"], "value": [0.52]})
    results.write_result("x", frame, signature="k:0.4", folder=tmp_path / "fresh", tolerances={"value": 0.01})
    status, out, err = call(capsys, *arguments)
    assert status == 1 and "row 1, value: 0.52 instead of 0.5" in out and "make accept" in err


def test_results_of_a_profile_are_accepted(capsys, tmp_path, monkeypatch):
    import pandas as pd

    monkeypatch.setattr(results, "DATA", tmp_path / "data")
    monkeypatch.setenv("LANGSIM_RESULTS", str(tmp_path / "fresh"))
    assert call(capsys, "results", "accept", "--profile", "opne")[0] == 2
    status, _, err = call(capsys, "results", "accept", "--profile", "open")
    assert status == 2 and "no folder of fresh results" in err
    frame = pd.DataFrame({"target": ["fa"], "value": [0.5]})
    results.write_result("x", frame, signature="k:0.4", folder=tmp_path / "fresh" / "open")
    status, out, err = call(capsys, "results", "accept", "--profile", "open")
    assert (status, out) == (0, "") and "x.csv" in err and "x.json" in err
    assert results.read_result(tmp_path / "data" / "results" / "open" / "x.csv").frame.equals(frame)
    assert call(capsys, "results", "accept", "--profile", "open") == (0, "", "")


def test_the_cache_can_be_seen_and_cleared(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path))
    (tmp_path / "fisher").mkdir()
    (tmp_path / "fisher" / "x").write_text("12345")
    assert "fisher  1" in call(capsys, "cache", "info")[1]
    assert call(capsys, "cache", "clear", "fisher")[0] == 0
    assert not (tmp_path / "fisher").exists()


def test_clearing_all_of_the_cache_spares_trainings(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path))
    for name in ("catalogs", "fisher", "train/mini-m2m"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "train" / "mini-m2m" / "training.safetensors").write_text("hours")
    status, out, err = call(capsys, "cache", "clear", "all")
    assert (status, out) == (0, "") and err.startswith("kept: train") and err.count("\n") == 1
    assert (tmp_path / "train" / "mini-m2m" / "training.safetensors").read_text() == "hours"
    assert [path.name for path in tmp_path.iterdir()] == ["train"]
    assert call(capsys, "cache", "clear", "train") == (0, "", "")
    assert list(tmp_path.iterdir()) == []
    assert call(capsys, "cache", "clear", "all") == (0, "", "")


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    data = save_names(folder / "names.tsv")
    model = save_tiny_m2m(folder / "model", data.read_text().replace("\t", "\n").splitlines())
    given = {"model": str(model), "corpus": "files", "data": str(data), "languages": "fa,hi,de,sv", "max-items": "40"}
    return [word for name, value in given.items() for word in (f"--{name}", value)]


def test_the_similarity_commands_print_what_the_library_says(capsys, options, tmp_path, monkeypatch):
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path))
    given = dict(zip([word[2:].replace("-", "_") for word in options[::2]], options[1::2], strict=True))
    given |= {"languages": given["languages"].split(","), "max_items": int(given["max_items"])}
    settings = profiles.resolve(**given)
    status, out, err = call(capsys, "fisher", *options, "--json")
    assert (status, err) == (0, "")
    assert [row["language"] for row in json.loads(out)["languages"]] == ["fa", "hi", "de", "sv"]
    assert json.loads(call(capsys, "similarity", *options, "--json")[1]) == pipeline.similarities(settings).as_json()
    told = json.loads(call(capsys, "similarity", *options, "--json", "--measure", "kl")[1])
    assert told["measure"] == "kl (smaller = more similar)"
    told = json.loads(call(capsys, "family", *options, "--json", "--target", "pes")[1])
    assert told == pipeline.family(settings, "fa").as_json()
    for command in (["fisher"], ["similarity"], ["family", "--target", "fa"]):
        status, out, _ = call(capsys, *command, *options)
        assert status == 0 and "model:model@" in out
    status, _, err = call(capsys, "family", *options, "--target", "gl")
    assert status == 2 and "'gl' not among the languages" in err


def test_ctrl_c_ends_a_real_command_cleanly(options, tmp_path):
    command = [sys.executable, "-m", "langsim.cli", "similarity", *options]
    environment = {**os.environ, "LANGSIM_CACHE": str(tmp_path)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=paths.ROOT, env=environment
    )
    while not list(tmp_path.rglob("*.safetensors")) and process.poll() is None:  # until the first language is done
        time.sleep(0.02)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode in (0, 130), err  # 0 where it was quicker than the signal
    if process.returncode == 130:
        assert err == "langsim: interrupted; the same command continues where it stopped\n"
