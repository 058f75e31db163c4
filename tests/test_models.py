"""Models by name: shipped, from a folder in the layout of the hub, refused; and batches of pairs.

The checkpoints are those of `checkpoints.py`: randomly initialised, with the real model and tokenizer classes.
"""

import json
import shutil

import pytest
import torch
import transformers
from checkpoints import BUILD, CODES, SMALL, folders, special, train_pieces
from safetensors.torch import load_file, save_file

from langsim import corpora, languages, models, pretrain, splits
from langsim.corpora.base import Pair
from langsim.errors import Failure, UsageError
from langsim.tokenizer import Tokenizer


def pairs_of(*texts):
    return [Pair(str(i), source, target, "text", str(i)) for i, (source, target) in enumerate(texts)]


pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")  # Marian's; not needed here

PAIRS = pairs_of(("آلمان", "Germany"), ("ایالات متحدهٔ آمریکا", "United States"), ("ژاپن", "Japan"), ("", "x"))


@pytest.fixture(scope="module")
def text():
    corpus = corpora.load("catalogs")
    return [name for code in CODES for name in corpus.text(code, domain="names")[:250]]


@pytest.fixture(scope="module")
def pieces(text):
    return train_pieces(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, text):
    return folders(tmp_path_factory.mktemp("checkpoints"), text)


SEQ2SEQ = ("m2m100", "nllb", "mbart50", "marian", "t5", "mt5")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory, text):
    """A shipped folder with one small model in it, made by the project's own training."""
    root = tmp_path_factory.mktemp("shipped")
    out = root / "mini-tiny"
    out.mkdir()
    tokenizer = Tokenizer.train(text, vocab_size=600, character_coverage=0.99)
    tokenizer.save(out)
    settings = {"training": {"seed": 1}, "model": SMALL}
    model = pretrain.new_model(settings, tokenizer)
    model.config.save_pretrained(out)
    save_file({name: p.detach().half().contiguous() for name, p in model.named_parameters()}, out / "model.safetensors")
    card = {"weights": models.sha256_file(out / "model.safetensors"), "languages": {"en": {}, "fa": {}}}
    (out / "card.json").write_text(json.dumps(card))
    return root


def refusal(kind, name, device="cpu"):
    with pytest.raises(kind) as caught:
        models.load(str(name), device=device)
    message = str(caught.value)
    assert "\n" not in message
    return message


def copy(source, target):
    return shutil.copytree(source, target)


# Loading ---------------------------------------------------------------------------------------------------------


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
    batches = [next(loaded.batches(PAIRS[:1], code)) for code in every]  # a token for each language of the registry
    assert len({batch["input_ids"][0, 0].item() for batch in batches}) == len(every)
    with torch.no_grad():
        assert torch.isfinite(loaded.model(**batches[0]).loss)


