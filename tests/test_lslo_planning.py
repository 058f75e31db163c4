"""Which cells part II has, what signs them, the sweep's grids, and in which order all are made."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from langsim import cells, profiles
from langsim.errors import Failure
from langsim.lslo import experiment, procedures, rows, running, signing, sweep
from langsim.lslo.weight_learning import Learned
from langsim.lslo_settings import LSLoSettings

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_profile_plans_its_own_cells(monkeypatch, tmp_path):
    monkeypatch.setattr(cells, "reference_dir", lambda profile: tmp_path / profile)
    settings = profiles.resolve("mini", kind=LSLoSettings)
    weights = procedures.weights_plan("mini")
    assert list(weights) == [f"lang12.s{seed}" for seed in range(6)]
    with pytest.raises(Failure, match=r"cell mini/lslo-weights/lang12.s0 is missing; .*langsim reproduce"):
        procedures.rows_plan("mini")
    learned = Learned(model_type="m2m_100", kinds=("q",), encoder=((0.6, 0.4),) * 4, decoder=((0.4, 0.6),) * 4)
    for cell in procedures.weights_cells(settings).values():
        cells.write(cell, {"learned": learned.model_dump(mode="json")})
    planned = procedures.rows_plan("mini")
    same = {id for id in rows.jobs(settings) if ".SRC." in id}
    assert set(planned) == set(rows.jobs(settings)) - same and len(same) == 3
    assert all("architecture" in inputs for id, inputs in planned.items() if "pretrain" not in id and "every" not in id)
    wl, tgt = (planned[f"lang12.2-2-8.{name}.all.gps0.9.s0"]["architecture"] for name in ("WL", "TGT"))
    assert wl != tgt
    assert len(procedures.estimates_plan("lslo-ise", "mini")) == 3
    assert json.loads(json.dumps(planned)) == planned


ALL_SOURCE = Learned(model_type="m2m_100", kinds=("q",), encoder=((0.6, 0.4),) * 4, decoder=((0.4, 0.6),) * 4)


@pytest.fixture
def no_text(monkeypatch):
    """What is planned needs of the text its digest alone."""
    monkeypatch.setattr(running, "corpus_of", lambda settings: SimpleNamespace(digest="0" * 64))


@pytest.mark.usefixtures("no_text")
def test_equal_architectures_have_one_cell():
    settings = profiles.resolve("mini", kind=LSLoSettings)
    ids = [f"lang12.2-2-8.{name}.all.gps0.9.s0" for name in ("WL", "SRC", "TGT")]
    wl, src, tgt = (procedures.row_cells(settings, ALL_SOURCE)[id] for id in ids)
    assert src == wl and tgt.inputs["architecture"] != wl.inputs["architecture"]
    mixed = ALL_SOURCE.model_copy(update={"encoder": ((0.6, 0.4), (0.4, 0.6)) * 2})
    found = [procedures.row_cells(settings, mixed)[id] for id in ids]
    assert len({cell.id for cell in found}) == len({cell.inputs["architecture"] for cell in found}) == 3
    turned = mixed.model_copy(update={"decoder": ((0.6, 0.4),) + ((0.4, 0.6),) * 3})
    again = [procedures.row_cells(settings, turned)[id] for id in ids]
    for one, other in zip(found, again, strict=True):
        assert one.inputs["architecture"] != other.inputs["architecture"], "the decoder is the learned one in all three"


@pytest.mark.usefixtures("no_text")
def test_cells_sign_what_they_use():
    settings = profiles.resolve("mini", kind=LSLoSettings)

    def signed(**changes):
        own = settings.model_copy(update=changes)
        planned = procedures.row_cells(own, ALL_SOURCE)
        found = {name: planned[f"lang12.{id}"] for name, id in IDS.items()}
        found |= {"weights": procedures.weights_cells(own)[0]}
        found["ise"] = procedures.estimate_cells(own, ALL_SOURCE, "lslo-ise")[0]
        return {name: cell.inputs for name, cell in found.items()}

    def changed(**changes):
        now = signed(**changes)
        return {name for name in before if now[name] != before[name]}

    before = signed()
    for name, value in (("scored_items", 7), ("translated", "all"), ("beam_size", 1), ("engine", "transformers")):
        assert changed(**{name: value}) == {"came", "whole", "row"}, "no training is made anew that is not scored"
    assert changed(learning_rate=0.5) == {"row", "weights", "ise"} and changed(full_learning_rate=0.5) == {"whole"}
    assert changed(span="slice") == {"row", "weights", "ise"} and changed(dropout=0.3) == set(before) - {"came"}
    assert changed(training_items=7) == set(before) - {"came"} and changed(domain="names") == set(before)
    assert not changed(weight_seeds=[4, 0], threads=4, seeds=[0, 5])


IDS = {"came": "pretrain", "whole": "everything.s0", "row": "2-2-8.WL.all.s0"}


@pytest.mark.usefixtures("no_text")
def test_the_sweep_is_of_other_seeds_and_of_no_rate(monkeypatch, tmp_path):
    monkeypatch.setattr(cells, "reference_dir", lambda profile: tmp_path / profile)
    grid, settings = sweep.grid(), profiles.resolve("mini", kind=LSLoSettings)
    assert len(grid) == 10 and sweep.SEED not in settings.seeds and sweep.plan("paper") == {}
    plan = sweep.plan("mini")
    for changes, same in (({"learning_rate": 0.5, "scored_items": 3}, True), ({"updates": 99}, False)):
        other = settings.model_copy(update=changes)
        with monkeypatch.context() as patch:
            patch.setattr(profiles, "resolve", lambda *args, of=other, **options: of)
            assert (sweep.plan("mini") == plan) is same, "the rate that it chose does not make it stale"
    with monkeypatch.context() as patch:
        patch.setattr(signing, "VERSION", 99)
        assert all(sweep.plan("mini")[id] != plan[id] for id in plan), "the training's version"
    rows = {name: [one.model_copy(update={"modules": "fc"}) if one.trains == "lslo" else one for one in found]
            for name, found in (("lslo-table1", experiment.experiments("lslo-table1")),)}  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "experiments", rows.__getitem__)
        assert {id for id in plan if sweep.plan("mini")[id] != plan[id]} == {id for id in plan if "ft-all" not in id}


@pytest.mark.usefixtures("no_text")
@pytest.mark.parametrize(
    ("best", "rates", "inside"),
    [
        (3e-3, [1e-3, 3e-3, 1e-2], True),
        (1.4e-2, [1e-3, 3e-3, 1e-2, 3e-2], True),
        (1.0, [1e-3, 3e-3, 1e-2, 3e-2, 9e-2], False),
        (1e-9, [1.11e-4, 3.33e-4, 1e-3, 3e-3, 1e-2], False),
    ],
)
def test_a_best_rate_at_an_edge_extends_the_grid(best, rates, inside, monkeypatch, tmp_path):
    """Twice at most: here by hand, as long as a plan has something to compute."""
    monkeypatch.setattr(cells, "reference_dir", lambda profile: tmp_path / profile)
    while not sweep.is_recorded("mini"):
        for id, inputs in sweep.plan("mini").items():
            rate, made = sweep.grid()[id]
            loss = abs(math.log(rate / (best if made.trains == "lslo" else 5e-4)))
            cells.write(cells.Cell(sweep.KIND, id, inputs, sweep.VERSION), {"parent_loss": 5.0, "loss": loss})
    assert sweep.rates("mini", "lslo") == pytest.approx(rates, rel=0.01)
    assert sweep.rates("mini", "everything") == [1e-4, 3e-4, 1e-3, 3e-3] and sweep.is_recorded("mini")
    assert sweep.interior("mini") == {"lslo": inside, "everything": True}


def test_kinds_are_registered_in_the_order_in_which_they_can_be_made():
    """In a new process."""
    import subprocess
    import sys

    code = "import langsim.lslo.procedures, langsim.lslo.sweep; from langsim import cells; print(*cells.REGISTRY)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == list(procedures.KINDS) == ["lslo-sweep", "lslo-weights", "lslo", "lslo-ise", "lslo-lsp"]


@pytest.mark.usefixtures("no_text")
def test_reproduce_makes_them_in_turn(monkeypatch, tmp_path):
    monkeypatch.setattr(cells, "reference_dir", lambda profile: tmp_path / profile)
    monkeypatch.setattr(cells, "PROCEDURE_MODULES", ())
    own = {kind: cells.REGISTRY[kind] for kind in procedures.KINDS}
    made = {"learned": ALL_SOURCE.model_dump(mode="json"), "loss": 1.0}
    monkeypatch.setattr(cells, "REGISTRY", {kind: replace(how, compute=lambda cell: made) for kind, how in own.items()})
    with pytest.raises(Failure, match=r"lslo-weights/lang12.s0 is missing; .*reproduce --profile mini --only") as told:
        cells.reproduce(only=["lslo"])
    assert "\n" not in str(told.value)
    assert cells.reproduce()["kept"] == 0
    assert cells.reproduce(only=["lslo", "lslo-ise"])["computed"] == 0
    monkeypatch.setattr(cells, "_on_two_cores", lambda profile: True)
    cells.reproduce("open")
    kinds = {path.name for path in (tmp_path / "open" / "cells").iterdir()}
    assert kinds == {"lslo-weights", "lslo"}, "no sweep and no estimations at open"
