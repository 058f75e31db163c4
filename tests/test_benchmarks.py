"""The benchmarks run, at toy sizes, and find the same numbers as their peers; the page shows what their files say.

Nothing here looks at a time.
"""

import importlib
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from langsim import paths

COLUMNS = ["benchmark", "case", "ours", "ours_seconds", "peer", "peer_seconds", "ratio", "ours_peak_mb"]
COLUMNS += ["peer_peak_mb", "machine", "torch", "threads"]


@pytest.fixture
def scripts(monkeypatch):
    """Import a script of the repository by its name."""
    for folder in ("benchmarks", "tools"):
        monkeypatch.syspath_prepend(paths.ROOT / folder)
    return importlib.import_module


@pytest.fixture
def benchmark(scripts, monkeypatch, tmp_path):
    """Run a benchmark with arguments: the file it wrote."""

    def run(name, *arguments):
        file = tmp_path / "out" / f"{name}.csv"
        monkeypatch.setattr("gc.collect", lambda: 0)  # which takes longest by far in a process full of tests
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments), "--csv", str(file)])
        before = torch.get_num_threads()
        try:
            scripts(name).main()
        finally:
            torch.set_num_threads(before)
        return pd.read_csv(file, keep_default_na=False)

    return run


def test_fisher_speed(benchmark):
    small = {"width": 64, "layers": 1, "vocabulary": 60, "examples": 3, "call-tokens": 18, "rounds": 1}
    rows = benchmark("fisher_speed", *(word for name, n in small.items() for word in (f"--{name}", n)), "--tokens", 3)
    assert list(rows) == COLUMNS
    anyone = ["forward and backward", "forward and backward", "loop of single examples", "torch.func.vmap(grad)"]
    for case, part in rows.groupby("case"):
        assert part["peer"].tolist()[:4] == anyone
        assert part["ours"].tolist() == ["batch"] + ["per_example"] * (len(part) - 1)
        assert case.endswith("B=3")
    assert rows["case"].nunique() == 2
    np.testing.assert_allclose(rows["ratio"], rows["peer_seconds"] / rows["ours_seconds"], rtol=0.01)


def test_a_peer_with_other_numbers_is_noticed(scripts):
    fisher_speed, peers = scripts("fisher_speed"), scripts("peers")
    stack = peers.Stack(8, 1, 20).eval()
    batch = fisher_speed.hidden_of(3, 4, 8, 20, 0)
    calls = fisher_speed.ways(stack, [batch], ["body.0.weight", "body.2.weight"], 0)
    found = {name: call() for name, call in calls.items()}
    fisher_speed.check(found)
    found["loop of single examples"] = {name: 1.01 * it for name, it in found["loop of single examples"].items()}
    with pytest.raises(AssertionError, match="loop of single examples differs by"):
        fisher_speed.check(found)


@pytest.mark.parametrize("package", ["backpack", "nngeometry"])
def test_peers_that_watch_layers(scripts, package):
    pytest.importorskip(package)
    fisher_speed, peers = scripts("fisher_speed"), scripts("peers")
    stack = peers.Stack(8, 2, 20).eval()
    batches = [fisher_speed.hidden_of(3, 4, 8, 20, seed) for seed in (0, 1)]
    names = [f"body.{n}.weight" for n in (0, 2, 4, 6)]
    calls = fisher_speed.ways(stack, batches, names, 0) | fisher_speed.layer_ways(stack, batches, names)
    assert any(package in name.lower() for name in calls)
    fisher_speed.check({name: call() for name, call in calls.items()})


def test_all_pairs(benchmark, capsys):
    rows = benchmark("all_pairs", "--languages", 3, 4, "--parameters", "2e4", "--peer-pairs", 4)
    assert list(rows) == COLUMNS
    assert rows["case"].tolist() == ["3 languages, 2e4 parameters, 3 pairs", "4 languages, 2e4 parameters, 6 pairs"]
    assert rows["peer"].tolist() == ["pairwise, 3 pairs", "pairwise, 4 pairs"]
    a_pair = (rows["peer_seconds"] / [3, 4]) / (rows["ours_seconds"] / [3, 6])
    np.testing.assert_allclose(rows["ratio"], a_pair, rtol=0.01)
    differences = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines() if "difference" in line]
    assert len(differences) == 2 and max(differences) < 1e-6


def test_all_pairs_leave_room_on_the_disk(benchmark, monkeypatch, tmp_path):
    with pytest.raises(SystemExit):
        benchmark("all_pairs", "--languages", 17, "--parameters", "1e12", "--folder", tmp_path)
    assert not list(tmp_path.glob("tmp*"))


def test_thresholds(benchmark):
    rows = benchmark("threshold", "--parameters", "1e4", "3e4", "--rounds", 1)
    assert list(rows) == COLUMNS and len(rows) == 2 * 3 * 2
    assert set(rows["peer"]) == {"np.partition", "torch.kthvalue"}


