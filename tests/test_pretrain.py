"""Training of the shipped models: examples, loss, schedule, resumption."""

import json
import math
import shutil
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSeq2SeqLM

from langsim import corpora, examples, pretrain, pretraining
from langsim.errors import Failure, UsageError
from langsim.tokenizer import EOS, Tokenizer

RECIPE = {
    "role": "mini-m2m",
    "tokenizer": {"vocab_size": 700, "character_coverage": 0.99},
    "model": {
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "max_position_embeddings": 64,
        "dropout": 0.1,
    },
    "sampling": {
        "language": {"high": 0.7, "equal": 1.0, "low": 0.25, "very-low": 0.08},
        "domain": {"news": 0.4, "software": 0.35, "names": 0.25},
    },
    "training": {
        "decay": 0.35,
        "checks": 250,
        "tokens_per_batch": 400,
        "max_tokens": 24,
        "learning_rate": 5e-3,
        "warmup": 5,
        "betas": [0.9, 0.98],
        "eps": 1e-6,
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "clip": 1.0,
        "seed": 1,
    },
    "held_out": {"items": 8},
    "phase": [{"until": 1_000_000, "into_english": 0.45, "from_english": 0.35, "segmentation": 0.3, "dropout": 0.1}],
}


def sampled(recipe):
    """The recipe with the sampling of its first phase in place, as examples are drawn by it."""
    return {**recipe, "sampling": {**recipe["sampling"], **recipe["phase"][0]}}


def changed(recipe=RECIPE, *, until=None, **training):
    """The recipe with other values of its training, or another end."""
    phase = {**recipe["phase"][0], **({"until": until} if until else {})}
    return {**recipe, "training": {**recipe["training"], **training}, "phase": [phase]}


@pytest.fixture(scope="module", autouse=True)
def small_chunks(one_thread):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examples, "CHUNK", 256)
        yield


@pytest.fixture(scope="module")
def text():
    """The first 150 names and 80 messages of the catalogs that English, Persian, German and Swedish have."""
    corpus, codes = corpora.load("catalogs"), ("en", "fa", "de", "sv")
    shared = [i for i in corpus.items.index if all(i in corpus.texts[code] for code in codes)]
    domain = corpus.items["domain"]
    items = [i for i in shared if domain[i] == "names"][:150] + [i for i in shared if domain[i] == "software"][:80]
    texts = {code: {item: corpus.texts[code][item] for item in items} for code in codes}
    return corpora.Corpus("small", corpus.items.loc[items, ["domain", "unit", "pool"]], texts)


@pytest.fixture(scope="module")
def dev():
    """DEV names of the same languages."""
    corpus, codes = corpora.load("catalogs"), ("en", "fa", "de", "sv")
    items = [i for i in corpus.select(domain="names", pool="DEV") if all(i in corpus.texts[c] for c in codes)][:20]
    texts = {code: {item: corpus.texts[code][item] for item in items} for code in codes}
    return corpora.Corpus("dev", corpus.items.loc[items, ["domain", "unit", "pool"]], texts)


