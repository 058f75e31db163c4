"""Fine-tuning against Hugging Face's own loss and gradient, and against a plain loop with Adam written out."""

import importlib
import math
import os
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from checkpoints import BUILD, CODES, folders
from safetensors.torch import load_file
from tiny import save_names
from torch.nn.functional import cross_entropy
from transformers.trainer_pt_utils import LabelSmoother

from langsim import corpora, models, paths, training_loss
from langsim.errors import UsageError
from langsim.token_batches import BatchStream, encode
from langsim.training import fine_tune, with_dropout
from langsim.training_recipe import PAPER, TrainingRecipe

TRANSLATORS = [kind for kind in BUILD if kind not in ("xlmr", "bert")]
# Small, quick, and without dropout, so that a plain loop can follow.
PLAIN = {"dropout": 0.0, "attention_dropout": 0.0, "layerdrop": 0.0, "precision": "fp32", "patience": None}
PLAIN |= {"updates": 6, "validate_every": 3, "tokens_per_batch": 120, "batches_per_update": 2, "warmup": 3}
PLAIN |= {"learning_rate": 5e-3, "seed": 4}

pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")  # Marian's; not needed here
OWN = {"dropout": None, "attention_dropout": None, "layerdrop": None}


def recipe(**changes):
    return TrainingRecipe.of(**{**PLAIN, **changes})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return corpora.load("files", path=str(save_names(tmp_path_factory.mktemp("data") / "names.tsv", CODES)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, corpus):
    text = [text for code in CODES for text in corpus.texts[code].values()]
    return folders(tmp_path_factory.mktemp("checkpoints"), text)


@pytest.fixture(scope="module")
def tiny(folder):
    return models.load(str(folder("m2m100")))


@pytest.fixture(scope="module")
def texts(corpus):
    """Training pairs of two languages, and DEV pairs of one."""
    pairs = {code: corpus.pairs(code, "en") for code in ("fa", "de")}
    return {"fa": pairs["fa"][:60], "de": pairs["de"][:25]}, {"fa": pairs["fa"][60:80]}


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one | other)


# One step --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("kind", TRANSLATORS)
def test_loss_and_gradient_of_a_step_are_those_of_hugging_face(folder, texts, kind, smoothing):
    loaded = models.load(str(folder(kind)))
    batch = next(loaded.batches(texts[0]["fa"][:9], "fa", size=9))
    output = loaded.model(**batch)
    expected = LabelSmoother(epsilon=smoothing)(output, batch["labels"]) if smoothing else output.loss
    loaded.model.zero_grad()
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in loaded.model.named_parameters() if p.grad is not None}
    loaded.model.zero_grad()
    logits, observed = training_loss.scored_logits(loaded.model, loaded.model, batch)
    torch.testing.assert_close(logits, output.logits[batch["labels"] != -100], atol=1e-5, rtol=1e-5)
    loss = training_loss.summed_loss(logits, observed, smoothing) / len(observed)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert len(gradients) > 10
    for name, parameter in loaded.model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(parameter.grad, gradients[name], atol=2e-6, rtol=1e-4)
    assert torch.equal(loaded.model(**batch).logits, output.logits), "the model is as it was"


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_smoothed_loss_is_torchs(smoothing):
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(7, 11, generator=generator) * 4).requires_grad_()
    observed = torch.randint(0, 11, (7,), generator=generator)
    expected = 3 * cross_entropy(logits, observed, label_smoothing=smoothing, reduction="sum")
    (gradient,) = torch.autograd.grad(expected, logits)
    found = 3 * training_loss.summed_loss(logits, observed, smoothing)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, logits)[0], gradient)


# The loop --------------------------------------------------------------------------------------------------------


