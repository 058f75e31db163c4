"""Conversion of a small fairseq checkpoint, against a Transformer written from fairseq's names alone."""

import argparse
import json
import math
import os
import shutil

import pytest
import torch
from babel import Locale
from fairseq_model import DIM, OPTIONS, literal, weights
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, M2M100ForConditionalGeneration

from langsim import fairseq_checkpoint, fairseq_vocabulary, models
from langsim.cli import main
from langsim.errors import Failure, UsageError

CODES = ("af", "as", "en", "fa", "ja", "kam", "ku", "ns", "zh")


def texts(*codes):
    return [name for code in codes for name in Locale.parse(code).territories.values()]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """A small byte-pair encoding, and its pieces."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("pieces")
    options = {"vocab_size": 500, "model_type": "bpe", "num_threads": 1, "minloglevel": 2, "character_coverage": 0.99}
    prefix = str(folder / "sentencepiece.bpe")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts("en", "fa", "af")), model_prefix=prefix, **options
    )
    model = sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")
    return folder / "sentencepiece.bpe.model", [model.id_to_piece(i) for i in range(3, len(model))]


@pytest.fixture
def source(pieces, tmp_path):
    """A folder as the real one: model.pt, dict.txt in an order of its own, sentencepiece.bpe.model."""
    folder = tmp_path / "mm100"
    folder.mkdir()
    shutil.copy(pieces[0], folder)
    tokens = [*sorted(pieces[1]), *(f"__{code}__" for code in CODES), "madeupword0000", "madeupword0001"]
    (folder / "dict.txt").write_text("".join(f"{token} 1\n" for token in tokens), encoding="utf-8")
    save(folder, weights(4 + len(tokens)))
    return folder


def save(folder, tensors, options=OPTIONS, **more):
    torch.save({"args": argparse.Namespace(**options), "model": tensors, **more}, folder / "model.pt")


def order(folder):
    """Token -> id, as fairseq numbers them."""
    lines = (folder / "dict.txt").read_text(encoding="utf-8").splitlines()
    return {token: n for n, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *(x.split(" ")[0] for x in lines)])}


def refusal(kind, source, out):
    with pytest.raises(kind) as caught:
        fairseq_checkpoint.convert(source, out)
    assert "\n" not in str(caught.value) and not out.exists()
    assert not list(out.parent.glob(".*.part"))
    return str(caught.value)


def test_the_converted_model_has_the_logits_of_a_literal_forward_pass(source, tmp_path):
    made = fairseq_checkpoint.convert(source, tmp_path / "out")
    assert made.tried > 250 and made.unlike == []
    model, found = M2M100ForConditionalGeneration.from_pretrained(made.folder, output_loading_info=True)
    assert not found["missing_keys"] and not found["unexpected_keys"]
    assert all(file.stat().st_mode & 0o777 == 0o644 for file in made.folder.iterdir())
    assert made.parameters == sum(p.numel() for p in model.parameters())
    w, ids = weights(len(order(source))), order(source)
    sentences = [
        ([ids["__fa__"], 17, 301, 5, 88, 2], [ids["__en__"], 9, 44, 2]),
        ([ids["__en__"], 250, 2], [ids["__kam__"], 7, 7, 120, 33, 2]),
    ]
    width = max(len(s) for s, _ in sentences), max(len(t) for _, t in sentences)
    batch = {
        "input_ids": torch.tensor([s + [1] * (width[0] - len(s)) for s, _ in sentences]),
        "attention_mask": torch.tensor([[1] * len(s) + [0] * (width[0] - len(s)) for s, _ in sentences]),
        "labels": torch.tensor([t + [-100] * (width[1] - len(t)) for _, t in sentences]),
    }
    with torch.no_grad():
        logits = model.eval()(**batch).logits
    for row, (s, t) in enumerate(sentences):
        expected = literal(w, s, t)
        assert expected.std() > 0.1
        torch.testing.assert_close(logits[row, : len(t)], expected, atol=1e-5, rtol=1e-5)


def test_the_configuration_is_the_checkpoints(source, tmp_path):
    fairseq_checkpoint.convert(source, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    shape = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 3, "encoder_ffn_dim": 32, "decoder_ffn_dim": 24}
    shape |= {"encoder_attention_heads": 2, "decoder_attention_heads": 4, "max_position_embeddings": 64}
    shape |= {"scale_embedding": True, "activation_function": "relu", "dropout": 0.3, "vocab_size": len(order(source))}
    assert shape.items() <= config.items()
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert {"decoder_start_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "num_beams": 5}.items() <= (
        generation.items()
    )


def test_tokens_have_the_ids_of_the_dictionary(source, tmp_path, pieces):
    made = fairseq_checkpoint.convert(source, tmp_path / "out")
    assert made.languages == {
        "af": "afr_Latn", "as": "__as__", "en": "eng_Latn", "fa": "pes_Arab", "ja": "jpn_Jpan", "kam": "kam_Latn",
        "ku": "ckb_Arab", "ns": "nso_Latn", "zh": "zho_Hans",
    }  # fmt: skip
    ids, tokenizer = order(source), AutoTokenizer.from_pretrained(made.folder)
    assert len(tokenizer) == len(ids)
    spelled = {f"__{code}__": name for code, name in made.languages.items()}
    assert {token: tokenizer.convert_tokens_to_ids(spelled.get(token, token)) for token in ids} == ids
    names = json.loads((made.folder / "fairseq_languages.json").read_text())
    assert names == made.languages


@pytest.mark.parametrize(
    ("codes", "names"),
    [
        (["ku"], ["ckb_Arab"]),  # FLORES-101's own table
        (["ku", "ckb"], ["kmr_Latn", "ckb_Arab"]),
        (["no", "nb", "xx"], ["nob_Latn", "__nb__", "__xx__"]),  # no two the same
    ],
)
def test_names_of_languages(tmp_path, codes, names):
    (tmp_path / "dict.txt").write_text("".join(f"__{code}__ 1\n" for code in codes))
    vocabulary = fairseq_vocabulary.read(tmp_path / "dict.txt")
    assert list(vocabulary.names.items()) == list(zip(codes, names, strict=True))
    assert vocabulary.spelled()[4:] == names


def test_text_is_cut_as_sentencepiece_cuts_it(source, tmp_path, pieces):
    import sentencepiece

    fairseq_checkpoint.convert(source, tmp_path / "out")
    ids, tokenizer = order(source), AutoTokenizer.from_pretrained(tmp_path / "out")
    model = sentencepiece.SentencePieceProcessor(model_file=str(pieces[0]))
    tokenizer.src_lang, tokenizer.tgt_lang = "pes_Arab", "kam_Latn"
    sample = [*texts("en", "fa", "af", "de", "ja"), "madeupword0000 ﬁne ½", "x  y", ""]
    for text in sample:
        cut = [ids.get(piece, 3) for piece in model.encode(text, out_type=str)]
        assert tokenizer(text)["input_ids"] == [ids["__fa__"], *cut, 2], text
        assert tokenizer(text_target=text)["input_ids"] == [ids["__kam__"], *cut, 2], text
    assert tokenizer.decode(tokenizer("South Africa")["input_ids"], skip_special_tokens=True) == "South Africa"
    vocabulary = fairseq_vocabulary.read(source / "dict.txt")
    assert fairseq_vocabulary.unlike(tokenizer, vocabulary, pieces[0], sample) == []
    assert fairseq_vocabulary.unlike(lambda *_, **__: {"input_ids": []}, vocabulary, pieces[0], ["x"]) == ["x"]


def test_a_piece_that_the_dictionary_lacks_is_cut_further_and_told(source, tmp_path, pieces):
    lines = (source / "dict.txt").read_text(encoding="utf-8").splitlines()
    longest = max((piece for piece in pieces[1] if piece.isascii() or "▁" in piece), key=len)
    lines.remove(f"{longest} 1")
    (source / "dict.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    save(source, weights(4 + len(lines)))
    made = fairseq_checkpoint.convert(source, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(made.folder)
    cut = tokenizer.convert_ids_to_tokens(tokenizer(longest.strip("▁"), add_special_tokens=False)["input_ids"])
    assert "<unk>" not in cut and "".join(cut).strip("▁") == longest.strip("▁")
    assert made.unlike and all(longest.strip("▁") in name for name in made.unlike)


def test_langsim_reads_what_it_converted(source, tmp_path):
    fairseq_checkpoint.convert(source, tmp_path / "out")
    loaded, ids = models.load(str(tmp_path / "out")), order(source)
    assert loaded.trained_on == {"af", "en", "fa", "ja", "kam", "ckb", "nso", "zh"}
    assert loaded.first_token("kam") == ids["__kam__"] and loaded.pad_id == 1
    assert loaded.encode("Iran", "Iran", "ckb", "en")[0][0] == ids["__ku__"]
    assert AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out").config.model_type == "m2m_100"


def test_newer_checkpoints_and_half_precision(source, tmp_path):
    half = {name: tensor.half() for name, tensor in weights(len(order(source))).items()}
    cfg = {"model": argparse.Namespace(**OPTIONS), "task": argparse.Namespace(langs=list(CODES))}
    torch.save({"args": None, "cfg": cfg, "model": half, "extra_state": {"epoch": 3}}, source / "model.pt")
    fairseq_checkpoint.convert(source / "model.pt", tmp_path / "deep" / "out")
    stored = load_file(tmp_path / "deep" / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}
    assert torch.equal(stored["model.shared.weight"], half["encoder.embed_tokens.weight"].float())


# Refusals


class Evil:
    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return (os.mkdir, (str(self.witness),))


def test_nothing_but_data_is_unpickled(source, tmp_path):
    witness = tmp_path / "it ran"
    save(source, weights(len(order(source))), extra_state=Evil(witness))
    said = refusal(UsageError, source, tmp_path / "out")
    assert "posix.mkdir" in said and "only tensors, plain values and argparse.Namespace" in said
    assert not witness.exists()
    save(source, weights(len(order(source))), extra_state=Locale("fa"))
    assert "babel.core.Locale" in refusal(UsageError, source, tmp_path / "out")
    assert argparse.Namespace not in torch.serialization.get_safe_globals()  # allowed for that one reading


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"encoder_normalize_before": False}, "encoder_normalize_before is False, not True"),
        ({"decoder_normalize_before": False, "arch": "lstm"}, "arch is 'lstm', not a 'transformer', decoder_normalize"),
        ({"activation_fn": "gelu"}, "activation_fn is 'gelu', not 'relu'"),
        ({"share_all_embeddings": False}, "share_all_embeddings is False"),
        ({"encoder_learned_pos": True}, "encoder_learned_pos is True"),
        ({"adaptive_softmax_cutoff": [100]}, "adaptive_softmax_cutoff is [100], not None"),
        ({"decoder_layers": None}, "decoder_layers is not given"),
        ({"decoder_embed_dim": 32}, "encoder_embed_dim and decoder_embed_dim differ"),
        ({"encoder_attention_heads": 3}, "not a multiple of the attention heads"),
    ],
)
def test_another_architecture_is_refused(source, tmp_path, changed, words):
    save(source, weights(len(order(source))), OPTIONS | changed)
    said = refusal(UsageError, source, tmp_path / "out")
    assert "is not built as M2M100 is" in said and words in said


def test_parameters_that_do_not_fit_are_named(source, tmp_path):
    out, whole = tmp_path / "out", weights(len(order(source)))
    one = "decoder.layers.1.fc2.weight"
    save(source, {name: tensor for name, tensor in whole.items() if name != one})
    assert f"lacks 1 parameters of this architecture, such as {one}" in refusal(UsageError, source, out)
    save(source, whole | {"encoder.layernorm_embedding.weight": torch.ones(DIM)})
    assert "has unknown 1 parameters" in refusal(UsageError, source, out)
    save(source, whole | {one: torch.ones(DIM, 5)})
    assert f"{one} is 16 x 5, expected 16 x 24" in refusal(UsageError, source, out)
    save(source, whole | {"decoder.output_projection.weight": whole["encoder.embed_tokens.weight"] + 1})
    assert "decoder.output_projection.weight is not the shared embedding" in refusal(UsageError, source, out)
    save(source, whole | {one: torch.full((DIM, 24), math.nan)})
    assert "values that are not numbers" in refusal(Failure, source, out)
    save(source, weights(len(order(source)) - 1))
    assert "(dict.txt sets the rows)" in refusal(UsageError, source, out)


def test_files_that_are_missing_or_others(source, tmp_path, pieces):
    out = tmp_path / "out"
    assert "no such file or folder" in refusal(UsageError, tmp_path / "nowhere", out)
    dictionary = (source / "dict.txt").read_text(encoding="utf-8")
    for text, words in (
        ("just words\n", "dict.txt:1: expected a token and a count"),
        (dictionary + "__fa__ 1\n", "the token '__fa__' is there twice"),
        (dictionary.replace("__", "_"), "has no token of a language, such as __en__"),
        (dictionary.replace("▁", "~"), "not in dict.txt, such as '▁"),
    ):
        (source / "dict.txt").write_text(text, encoding="utf-8")
        assert words in refusal(UsageError, source, out)
    (source / "dict.txt").unlink()
    assert "no dict.txt beside the checkpoint" in refusal(UsageError, source, out)
    (source / "dict.txt").write_text(dictionary, encoding="utf-8")
    (source / "sentencepiece.bpe.model").write_bytes(b"\xff\xff")
    assert "is not a SentencePiece model" in refusal(UsageError, source, out)
    (source / "sentencepiece.bpe.model").unlink()
    assert "no sentencepiece.bpe.model beside the checkpoint" in refusal(UsageError, source, out)
    shutil.copy(pieces[0], source)
    for content in (b"", b"PK\x03\x04 cut off", (source / "model.pt").read_bytes()[:2000]):
        (source / "model.pt").write_bytes(content)
        assert "is damaged, or no file of torch's" in refusal(Failure, source, out)
    torch.save({"weights": torch.ones(1)}, source / "model.pt")
    assert "has no 'model' with parameters by name" in refusal(UsageError, source, out)
    torch.save({"model": {}}, source / "model.pt")
    assert "has neither 'args' nor 'cfg'" in refusal(UsageError, source, out)
    shutil.copy(source / "model.pt", source / "second.pt")
    assert "2 .pt files in" in refusal(UsageError, source, out)


def test_pieces_of_another_kind_are_refused(source, tmp_path):
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts("en")),
        model_prefix=str(source / "sentencepiece.bpe"),
        vocab_size=200,
        num_threads=1,
        minloglevel=2,
    )
    assert "is not a plain byte-pair encoding" in refusal(UsageError, source, tmp_path / "out")


def test_an_existing_folder_and_a_full_disk(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UsageError, match="exists: name a new folder"):
        fairseq_checkpoint.convert(source, out)
    out.rmdir()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
        assert "0.1 GB, and 0.0 GB are free: make room" in refusal(Failure, source, out)

    def full(tensors, path, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fairseq_checkpoint, "save_file", full)
    assert "No space left on device; make room for it" in refusal(Failure, source, out)


def test_the_command(source, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["convert", str(source), str(tmp_path / "out")])
    assert ended.value.code == 0 and "9 languages\n" in (said := capsys.readouterr().err)
    assert ", 0 of them not as SentencePiece" in said
    with pytest.raises(SystemExit) as ended:
        main(["convert", str(source), str(tmp_path / "out")])
    assert ended.value.code == 2 and "exists: name a new folder" in capsys.readouterr().err
