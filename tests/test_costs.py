"""The dry run: orders of magnitude from the settings, the text and the weights' headers, without loading a model."""

import pytest
import torch
from safetensors.torch import save_file
from tiny import save_names

from langsim import costs, profiles, runner


@pytest.fixture
def settings(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file({"a": torch.zeros(300, 1000), "b": torch.zeros(7)}, folder / "model.safetensors")
    data = save_names(tmp_path / "names.tsv")
    return profiles.resolve(model=str(folder), corpus="files", data=str(data), languages=["fa", "hi"])


def test_parameters_are_counted_without_loading_the_weights(settings):
    assert costs.parameters_of(settings.model) == 300_007
    assert costs.parameters_of("nobody/has-this-model") is None


def test_the_text_is_counted(settings):
    from langsim import pipeline

    pairs = pipeline.match_text(settings, pipeline.load_corpus(settings)).pairs
    characters = sum(len(pair.source_text + pair.target_text) for code in ("fa", "hi") for pair in pairs[code])
    assert costs.tokens_of(settings) == round(characters / 3)
    assert costs.tokens_of(settings.model_copy(update={"data": "/nowhere"})) is None


def test_costs_grow_with_what_they_are_made_of(settings):
    small, few = costs.estimate(settings), costs.estimate(settings.model_copy(update={"max_items": 40}))
    assert few.seconds < small.seconds and few.disk == small.disk == 2 * 4 * 300_007
    assert small.memory > costs.PROCESS_BYTES
    assert costs.estimate(settings.model_copy(update={"device": "cuda"})).seconds < small.seconds
    unknown = costs.estimate(settings.model_copy(update={"model": "nobody/has-this-model"}))
    assert (unknown.seconds, unknown.memory, unknown.disk) == (None, None, None)


def test_a_notebook_that_estimates_more_vectors_costs_more(settings):
    name = "pseudo_families/02_similarity"
    assert set(costs.WORK) <= set(map(runner.label, runner.all_notebooks()))
    plain, checked = costs.estimate(settings), costs.estimate(settings, name)
    once = plain.seconds - costs.NOTEBOOK_SECONDS
    assert checked.seconds - costs.NOTEBOOK_SECONDS == pytest.approx(4 * once) and once > 0
    assert checked.disk == 7 * plain.disk and checked.memory == plain.memory
    assert costs.estimate(settings, "pseudo_families/03_families") == plain


def test_the_dry_run_looks_a_notebook_up_by_its_name(settings, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(costs, "estimate", lambda *given: asked.append(given) or costs.Cost(None, None, None))
    (tmp_path / "x.md").write_text("# x")
    costs.row(runner.Run("part/x", tmp_path / "x.md", tmp_path / "x.ipynb", {}, settings))
    assert asked == [(settings, "part/x")]


def test_a_row_says_what_would_happen(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = tmp_path / "x.md"
    notebook.write_text("# x")
    item = runner.Run("x", notebook, tmp_path / "out" / "x.ipynb", {}, settings)
    row = dict(zip(costs.COLUMNS, costs.row(item), strict=True))
    assert row["notebook"] == "x" and row["state"] == "to run (new)" and row["output"] == "out/x.ipynb"
    assert row["memory"].endswith(" MB") and row["time"].endswith(" s")
    monkeypatch.setattr(runner, "_execute", lambda item: (tmp_path / "out").mkdir())
    runner.run(item)
    item.output.write_text("{}")
    row = dict(zip(costs.COLUMNS, costs.row(item), strict=True))
    assert row["state"] == "finished" and row["time"] == "0 s (measured)"