def test_paper_size(benchmark, tmp_path):
    tiny = {"languages": 2, "batches": 1, "batch-size": 2, "layers": 1, "width": 64, "vocabulary": 500, "threads": 1}
    arguments = [word for name, n in tiny.items() for word in (f"--{name}", n)]
    found = benchmark("paper_size", *arguments, "--device", "cpu", "--folder", tmp_path)
    values = found.set_index("what")["value"]
    assert values["languages"] == 2
    assert values["parameters in a Fisher vector"] == (4 + 8) * 64**2 + 2 * 2 * 4 * 64**2
    assert values["Fisher vectors on disk"] > 2 * 4e-6 * values["parameters in a Fisher vector"]
    assert not list(tmp_path.glob("tmp*")), "the vectors are deleted"


def fisher_rows(**other):
    plain = {
        "case": "M2M100, d=512 T=32 B=32",
        "peer": "forward and backward",
        "peer_seconds": 0.5,
        "peer_peak_mb": 300,
    }
    batch = {**plain, "ours": "batch", "ours_seconds": 0.55, "ours_peak_mb": 310}
    example = {"ours": "per_example", "ours_seconds": 0.7, "ours_peak_mb": 320}
    loop = {**plain, **example, "peer": "loop", "peer_seconds": 2.0, "peer_peak_mb": 1234}
    signed = {"machine": "1 x A", "torch": "2.0", "threads": 1}
    return pd.DataFrame([{**row, **signed, **other} for row in (batch, {**plain, **example}, loop)])


def test_the_page_says_what_the_files_say(scripts, tmp_path):
    build, speed = scripts("build_book"), scripts("speed_tables")
    fisher_rows().to_csv(tmp_path / "fisher_512.csv", index=False)
    fisher_rows(case="M2M100, d=1024 T=32 B=32", machine="2 x B").to_csv(tmp_path / "fisher_1024.csv", index=False)
    told = "".join(speed._fisher(build.table, speed._read(tmp_path, "fisher")))
    assert "M2M100, d = 512, B = 32 examples" in told and "M2M100, d = 1024, B = 32 examples" in told
    for cell in ("| `batch` | **1.10** (550 ms, 310 MB) |", "| `per_example` | **1.40** (700 ms, 320 MB) |"):
        assert told.count(cell) == 2
    assert "| loop | **4.00** (2 s, 1,234 MB) |" in told
    assert "1 x A and 2 x B" in told and told.index("d = 512") < told.index("d = 1024")
    assert "torch 2.0, threads: 1" in told
    with pytest.raises(SystemExit, match="no all_pairs"):
        speed.tables(build.table, tmp_path)


def test_how_much_is_done_in_a_second(scripts):
    build, speed = scripts("build_book"), scripts("speed_tables")
    row = {"case": "hi-en, 128 sentences, batches of 32", "ours": "ctranslate2", "ours_seconds": 2.0, "ratio": 4.0}
    row |= {"ours_peak_mb": 80, "peer": "transformers", "peer_seconds": 8.0, "peer_peak_mb": 300}
    rows = pd.DataFrame([{**row, "machine": "1 x A", "torch": "2.0", "threads": 1}])
    told = "".join(speed._rates(build.table, rows))
    assert "| sentences a second | `ctranslate2` | transformers | ratio |" in told
    assert "| hi-en, 128 sentences, batches of 32 | 64 | 16 | **4** |" in told
    assert "| 2 s, 80 MB | **4** (8 s, 300 MB) |" in told


def test_what_parts_of_table_2_cost(scripts):
    """240 systems of 17.8 h on an H100 at most; a tenth of the updates take a tenth of the time."""
    told = scripts("build_book").paper_costs().splitlines()
    cells = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in told[2:]}
    assert cells["everything, as the profile is"] == ["240", "13,553", "4,275"]
    assert [line.split(" | ")[1] for line in told[2:]] == ["240", "150", "150", "30", "45", "15", "15", "3"]
    assert told[-1].endswith("| 17 | 5 |") and told[-2].endswith("| 85 | 27 |")


def test_the_committed_files_make_the_tables(scripts):
    build, speed = scripts("build_book"), scripts("speed_tables")
    told = speed.tables(build.table)
    made = ("fisher", "all_pairs", "threshold", "training", "decoding", "lslo", "paper_size")
    assert set(told) == {f"speed_{name}" for name in made}
    for text in told.values():
        assert "| --- |" in text and "Measured on" in text and "nan" not in text
    page = (paths.ROOT / "book" / "speed.md").read_text(encoding="utf-8")
    for name in told:
        assert f"generated/{name}.md" in page
    for file in speed.FOLDER.glob("*.csv"):
        assert f"/data/benchmarks/{file.name}" in page, f"the page lacks a link to {file.name}"
