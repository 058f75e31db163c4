"""Models by name from a folder in the layout of the hub, refused; and batches of pairs.

The checkpoints are those of `checkpoints.py`: randomly initialised, with the real model and tokenizer classes.
"""

import json
import shutil

import pytest
import torch
import transformers
from checkpoints import BUILD, edit, folders, names, pairs_of, refusal, special, train_pieces
from safetensors.torch import load_file, save_file

from langsim import models
from langsim.errors import Failure, UsageError

pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")  # Marian's; not needed here

PAIRS = pairs_of(("آلمان", "Germany"), ("ایالات متحدهٔ آمریکا", "United States"), ("ژاپن", "Japan"), ("", "x"))


@pytest.fixture(scope="module")
def pieces():
    return train_pieces(names())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return folders(tmp_path_factory.mktemp("checkpoints"), names())


SEQ2SEQ = ("m2m100", "nllb", "mbart50", "marian", "t5", "mt5")


# Loading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BUILD)
def test_a_checkpoint_in_a_folder(folder, kind):
    loaded = models.load(str(folder(kind)))
    again = models.load(str(folder(kind)))
    assert loaded.digest == again.digest and len(loaded.digest) == 64
    assert not loaded.model.training and {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    expected = load_file(folder(kind) / "model.safetensors")
    state = loaded.model.state_dict()
    assert all(torch.equal(state[name], tensor.float()) for name, tensor in expected.items())


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
    change(shutil.copytree(folder(kind), tmp_path / "other"))
    one, other = models.load(str(folder(kind))), models.load(str(tmp_path / "other"))
    assert one.digest != other.digest
    assert (one.weights_sha256 != other.weights_sha256) == weights_too


@pytest.mark.parametrize("kind", BUILD)
def test_the_digest_is_not_of_where_a_checkpoint_lies_or_what_wrote_it(folder, tmp_path, kind):
    other = shutil.copytree(folder(kind), tmp_path / "other")
    edit(other / "config.json", transformers_version="1.2.3", _name_or_path="/somewhere", dtype="float32")
    loaded = models.load(str(other))
    if loaded.model.config.is_encoder_decoder:
        loaded.encode("a", "b", "fa", "en")  # which sets languages in the tokenizer
    assert loaded.digest == models.load(str(folder(kind))).digest


# Refusing --------------------------------------------------------------------------------------------------------


def test_a_hub_id_that_can_not_be_reached(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "cannot load the model 'nobody/no-such-model'" in refusal(UsageError, "nobody/no-such-model")


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cpu:x"])
def test_devices_that_are_not_there(device):
    assert f"device {device!r}" in refusal(UsageError, "mini-m2m", device)


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_damaged_weights(folder, tmp_path, damage):
    path = shutil.copytree(folder("t5"), tmp_path / "x") / "model.safetensors"
    raw = path.read_bytes()
    path.write_bytes({"cut": raw[: len(raw) // 2], "garbage": b"\xff" * 100, "empty": b""}[damage])
    assert "are damaged" in refusal(Failure, tmp_path / "x")


def test_weights_of_another_shape(folder, tmp_path):
    path = shutil.copytree(folder("t5"), tmp_path / "x")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"d_ff": 48}))
    assert "damaged" in refusal(Failure, path)


def test_weights_that_lack_a_tensor_are_not_filled_with_random_numbers(folder, tmp_path):
    path = shutil.copytree(folder("t5"), tmp_path / "x")
    tensors = load_file(path / "model.safetensors")
    tensors.pop("decoder.block.1.layer.2.DenseReluDense.wo.weight")
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    assert "lack 1 tensors of the model, such as decoder.block.1" in refusal(Failure, path)


def test_pickles_are_refused(folder, tmp_path):
    path = shutil.copytree(folder("t5"), tmp_path / "x")
    torch.save(load_file(path / "model.safetensors"), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    assert "safetensors" in refusal(UsageError, path)


def test_remote_code_is_not_run(folder, tmp_path):
    path, witness = shutil.copytree(folder("t5"), tmp_path / "x"), tmp_path / "it ran"
    code = f"open({str(witness)!r}, 'w')\nfrom transformers import T5Config as C, T5ForConditionalGeneration as M\n"
    (path / "evil.py").write_text(code)
    config = json.loads((path / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "evil.C", "AutoModelForSeq2SeqLM": "evil.M"}, "model_type": "evil"}
    (path / "config.json").write_text(json.dumps(config))
    assert "cannot load the model" in refusal(UsageError, path)
    assert not witness.exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_damaged_descriptions(folder, tmp_path, file):
    path = shutil.copytree(folder("t5"), tmp_path / "x")
    (path / file).write_text("{")
    assert "cannot load the model" in refusal(UsageError, path)
    (path / file).unlink()
    assert "cannot load the model" in refusal(UsageError, path)


def test_a_folder_that_is_no_checkpoint(tmp_path):
    assert "cannot load the model" in refusal(UsageError, tmp_path)


def test_a_tokenizer_without_padding(folder, tmp_path, pieces):
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram

    path = shutil.copytree(folder("t5"), tmp_path / "x")
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
