"""The dry run: orders of magnitude from the settings, the text and the weights' headers, without loading a model."""

import json
import struct
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from tiny import save_names

from langsim import costs, estimation, footprint, groups, profiles, runner
from langsim.corpora.base import Pair


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
    assert small.memory > footprint.PROCESS_BYTES
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
    assert costs.estimate(settings, "pseudo_families/03_families") == checked
    assert costs.estimate(settings, "pseudo_families/05_data_similarity") == plain


def paper_size():
    """The shapes of m2m100_418M, without a number in them."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    with torch.device("meta"):
        return M2M100ForConditionalGeneration(M2M100Config())


def save_header(path, model):
    """A safetensors file of the model's size whose data is a hole that takes no disk."""
    entries, offset = {}, 0
    for name, parameter in model.named_parameters():
        span = [offset, offset := offset + 4 * parameter.numel()]
        entries[name] = {"dtype": "F32", "shape": list(parameter.shape), "data_offsets": span}
    header = json.dumps(entries).encode()
    with open(path, "wb") as stream:
        stream.write(struct.pack("<Q", len(header)) + header)
        stream.truncate(8 + len(header) + offset)


def summed_up(model, examples, tokens):
    """What the estimation holds at the two ends of the backward pass, array by array; the larger, in bytes."""
    selected = sum(dict(model.named_parameters())[name].numel() for name in groups.select(model, "layers"))
    weights = sum(parameter.numel() for parameter in model.parameters())
    config, side = model.config, examples * tokens
    logits = 3 * side * config.vocab_size  # they, their softmax, their gradient
    scores = config.encoder_attention_heads * examples * tokens**2  # the softmax of an attention
    encoder = (9 * config.d_model + 2 * config.encoder_ffn_dim) * side + scores
    decoder = (15 * config.d_model + 2 * config.decoder_ffn_dim) * side + 2 * scores
    at_the_loss = logits + config.encoder_layers * encoder + config.decoder_layers * decoder
    return 0.6e9 + 4 * (weights + selected + max(at_the_loss, selected))


@pytest.mark.parametrize(("batch_size", "characters"), [(16, 120), (4, 60), (64, 300)])
def test_memory_at_the_size_of_the_paper_is_right_within_a_factor_of_two(tmp_path, batch_size, characters):
    model, folder = paper_size(), tmp_path / "large"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_header(folder / "model.safetensors", model)
    assert (folder / "model.safetensors").stat().st_blocks * 512 < 1e6
    rows = "".join(f"{n}\tFINETUNE\t{'a' * characters}{n}\t{'b' * characters}\t{'c' * characters}\n" for n in range(70))
    (tmp_path / "text.tsv").write_text("item\tpool\ten\tfa\thi\n" + rows)
    given = {"model": str(folder), "corpus": "files", "data": str(tmp_path / "text.tsv"), "languages": ["fa", "hi"]}
    settings = profiles.resolve(**given, batch_size=batch_size)
    expected = summed_up(model, batch_size, round(characters / 3))
    assert expected / 2 < costs.estimate(settings).memory < 2 * expected
    assert costs.parameters_of(str(folder)) == 483_905_536


def test_the_largest_batch_is_as_wide_as_its_longest_text():
    pairs = [Pair("1", "a" * 30, "b", "text", "1"), Pair("2", "a", "b" * 90, "text", "2")]
    assert footprint.largest_batch(pairs, 4) == 4 * 30
    assert footprint.largest_batch([Pair("1", "a" * 10**6, "b", "text", "1")], 2) == 2 * footprint.LONGEST
    assert footprint.largest_batch([], 4) == 0


def test_several_processes_cost_as_much_memory_each(settings, monkeypatch):
    one = costs.estimate(settings)
    monkeypatch.setattr(costs, "processes", lambda *given: 3)
    three = costs.estimate(settings)
    assert three.memory == pytest.approx(3 * one.memory + footprint.PROCESS_BYTES + 4 * 300_007)
    assert three.seconds - costs.NOTEBOOK_SECONDS == pytest.approx((one.seconds - costs.NOTEBOOK_SECONDS) / 3)


def test_as_many_processes_as_cores_and_memory_allow(settings, monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=10e9))
    for n_texts, need, expected in [(100, 1e9, 8), (100, 3e9, 3), (100, 20e9, 1), (9, 1e9, 2), (2, 1e9, 1)]:
        assert estimation.processes(n_texts, settings, need) == expected
    assert estimation.processes(100, settings.model_copy(update={"device": "cuda"}), 1e9) == 1


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