def plain_loop(loaded, data, recipe):
    """Adam as its paper has it, inverse square root, Hugging Face's loss; all batches of an update as one."""
    pairs = encode(loaded, data, "en", "training")
    stream = BatchStream(pairs, recipe.rule, recipe.mixing, recipe.tokens_per_batch, recipe.seed)
    model = with_dropout(loaded.model, recipe).train()
    (beta, gamma), first, second = recipe.betas, {}, {}
    updates = stream.updates(recipe.batches_per_update)
    for step in range(1, recipe.updates + 1):
        batches, _, _ = next(updates)
        batch = pairs.batch(loaded, np.concatenate(batches))
        model.zero_grad()
        LabelSmoother(epsilon=recipe.label_smoothing)(model(**batch), batch["labels"]).backward()
        own = [(name, p) for name, p in model.named_parameters() if p.grad is not None]
        norm = math.sqrt(sum(float((p.grad.double() ** 2).sum()) for _, p in own))
        shrink = min(1.0, recipe.clip_norm / norm) if recipe.clip_norm else 1.0
        rate = recipe.learning_rate * (step / recipe.warmup if step < recipe.warmup else (recipe.warmup / step) ** 0.5)
        with torch.no_grad():
            for name, p in own:
                g = p.grad.double() * shrink
                first[name] = beta * first.get(name, 0) + (1 - beta) * g
                second[name] = gamma * second.get(name, 0) + (1 - gamma) * g**2
                m, v = first[name] / (1 - beta**step), second[name] / (1 - gamma**step)
                p -= (rate * m / (v.sqrt() + recipe.eps)).float()
    return model.eval()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clip_norm": 0.05, "label_smoothing": 0.0},
        {"sampling": "temperature(1.5)", "mixing": "single-pair", "batches_per_update": 1},
    ],
)
def test_training_follows_a_plain_loop(tiny, texts, changes):
    made = recipe(validate_every=6, eps=1e-4, **changes)
    expected = weights(plain_loop(tiny, texts[0], made))
    tuned = fine_tune(tiny, *texts, made)
    assert tuned.best_update == tuned.updates == 6
    start = weights(tiny.model)
    for name, value in weights(tuned.model.model).items():
        torch.testing.assert_close(value, expected[name], atol=1e-4, rtol=1e-3)
        assert not torch.equal(value, start[name])


@pytest.mark.parametrize("kind", TRANSLATORS)
def test_every_architecture_learns_and_stays_as_it_was(folder, texts, kind):
    loaded = models.load(str(folder(kind)))
    before = weights(loaded.model)
    tuned = fine_tune(loaded, *texts, recipe(updates=4, validate_every=2, **OWN))
    assert tuned.best_dev_loss < tuned.parent_dev_loss
    assert same(weights(loaded.model), before) and not loaded.model.training and not tuned.model.model.training
    assert all(p.grad is None for p in loaded.model.parameters())
    assert loaded.truncated == tuned.model.truncated == 0


def test_what_is_told_of_a_training(tiny, texts):
    tuned = fine_tune(tiny, *texts, recipe())
    pairs = encode(tiny, texts[0], "en", "training")
    stream = BatchStream(pairs, recipe().rule, "mixed", 120, 4).updates(2)
    read = [next(stream)[0] for _ in range(6)]
    tokens = np.cumsum([sum(len(pairs.target[i]) for batch in update for i in batch) for update in read])
    assert [point.update for point in tuned.curve] == [0, 3, 6]
    assert [point.tokens for point in tuned.curve] == [0, tokens[2], tokens[5]] and tuned.tokens == tokens[5]
    assert tuned.curve[0].train_loss is None and tuned.parent_dev_loss == tuned.curve[0].dev_loss
    assert tuned.skipped == tuned.truncated == 0
    for loaded, loss in ((tiny, tuned.parent_dev_loss), (tuned.model, tuned.best_dev_loss)):
        total, count = 0.0, 0
        for batch in loaded.batches(texts[1]["fa"], "fa", size=7):
            n = int((batch["labels"] != -100).sum())
            total += n * LabelSmoother(epsilon=0.2)(loaded.model(**batch), batch["labels"]).item()
            count += n
        assert loss == pytest.approx(total / count, rel=1e-5)


def test_the_training_loss_of_a_point_is_the_mean_since_the_last(tiny, texts):
    each = fine_tune(tiny, *texts, recipe(validate_every=1)).curve[1:]
    three = fine_tune(tiny, *texts, recipe(validate_every=3)).curve[1:]
    tokens = np.diff([0, *(point.tokens for point in each)])
    for part, point in zip((slice(0, 3), slice(3, 6)), three, strict=True):
        expected = np.average([p.train_loss for p in each[part]], weights=tokens[part])
        assert point.train_loss == pytest.approx(expected, rel=1e-6)


def test_the_parent_is_a_candidate(tiny, texts):
    start = {"fa": texts[1]["fa"][:1]}  # learnt by heart, and nothing else
    good = fine_tune(tiny, start, start, recipe(updates=20, validate_every=20, learning_rate=3e-2)).model
    tuned = fine_tune(good, texts[0], start, recipe(updates=2, learning_rate=3e-3, warmup=1))
    assert tuned.best_update == 0 and tuned.curve[-1].dev_loss > tuned.parent_dev_loss == tuned.best_dev_loss
    assert same(weights(tuned.model.model), weights(good.model)) and tuned.model.model is not good.model


