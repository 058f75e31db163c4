"""The committed cells of fine-tuning: one of each kind computed again, and what the profiles take from them."""

import pytest

from langsim import cells, profiles, sweep, table2, tuning
from langsim.profiles import Tuning

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
