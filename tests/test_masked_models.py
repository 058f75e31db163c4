"""The shipped masked models: their rows of text, training, shipping and the gate."""

import itertools
import json
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from masked import CODES, NAMES, part, share_is, small
from safetensors.torch import load_file

from langsim import (
    cells,
    corpora,
    corruption,
    languages,
    masked_evaluation,
    modelcard,
    models,
    objectives,
    pretrain,
    pretraining,
    splits,
    subwords,
    training_loss,
    unigram,
)
from langsim.errors import Failure, UsageError
from langsim.plain_text import Rows

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def dev():
    return part("DEV", 20)


@pytest.fixture(scope="module", params=NAMES)
def trained(request, tmp_path_factory, masked_text, dev):
    out = tmp_path_factory.mktemp(request.param)
    recipe = small(request.param)
    return request.param, out, pretrain.run(recipe, masked_text, dev, out=out, log_every=2)


# Rows of text ------------------------------------------------------------------------------------------------------


def test_rows_are_of_one_language_and_one_length(masked_text):
    recipe = small("mini-xlmr")
    letters = {code: chr(ord("a") + i) for i, code in enumerate(CODES)}

    def encode(texts):  # a number for each language, so that it is seen
        return [[ord(string[0])] * 3 for string in texts]

    marked = {code: {item: letters[code] for item in own} for code, own in masked_text.texts.items()}
    drawn = Rows(corpora.Corpus("x", masked_text.items, marked), recipe, encode, separator=7)
    for step in range(20):
        rows, _ = drawn.rows(step, 300, 2)
        assert len({len(row) for row in rows}) == 1 and 16 <= len(rows[0]) + 2 <= 40
        assert len(rows) == 300 // (len(rows[0]) + 2)
        assert all(len(set(row) - {7}) == 1 and row[3::4] == [7] * len(row[3::4]) for row in rows)
        assert drawn.rows(step, 300, 2)[0] == rows  # a function of its number
    rng = np.random.default_rng(0)
    found = Counter(drawn.row(rng, 4)[0] for _ in range(3000))
    kinds = {member.code: member.resource_class for member in languages.role_members("mini-xlmr")}
    weights = {code: recipe["sampling"]["language"][kinds[code]] for code in CODES}
    assert all(share_is(found[code], 3000, weights[code] / sum(weights.values())) for code in CODES)
    with pytest.raises(UsageError, match="at least one language"):
        Rows(corpora.Corpus("x", masked_text.items, {"sw": marked["de"]}), recipe, encode)


@pytest.mark.parametrize("name", NAMES)
def test_batches_are_framed_as_the_tokenizer_frames(masked_tokenizers, masked_text, name):
    recipe, tokenizer = small(name), masked_tokenizers[name]
    objective = objectives.of(recipe)
    batches = objective.batches(masked_text, recipe, tokenizer, step=3)
    first, second = next(batches), next(batches)
    assert all(
        torch.equal(second[key], next(objective.batches(masked_text, recipe, tokenizer, step=4))[key]) for key in second
    )
    assert (first["attention_mask"] == 1).all() and objective.count(first) > 200
    ends = set(first["input_ids"][:, -1].tolist())
    alone = tokenizer("x")["input_ids"]
    if name == "mini-mt5":
        assert ends == {alone[-1]}
        assert (first["labels"] == alone[-1]).sum() == len(first["labels"])
    else:
        hidden = first["labels"] != -100
        assert ends == {alone[-1]} and set(first["input_ids"][:, 0].tolist()) == {alone[0]}
        assert not hidden[:, [0, -1]].any()


# Loss and training -------------------------------------------------------------------------------------------------


