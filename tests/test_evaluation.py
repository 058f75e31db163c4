"""The shipped model's card: its cells are there and signed, one is recomputed, and the page says what they hold."""

import json

import pytest

from langsim import cells, evaluation, modelcard, models
from langsim.corpora import load
from langsim.errors import Failure


def test_every_language_of_the_model_has_a_cell_that_fits_its_digests():
    planned = cells.planned(evaluation.KIND)
    assert len(planned) == len(models.card("mini-m2m")["languages"]) - 1  # into English
    assert [problem for cell in planned if (problem := cells.problem(cell))] == []


def test_audit_of_the_week():
    """One cell, another each week, is recomputed end to end."""
    planned = cells.planned(evaluation.KIND)
    assert cells.audit(cells.audit_choice(evaluation.KIND, planned, cells.this_week())) == []


def test_a_changed_model_makes_the_cells_stale():
    cell = cells.planned(evaluation.KIND)[0]
    other = cells.Cell(
        cell.kind, cell.id, {**cell.inputs, "model": "mini-m2m@000000000000"}, cell.procedure_version, cell.profile
    )
    with pytest.raises(Failure, match=r"is stale \(model mini-m2m@.* run: langsim reproduce"):
        cells.read(other)


def test_held_out_text_is_dev_text():
    corpus = load("catalogs")
    pairs = evaluation.held_out("fa")
    assert len(pairs) > 60
    assert {corpus.items.loc[pair.id, "pool"] for pair in pairs} == {"DEV"}
    assert {pair.domain for pair in pairs} == {"interface", "names"}


def test_the_card_is_up_to_date_with_the_cells_and_the_weights():
    folder = models.SHIPPED / "mini-m2m"
    card = models.card("mini-m2m")
    assert card["weights"] == models.load("mini-m2m").weights_sha256
    assert card["text"]["catalogs"] == load("catalogs").digest
    assert (folder / "README.md").read_text(encoding="utf-8") == modelcard.readme("mini-m2m")
    assert (folder / "model.safetensors").stat().st_size <= modelcard.LARGEST


def test_the_seventeen_have_equal_text():
    card = models.card("mini-m2m")["languages"]
    equal = {code: json.dumps(row["segments"]) for code, row in card.items() if row["class"] == "equal"}
    assert len(equal) == 18  # the seventeen and Chinese
    news = {row["segments"]["news"] for row in card.values() if row["class"] == "equal"}
    assert len(news) == 1
    assert len(set(equal.values())) == 1, equal