@pytest.fixture(scope="module")
def tokenizer(text):
    sentences = [string for code in sorted(text.texts) for string in text.texts[code].values()]
    return Tokenizer.train(sentences, **RECIPE["tokenizer"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory, text, dev):
    out = tmp_path_factory.mktemp("trained")
    return out, pretrain.run(RECIPE, text, dev, out=out, steps=30, log_every=5)


# Examples --------------------------------------------------------------------------------------------------------


def test_an_example_is_one_item_in_two_languages(text, tokenizer):
    drawer = examples.Examples(text, sampled(RECIPE), tokenizer, seed=0)
    items_of = {code: {} for code in text.texts}  # what a segmentation decodes to -> the items with this text
    for code, rows in text.texts.items():
        for item, string in rows.items():
            items_of[code].setdefault(tokenizer.decode(tokenizer.encode(string, code)), set()).add(item)
    code_of = {tokenizer.lang_id(code): code for code in text.texts}
    for _ in range(200):
        source, target = drawer.draw()
        assert max(len(source), len(target)) <= RECIPE["training"]["max_tokens"]
        one, other = code_of[source[0]], code_of[target[0]]
        assert one != other
        assert items_of[one][tokenizer.decode(source)] & items_of[other][tokenizer.decode(target)]


def test_the_same_text_is_segmented_in_many_ways_and_always_itself(text, tokenizer):
    string = text.texts["de"][next(iter(text.texts["de"]))]
    drawn = {tuple(tokenizer.sample(string, "de", 0.3)) for _ in range(50)}
    assert len(drawn) > 5
    assert {tokenizer.decode(ids) for ids in drawn} == {tokenizer.decode(tokenizer.encode(string, "de"))}
    sure = {tuple(tokenizer.sample(string, "de", 100.0)) for _ in range(20)}
    assert sure == {tuple(tokenizer.encode(string, "de"))}  # the most probable one alone


def test_examples_depend_on_their_seed_alone(text, tokenizer):
    one, other = (examples.Examples(text, sampled(RECIPE), tokenizer, seed=5) for _ in range(2))
    first = [one.draw() for _ in range(20)]
    tokenizer.sample("something else", "en", 0.3)
    assert first == [other.draw() for _ in range(20)]
    assert first != [examples.Examples(text, sampled(RECIPE), tokenizer, seed=6).draw() for _ in range(20)]


def test_directions_languages_and_domains_are_drawn_as_the_recipe_says(text, tokenizer):
    recipe = {**RECIPE, "training": {**RECIPE["training"], "max_tokens": 10_000}}
    drawer = examples.Examples(text, sampled(recipe), tokenizer, seed=0)
    assert sorted(drawer.codes) == ["de", "fa", "sv"]
    n, code_of = 4000, {tokenizer.lang_id(code): code for code in text.texts}
    drawn = [drawer.draw() for _ in range(n)]
    directions = Counter((code_of[s[0]] == "en", code_of[t[0]] == "en") for s, t in drawn)
    for direction, share in (((False, True), 0.45), ((True, False), 0.35), ((False, False), 0.20)):
        assert abs(directions[direction] - n * share) < 4 * math.sqrt(n * share * (1 - share))
    domain = text.items["domain"]
    names = {
        (code, tokenizer.decode(tokenizer.encode(text.texts[code][i], code)))
        for code in text.texts
        for i in text.texts[code]
        if domain[i] == "names"
    }
    share = 0.25 / (0.25 + 0.35)  # there is no news here
    found = sum((code_of[s[0]], tokenizer.decode(s)) in names for s, _ in drawn)
    assert abs(found - n * share) < 5 * math.sqrt(n * share * (1 - share))


def test_batches_keep_to_the_token_limit_and_lose_nothing(text, tokenizer, monkeypatch):
    monkeypatch.setattr(examples, "CHUNK", 200)
    one, other = (examples.Examples(text, sampled(RECIPE), tokenizer, seed=3) for _ in range(2))
    drawn = Counter((tuple(s), tuple(t)) for s, t in (other.draw() for _ in range(200)))
    seen, rows, sizes = Counter(), 0, []
    for batch in one.batches(120):
        b, width = batch["labels"].shape
        assert b * max(width, batch["input_ids"].shape[1]) <= 120
        for ids, mask, labels in zip(*batch.values(), strict=True):
            source, target = ids[mask == 1].tolist(), labels[labels != -100].tolist()
            assert source[-1] == target[-1] == EOS
            seen[tuple(source), tuple(target)] += 1
        rows, sizes = rows + b, [*sizes, b]
        if rows == 200:
            break
    assert seen == drawn and max(sizes) > 5


def test_an_example_longer_than_the_limit_is_a_batch_of_its_own(text, tokenizer):
    drawer = examples.Examples(text, sampled(RECIPE), tokenizer, seed=0)
    assert next(drawer.batches(1))["labels"].shape[0] == 1


def test_text_that_gives_no_example_is_said_at_once(text, tokenizer):
    short = {**RECIPE, "training": {**RECIPE["training"], "max_tokens": 1}}
    with pytest.raises(Failure, match="the languages share no text of at most 1 tokens"):
        examples.Examples(text, sampled(short), tokenizer, seed=0).draw()
    alone = corpora.Corpus("x", text.items, {code: text.texts[code] for code in ("en", "fa")})
    with pytest.raises(UsageError, match="at least two languages beside English"):
        examples.Examples(alone, sampled(RECIPE), tokenizer, seed=0)


# Loss and schedule -----------------------------------------------------------------------------------------------


def test_the_learning_rate_warms_up_falls_and_ends_at_zero():
    settings = {"learning_rate": 2e-3, "warmup": 400, "decay": 0.25}
    rate = [pretrain.learning_rate(step, 0, settings) for step in range(2000)]
    assert rate[0] == pytest.approx(2e-3 / 400) and rate[199] == pytest.approx(1e-3)
    assert max(rate) == rate[399] == pytest.approx(2e-3)
    assert rate[1599] == pytest.approx(1e-3)
    assert np.allclose(np.diff(rate[:400], 2), 0, atol=1e-12)
    late = [pretrain.learning_rate(1599, done, settings) for done in (0, 0.75, 0.875, 1.0, 1.2)]
    assert late == pytest.approx([1e-3, 1e-3, 0.5e-3, 0, 0])


def test_a_step_is_the_loss_of_the_whole_model(text, tokenizer):
    model = pretrain.new_model({**RECIPE, "model": {**RECIPE["model"], "dropout": 0.0}}, tokenizer).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    batch = next(examples.Examples(text, sampled(RECIPE), tokenizer, seed=0).batches(400))
    logits = model(**batch).logits
    expected = cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), label_smoothing=0.1)
    found = pretrain._step(model, optimizer, batch, 0.0, RECIPE["training"], {"step": 0, "tokens": 0})
    assert found == pytest.approx(expected.item(), rel=1e-5)


