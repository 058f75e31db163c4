"""The committed cells of fine-tuning: one of each kind computed again, and what the profiles take from them."""

import pytest

from langsim import cells, masked_evaluation, profiles, sweep, table2, tuning
from langsim.lslo import procedures as lslo
from langsim.lslo import study
from langsim.lslo import sweep as lslo_sweep
from langsim.lslo_settings import LSLoSettings
from langsim.profiles import Tuning
from langsim.xsns import procedures as xsns

KINDS = (sweep.KIND, table2.FAMILIES, tuning.KIND)


@pytest.mark.parametrize("kind", KINDS)
def test_audit_of_the_week(kind):
    planned = list(cells.planned(kind, "mini"))
    assert cells.audit(cells.audit_choice(kind, planned, cells.this_week())) == []


def test_the_learning_rate_is_the_best_of_the_sweep():
    table = sweep.table("mini")
    assert len(table) == len(sweep.RATES) and table.notna().all(axis=None)
    best = min(table.index, key=lambda rate: table.drop(columns="mean").loc[rate].sum())
    assert sweep.best("mini") == float(best) == profiles.resolve("mini", kind=Tuning).learning_rate
    assert min(sweep.RATES) < float(best) < max(sweep.RATES), "a wider grid might have a better one"


def test_the_sweep_has_no_word_in_the_table():
    """Its systems are of no seed of the table, and its scores hold no test set."""
    settings = profiles.resolve("mini", kind=Tuning)
    assert sweep.SEED not in settings.seeds
    assert all(set(cells.read(cell)) == {"loss", "best_update"} for cell in cells.planned(sweep.KIND, "mini"))


# Part II -----------------------------------------------------------------------------------------------------------


def test_one_cell_of_part_2_a_week():
    """Of all kinds together: each takes minutes."""
    planned = [cell for kind in lslo.KINDS for cell in cells.planned(kind)]
    assert cells.audit(cells.audit_choice("lslo", planned, cells.this_week())) == []


def test_the_learning_rates_of_part_2_are_the_best_of_their_sweep():
    settings, best = profiles.resolve("mini", kind=LSLoSettings), lslo_sweep.best("mini")
    assert best == {"lslo": settings.learning_rate, "everything": settings.full_learning_rate}
    assert lslo_sweep.interior("mini") == {"lslo": True, "everything": True}, "a wider grid might have a better one"


@pytest.mark.parametrize(("scope", "measure"), [("AVG", "chrf"), ("H2H", "spbleu"), ("AVG", "nll")])
def test_what_directions_add_is_the_difference_that_is_tested(scope, measure):
    """One from the scores that the cells hold, one from their translations scored again (or their clusters)."""
    found = study.study(profiles.resolve("mini", kind=LSLoSettings), "lslo-table1", only=["Pretrain", "Ft-all"])
    parts, tested = (ask("Ft-all", "Pretrain", scope, measure) for ask in (found.parts, found.difference))
    assert parts.sum() == pytest.approx(tested.estimate, abs=1e-3) and abs(tested.estimate) > 3e-3


def test_means_of_part_2_are_compared_more_closely_than_single_directions():
    saved = {"nll": [4.0, 5.0], "means": {"nll": {"AVG": 4.5, "H2H": 4.0}, "chrf": {"AVG": 20.0}}, "chrf": [20.0]}
    saved |= {"curve": [{"watched": {"AVG": 4.0}}], "clusters": {"sums": ["1 2"]}, "hypotheses": [["a"]]}
    moved = {"nll": [4.004, 4.996], "means": {"nll": {"AVG": 4.501, "H2H": 4}, "chrf": {"AVG": 20.9}}, "chrf": [21.9]}
    moved |= {"curve": [{"watched": {"AVG": 9.0}}, {}], "clusters": {"sums": ["3 4"]}, "hypotheses": [["b"]]}
    assert cells._differences(moved, saved, lslo.TOLERANCES) == []
    moved["means"]["nll"]["AVG"] = 4.503
    assert cells._differences(moved, saved, lslo.TOLERANCES)[0].startswith("means.nll.AVG: 4.503 instead of 4.5")


def test_a_tolerance_holds_for_what_is_under_its_name():
    saved, fresh = {"curve": [{"watched": {"AVG": 1.0}}], "a": {"b": 1.0}}, {"curve": [], "a": {"b": 1.2}}
    assert len(cells._differences(fresh, saved, {})) == 2
    assert cells._differences(fresh, saved, {"curve": float("inf"), "a": 0.3}) == []
    assert len(cells._differences(fresh, saved, {"curve": float("inf"), "a": 0.1})) == 1
    assert cells._differences(fresh, saved, {"curve": float("inf"), "a": 0.1, "a.b": 0.3}) == [], (
        "the nearest name counts"
    )
    assert len(cells._differences({"cost": 1.2}, {"cost": 1.0}, {"co": 9.0})) == 1, "a whole name"


# Part III ----------------------------------------------------------------------------------------------------------


def test_one_masked_model_a_week():
    """Its losses on held-out text."""
    planned = list(cells.planned(masked_evaluation.KIND))
    assert cells.audit(cells.audit_choice(masked_evaluation.KIND, planned, cells.this_week())) == []


@pytest.mark.parametrize("kind", [xsns.TRANSFER, xsns.SUBNETWORKS, xsns.BASELINES])
def test_one_cell_of_part_3_a_week(kind):
    planned = list(cells.planned(kind))
    assert cells.audit(cells.audit_choice(kind, planned, cells.this_week())) == []