def test_the_best_weights_are_returned_and_patience_ends_the_training(tiny, texts):
    few = {"fa": texts[0]["fa"][:3]}
    made = recipe(updates=200, validate_every=2, patience=3, learning_rate=3e-2, tokens_per_batch=30)
    tuned = fine_tune(tiny, few, texts[1], made)
    losses = [point.dev_loss for point in tuned.curve]
    best = int(np.argmin(losses))
    assert 0 < tuned.best_update == 2 * best and tuned.updates == tuned.best_update + 6 < 200
    assert min(losses) == tuned.best_dev_loss < losses[-1]
    short = fine_tune(tiny, few, texts[1], made.model_copy(update={"updates": tuned.best_update}))
    assert same(weights(short.model.model), weights(tuned.model.model))


def test_without_a_number_every_epoch_is_validated(tiny, texts):
    made = recipe(validate_every=None, updates=25, batches_per_update=1)
    per_epoch = len(BatchStream(encode(tiny, texts[0], "en", "x"), made.rule, "mixed", 120, 4).epoch(0))
    updates = [point.update for point in fine_tune(tiny, *texts, made).curve]
    assert updates[0] == 0 and updates[-1] == 25 and 3 < per_epoch < 20
    assert updates[1] == per_epoch + 1  # the first update that reads from the next epoch


def test_the_result_follows_from_the_arguments_alone(tiny, texts):
    made = recipe(dropout=0.2, updates=3)
    torch.manual_seed(0)
    one = fine_tune(tiny, *texts, made)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    other = fine_tune(tiny, dict(reversed(texts[0].items())), texts[1], made)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(weights(one.model.model), weights(other.model.model)) and one.curve == other.curve
    assert one.model.digest == other.model.digest and one.model.weights_sha256 == other.model.weights_sha256
    changed = [
        fine_tune(tiny, *texts, recipe(dropout=0.2, updates=3, seed=5)),
        fine_tune(tiny, {"fa": texts[0]["fa"]}, texts[1], made),
        fine_tune(models.randomised(tiny, 1), *texts, made),
    ]
    assert len({tiny.digest, *(tuned.model.digest for tuned in (one, *changed))}) == 5


def test_the_tuned_model_says_what_it_was_trained_on(tiny, texts):
    parent = replace(tiny, trained_on=frozenset({"en", "de"}))
    tuned = fine_tune(parent, *texts, recipe(updates=1)).model
    assert tuned.trained_on == {"en", "de", "fa"} and tuned.name.endswith("tuned on de,fa")
    assert fine_tune(replace(tiny, trained_on=None), *texts, recipe(updates=1)).model.trained_on is None


def test_dropout_is_the_recipes_or_the_models_own(folder, tiny, texts):
    made = with_dropout(tiny.model, recipe(dropout=0.4, attention_dropout=0.3, layerdrop=0.2))
    layer = made.model.decoder.layers[0]
    assert (layer.dropout, layer.self_attn.dropout, made.model.encoder.layerdrop) == (0.4, 0.3, 0.2)
    assert same(weights(made), weights(tiny.model)) and tiny.model.config.dropout != 0.4
    own = with_dropout(tiny.model, recipe(**OWN))
    assert own.config.dropout == tiny.model.config.dropout and own is not tiny.model
    t5 = models.load(str(folder("t5")))
    assert with_dropout(t5.model, recipe(**{**OWN, "dropout": 0.4})).config.dropout_rate == 0.4
    with pytest.raises(UsageError, match="a t5 model has no attention_dropout: set it to None in the recipe"):
        fine_tune(t5, *texts, recipe())
    plain = fine_tune(tiny, *texts, recipe(updates=2))
    dropped = fine_tune(tiny, *texts, recipe(updates=2, dropout=0.3, layerdrop=0.3))
    assert not same(weights(plain.model.model), weights(dropped.model.model))


def test_bf16_stays_near_fp32(tiny, texts):
    one, other = (fine_tune(tiny, *texts, recipe(precision=precision)) for precision in ("fp32", "bf16"))
    for a, b in zip(one.curve, other.curve, strict=True):
        assert a.dev_loss == pytest.approx(b.dev_loss, rel=0.02) and a.dev_loss != b.dev_loss
    assert {p.dtype for p in other.model.model.parameters()} == {torch.float32}


# Recipes ---------------------------------------------------------------------------------------------------------