@pytest.mark.parametrize("kind", BUILD)
def test_a_checkpoint_in_a_folder(folder, kind):
    loaded = models.load(str(folder(kind)))
    again = models.load(str(folder(kind)))
    assert loaded.digest == again.digest and len(loaded.digest) == 64
    assert not loaded.model.training and {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    expected = load_file(folder(kind) / "model.safetensors")
    state = loaded.model.state_dict()
    assert all(torch.equal(state[name], tensor.float()) for name, tensor in expected.items())


def edit(file, **entries):
    """Change entries of a JSON object in a file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def other_weights(path):
    tensors = load_file(path / "model.safetensors")
    tensors["shared.weight"][0, 0] += 1
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def other_piece(path):
    described = json.loads((path / "tokenizer.json").read_text())
    described["model"]["vocab"][-1][1] -= 1.0  # the score of the last piece: another segmentation, the same ids
    (path / "tokenizer.json").write_text(json.dumps(described))


def other_sentencepiece(path):
    model = sentencepiece_model_pb2().ModelProto.FromString((path / "sentencepiece.bpe.model").read_bytes())
    model.pieces[-1].score -= 1
    (path / "sentencepiece.bpe.model").write_bytes(model.SerializeToString())


def sentencepiece_model_pb2():
    return pytest.importorskip("sentencepiece.sentencepiece_model_pb2")


@pytest.mark.parametrize(
    ("kind", "change", "weights_too"),
    [
        ("t5", other_weights, True),
        ("t5", lambda path: edit(path / "config.json", dropout_rate=0.3), False),
        ("m2m100", lambda path: edit(path / "config.json", dropout=0.3), False),
        ("m2m100", lambda path: edit(path / "config.json", encoder_layerdrop=0.3), False),
        ("t5", other_piece, False),
        ("m2m100", other_sentencepiece, False),
    ],
    ids=["weights", "t5 dropout", "m2m dropout", "m2m layerdrop", "tokenizer.json", "sentencepiece"],
)
def test_the_digest_is_of_all_that_numbers_depend_on(folder, tmp_path, kind, change, weights_too):
    change(copy(folder(kind), tmp_path / "other"))
    one, other = models.load(str(folder(kind))), models.load(str(tmp_path / "other"))
    assert one.digest != other.digest
    assert (one.weights_sha256 != other.weights_sha256) == weights_too


@pytest.mark.parametrize("kind", BUILD)
def test_the_digest_is_not_of_where_a_checkpoint_lies_or_what_wrote_it(folder, tmp_path, kind):
    other = copy(folder(kind), tmp_path / "other")
    edit(other / "config.json", transformers_version="1.2.3", _name_or_path="/somewhere", dtype="float32")
    loaded = models.load(str(other))
    if loaded.model.config.is_encoder_decoder:
        loaded.encode("a", "b", "fa", "en")  # which sets languages in the tokenizer
    assert loaded.digest == models.load(str(folder(kind))).digest


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
    monkeypatch.setattr(models, "SHIPPED", copy(shipped, tmp_path / "all"))
    before = models.shipped_digest("mini-tiny")
    change(tmp_path / "all" / "mini-tiny")
    assert (models.shipped_digest("mini-tiny") == before) == same


def test_the_digest_of_a_shipped_model_needs_its_files(shipped, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "SHIPPED", copy(shipped, tmp_path / "all"))
    with pytest.raises(UsageError, match="did you mean 'mini-tiny'"):
        models.shipped_digest("mini-tinny")
    (tmp_path / "all" / "mini-tiny" / "config.json").write_text("{")
    with pytest.raises(Failure, match="restore them with `git checkout"):
        models.shipped_digest("mini-tiny")


# Refusing --------------------------------------------------------------------------------------------------------


def test_unknown_names(shipped, monkeypatch):
    monkeypatch.setattr(models, "SHIPPED", shipped)
    assert refusal(UsageError, "mini-tiney").startswith("model: unknown 'mini-tiney' (did you mean 'mini-tiny'?)")
    assert "known: mini-tiny" in refusal(UsageError, "qqq")
    assert refusal(UsageError, "").startswith("model: unknown ''")
    assert "unknown './no/such/folder'" in refusal(UsageError, "./no/such/folder")


def test_a_hub_id_that_can_not_be_reached(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "cannot load the model 'nobody/no-such-model'" in refusal(UsageError, "nobody/no-such-model")


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cpu:x"])
def test_devices_that_are_not_there(device):
    assert f"device {device!r}" in refusal(UsageError, "mini-m2m", device)


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_damaged_weights(folder, tmp_path, damage):
    path = copy(folder("t5"), tmp_path / "x") / "model.safetensors"
    raw = path.read_bytes()
    path.write_bytes({"cut": raw[: len(raw) // 2], "garbage": b"\xff" * 100, "empty": b""}[damage])
    assert "are damaged" in refusal(Failure, tmp_path / "x")


def test_weights_of_another_shape(folder, tmp_path):
    path = copy(folder("t5"), tmp_path / "x")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"d_ff": 48}))
    assert "damaged" in refusal(Failure, path)


def test_weights_that_lack_a_tensor_are_not_filled_with_random_numbers(folder, tmp_path):
    path = copy(folder("t5"), tmp_path / "x")
    tensors = load_file(path / "model.safetensors")
    tensors.pop("decoder.block.1.layer.2.DenseReluDense.wo.weight")
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    assert "lack 1 tensors of the model, such as decoder.block.1" in refusal(Failure, path)


def test_weights_and_files_of_a_shipped_model_are_checked(shipped, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "SHIPPED", copy(shipped, tmp_path / "all"))
    path = tmp_path / "all" / "mini-tiny"
    raw = bytearray((path / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (path / "model.safetensors").write_bytes(raw)
    assert "are not those of its card" in refusal(Failure, "mini-tiny")
    (path / "card.json").write_text("{")
    assert "card.json is missing or damaged" in refusal(Failure, "mini-tiny")
    (path / "sentencepiece.model").write_bytes(b"x")
    assert "the tokenizer in" in refusal(Failure, "mini-tiny")


def test_pickles_are_refused(folder, tmp_path):
    path = copy(folder("t5"), tmp_path / "x")
    torch.save(load_file(path / "model.safetensors"), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    assert "safetensors" in refusal(UsageError, path)


def test_remote_code_is_not_run(folder, tmp_path):
    path, witness = copy(folder("t5"), tmp_path / "x"), tmp_path / "it ran"
    code = f"open({str(witness)!r}, 'w')\nfrom transformers import T5Config as C, T5ForConditionalGeneration as M\n"
    (path / "evil.py").write_text(code)
    config = json.loads((path / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "evil.C", "AutoModelForSeq2SeqLM": "evil.M"}, "model_type": "evil"}
    (path / "config.json").write_text(json.dumps(config))
    assert "cannot load the model" in refusal(UsageError, path)
    assert not witness.exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_damaged_descriptions(folder, tmp_path, file):
    path = copy(folder("t5"), tmp_path / "x")
    (path / file).write_text("{")
    assert "cannot load the model" in refusal(UsageError, path)
    (path / file).unlink()
    assert "cannot load the model" in refusal(UsageError, path)


def test_a_folder_that_is_no_checkpoint(tmp_path):
    assert "cannot load the model" in refusal(UsageError, tmp_path)


def test_a_tokenizer_without_padding(folder, tmp_path, pieces):
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram

    path = copy(folder("t5"), tmp_path / "x")
    bare = Tokenizer(Unigram(special("<unk>") + pieces[1], unk_id=0))
    transformers.PreTrainedTokenizerFast(tokenizer_object=bare, unk_token="<unk>").save_pretrained(path)
    assert "its tokenizer has no padding token" in refusal(UsageError, path)


# Batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_batches(folder, kind):
    loaded = models.load(str(folder(kind)))
    batches = list(loaded.batches(PAIRS, "fa", "en", size=3))
    assert [len(batch["input_ids"]) for batch in batches] == [3, 1]
    row = 0
    for batch in batches:
        assert set(batch) == {"input_ids", "attention_mask", "labels"}
        for ids, mask, labels in zip(*batch.values(), strict=True):
            source, target = loaded.encode(PAIRS[row].source_text, PAIRS[row].target_text, "fa", "en")
            assert ids[mask == 1].tolist() == source and mask.sum() == len(source)
            assert (ids[mask == 0] == loaded.pad_id).all() and mask.tolist() == sorted(mask.tolist(), reverse=True)
            assert labels.tolist() == target + [-100] * (len(labels) - len(target))
            row += 1
        with torch.no_grad():
            assert torch.isfinite(loaded.model(**batch).loss)
    assert row == len(PAIRS) and loaded.truncated == 0
    assert list(loaded.batches([], "fa")) == []


@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_padding_does_not_change_a_likelihood(folder, kind):
    loaded = models.load(str(folder(kind)))
    together = next(loaded.batches(PAIRS[:3], "fa", size=3))
    with torch.no_grad():
        logits = loaded.model(**together).logits
        for i, pair in enumerate(PAIRS[:3]):
            alone = next(loaded.batches([pair], "fa"))
            expected = loaded.model(**alone).logits[0]
            torch.testing.assert_close(logits[i, : len(expected)], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "persian", "english"),
    [("m2m100", "__fa__", "__en__"), ("nllb", "pes_Arab", "eng_Latn"), ("mbart50", "fa_IR", "en_XX")],
)
def test_language_tokens(folder, kind, persian, english):
    loaded = models.load(str(folder(kind)))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder(kind))
    source, target = loaded.encode("آلمان", "Germany", "fa", "en")
    marks = [tokenizer.convert_tokens_to_ids(token) for token in (persian, english)]
    assert tokenizer.unk_token_id not in marks
    assert (source[0], target[0]) == tuple(marks) and source[-1] == target[-1] == tokenizer.eos_token_id
    assert loaded.encode("Germany", "آلمان", "eng", "pes")[0][0] == marks[1]  # any code of the language
    assert loaded.first_token("en") == marks[1]
    assert loaded.encode("آلمان", "Germany", "fa", "en") == (source, target)  # nothing lingers


def test_languages_that_a_model_has_no_token_for(folder):
    loaded = models.load(str(folder("nllb")))
    assert loaded.trained_on == {"en", "fa", "de", "ja"} and loaded.untrained(["fa", "hi"]) == ["hi"]
    with pytest.raises(UsageError, match=r"has no token for the language 'hi'; leave it out"):
        next(loaded.batches(PAIRS, "hi"))
    mbart = models.load(str(folder("mbart50")))
    assert {"zh", "fa", "ko"} <= mbart.trained_on
    assert not {"zh-Hant", "be", "no", "sr"} & mbart.trained_on  # zh_CN is not traditional Chinese


@pytest.mark.parametrize("kind", ["marian", "t5"])
def test_models_without_language_tokens_take_any_language(folder, kind):
    loaded = models.load(str(folder(kind)))
    assert loaded.trained_on is None and loaded.untrained(["hi"]) == []
    assert loaded.encode("a", "b", "hi", "en") == loaded.encode("a", "b", "de", "en")
    assert loaded.first_token("en") is None


@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_long_texts_are_cut_and_counted(folder, kind):
    loaded = models.load(str(folder(kind)))
    long = "Japan " * 200
    batch = next(loaded.batches(pairs_of(("x", "y"), (long, "y"), (long, long)), "en", "de"))
    assert loaded.truncated == 3
    assert batch["input_ids"].shape[1] == batch["labels"].shape[1] == loaded.max_tokens
    end = loaded.encode("x", "y", "en", "de")[0][-1]
    assert batch["input_ids"][1, -1] == batch["labels"][2, -1] == end
    with torch.no_grad():
        assert torch.isfinite(loaded.model(**batch).loss)


@pytest.mark.parametrize("kind", ["xlmr", "bert"])
def test_a_model_without_a_decoder_reads_no_pairs(folder, kind):
    loaded = models.load(str(folder(kind)))
    with pytest.raises(UsageError, match="has no decoder to read pairs with"):
        next(loaded.batches(PAIRS, "fa"))


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
