"""Part II's results of other profiles, as pages show them."""

import pandas as pd
import pytest

from langsim import profiles, results
from langsim.lslo import elsewhere
from langsim.lslo_settings import LSLoSettings

OPEN = results.reference_dir("open")


@pytest.fixture(scope="module")
def settings():
    return profiles.resolve("mini", kind=LSLoSettings)


def test_table_1_at_open_stands_on_the_page_of_mini(settings):
    text = elsewhere.shown(settings).text
    frame = pd.read_csv(OPEN / "lslo-table1.csv")
    assert "**At open (ntrex).**" in text and results.read_result(OPEN / "lslo-table1.csv").signature in text
    for row in frame[frame["column"] == "AVG"].query("measure == 'nll'").itertuples():
        assert f"<th>{row.method}</th>" in text and f"<td>{row.value:.3f}" in text
    assert "12.26" in text, "the published one of the model as it came"
    stated = pd.read_csv(OPEN / "lslo-table1-claims.csv").query("measure == 'nll'")
    told = stated[stated["estimate"].notna()]
    assert 0 < len(told) < len(stated)
    assert text.count("spBLEU</small>") == len(told) and "no row" not in text


def test_learned_weights_at_open(settings):
    frame = pd.read_csv(OPEN / "lslo-fig1.csv").query("side == 'target' and stack == 'decoder'")
    means = " ".join(f"{frame[frame['layer'] == layer]['weight'].mean():.2f}" for layer in range(1, 5))
    assert elsewhere.weights_reading(settings).text.endswith(f"decoder {means}.")


def test_a_run_of_ones_own_stands_alone(settings):
    own = settings.model_copy(update={"updates": settings.updates + 1})
    assert elsewhere.shown(own).text == elsewhere.weights_reading(own).text == elsewhere.NOTHING
