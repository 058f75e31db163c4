"""What training would cost, against numbers worked out by hand: without weights, without text, without a network."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from tiny import save_names

from langsim import cells, costs, profiles, runner, table2, training_costs, tuning
from langsim.profiles import Tuning
from langsim.training_costs import GPUS, Planned

PAPER = 483_905_536  # parameters of m2m100_418M
NOTEBOOK = "pseudo_families/04_translation"


@pytest.fixture
def paper():
    return profiles.resolve("paper", kind=Tuning)


@pytest.fixture
def small(tmp_path):
    """A model of two matrices and a user's own text."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file({"a": torch.zeros(300, 1000), "b": torch.zeros(20, 5), "c": torch.zeros(7)}, folder / "model.safetensors")
    data = save_names(tmp_path / "names.tsv")
    given = {"model": str(folder), "corpus": "files", "data": str(data), "languages": ["fa", "hi", "de"]}
    return profiles.resolve("mini", kind=Tuning, targets=["fa", "hi"], **given)


def test_the_shapes_of_the_papers_model_are_known_without_its_weights(paper, monkeypatch):
    monkeypatch.setattr(costs, "_downloaded", lambda model: [])
    assert costs.parameters_of(paper.model) == PAPER
    assert costs.parameters_of("facebook/another") is None
    assert not costs.is_here(paper.model) and costs.is_here("mini-m2m")


def test_the_most_systems_there_can_be(paper):
    # Of each target: Vanilla; FT, LF, LF+FT, KL, MSE, Overlap and All with 3 seeds; 5 random families; 6 K; 16 singles.
    assert training_costs.planned(paper) == Planned(5 * 49, 5 * 48, 5 * 49, exact=False)


def test_no_plan_has_more(paper):
    pool = paper.languages
    for size in (1, 3, 8):
        pseudo = {
            key: {target: [code for code in pool[n:] if code != target][:size] for target in paper.targets}
            for n, key in enumerate(["kl", "mse", "overlap", *map(table2.key_of, table2.KS)])
        }
        found = table2.plan_of(paper, pseudo).systems()
        assert len(found) <= 245 and sum(bool(system.stages) for system in found) <= 240


def test_time_memory_and_disk_at_the_size_of_the_paper(paper, monkeypatch):
    monkeypatch.setattr(costs, "_downloaded", lambda model: [])
    shapes = costs.shapes_of(paper.model)
    # 6 x 483,905,536 parameters x 4,096 positions x 4 batches = 4.757e13 operations an update
    assert training_costs.operations(PAPER, paper) == pytest.approx(4.757e13 * 400_000, rel=1e-3)
    a100, h100, rtx4090 = (training_costs.gpu_seconds(PAPER, paper, gpu) for gpu in GPUS)
    assert a100 / 400_000 == pytest.approx(0.5082, rel=1e-3)  # 4.757e13 / (0.3 x 312e12)
    assert a100 / 3600 == pytest.approx(56.47, rel=1e-3)
    assert (h100, rtx4090) == (pytest.approx(a100 * 312 / 989), pytest.approx(a100 * 312 / 165))
    single = paper.model_copy(update={"precision": "fp32"})
    assert training_costs.gpu_seconds(PAPER, single, GPUS[0]) == pytest.approx(a100 * 312 / 19.5)
    # 1,000 sentences of 30 tokens: 2 x 483,905,536 x 30,000 x 5 beams = 1.452e14 operations, at 3.12e12 a second
    assert training_costs.decoding_seconds(PAPER, 30_000, paper, GPUS[0]) == pytest.approx(46.5, rel=1e-2)
    # Rows of the matrices: 128,112 of the vocabulary, 12 x (4 x 1,024 + 4,096 + 1,024) of the encoder's layers,
    # 12 x (8 x 1,024 + 4,096 + 1,024) of the decoder's. 22 bytes a parameter; 12 a row and position.
    rows = 128_112 + 12 * 9_216 + 12 * 13_312
    assert training_costs.device_bytes(shapes, paper) == 22 * PAPER + 12 * rows * 4_096
    assert training_costs.device_bytes(shapes, single) == 20 * PAPER + 12 * rows * 4_096
    assert training_costs.disk_bytes(shapes) == 36 * PAPER  # 17 GB
    assert training_costs.host_bytes(shapes) == 0.8e9 + 36 * PAPER


def test_what_the_dry_run_says_at_the_size_of_the_paper(paper, monkeypatch):
    monkeypatch.setattr(costs, "_downloaded", lambda model: [])
    monkeypatch.setattr("datasets.load_dataset", None)  # nothing is downloaded for it
    said = training_costs.lines(paper)
    assert said[0].startswith("systems: at most 245, at most 240 of them trained (5 targets)")
    assert said[1].startswith(
        "training: at most 400,000 updates a system, of 4 x 4,096 positions in fp16; ends after 10 "
    )
    assert said[2] == (
        "before the notebook: langsim reproduce --profile paper --only pseudo-families, then "
        "langsim reproduce --profile paper --only tuned"
    )
    assert "download: facebook/m2m100_418M from the hub, about 1.9 GB" in said
    assert any(line.startswith("download: corpus ted from the hub") for line in said)
    assert (
        "time on one A100 80 GB: 8 min for 1,000 updates, at most 56.5 h a system, at most 13,553 h together; "
        "47 s to translate 1,000 sentences"
    ) in said
    assert any(
        line.startswith("time on one RTX 4090") and line.endswith("too little for these batches") for line in said
    )
    assert any(line.startswith("assumed: 6 operations a parameter (484 million)") for line in said)
    assert "memory: about 30.2 GB of the GPU, 18.2 GB beside it" in said
    assert "disk: 17.4 GB while a system is trained, given back when it is scored" in said