# Training --------------------------------------------------------------------------------------------------------


def test_training_lowers_the_loss_and_says_what_was_done(trained, text, tokenizer):
    out, state = trained
    curve = np.array(state["curve"])
    assert state["step"] == 30 and curve[:, 0].tolist() == [5, 10, 15, 20, 25, 30]
    assert curve[-1, 1] == state["tokens"] and (np.diff(curve[:, 1]) > 0).all()
    assert curve[0, 2] == pytest.approx(math.log(len(tokenizer)), rel=0.15)  # untrained: as good as chance
    assert curve[-1, 2] < curve[0, 2] - 1
    assert (out / "model.safetensors").stat().st_size < (out / "training.safetensors").stat().st_size / 4
    assert np.array_equal(pretraining.read_hashes(out), pretraining.segment_hashes(text))


def test_what_is_saved_is_what_was_trained(trained):
    out, _ = trained
    model, found = AutoModelForSeq2SeqLM.from_pretrained(out, output_loading_info=True, dtype=torch.float32)
    assert not found["missing_keys"] and not found["unexpected_keys"]
    full = load_file(out / "training.safetensors")
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), full[name], atol=1e-3, rtol=1e-3)  # fp16 on disk
    assert model.config.decoder_start_token_id == EOS


def test_the_model_is_the_best_on_held_out_text(text, dev, tmp_path):
    """After the weights have been spoilt, what was better before stays."""
    recipe = changed(until=20_000, checks=20, decay=0.01)
    first = pretrain.run(recipe, text, dev, out=tmp_path, steps=30)
    good = (tmp_path / "model.safetensors").read_bytes()
    spoilt = changed(recipe, learning_rate=0.7, clip=100.0)
    state = pretrain.run(spoilt, text, dev, out=tmp_path, steps=6)
    losses = [loss for _, _, loss in state["held_out"]]
    assert len(first["held_out"]) > 5 and len(losses) > len(first["held_out"])
    assert min(losses) == min(loss for _, _, loss in first["held_out"]) < losses[-1] - 0.5
    assert (tmp_path / "model.safetensors").read_bytes() == good


