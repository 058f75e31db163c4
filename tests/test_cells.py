"""The cell mechanism on a real procedure: the Fisher trace of a small random language model."""

import json
from datetime import date

import pytest

from langsim import cells, paths, results
from langsim.errors import Failure, UsageError

CALLS = []


def fisher_trace(cell):
    """Sum of squared gradients of one mini-batch's log-likelihood, by plain autograd."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(int(cell.inputs["seed"]))
    model = torch.nn.Sequential(torch.nn.Embedding(40, 16), torch.nn.Linear(16, 32), torch.nn.Linear(32, 40))
    tokens = torch.randint(40, (4, 8))
    torch.nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
    CALLS.append(cell.id)
    trace = sum(float(p.grad.double().square().sum()) for p in model.parameters())
    return {"trace": trace, "tensors": len(list(model.parameters())), "of": {"model": "random"}}


def seeds(profile):
    return {f"seed-{number}": {"model": "tiny", "seed": str(number)} for number in range(3)}


@pytest.fixture
def kind(tmp_path, monkeypatch):
    """The procedure registered, with results and cache in a temporary folder."""
    monkeypatch.setattr(results, "DATA", tmp_path / "data")
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cells, "REGISTRY", {})
    monkeypatch.setattr(cells, "PROCEDURE_MODULES", ())
    CALLS.clear()
    tolerances = {"trace": 1e-6}
    cells.procedure("trace", version=1, minutes=0.5, plan=seeds, tolerances=tolerances)(fisher_trace)
    return "trace"


def test_a_missing_cell_says_which_why_how_long_and_what_to_run(kind):
    cell = cells.planned(kind)[0]
    with pytest.raises(Failure) as error:
        cells.read(cell)
    assert str(error.value) == (
        "cell mini/trace/seed-0 is missing; about 0.5 min; run: langsim reproduce --profile mini --only trace"
    )


def test_of_a_profile_for_a_gpu_no_minutes_are_said(kind):
    """The minutes of a procedure are those of small models on two cores."""
    from dataclasses import replace

    with pytest.raises(Failure) as error:
        cells.read(replace(cells.planned(kind)[0], profile="paper"))
    assert str(error.value) == (
        "cell paper/trace/seed-0 is missing; run: langsim reproduce --profile paper --only trace"
    )
    said = []
    cells.reproduce("paper", progress=said.append)
    assert said[0] == "trace: 3 cells to compute"


def test_cells_are_computed_once_read_and_signed(kind):
    assert cells.reproduce() == {"computed": 3, "kept": 0}
    assert sorted(CALLS) == ["seed-0", "seed-1", "seed-2"]
    scores = [cells.read(cell) for cell in cells.planned(kind)]
    assert all(score["trace"] > 0 for score in scores)
    assert len({score["trace"] for score in scores}) == 3
    assert cells.reproduce() == {"computed": 0, "kept": 3}
    assert len(CALLS) == 3
    saved = json.loads(cells.planned(kind)[0].path.read_text())
    assert saved["inputs"] == {"model": "tiny", "seed": "0"} and saved["procedure_version"] == 1


def test_the_command_in_the_message_is_the_one_that_helps(kind):
    cell = cells.planned(kind)[0]
    assert cells.command(cell).split()[:2] == ["langsim", "reproduce"]
    cells.reproduce(cell.profile, only=[cell.kind])
    assert cells.read(cell)["trace"] > 0


def test_a_stale_cell_says_which_part_changed(kind):
    cells.reproduce()
    changed = cells.Cell(kind, "seed-0", {"model": "other", "seed": "0"}, 2)
    with pytest.raises(Failure, match=r"is stale \(model tiny -> other, procedure version 1 -> 2\)"):
        cells.read(changed)
    extra = cells.Cell(kind, "seed-0", {"model": "tiny", "seed": "0", "data": "abc"}, 1)
    with pytest.raises(Failure, match=r"is stale \(data none -> abc\)"):
        cells.read(extra)


def test_the_librarys_version_is_recorded_and_not_compared(kind, monkeypatch):
    monkeypatch.setattr(cells, "__version__", "0.0.1")
    cell = cells.planned(kind)[0]
    cells.write(cell, fisher_trace(cell))
    monkeypatch.setattr(cells, "__version__", "9.9.9")
    assert cells.read(cell)
    assert json.loads(cell.path.read_text())["langsim"] == "0.0.1"


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"scores": {}}', "edited"])
def test_a_damaged_cell_is_not_used_but_computed_again(kind, damage):
    cells.reproduce()
    cell = cells.planned(kind)[1]
    before = cell.path.read_text()
    content = json.loads(before)
    content["scores"]["trace"] += 1.0
    cell.path.write_text(json.dumps(content) if damage == "edited" else damage)
    with pytest.raises(Failure, match="is damaged"):
        cells.read(cell)
    assert cells.reproduce() == {"computed": 1, "kept": 2}
    assert cell.path.read_text() == before


def test_an_interrupted_fresh_round_continues(kind, monkeypatch):
    cells.reproduce()
    CALLS.clear()
    real = cells.procedure_of(kind)

    def interrupted(cell):
        if len(CALLS) == 2:
            raise KeyboardInterrupt
        return fisher_trace(cell)

    monkeypatch.setitem(cells.REGISTRY, kind, cells.Procedure(kind, 1, 0.5, seeds, interrupted))
    with pytest.raises(KeyboardInterrupt):
        cells.reproduce(fresh=True)
    monkeypatch.setitem(cells.REGISTRY, kind, real)
    assert len(CALLS) == 2
    assert cells.reproduce(fresh=True) == {"computed": 1, "kept": 2}
    assert sorted(CALLS) == ["seed-0", "seed-1", "seed-2"]
    assert cells.reproduce(fresh=True)["computed"] == 3  # a new round starts afresh


def test_worker_processes_give_the_same_cells(kind):
    cells.reproduce()
    alone = [cells.read(cell) for cell in cells.planned(kind)]
    for cell in cells.planned(kind):
        cell.path.unlink()
    assert cells.reproduce(jobs=2)["computed"] == 3
    assert [cells.read(cell) for cell in cells.planned(kind)] == alone


def test_a_failing_procedure_leaves_no_half_cell_and_keeps_the_others(kind, monkeypatch):
    def fails(cell):
        if cell.id == "seed-1":
            raise Failure("NaN gradient in batch 3; lower the learning rate")
        return fisher_trace(cell)

    monkeypatch.setitem(cells.REGISTRY, kind, cells.Procedure(kind, 1, 0.5, seeds, fails))
    with pytest.raises(Failure, match="NaN gradient"):
        cells.reproduce()
    states = [cells.problem(cell) for cell in cells.planned(kind)]
    assert states[0] is None and states[1] == "is missing"
    with pytest.raises(ValueError, match="JSON"):  # never a NaN in a committed file
        cells.write(cells.planned(kind)[1], {"trace": float("nan")})
    assert cells.problem(cells.planned(kind)[1]) == "is missing"


def test_the_audit_passes_on_the_truth_and_fails_on_a_perturbed_score(kind):
    cells.reproduce()
    cell = cells.planned(kind)[2]
    assert cells.audit(cell) == []
    scores = cells.read(cell)
    cells.write(cell, {**scores, "trace": scores["trace"] + 1e-3, "of": {"model": "other"}})
    lines = cells.audit(cell)
    assert len(lines) == 2 and lines[0].startswith("trace: ") and lines[1].startswith("of.model: ")


def test_every_cell_has_its_turn_in_the_audit(kind):
    plan = cells.planned(kind)
    week = cells.this_week(date(2026, 1, 1))
    turns = [cells.audit_choice(kind, plan, week + i).id for i in range(3)]
    assert sorted(turns) == ["seed-0", "seed-1", "seed-2"]
    assert cells.this_week(date(2026, 1, 4)) == cells.this_week(date(2025, 12, 29))  # Monday to Sunday, across years
    assert cells.this_week(date(2026, 1, 5)) == cells.this_week(date(2026, 1, 4)) + 1
    with pytest.raises(UsageError, match="no cell"):
        cells.audit_choice(kind, [], 1)


def test_kinds_of_one_family_are_computed_by_what_their_names_begin_with(kind):
    for name in ("trace-more", "tracer"):
        cells.procedure(name, version=1, minutes=0.5, plan=lambda profile: {"one": {"seed": "0"}})(fisher_trace)
    assert cells.reproduce(only=["trace"]) == {"computed": 3, "kept": 0}, "a kind of this very name is meant"
    del cells.REGISTRY[kind]
    assert cells.reproduce(only=["trace"]) == {"computed": 1, "kept": 0}
    assert cells.problem(cells.planned("trace-more")[0]) is None and cells.problem(cells.planned("tracer")[0])


def test_unknown_kinds_and_unsafe_names_are_refused(kind):
    with pytest.raises(UsageError, match="unknown 'tracee' \\(did you mean 'trace'"):
        cells.reproduce(only=["tracee"])
    for name in ("", "../x", "a/b", ".hidden"):
        with pytest.raises(UsageError, match="file name"):
            cells.Cell(kind, name, {}, 1)
    with pytest.raises(UsageError, match="two procedures"):
        cells.procedure(kind, version=1, minutes=1, plan=seeds)(lambda cell: {})


def test_cells_are_part_of_the_committed_data():
    assert results.reference_dir("mini") == paths.DATA / "results" / "mini"