def test_a_model_of_unknown_shapes(paper, monkeypatch):
    monkeypatch.setattr(costs, "_downloaded", lambda model: [])
    said = training_costs.lines(paper.model_copy(update={"model": "nobody/has-this"}))
    assert "download: nobody/has-this from the hub, size unknown" in said
    assert said[-1] == "time and memory: unknown before nobody/has-this is here"


def test_on_a_cpu(small):
    shapes = costs.shapes_of(small.model)
    # 80 batches of two matrices at 1 ms each, and 6 x 300,107 x 1,024 x 80 operations at 60e9 a second
    assert training_costs.cpu_seconds(shapes, small) == pytest.approx(0.16 + 6 * 300_107 * 1_024 * 80 / 60e9)
    assert training_costs.planned(small) == Planned(2 * (1 + 7 * 3 + 5 + 6 + 2), 2 * 34, 2 * 35, exact=False)
    said = "\n".join(training_costs.lines(small))
    assert "time: at most " in said and "60 billion a second and thread" in said and "before the notebook" not in said
    assert "download: nothing" in said


def test_the_row_of_a_run_that_trains_has_it_on_top(small):
    jobs = tuning.jobs_of(small, 68)
    fisher, whole = costs.estimate(small), training_costs.added(costs.estimate(small), small)
    each = training_costs.cpu_seconds(costs.shapes_of(small.model), small)
    assert whole.seconds == pytest.approx(fisher.seconds + 68 * each / jobs)
    assert whole.disk == fisher.disk + jobs * 36 * 300_107 and whole.memory >= fisher.memory
    plain = profiles.resolve("mini", kind=Tuning)  # reads cells
    assert training_costs.added(fisher, plain) == fisher


def test_cells_that_are_there_are_not_counted(monkeypatch, tmp_path):
    """A profile whose families are known: its systems exactly, and those that are missing."""
    monkeypatch.setattr(cells, "reference_dir", lambda profile: tmp_path / profile)
    settings = profiles.resolve("mini", kind=Tuning)
    assert not training_costs.planned(settings).exact
    names = ["kl", "mse", "overlap", *map(table2.key_of, table2.KS)]
    pseudo = {name: {target: [c for c in ("tr", "de") if c != target] for target in settings.targets} for name in names}
    cells.write(table2.families_cell(settings), pseudo)
    plan = table2.plan_of(settings, pseudo).systems()
    trained = sum(bool(system.stages) for system in plan)
    assert training_costs.planned(settings) == Planned(len(plan), trained, len(plan), exact=True)
    own = tuning.cell_of(settings, plan[0])
    assert own == replace(tuning.cell_of(settings, plan[-1]), id=own.id)
    cells.write(own, {"x": 1})
    assert training_costs.planned(settings).missing == len(plan) - 1
    before = [line for line in training_costs.lines(settings) if line.startswith("before the notebook")]
    assert before == ["before the notebook: langsim reproduce --profile mini --only tuned"]
    for system in plan[1:]:
        cells.write(replace(own, id=system.id), {"x": 1})
    said = training_costs.lines(settings)
    assert said == [
        f"systems: {len(plan)}, {trained} of them trained (5 targets); all of them read from the profile's cells"
    ]


def test_only_pages_that_train_say_more_than_the_table(small, tmp_path):
    page = tmp_path / "x.md"
    page.write_text("# x")
    plain = profiles.resolve("mini")
    assert costs.details(runner.Run("x", page, tmp_path / "x.ipynb", {}, plain)) == []
    assert costs.details(runner.Run("x", page, tmp_path / "x.ipynb", {}, small)) == training_costs.lines(small)


@pytest.mark.parametrize("profile", profiles.names())
def test_the_command_says_it_for_every_profile(profile, capsys, monkeypatch):
    from langsim import cli

    monkeypatch.setattr(costs, "_downloaded", lambda model: [])
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", NOTEBOOK, "--profile", profile, "--dry-run"])
    table, _, below = capsys.readouterr().out.partition("\n\n")
    assert stop.value.code == 0 and NOTEBOOK in table
    assert below.startswith(f"{NOTEBOOK}:\nsystems: ")


def test_hours_are_readable():
    told = {40: "40 s", 89: "89 s", 600: "10 min", 5399: "90 min", 5400: "1.5 h", 4e6: "1,111 h", None: "unknown"}
    assert {seconds: costs.shown_time(seconds) for seconds in told} == told
