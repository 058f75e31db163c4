"""The fast engine against the reference: every architecture that converts, and what must not be converted."""

import copy
import dataclasses

import pytest
import torch
from checkpoints import BUILD, CODES, train_pieces
from tiny import save_names
from torch.nn.functional import cross_entropy

from langsim import ctranslate, models, translation
from langsim.corpora import Pair, load
from langsim.errors import UsageError

KINDS = ["m2m100", "nllb", "mbart50", "marian", "t5", "mt5"]
SOURCES = ["fa", "hi", "bn", "id", "ms"]

pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")


@pytest.fixture(scope="module")
def mini(one_thread):
    return models.load("mini-m2m")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_names(tmp_path_factory.mktemp("data") / "names.tsv", CODES)


@pytest.fixture(scope="module")
def build(tmp_path_factory, data):
    """kind -> a fresh randomly initialised model of that kind, loaded."""
    text = [word for line in data.read_text().splitlines()[1:] for word in line.split("\t")[2:]]
    pieces = train_pieces(text)

    def built(kind):
        loaded = models.load(str(BUILD[kind](tmp_path_factory.mktemp("checkpoints") / kind, text, *pieces)))
        if kind == "marian":  # as every Marian model of the hub has it
            settings = loaded.model.generation_config
            settings.bad_words_ids, settings.renormalize_logits = [[loaded.model.config.pad_token_id]], True
        return loaded

    return built


@pytest.fixture(scope="module")
def pairs(data):
    return load("files", path=str(data)).pairs("fa")[:20]


def both(loaded, pairs, source, **options):
    return [translation.translate(loaded, pairs, source, engine=name, **options) for name in translation.ENGINES]


def log_likelihood(loaded, pairs, hypotheses, source):
    """Mean log-probability of a translation, by a forward pass of the model itself."""
    total = 0.0
    for pair, hypothesis in zip(pairs, hypotheses, strict=True):
        batch = next(loaded.batches([dataclasses.replace(pair, target_text=hypothesis)], source))
        with torch.inference_mode():
            logits = loaded.model(**batch).logits
        total -= cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum").item()
    return total / len(pairs)


def test_the_shipped_model_translates_alike(mini):
    corpus, same, n = load("catalogs"), 0, 0
    for code in SOURCES:
        pairs = corpus.pairs(code, pool="DEV")[:12]
        reference, fast = both(mini, pairs, code)
        same, n = same + sum(a == b for a, b in zip(reference, fast, strict=True)), n + len(pairs)
        likely = [log_likelihood(mini, pairs, found, code) for found in (reference, fast)]
        assert likely[0] == pytest.approx(likely[1], rel=0.05)
    assert same >= 0.9 * n == 54


def test_the_search_is_one_where_the_stopping_rule_is(mini):
    """With `early_stopping=True` both stop when `beam_size` translations are finished: nothing is left to differ."""
    alike = dataclasses.replace(mini, model=copy.deepcopy(mini.model))
    alike.model.generation_config.early_stopping = True
    pairs = load("catalogs").pairs("fa", pool="DEV")[:16]
    reference, fast = both(alike, pairs, "fa")
    assert reference == fast
    assert reference != translation.translate(mini, pairs, "fa", engine="ctranslate2")


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_translates_alike(build, pairs, kind):
    loaded = build(kind)
    reference, fast = both(loaded, pairs, "fa")
    assert len(set(reference)) > 1
    assert sum(a == b for a, b in zip(reference, fast, strict=True)) >= 19  # of 20; beams may tie in a random model
    assert translation.fastest(loaded) == "ctranslate2"


def test_weights_changed_in_memory_are_the_ones_that_translate(build, pairs):
    loaded = build("m2m100")
    before = both(loaded, pairs, "fa")
    with torch.no_grad():
        for weights in loaded.model.parameters():
            weights.mul_(0.8)
    after = both(loaded, pairs, "fa")
    assert before[1] != after[1] and sum(a == b for a, b in zip(*after, strict=True)) >= 19


def test_the_model_is_left_as_it_was(build, pairs):
    loaded = build("m2m100")
    config = loaded.model.config.to_dict()
    translation.translate(loaded, pairs, "fa", engine="ctranslate2")
    assert loaded.model.config.to_dict() == config


def test_no_number_depends_on_threads_or_batches(mini):
    pairs = load("catalogs").pairs("id", pool="DEV")[:16]
    alone = translation.translate(mini, pairs, "id", engine="ctranslate2", size=1)
    torch.set_num_threads(2)
    try:
        found = translation.translate(mini, pairs, "id", engine="ctranslate2", size=5)
    finally:
        torch.set_num_threads(1)
    assert found == alone == translation.translate(mini, pairs, "id", engine="ctranslate2")


def test_a_long_sentence_is_cut_and_counted(build):
    loaded = build("m2m100")
    long = [Pair("1", "ایران " * 200, "Iran", "names", "1")]
    reference, fast = both(loaded, long, "fa")
    assert reference == fast and loaded.truncated == 2  # once by each engine


def adapted(loaded):
    linear = loaded.model.model.encoder.layers[0].fc1
    adapter = type("Adapter", (torch.nn.Linear,), {})
    adapter.__module__ = "elsewhere"
    linear.__class__ = adapter


def hooked(loaded):
    loaded.model.model.decoder.layers[0].fc2.register_forward_hook(lambda module, given, found: 2 * found)


def forbidding(loaded):
    loaded.model.generation_config.no_repeat_ngram_size = 3


@pytest.mark.parametrize(
    ("change", "says"),
    [(adapted, "is a Adapter"), (hooked, "fc2' has a hook"), (forbidding, "setting no_repeat_ngram_size")],
)
def test_what_a_conversion_would_miss_is_refused(build, pairs, change, says):
    loaded = build("m2m100")
    change(loaded)
    assert translation.fastest(loaded) == "transformers"
    with pytest.raises(UsageError, match=f"'ctranslate2' can't be used with .*{says}.*; use 'transformers'$"):
        translation.translate(loaded, pairs, "fa", engine="ctranslate2")


def test_a_trained_padding_token_of_marian_is_refused(build):
    loaded = build("marian")
    with torch.no_grad():
        loaded.model.model.decoder.embed_tokens.weight[loaded.pad_id] = 1.0
    assert "has been trained" in ctranslate.obstacle(loaded)
    loaded.model.generation_config.bad_words_ids = None
    assert "may be generated" in ctranslate.obstacle(loaded)


def test_an_architecture_that_does_not_convert_names_the_reference(mini, monkeypatch):
    monkeypatch.setattr(ctranslate, "LOADERS", {})
    with pytest.raises(UsageError, match=r"converts no M2M100ForConditionalGeneration; use 'transformers'$"):
        translation.translate(mini, [Pair("1", "Datei", "File", "names", "1")], "de", engine="ctranslate2")