def test_the_papers_recipe():
    assert (PAPER.betas, PAPER.eps, PAPER.learning_rate, PAPER.warmup) == ((0.9, 0.98), 1e-6, 3e-5, 2500)
    assert (PAPER.dropout, PAPER.attention_dropout, PAPER.layerdrop, PAPER.label_smoothing) == (0.3, 0.1, 0.05, 0.2)
    assert PAPER.tokens_per_batch * PAPER.batches_per_update == 4096 * 2 * 2
    assert (PAPER.patience, PAPER.updates, PAPER.sampling, PAPER.clip_norm) == (10, 400_000, "equal", None)
    rates = [PAPER.rate(update) for update in (1, 1250, 2500, 10_000, 250_000)]
    assert rates == pytest.approx([3e-5 / 2500, 1.5e-5, 3e-5, 1.5e-5, 3e-6])


def test_a_digest_tells_recipes_apart():
    assert recipe().digest == recipe(betas=[0.9, 0.98]).digest != recipe(seed=5).digest
    assert recipe(sampling="temperature(1.50)").digest == recipe(sampling=" temperature( 1.5 )").digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning": 1.0}, "unknown 'learning' \\(did you mean 'learning_rate'"),
        ({"learning_rate": -1.0}, "learning_rate: .*greater than 0, not -1.0"),
        ({"learning_rate": float("nan")}, "learning_rate: .*finite"),
        ({"updates": 0}, "updates: .*greater than or equal to 1, not 0"),
        ({"updates": "many"}, "updates: .*integer, not 'many'"),
        ({"precision": "fp8"}, "precision: .*'fp32', 'bf16' or 'fp16'"),
        ({"betas": (0.9, 1.0)}, "betas: .*below 1"),
        ({"sampling": "temperature(hot)"}, "needs a number"),
        ({"sampling": "equal", "mixing": "single-pair"}, "use mixing mixed"),
    ],
)
def test_a_wrong_recipe_is_one_line(changes, message):
    with pytest.raises(UsageError, match=message) as caught:
        TrainingRecipe.of(**changes)
    assert "\n" not in str(caught.value)


# Several processes -----------------------------------------------------------------------------------------------

WORKER = """
import os, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from langsim import corpora, models
from langsim.training import fine_tune
from langsim.training_recipe import TrainingRecipe

folder, data, out, values = sys.argv[1:]
torch.set_num_threads(1)
loaded, corpus = models.load(folder), corpora.load("files", path=data)
os.environ["RANK"] = os.environ["LOCAL_RANK"] = "0" if os.fork() else "1"  # one start of Python for both
pairs = {code: corpus.pairs(code, "en") for code in ("fa", "de")}
texts = {"fa": pairs["fa"][:60], "de": pairs["de"][:25]}, {"fa": pairs["fa"][60:80]}
tuned = fine_tune(loaded, *texts, TrainingRecipe.model_validate_json(values), folder=Path(out), save_every=0.0)
if os.environ["RANK"] == "0":
    found = {name: p.detach().clone() for name, p in tuned.model.model.named_parameters()}
    found["losses"] = torch.tensor([point.dev_loss for point in tuned.curve])
    save_file(found, Path(out) / "found.safetensors")
    assert os.wait()[1] == 0
"""


def test_two_processes_give_what_one_does(folder, corpus, tiny, texts, tmp_path):
    data = save_names(tmp_path / "names.tsv", CODES)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    two = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    two |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-c", WORKER, folder("m2m100"), data, tmp_path / "out", recipe().model_dump_json()]
    done = subprocess.run(
        [*map(str, command)], env={**os.environ, **two}, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    found = load_file(tmp_path / "out" / "found.safetensors")
    tuned = fine_tune(tiny, *texts, recipe())
    losses = torch.tensor([point.dev_loss for point in tuned.curve])
    torch.testing.assert_close(found.pop("losses"), losses, rtol=1e-5, atol=1e-5)
    for name, value in weights(tuned.model.model).items():
        torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-3)


def test_the_benchmark_compares_the_same_work(tiny, texts, monkeypatch, capsys):
    monkeypatch.syspath_prepend(paths.ROOT / "benchmarks")
    monkeypatch.setattr("gc.collect", lambda: 0)  # which takes longest by far in a process full of tests
    made = recipe(updates=3)
    training_speed = importlib.import_module("training_speed")
    row = training_speed.timed(tiny, "tiny", made, *texts, rounds=1)
    assert row.ratio == pytest.approx(row.peer_seconds / row.ours_seconds, rel=0.01)
    assert capsys.readouterr().out.count("target tokens/s") == 2
    (loss, tokens), (other, other_tokens) = (call(tiny, *texts, made) for call in training_speed.WAYS.values())
    assert loss == pytest.approx(other, rel=1e-4) and tokens == other_tokens
