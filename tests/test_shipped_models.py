"""Shipped models: whole, told by their digest, refused where they are damaged."""

import json
import shutil

import pytest
import torch
from checkpoints import SMALL, edit, names, pairs_of, refusal
from safetensors.torch import load_file, save_file

from langsim import languages, models, pretrain, splits
from langsim.errors import Failure, UsageError
from langsim.tokenizer import Tokenizer

PAIRS = pairs_of(("آلمان", "Germany"))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A shipped folder with one small model in it, made by the project's own training."""
    root = tmp_path_factory.mktemp("shipped")
    out = root / "mini-tiny"
    out.mkdir()
    tokenizer = Tokenizer.train(names(), vocab_size=600, character_coverage=0.99)
    tokenizer.save(out)
    settings = {"training": {"seed": 1}, "model": SMALL}
    model = pretrain.new_model(settings, tokenizer)
    model.config.save_pretrained(out)
    save_file({name: p.detach().half().contiguous() for name, p in model.named_parameters()}, out / "model.safetensors")
    card = {"weights": models.sha256_file(out / "model.safetensors"), "languages": {"en": {}, "fa": {}}}
    (out / "card.json").write_text(json.dumps(card))
    return root


def test_a_shipped_model(shipped, monkeypatch):
    monkeypatch.setattr(models, "SHIPPED", shipped)
    assert models.shipped() == ["mini-tiny"]
    loaded = models.load("mini-tiny")
    assert type(loaded.model).__name__ == "M2M100ForConditionalGeneration" and not loaded.model.training
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert loaded.weights_sha256 == models.sha256_file(shipped / "mini-tiny" / "model.safetensors")
    assert loaded.digest == models.shipped_digest("mini-tiny") != loaded.weights_sha256
    saved = load_file(shipped / "mini-tiny" / "model.safetensors")
    for name, parameter in loaded.model.named_parameters():
        assert torch.equal(parameter, saved[name].float())
    assert loaded.model.lm_head.weight is loaded.model.model.shared.weight  # tied, and saved once
    assert loaded.untrained(["fa", "hi", "en", "sw"]) == ["hi", "sw"]


@pytest.mark.parametrize("name", models.shipped())
def test_every_shipped_model_is_whole(name):
    loaded = models.load(name)
    folder = models.SHIPPED / name
    assert (folder / "model.safetensors").stat().st_size <= 12_000_000
    assert loaded.weights_sha256 == models.card(name)["weights"]
    assert loaded.digest == models.shipped_digest(name)
    assert set(languages.pool("ted17")) <= loaded.trained_on
    if loaded.tokenizer is not None:  # a masked model: test_masked_models
        return
    every = [language.code for language in languages.all_languages()]
    batches = [next(loaded.batches(PAIRS, code)) for code in every]  # a token for each language of the registry
    assert len({batch["input_ids"][0, 0].item() for batch in batches}) == len(every)
    with torch.no_grad():
        assert torch.isfinite(loaded.model(**batches[0]).loss)


def other_pieces(path):
    raw = bytearray((path / "sentencepiece.model").read_bytes())
    raw[raw.index(b"nfkc")] ^= 1  # any other byte will do: it isn't read here
    (path / "sentencepiece.model").write_bytes(raw)


def other_order(path):
    codes = json.loads((path / "languages.json").read_text())
    (path / "languages.json").write_text(json.dumps(codes[::-1]))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda path: edit(path / "config.json", dropout=0.3), False),
        (other_pieces, False),
        (other_order, False),
        (lambda path: edit(path / "config.json", transformers_version="1.2.3"), True),
        (lambda path: edit(path / "card.json", more=1), True),
    ],
    ids=["dropout", "pieces", "language tokens", "version", "card"],
)
def test_the_digest_of_a_shipped_model(shipped, tmp_path, monkeypatch, change, same):
    monkeypatch.setattr(models, "SHIPPED", shutil.copytree(shipped, tmp_path / "all"))
    before = models.shipped_digest("mini-tiny")
    change(tmp_path / "all" / "mini-tiny")
    assert (models.shipped_digest("mini-tiny") == before) == same


def test_the_digest_of_a_shipped_model_needs_its_files(shipped, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "SHIPPED", shutil.copytree(shipped, tmp_path / "all"))
    with pytest.raises(UsageError, match="did you mean 'mini-tiny'"):
        models.shipped_digest("mini-tinny")
    (tmp_path / "all" / "mini-tiny" / "config.json").write_text("{")
    with pytest.raises(Failure, match="restore them with `git checkout"):
        models.shipped_digest("mini-tiny")


def test_unknown_names(shipped, monkeypatch):
    monkeypatch.setattr(models, "SHIPPED", shipped)
    assert refusal(UsageError, "mini-tiney").startswith("model: unknown 'mini-tiney' (did you mean 'mini-tiny'?)")
    assert "known: mini-tiny" in refusal(UsageError, "qqq")
    assert refusal(UsageError, "").startswith("model: unknown ''")
    assert "unknown './no/such/folder'" in refusal(UsageError, "./no/such/folder")


def test_weights_and_files_of_a_shipped_model_are_checked(shipped, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "SHIPPED", shutil.copytree(shipped, tmp_path / "all"))
    path = tmp_path / "all" / "mini-tiny"
    raw = bytearray((path / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (path / "model.safetensors").write_bytes(raw)
    assert "are not those of its card" in refusal(Failure, "mini-tiny")
    (path / "card.json").write_text("{")
    assert "card.json is missing or damaged" in refusal(Failure, "mini-tiny")
    (path / "sentencepiece.model").write_bytes(b"x")
    assert "the tokenizer in" in refusal(Failure, "mini-tiny")


def test_a_language_that_the_shipped_model_never_saw_works_and_is_marked(shipped, monkeypatch):
    monkeypatch.setattr(models, "SHIPPED", shipped)
    loaded = models.load("mini-tiny")
    pairs = pairs_of(("სახლი თეთრია", "The house is white"))
    batch = next(loaded.batches(pairs, "ka"))
    assert loaded.untrained(["ka"]) == ["ka"]
    with torch.no_grad():
        assert torch.isfinite(loaded.model(**batch).loss)
    text = batch["input_ids"][0].tolist()
    assert splits.normalise(loaded.decode(text)) == "სახლი თეთრია"