def test_the_held_out_loss_is_the_models_own(trained, dev, tokenizer):
    out, state = trained
    model = AutoModelForSeq2SeqLM.from_pretrained(out, dtype=torch.float32).eval()
    total, count = 0.0, 0
    for code in ("fa", "de", "sv"):
        for item in list(dev.texts[code])[:8]:
            sides = [tokenizer.encode(dev.texts[c][item], c) for c in (code, "en")]
            if max(map(len, sides)) > 24:
                continue
            for source, target in (sides, sides[::-1]):
                with torch.no_grad():
                    loss = model(input_ids=torch.tensor([source]), labels=torch.tensor([target])).loss
                total, count = total + loss.item() * len(target), count + len(target)
    assert count > 100 and state["held_out"][-1][:2] == [state["step"], state["tokens"]]
    assert state["held_out"][-1][2] == pytest.approx(total / count, abs=5e-3)  # fp16 on disk


def test_training_goes_on_where_it_stopped(trained, text, dev, tmp_path):
    first, before = trained
    out = tmp_path / "out"
    shutil.copytree(first, out)
    state = pretrain.run(RECIPE, text, dev, out=out, steps=10, log_every=5)
    assert state["step"] == 40 and state["tokens"] > before["tokens"]
    assert state["curve"][:6] == before["curve"] and [step for step, _, _ in state["curve"][6:]] == [35, 40]
    assert np.mean([loss for _, _, loss in state["curve"][6:]]) < before["curve"][-1][2] + 0.3


def test_the_state_comes_back_with_its_optimizer(trained, tokenizer):
    out, state = trained
    model = pretrain.new_model(RECIPE, tokenizer)
    optimizer = torch.optim.AdamW(model.parameters())
    assert pretrain._resume(out, model, optimizer) == state
    saved = load_file(out / "training.safetensors")
    for index, (name, parameter) in enumerate(model.named_parameters()):
        assert torch.equal(parameter, saved[name])
        own = optimizer.state[parameter]
        assert own["step"] == 30 and torch.equal(own["exp_avg_sq"], saved[f"exp_avg_sq.{index}"])
        assert own["exp_avg_sq"].shape == parameter.shape


def test_shipped_weights_alone_are_enough_to_go_on(trained, text, dev, tmp_path):
    first, before = trained
    out = tmp_path / "out"
    shutil.copytree(first, out)
    (out / "training.safetensors").unlink()
    (out / "card.json").write_text(json.dumps({"training": before}))
    state = pretrain.run(RECIPE, text, dev, out=out, steps=5, log_every=5)
    assert state["step"] == 35 and state["curve"][-1][2] < before["curve"][0][2] - 0.5


@pytest.mark.parametrize("damage", ["cut", "shape", "lacks"])
def test_a_state_that_can_not_be_used_is_said_in_one_line(trained, text, dev, tmp_path, damage):
    out = tmp_path / "out"
    shutil.copytree(trained[0], out)
    path = out / "training.safetensors"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "lacks":
        save_file({"x": torch.zeros(1)}, path)
    recipe = RECIPE if damage != "shape" else {**RECIPE, "model": {**RECIPE["model"], "encoder_ffn_dim": 32}}
    with pytest.raises(Failure, match="is damaged or of another recipe: start anew with --fresh") as caught:
        pretrain.run(recipe, text, dev, out=out, steps=1)
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_not_finite_stops(text, dev, tmp_path):
    recipe = changed(learning_rate=1e30, warmup=1)
    with pytest.raises(Failure, match=r"the loss is (nan|inf) at step \d+: lower learning_rate"):
        pretrain.run(recipe, text, dev, out=tmp_path, steps=20)


