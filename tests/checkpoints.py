"""Small randomly initialised checkpoints with the real model and tokenizer classes, in the layout of the hub.

Each builder takes a folder, some text, a SentencePiece model trained on it, and its (piece, score) list.
"""

import io
import json

import pytest
import sentencepiece
import torch
import transformers
from tiny import save_tiny_m2m

from langsim import corpora, languages, models
from langsim.corpora.base import Pair

CODES = ("en", "fa", "de", "ja")
SMALL = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "d_model": 16}
SMALL |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 64}
SMALL |= {"init_std": 0.2}  # with the usual 0.02 the encoder's gradient is next to nothing at this size
ENCODER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
ENCODER |= {"max_position_embeddings": 66}


def train_pieces(text):
    """A small SentencePiece model as bytes, and its (piece, score) list without the special pieces."""
    found = io.BytesIO()
    options = {"vocab_size": 500, "hard_vocab_limit": False, "num_threads": 1, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(text), model_writer=found, **options)
    model = sentencepiece.SentencePieceProcessor(model_proto=found.getvalue())
    return found.getvalue(), [(model.id_to_piece(i), model.get_score(i)) for i in range(3, len(model))]


def save(path, model, tokenizer=None):
    if tokenizer is not None:
        tokenizer.save_pretrained(path)
    model.save_pretrained(path)
    return path


def special(*names):
    return [(name, 0.0) for name in names]


def build_m2m100(path, text, model, listed):
    return save_tiny_m2m(path, text)


def build_nllb(path, text, model, listed):
    vocab = {word: i for i, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "▁", *sorted(set("".join(text)))])}
    codes = [languages.get(code).flores for code in CODES]
    tokenizer = transformers.NllbTokenizer(vocab=vocab, merges=[], extra_special_tokens=codes)
    torch.manual_seed(0)
    config = transformers.M2M100Config(vocab_size=len(tokenizer), **SMALL)
    return save(path, transformers.M2M100ForConditionalGeneration(config), tokenizer)


def build_mbart50(path, text, model, listed):
    tokenizer = transformers.MBart50Tokenizer(vocab=special("<s>", "<pad>", "</s>", "<unk>") + listed)
    torch.manual_seed(0)
    config = transformers.MBartConfig(vocab_size=len(tokenizer), **SMALL)
    return save(path, transformers.MBartForConditionalGeneration(config), tokenizer)


def build_marian(path, text, model, listed):
    path.mkdir()
    words = ["</s>", "<unk>", *(piece for piece, _ in listed), "<pad>"]
    (path / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "MarianTokenizer"}))
    for side in ("source", "target"):
        (path / f"{side}.spm").write_bytes(model)
    torch.manual_seed(0)
    pad = len(words) - 1
    ids = {"pad_token_id": pad, "decoder_start_token_id": pad, "eos_token_id": 0, "forced_eos_token_id": 0}
    return save(path, transformers.MarianMTModel(transformers.MarianConfig(vocab_size=len(words), **ids, **SMALL)))


def build_t5(path, text, model, listed, kind="T5"):
    tokenizer = transformers.T5Tokenizer(vocab=special("<pad>", "</s>", "<unk>") + listed)
    torch.manual_seed(0)
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "n_positions": 32}
    config = getattr(transformers, f"{kind}Config")(vocab_size=len(tokenizer), decoder_start_token_id=0, **shape)
    return save(path, getattr(transformers, f"{kind}ForConditionalGeneration")(config), tokenizer)


def build_mt5(path, text, model, listed):
    return build_t5(path, text, model, listed, kind="MT5")


def build_xlmr(path, text, model, listed):
    vocab = special("<s>", "<pad>", "</s>", "<unk>") + listed + special("<mask>")
    tokenizer = transformers.XLMRobertaTokenizer(vocab=vocab)
    torch.manual_seed(0)
    config = transformers.XLMRobertaConfig(vocab_size=len(tokenizer), **ENCODER)
    return save(path, transformers.XLMRobertaForMaskedLM(config), tokenizer)


def build_bert(path, text, model, listed):
    from tokenizers import BertWordPieceTokenizer

    path.mkdir()
    trained = BertWordPieceTokenizer(lowercase=False)
    trained.train_from_iterator(text, vocab_size=500, show_progress=False)
    trained.save_model(str(path))
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=trained.get_vocab_size(), **ENCODER)
    return save(path, transformers.BertForMaskedLM(config))


BUILD = {
    name.removeprefix("build_"): function for name, function in list(globals().items()) if name.startswith("build_")
}


def folders(root, text):
    """A function: kind -> a folder under `root` with a checkpoint of that kind, whose tokenizer knows the text."""
    made, pieces = {}, train_pieces(text)

    def folder_of(kind):
        if kind not in made:
            made[kind] = BUILD[kind](root / kind, text, *pieces)
        return made[kind]

    return folder_of


def names():
    """Names of the catalogs in the languages of the checkpoints."""
    corpus = corpora.load("catalogs")
    return [name for code in CODES for name in corpus.text(code, domain="names")[:250]]


def pairs_of(*texts):
    return [Pair(str(i), source, target, "text", str(i)) for i, (source, target) in enumerate(texts)]


def edit(file, **entries):
    """Change entries of a JSON object in a file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def refusal(kind, name, device="cpu"):
    """What is said when a model cannot be loaded: one line."""
    with pytest.raises(kind) as caught:
        models.load(str(name), device=device)
    message = str(caught.value)
    assert "\n" not in message
    return message