def test_a_step_is_the_models_own_loss(masked_tokenizers, masked_text):
    for name in NAMES:
        recipe = small(name)
        recipe["model"] |= {"dropout_rate": 0.0} if name == "mini-mt5" else {"hidden_dropout_prob": 0.0}
        model = pretrain.new_model(recipe, masked_tokenizers[name]).train()
        batch = next(objectives.of(recipe).batches(masked_text, recipe, masked_tokenizers[name], step=0))
        expected = model(**batch).loss
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        found = pretrain._step(model, optimizer, batch, 0.0, recipe["training"], {"step": 0, "tokens": 0})
        assert found == pytest.approx(expected.item(), rel=1e-5)
        chance = math.log(len(masked_tokenizers[name]))
        assert expected.item() == pytest.approx(chance, rel=0.15)  # untrained: as good as chance
        logits, observed = training_loss.scored_logits(model, model, batch)
        torch.testing.assert_close(logits, model(**batch).logits[batch["labels"] != -100])
        assert torch.equal(observed, batch["labels"][batch["labels"] != -100])


def test_training_lowers_the_loss_on_text_it_has_not_seen(trained):
    name, out, state = trained
    losses = [loss for _, _, loss in state["held_out"]]
    assert state["tokens"] >= 6000 and len(losses) >= 4
    assert losses[-1] < losses[0] - 0.1 and losses[0] < math.log(1400)
    assert (
        type(pretrain.new_model(small(name), subwords.load(out))).__name__ == pretraining.recipe(name)["architecture"]
    )


class Killed(Exception):
    pass