def test_training_ends_with_its_recipe_and_by_the_clock(trained, text, dev, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(trained[0], out)
    assert pretrain.run(RECIPE, text, dev, out=out, minutes=0)["step"] == 30
    end = trained[1]["tokens"] + 500
    recipe = changed(until=end)
    state = pretrain.run(recipe, text, dev, out=out)
    assert state["tokens"] >= end and 30 < state["step"] < 36
    assert pretrain.run(recipe, text, dev, out=out) == state  # and there is nothing more to do


def test_phases_follow_each_other(text, dev, tmp_path):
    """Each has its own directions and dropout, and the learning rate falls to zero at the end of each."""
    one = {"until": 1500, "into_english": 1.0, "from_english": 0.0, "segmentation": 100.0, "dropout": 0.3}
    other = {"until": 3000, "into_english": 0.0, "from_english": 1.0, "segmentation": 0.3, "dropout": 0.0}
    recipe = {**RECIPE, "phase": [one, other], "training": {**RECIPE["training"], "decay": 1.0, "warmup": 1}}
    tokenizer = pretrain._tokenizer(recipe, text, tmp_path)
    model, english = pretrain.new_model(recipe, tokenizer).train(), tokenizer.lang_id("en")
    state, seen = {"step": 0, "tokens": 0}, []
    for batch, rate in pretrain._batches(recipe, text, tokenizer, model, state):
        into = bool((batch["labels"][:, 0] == english).all())
        seen.append(
            (state["tokens"] < 1500, into, model.model.encoder.layers[0].dropout, rate * (state["step"] + 1) ** 0.5)
        )
        state["step"] += 1
        state["tokens"] += int((batch["labels"] != -100).sum())
    assert state["tokens"] >= 3000
    for first, into, dropout, rate in seen:
        assert (into, dropout) == ((True, 0.3) if first else (False, 0.0))
        assert 0 < rate <= 5e-3 * (1 + 1e-9)
    scaled = [[rate for first, _, _, rate in seen if first is which] for which in (True, False)]
    assert all(np.all(np.diff(rates) < 0) and rates[0] == pytest.approx(5e-3, rel=0.3) for rates in scaled)
    assert model.model.encoder.layers[0].self_attn.dropout == 0.1  # that of the weights of attention is another
    state["tokens"] = 1500  # and a training that stopped between them goes on with the second
    batch, _ = next(pretrain._batches(recipe, text, tokenizer, model, state))
    assert not (batch["labels"][:, 0] == english).any()


def test_training_by_name_starts_from_what_is_shipped_unless_told_otherwise(trained, text, dev, tmp_path, monkeypatch):
    models, out = tmp_path / "models", tmp_path / "out"
    shutil.copytree(trained[0], models / "mini-m2m")
    (models / "mini-m2m" / "training.safetensors").unlink()
    (models / "mini-m2m" / "card.json").write_text(json.dumps({"training": trained[1]}))
    monkeypatch.setattr(pretraining, "MODELS", models)
    monkeypatch.setattr(pretraining, "recipe", lambda name: RECIPE)
    monkeypatch.setattr(pretraining, "training_text", lambda settings: text)
    monkeypatch.setattr(pretraining, "dev_text", lambda settings: dev)
    monkeypatch.setattr(pretrain, "run", partial(pretrain.run, steps=1))
    assert pretrain.train("mini-m2m", minutes=9, out=out)["step"] == 31
    assert pretrain.train("mini-m2m", minutes=9, out=out)["step"] == 32
    assert pretrain.train("mini-m2m", minutes=9, out=out, fresh=True)["step"] == 1
    assert pretrain.train("mini-m2m", minutes=9, out=out)["step"] == 2


def test_the_untrained_model_is_the_same_from_the_same_seed(tokenizer):
    one, other = (pretrain.new_model(RECIPE, tokenizer) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    another = pretrain.new_model({**RECIPE, "training": {"seed": 2}}, tokenizer)
    assert not torch.equal(one.model.shared.weight, another.model.shared.weight)
