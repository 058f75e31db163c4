"""Small real models with real tokenizers, and small tasks of each kind, for the tests of part III."""

from functools import cache

import torch
import transformers

from langsim import subwords
from langsim.models import LoadedModel
from langsim.tasks.base import Answer, Pair, Task, Tokens

CODES = ("en", "de", "fr", "sv")
SAID = {
    "en": "the red house has seven old doors and one new garden near blue water in Berlin",
    "de": "das rote Haus hat sieben alte Türen und einen neuen Garten am blauen Wasser in Berlin",
    "fr": "la maison rouge a sept vieilles portes et un nouveau jardin près de l'eau bleue à Berlin",
    "sv": "det röda huset har sju gamla dörrar och en ny trädgård vid blått vatten i Berlin",
}
WORDS = {code: text.split() for code, text in SAID.items()}
ENCODER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
ENCODER |= {"max_position_embeddings": 66}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 2}
T5 |= {"feed_forward_proj": "gated-gelu", "n_positions": 64}
NAMES = ("xlmr", "mbert", "mt5")


def sentences(code, n=40):
    words = WORDS[code]
    return [" ".join(words[i % 5 : 6 + (7 * i) % (len(words) - 5)]) for i in range(n)]


@cache
def tokenizer(name):
    text = [line for code in CODES for line in sentences(code)] * 3 + list("0123456789:;/")
    if name == "mbert":
        return subwords.train(text, kind="wordpiece", vocab_size=260, characters=80)
    sentinels = {"sentinels": 20} if name == "mt5" else {}
    return subwords.train(text, kind="unigram", vocab_size=360, character_coverage=1.0, **sentinels)


def loaded(name, dtype=torch.float32, seed=0):
    """A `LoadedModel` of an untrained model with large random weights."""
    made = tokenizer(name)
    torch.manual_seed(seed)
    if name == "mt5":
        config = transformers.MT5Config(
            vocab_size=len(made), pad_token_id=made.pad_token_id, eos_token_id=made.eos_token_id,
            decoder_start_token_id=made.pad_token_id, **T5,
        )  # fmt: skip
        model = transformers.MT5ForConditionalGeneration(config)
    elif name == "mbert":
        config = transformers.BertConfig(vocab_size=len(made), pad_token_id=made.pad_token_id, **ENCODER)
        model = transformers.BertForMaskedLM(config)
    else:
        config = transformers.XLMRobertaConfig(vocab_size=len(made), pad_token_id=made.pad_token_id, **ENCODER)
        model = transformers.XLMRobertaForMaskedLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))

    def nothing(*args):
        raise AssertionError("plain text is read with the tokenizer")

    return LoadedModel(
        name, model.to(dtype).eval(), nothing, nothing, nothing, made.pad_token_id, 64, "0" * 64, tokenizer=made
    )


def words_task(codes=CODES, n=12, **options):
    """Every word that begins with a capital or ends in `n` is an entity."""
    splits = {}
    for code in codes:
        rows = [line.split() for line in sentences(code, 3 * n)]
        made = [
            Tokens(tuple(row), tuple("B-X" if w[0].isupper() or w.endswith("n") else "O" for w in row), f"u{i}")
            for i, row in enumerate(rows)
        ]
        splits[code] = {"train": made[:n], "validation": made[n : 2 * n], "test": made[2 * n :]}
    return Task("small-ner", "tokens", "entity_f1", splits, ("O", "B-X"), **options)


def pairs_task(codes=CODES, n=12):
    splits = {}
    for code in codes:
        lines = sentences(code, 3 * n + 1)
        made = [
            Pair(lines[i], lines[i] if i % 2 else lines[i + 1], "same" if i % 2 else "other", f"u{i}")
            for i in range(3 * n)
        ]
        splits[code] = {"train": made[:n], "validation": made[n : 2 * n], "test": made[2 * n :]}
    return Task("small-pi", "pair", "accuracy", splits)


def blind_task(codes, n=12):
    """Pairs that all look the same: no surface feature tells the two labels apart, and the floor is 50%."""
    made = [Pair("one text", "another text", ("other", "same")[i % 2], f"u{i}") for i in range(3 * n)]
    split = {"train": made[:n], "validation": made[n : 2 * n], "test": made[2 * n :]}
    return Task("blind-pi", "pair", "accuracy", dict.fromkeys(codes, split))


def answers_task(codes=CODES, n=8, repeat=1):
    splits = {}
    for code in codes:
        made = []
        for i, line in enumerate(sentences(code, 3 * n)):
            context = " ".join([line] * repeat)
            word = line.split()[i % len(line.split())]
            made.append(Answer(f"{word[0]}?", context, word, context.index(word), f"u{i}"))
        splits[code] = {"train": made[:n], "validation": made[n : 2 * n], "test": made[2 * n :]}
    return Task("small-qa", "answer", "squad_f1", splits)


TASKS = {"token": words_task, "sequence": pairs_task, "span": answers_task}


def save(folder, kind):
    """The checkpoint and its tokenizer in a folder; its name."""
    tokenizer(kind).save_pretrained(folder)
    loaded(kind).model.save_pretrained(folder)
    return str(folder)