def test_a_killed_training_goes_on_as_if_nothing_had_been(trained, masked_text, dev, tmp_path, monkeypatch):
    """Killed in the middle of a step, some steps after its last save."""
    name, whole, state = trained
    step, left = pretrain._step, [11]

    def dying(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        monkeypatch.setattr(pretrain, "SAVE_EVERY", -1 if left[0] == 4 else 1e9)  # saved once, before the next step
        return step(*arguments)

    monkeypatch.setattr(pretrain, "SAVE_EVERY", 1e9)
    monkeypatch.setattr(pretrain, "_step", dying)
    with pytest.raises(Killed):
        pretrain.run(small(name), masked_text, dev, out=tmp_path, log_every=2)
    monkeypatch.setattr(pretrain, "_step", step)
    again = pretrain.run(small(name), masked_text, dev, out=tmp_path, log_every=2)
    assert again["step"] == state["step"] and again["held_out"] == state["held_out"]
    one, other = (load_file(folder / "training.safetensors") for folder in (whole, tmp_path))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    assert (whole / "model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_the_seed_decides_the_weights(masked_tokenizers):
    for name in NAMES:
        one, other = (pretrain.new_model(small(name), masked_tokenizers[name]) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
        another = pretrain.new_model(small(name, seed=2), masked_tokenizers[name])
        assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), another.parameters(), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_the_recipe_says_how_much_is_hidden_while_training(name, masked_tokenizers, masked_text, dev):
    """And 15% are in what is held out, whatever the recipe says."""
    recipe, tokenizer = small(name), masked_tokenizers[name]
    objective = objectives.of(recipe)

    def share(batches):  # of the text's tokens; a sentinel stands for a span on both sides
        batches, special = list(batches), torch.tensor(tokenizer.all_special_ids)
        hidden = sum(int((~torch.isin(batch["labels"], special) & (batch["labels"] >= 0)).sum()) for batch in batches)
        kept = sum(int((~torch.isin(batch["input_ids"], special)).sum()) for batch in batches)
        if name == "mini-mt5":
            return hidden / (kept + hidden)
        masked = sum(int((batch["input_ids"] == tokenizer.mask_token_id).sum()) for batch in batches)
        return hidden / (kept + masked)

    def drawn(rate):
        settings = {**recipe, "sampling": {**recipe["sampling"], "hidden": rate}}
        return itertools.islice(objective.batches(masked_text, settings, tokenizer, 0), 30)

    assert recipe["sampling"]["hidden"] == 0.4
    assert share(drawn(0.4)) == pytest.approx(0.4, abs=0.03) and share(drawn(0.2)) == pytest.approx(0.2, abs=0.03)
    assert share(objective.held_out(dev, recipe, tokenizer)) == pytest.approx(0.15, abs=0.04)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_dropped_in_training_and_the_configuration_keeps_its_dropout(masked_tokenizers, name):
    recipe = small(name)
    model = pretrain.new_model(recipe, masked_tokenizers[name]).train()
    own = model.config.to_dict()
    objectives.of(recipe).prepare(model, pretraining.recipe(name)["phase"][0])
    batch = next(objectives.of(recipe).batches(text_of("en"), recipe, masked_tokenizers[name], 0))
    with torch.no_grad():
        one, other = (model(**batch).loss for _ in range(2))
    assert one == other and model.config.to_dict() == own
    assert recipe["model"].get("hidden_dropout_prob", recipe["model"].get("dropout_rate")) == 0.1
    objectives.of(recipe).prepare(model, {"dropout": 0.5})
    with torch.no_grad():
        assert model(**batch).loss != model(**batch).loss


def text_of(code):
    """A little text of one language."""
    items = pd.DataFrame({"domain": ["news"] * 30, "unit": list(map(str, range(30))), "pool": "PRETRAIN"})
    items.index = list(map(str, range(30)))
    texts = {code: {item: f"a text with some words and the number {item}" for item in items.index}}
    return corpora.Corpus("x", items, texts)


# Shipping ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shipped(trained, masked_text, tmp_path, monkeypatch):
    """The small model, shipped in a folder of its own."""
    name, out, _ = trained
    recipe = small(name)
    (tmp_path / name).mkdir()
    monkeypatch.setattr(pretraining, "MODELS", tmp_path)
    monkeypatch.setattr(pretraining, "recipe", lambda name: recipe)
    monkeypatch.setattr(pretraining, "training_text", lambda settings: masked_text)
    monkeypatch.setattr(models, "SHIPPED", tmp_path)
    monkeypatch.setattr(masked_evaluation, "SHIPPED", tmp_path)
    monkeypatch.setattr(modelcard.languages, "role_members", lambda role: MEMBERS)
    monkeypatch.setattr(modelcard, "load_corpus", lambda name: corpora.load("catalogs"))  # NTREX may not be here
    return name, modelcard.ship(name, out)


MEMBERS = [member for member in languages.role_members("mini-xlmr") if member.code in CODES]


def test_what_is_shipped_is_what_is_loaded(shipped, trained):
    name, folder = shipped
    loaded = models.load(name)
    assert type(loaded.model).__name__ == pretraining.recipe(name)["architecture"] and not loaded.model.training
    assert loaded.digest == models.shipped_digest(name) and loaded.trained_on == set(CODES)
    saved = load_file(folder / "model.safetensors")
    assert {key for key, _ in loaded.model.named_parameters()} == set(saved)
    assert all(torch.equal(p, saved[key].float()) for key, p in loaded.model.named_parameters())
    assert loaded.tokenizer("ایران")["input_ids"] == subwords.load(trained[1])("ایران")["input_ids"]
    assert loaded.max_tokens >= pretraining.recipe(name)["training"]["max_tokens"]
    card = json.loads((folder / "card.json").read_text())
    assert card["weights"] == loaded.weights_sha256 and set(card["languages"]) == set(CODES)
    assert card["languages"]["de"]["tokens"] > 500
    described = json.loads((folder / "tokenizer.json").read_text())
    described["added_tokens"][-1]["lstrip"] = not described["added_tokens"][-1]["lstrip"]
    (folder / "tokenizer.json").write_text(json.dumps(described))
    assert models.shipped_digest(name) != loaded.digest


def test_a_model_that_is_not_whole_is_not_shipped(trained, tmp_path, monkeypatch):
    name, out, _ = trained
    monkeypatch.setattr(modelcard, "LARGEST", 1000)
    recipe = small(name)
    monkeypatch.setattr(pretraining, "MODELS", tmp_path)
    monkeypatch.setattr(pretraining, "recipe", lambda name: recipe)
    with pytest.raises(Failure, match="larger than 12 MB"):
        modelcard.ship(name, out)
    with pytest.raises(Failure, match=r"missing: train first \(langsim pretrain"):
        modelcard.ship(name, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_the_recipes_models_are_small_enough(name):
    """As shipped, in fp16, with the vocabulary that the recipe asks for: 12 MB each; 40 MB all four."""
    recipe = pretraining.recipe(name)
    vocabulary = recipe["tokenizer"]["vocab_size"] + recipe["tokenizer"].get("sentinels", 1)
    architecture = getattr(transformers, recipe["architecture"])
    with torch.device("meta"):
        model = architecture(architecture.config_class(vocab_size=vocabulary, **recipe["model"]))
    assert 4_000_000 < 2 * model.num_parameters() < 11_000_000
    assert recipe["model"].get("max_position_embeddings", 512) >= recipe["training"]["max_tokens"] + 2


@pytest.mark.parametrize("name", [name for name in NAMES if name in models.shipped()])
def test_the_shipped_models_know_their_text(name):
    """Each is its recipe's; on held-out text of a language that it knows well it is far better than chance."""
    loaded = models.load(name)
    assert type(loaded.model).__name__ == pretraining.recipe(name)["architecture"]
    assert sum(path.stat().st_size for path in models.SHIPPED.glob("*/model.safetensors")) < 40_000_000
    nll, tokens = masked_evaluation.hidden_loss(loaded, masked_evaluation.held_out("de")[:40], rounds=1)
    assert len(tokens) > 20 and nll < math.log(len(loaded.tokenizer)) - 1


# What they may not know, and what they know ------------------------------------------------------------------------


def test_their_text_is_that_of_the_translation_model():
    """The same role and amounts, so the same text, which is tested with that model."""
    other = pretraining.recipe("mini-m2m")
    for name in NAMES:
        recipe = pretraining.recipe(name)
        assert recipe["text"] == other["text"] and recipe["sampling"]["language"] == other["sampling"]["language"]
        assert [(m.code, m.resource_class) for m in languages.role_members(recipe["role"])] == [
            (m.code, m.resource_class) for m in languages.role_members(other["role"])
        ]


@pytest.fixture(scope="module")
def reserved():
    """What the tasks at `mini` are made of: the names of the entities' task, and all text reserved for tasks."""
    corpus, codes = corpora.load("catalogs"), languages.role("mini-xlmr")
    return {code: corpus.text(code, pool="TASKS") for code in codes if code in corpus.texts}


def test_nothing_reserved_for_tasks_is_in_a_models_text_and_a_planted_leak_is_caught(reserved):
    assert min(map(len, reserved.values())) > 50
    pretrain_hashes = pretraining.read_hashes(pretraining.MODELS / "mini-m2m")  # of the same text
    assert splits.leaks(reserved, pretrain_hashes) == {}
    planted = reserved["ko"][17]
    items = pd.DataFrame({"domain": ["names"], "unit": ["u"], "pool": ["PRETRAIN"]}, index=["planted"])
    hashes = pretraining.segment_hashes(corpora.Corpus("x", items, {"ko": {"planted": f" {planted}. "}}))
    found = splits.leaks(reserved, np.union1d(pretrain_hashes, hashes))
    assert set(found) == {"ko"} and planted in found["ko"]


def test_held_out_text_and_the_tasks_text_are_in_no_training_text(masked_text):
    """Of the rows themselves: nothing but PRETRAIN items is drawn from."""
    corpus = corpora.load("catalogs")
    for code in ("de", "ko"):
        assert len(masked_evaluation.held_out(code)) > 80
        known = set(map(splits.normalise, masked_evaluation.held_out(code)))
        pools = corpus.items["pool"].to_dict()
        allowed = {item for item in corpus.texts[code] if pools[item] == masked_evaluation.POOL}
        assert known <= {splits.normalise(corpus.texts[code][item]) for item in allowed}
    assert set(masked_text.items["pool"]) == {"PRETRAIN"}


def test_the_hidden_loss_is_that_of_the_models_probabilities(shipped):
    """By a loop over single texts, with the same draws."""
    name, _ = shipped
    loaded = models.load(name)
    texts = ["Vereinigte Staaten", "대한민국", "جمهوری اسلامی ایران"]
    tokenizer = loaded.tokenizer
    encoded = sorted(tokenizer(texts)["input_ids"], key=len)
    nll, tokens = masked_evaluation.hidden_loss(loaded, texts, rounds=2)
    total, observed = 0.0, []
    for number in range(2):
        rng = np.random.default_rng(number)
        if name == "mini-mt5":
            batch = corruption.span_batch(encoded, tokenizer, rng)
        else:
            batch = corruption.masked_batch(encoded, tokenizer, rng, shares=(1.0, 0.0))
        for i in range(len(encoded)):
            row = {key: tensor[i : i + 1] for key, tensor in batch.items()}
            with torch.no_grad():
                p = loaded.model(**row).logits[0].softmax(-1)
            for place, token in enumerate(row["labels"][0].tolist()):
                if token != -100 and token not in tokenizer.all_special_ids:
                    total, observed = total - math.log(p[place, token]), [*observed, token]
    assert observed == tokens and nll == pytest.approx(total / len(observed), rel=1e-4)


def test_the_unigram_is_mixed_in_its_own_favour():
    own, pooled = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.1, 0.8])
    targets = [[0, 0], [2]]
    rates = unigram.COPY_RATES
    expected = min(-np.mean(np.log([(1 - r) * own[t] + r * pooled[t] for t in (0, 0, 2)])) for r in rates)
    found = unigram.mixed_nll(targets, own, pooled)
    assert found == pytest.approx(expected) and found < unigram.unigram_nll(targets, own)


def test_the_cell_and_the_card(shipped, tmp_path, monkeypatch):
    name, folder = shipped
    monkeypatch.setattr(cells, "reference_dir", lambda profile: tmp_path / "results")
    (cell,) = cells.planned(masked_evaluation.KIND)
    assert cell.id == name and cell.inputs["model"] == f"{name}@{models.shipped_digest(name)[:12]}"
    assert masked_evaluation.plan("open") == {}
    with pytest.raises(Failure, match=f"{name} is missing"):
        modelcard.readme(name)
    scores = masked_evaluation.held_out_scores(cell)
    assert set(scores) == set(CODES) and all(s["tokens"] > 100 and s["nll"] > 0 for s in scores.values())
    assert all(3 < s["unigram_nll"] < math.log(1400) for s in scores.values())
    cells.write(cell, scores)
    page = modelcard.write_readme(name).read_text()
    assert folder / "README.md" == tmp_path / name / "README.md" and masked_evaluation.verdict(name).sentence in page
    assert f"| {scores['ko']['nll']:.2f} | {scores['ko']['unigram_nll']:.2f} |" in page
    assert masked_evaluation.verdict("mini-m2m") is None


def test_the_gate():
    good = {code: {"nll": 1.0, "unigram_nll": 2.0} for code in masked_evaluation.asked()}
    assert masked_evaluation.judge(good).passed
    bad = masked_evaluation.judge({**good, "ko": {"nll": 2.0, "unigram_nll": 2.0}, "xx": {"nll": 3, "unigram_nll": 1}})
    assert not bad.passed and bad.unigram == ["ko"] and bad.languages == len(good)
    assert bad.sentence.startswith("**Weak instrument.**") and "(not in ko)" in bad.sentence


def test_the_languages_asked_are_those_of_the_tasks():
    asked = masked_evaluation.asked()
    assert {"en", "ko", "af", "eu"} <= set(asked) <= set(languages.role("mini-xlmr"))
    for role in ("ner", "pos", "nli", "pi", "qa", "low"):
        assert set(languages.role(f"xsns-{role}-mini")) <= set(asked)
