"""Training and scoring on many directions at once: against plain loops over single directions."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from tiny import save_names, save_tiny_m2m
from torch.nn.functional import cross_entropy

from langsim import corpora, models, translation
from langsim.corpora.base import Pair
from langsim.errors import Failure, UsageError
from langsim.lslo import Pruning, Schedule, directions, evaluation, learn, merge, training, wrap
from langsim.lslo.architecture import strategy
from langsim.lslo.training import Gradually, train
from langsim.sampling import SamplingRule
from langsim.token_batches import BatchStream, encode, encode_directions
from langsim.training import with_dropout
from langsim.training_recipe import TrainingRecipe
from langsim.training_updates import Updates

pytestmark = pytest.mark.usefixtures("one_thread")

CODES = ("en", "fa", "de", "sv")
RANKS = {"en": 1, "fa": 3, "de": 0, "sv": 2}
PAIR = Pair("1", "Iran", "ईरान", "names", "1")
PRUNED = Gradually(Pruning.of("tensor", "A and B", ("fa", "sv")), Schedule.of(0.7, 2, 8, 15))


def recipe(**changes):
    plain = {"sampling": "temperature(5)", "tokens_per_batch": 120, "batches_per_update": 2, "updates": 6}
    plain |= {"patience": None, "dropout": 0.1, "attention_dropout": 0.0, "layerdrop": None, "precision": "fp32"}
    plain |= {"learning_rate": 1e-2, "warmup": 1, "eps": 1e-8, "seed": 3}
    return TrainingRecipe.of(**{**plain, **changes})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return corpora.load("files", path=str(save_names(tmp_path_factory.mktemp("data") / "names.tsv", CODES)))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory, corpus):
    text = [text for code in CODES for text in corpus.texts[code].values()]
    return models.load(str(save_tiny_m2m(tmp_path_factory.mktemp("checkpoint") / "tiny", text)))


@pytest.fixture(scope="module")
def data(corpus):
    """Unequal numbers of pairs of every direction."""
    items = directions.shared(corpus, CODES)
    every = directions.everything(CODES)
    return {one: corpus.pairs_of(items[: 4 + 3 * i], *one) for i, one in enumerate(every)}


def lslo(loaded, made=None, scale=0.0, seed=0):
    """On a copy of the base; with `scale` the B matrices are random."""
    base = with_dropout(loaded.model, made or recipe())
    model = wrap(base, CODES, RANKS, strategy(base, "WL"), seed=seed)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for _, layer in model.layers():
            layer.lora_B.copy_(scale * torch.randn(layer.lora_B.shape, generator=generator))
    return model


def weights(model):
    return {name: p.detach().clone() for name, p in training.trainable(model)}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# Text and batches ------------------------------------------------------------------------------------------------


def test_pairs_into_one_language_are_encoded_as_ever(loaded, corpus):
    data = {code: corpus.pairs(code, "en")[:count] for code, count in (("sv", 5), ("fa", 7))}
    found = encode(loaded, data, "en", "training")
    rows = [loaded.encode(p.source_text, p.target_text, code, "en") for code in ("fa", "sv") for p in data[code]]
    assert found.sizes == {"fa": 7, "sv": 5} and found.truncated == 0
    assert [(found.source[i], found.target[i]) for i in range(12)] == [(list(s), list(t)) for s, t in rows]
    as_directions = encode_directions(loaded, {(code, "en"): pairs for code, pairs in data.items()}, "training")
    assert list(as_directions.sizes) == [("fa", "en"), ("sv", "en")]
    assert replace(as_directions, sizes=found.sizes).digest == found.digest != as_directions.digest
    one, other = (BatchStream(p, SamplingRule.parse("equal"), "mixed", 90, 1).epoch(2) for p in (found, as_directions))
    assert [batch.tolist() for batch in one] == [batch.tolist() for batch in other]


def test_every_row_knows_its_direction(loaded, data):
    pairs = encode_directions(loaded, data, "training")
    expected = [direction for direction in sorted(data) for _ in data[direction]]
    assert pairs.groups(range(len(expected))) == expected
    assert pairs.groups([len(expected) - 1, 0]) == [expected[-1], expected[0]]
    i = expected.index(("sv", "fa")) + 2
    pair = data["sv", "fa"][2]
    assert (pairs.source[i], pairs.target[i]) == tuple(
        map(list, loaded.encode(pair.source_text, pair.target_text, "sv", "fa"))
    )


def test_directions_are_read_by_their_shares_and_mixed(loaded, data):
    pairs = encode_directions(loaded, data, "training")
    stream = BatchStream(pairs, SamplingRule.parse("temperature(5)"), "mixed", 400, 0)
    batches = [pairs.groups(batch) for number in range(30) for batch in stream.epoch(number)]
    counts = Counter(direction for batch in batches for direction in batch)
    sizes = np.array([len(data[direction]) for direction in sorted(data)])
    shares = sizes ** (1 / 5) / (sizes ** (1 / 5)).sum()
    observed = np.array([counts[direction] for direction in sorted(data)])
    assert chisquare(observed, shares * observed.sum()).pvalue > 0.01
    even = chisquare(observed).pvalue
    assert even < 1e-6, "the sizes count, if little"
    assert np.median([len(set(batch)) for batch in batches if len(batch) > 8]) >= 5


# The loop --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lslo", "everything"])
def test_an_update_is_that_of_a_loop_over_single_directions(loaded, data, kind):
    made = recipe(updates=1, dropout=0.0, eps=1e-3, label_smoothing=0.2)
    double = replace(loaded, model=with_dropout(loaded.model, made).double())

    def model():
        return lslo(double, made, 0.3) if kind == "lslo" else with_dropout(double.model, made)

    ours, plain = model(), model()
    before = weights(ours)
    done = train(double, ours, data, made, epochs=1)
    pairs = encode_directions(double, data, "training")
    (batches, _, _) = next(BatchStream(pairs, made.rule, "mixed", 120, 3).updates(2))
    rows = np.concatenate(batches)
    groups = pairs.groups(rows)
    assert len(set(groups)) > 5 and done.tokens == sum(len(pairs.target[i]) for i in rows)
    adam = torch.optim.Adam([p for _, p in training.trainable(plain)], lr=1e-2, betas=(0.9, 0.98), eps=1e-3)
    for direction in dict.fromkeys(groups):
        batch = pairs.batch(double, [i for i, group in zip(rows, groups, strict=True) if group == direction])
        with plain.route(*direction) if kind == "lslo" else torch.enable_grad():
            logits = directions.base(plain)(**batch).logits
        total = cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum", label_smoothing=0.2)
        (total / done.tokens).backward()
    adam.step()
    moved = 0
    for name, value in weights(ours).items():
        torch.testing.assert_close(value, weights(plain)[name], atol=2e-7, rtol=1e-5)
        moved += not torch.equal(value, before[name])
    assert moved > 20
    if kind == "lslo":  # the base is as it was
        frozen = dict(with_dropout(double.model, made).named_parameters())
        assert all(torch.equal(p, frozen[n]) for n, p in ours.model.named_parameters() if n in frozen)


@pytest.mark.parametrize("gradually", [None, PRUNED])
def test_a_killed_training_ends_as_one_that_was_not(loaded, data, tmp_path, monkeypatch, gradually):
    made = recipe(updates=12)
    whole = lslo(loaded)
    expected = train(loaded, whole, data, made, epochs=6, gradually=gradually, watch=watched(loaded, data))
    take = Updates.take

    def dies(self, called, batches, progress):
        if progress.update == 7:
            raise KeyboardInterrupt
        take(self, called, batches, progress)

    monkeypatch.setattr(Updates, "take", dies)
    options = {"epochs": 6, "gradually": gradually, "watch": watched(loaded, data), "folder": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        train(loaded, lslo(loaded), data, made, save_every=0, **options)
    monkeypatch.setattr(Updates, "take", take)
    torch.manual_seed(5)
    again = lslo(loaded)
    assert train(loaded, again, data, made, **options) == expected
    assert same(weights(again), weights(whole)) and same(training.masks(again), training.masks(whole))
    monkeypatch.setattr(Updates, "take", None)
    read = lslo(loaded)  # it is finished, and read
    assert train(loaded, read, data, made, **options) == expected
    assert same(weights(read), weights(whole)) and same(training.masks(read), training.masks(whole))
    size = (tmp_path / "tuned.safetensors").stat().st_size
    assert size < 2.5 * sum(value.nbytes for value in weights(whole).values()) + 4000, "the base is not in it"
    with pytest.raises(Failure, match="is of another recipe"):
        train(loaded, lslo(loaded), data, recipe(updates=13), **options)
    with pytest.raises(Failure, match="is of another model"):
        train(loaded, lslo(loaded, seed=1), data, made, **options)


def watched(loaded, data):
    pairs = encode_directions(loaded, {one: data[one][:3] for one in (("en", "fa"), ("sv", "de"))}, "watched")
    return lambda model: {"loss": evaluation.losses(loaded, model, pairs)["nll"].mean()}


def test_the_curve_has_every_epoch_with_what_is_pruned_and_watched(loaded, data):
    made, model = recipe(updates=15), lslo(loaded)
    done = train(loaded, model, data, made, epochs=15, gradually=PRUNED, watch=watched(loaded, data))
    assert [point.epoch for point in done.curve] == list(range(16)) and done.curve[0].train_loss is None
    assert [point.ratio for point in done.curve[1:]] == [PRUNED.schedule.at(epoch) for epoch in range(1, 16)]
    assert done.curve[-1].watched["loss"] == pytest.approx(watched(loaded, data)(model)["loss"])
    assert done.curve[-1].watched["loss"] < done.curve[0].watched["loss"] and done.updates == 15
    assert done.curve[-1].tokens == done.tokens and not model.training
    counts = PRUNED.pruning.counts(model)
    assert (counts["pruned"] == (0.7 * counts["size"]).round()).all() and len(counts)
    others = Pruning.of("tensor", "A and B", ("en",)).counts(model)
    assert not others["pruned"].any()
    for name, mask in training.masks(model).items():
        module, _, part = name.rpartition(".")
        assert not model.get_submodule(module).used(part)[mask == 0].any()


def test_epochs_share_the_updates(loaded, data):
    done = train(loaded, lslo(loaded), data, recipe(updates=7), epochs=3)
    assert [point.updates for point in done.curve] == [0, 3, 5, 7]
    pairs = encode_directions(loaded, data, "training")
    batches = BatchStream(pairs, recipe().rule, "mixed", 120, 3).epoch(0)
    assert training.updates_of(pairs, recipe(), 3) == 3 * round(len(batches) / 2)


def test_weight_learning_and_whole_models_are_trained_too(loaded, data):
    model = learn(with_dropout(loaded.model, recipe()), CODES, ranks=2)
    done = train(loaded, model, data, recipe(updates=4, learning_rate=0.05), epochs=2)
    learned = model.learned()
    assert all(source != target for pair in (learned.encoder, learned.decoder) for source, target in pair)
    assert done.curve[1].train_loss > 0
    whole = with_dropout(loaded.model, recipe())
    before = weights(whole)
    train(loaded, whole, data, recipe(updates=2), epochs=1)
    assert before.keys() == dict(loaded.model.named_parameters()).keys() and not same(weights(whole), before)


def test_half_precision_trains_and_leaves_weights_in_fp32(loaded, data):
    model = lslo(loaded)
    done = train(loaded, model, data, recipe(precision="bf16", updates=4), epochs=2, gradually=PRUNED)
    assert done.curve[2].train_loss < done.curve[1].train_loss and done.skipped == 0
    assert {value.dtype for value in weights(model).values()} == {torch.float32}


def test_what_diverges_is_stopped_in_one_line(loaded, data, tmp_path):
    with pytest.raises(Failure, match=r"training loss is \S+ nats a token at update \d+ .*lower learning_rate") as told:
        train(loaded, lslo(loaded), data, recipe(learning_rate=1e6, updates=9), epochs=1, folder=tmp_path, save_every=0)
    assert "\n" not in str(told.value) and not (tmp_path / "training.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {}}, "there is no training text"),
        ({"data": {("en", "fa"): []}}, "there is no training text of en-fa"),
        ({"data": {("fa", "pes"): [1]}}, "wrong direction: training text of fa-pes is not a translation"),
        ({"data": {("en", "hi"): [PAIR]}}, "language of the training text: unknown 'hi'"),
        ({"epochs": 7}, "epochs=7: it has to be from 1 to the number of updates, 6"),
        ({"epochs": 0}, "epochs=0"),
        ({"recipe": {"patience": 3}}, "set patience and validate_every to None"),
        ({"gradually": replace(PRUNED, pruning=Pruning.of("tensor", "B", ("hi",)))}, "language to prune: unknown 'hi'"),
        ({"gradually": replace(PRUNED, pruning=Pruning.of("tensor", "B", ("de",)))}, "none of the languages to prune"),
    ],
)
def test_bad_input_is_one_line(loaded, data, change, message):
    made = recipe(**change.pop("recipe", {}))
    given = {"data": data, "epochs": 2, **change}
    with pytest.raises(UsageError, match=message) as told:
        train(loaded, lslo(loaded), given.pop("data"), made, **given)
    assert "\n" not in str(told.value)


def test_other_bad_input_is_one_line(loaded, data):
    whole = with_dropout(loaded.model, recipe())
    with pytest.raises(UsageError, match="can't be pruned: only an LSLo"):
        train(loaded, whole, data, recipe(), epochs=2, gradually=PRUNED)
    with pytest.raises(UsageError, match="every parameter of the model is frozen"):
        train(loaded, whole.requires_grad_(False), data, recipe(), epochs=2)


# Scores ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def without_the_language_token(loaded, pairs, source, target):
    """A sentence at a time; the language token, which a target begins with, is read and not scored."""
    total, tokens = 0.0, 0
    for batch in loaded.batches(pairs, source, target, size=1):
        labels = batch["labels"][0]
        assert labels[0] == loaded.first_token(target)
        logs = loaded.model(**batch).logits[0].double().log_softmax(-1)
        total -= sum(logs[i, labels[i]].item() for i in range(1, len(labels)))
        tokens += len(labels) - 1
    return total / tokens, tokens


@pytest.mark.parametrize("kind", ["lslo", "weights", "plain"])
def test_losses_are_those_of_single_directions(loaded, data, kind):
    if kind == "lslo":
        model = lslo(loaded, scale=0.3)
    else:
        model = with_dropout(loaded.model, recipe())
        model = learn(model, CODES, ranks=2) if kind == "weights" else model
    if kind == "weights":
        with torch.no_grad():
            for _, layer in model.layers():
                layer.lora_B.normal_(0, 0.3, generator=torch.Generator().manual_seed(1))
    found = evaluation.losses(loaded, model.train(), encode_directions(loaded, data, "TEST"), tokens=300)
    assert list(zip(found["source"], found["target"], strict=True)) == sorted(data) and not model.training
    for row in found.itertuples():
        direction = (row.source, row.target)
        with model.route(*direction) if kind != "plain" else torch.enable_grad():
            inner = replace(loaded, model=directions.base(model))
            nll, tokens = without_the_language_token(inner, data[direction], *direction)
        assert (row.nll, row.tokens) == (pytest.approx(nll, rel=1e-5), tokens)
    assert found["nll"].nunique() == len(found)


def test_a_likelihood_that_is_no_number_is_told(loaded, data):
    model = lslo(loaded, scale=0.3)
    with torch.no_grad():
        next(model.layers())[1].lora_A[model.routing.part("sv")] = float("nan")
    with pytest.raises(Failure, match="the likelihood of the sv-de text is not finite"):
        evaluation.losses(loaded, model, encode_directions(loaded, data, "TEST"))


@pytest.mark.parametrize("engine", ["transformers", "ctranslate2"])
def test_translations_are_those_of_the_merged_model(loaded, data, engine):
    model = lslo(loaded, scale=0.3)
    for direction in (("fa", "sv"), ("de", "en")):
        found = evaluation.translate(loaded, model, direction, data["sv", "de"][:4], beam_size=2, engine=engine)
        plain = replace(loaded, model=merge(model, *direction))
        expected = translation.translate(plain, data["sv", "de"][:4], *direction, beam_size=2, engine=engine)
        assert found == expected
    whole = evaluation.translate(loaded, loaded.model, ("fa", "sv"), data["fa", "sv"][:4], beam_size=2, engine=engine)
    assert whole == translation.translate(loaded, data["fa", "sv"][:4], "fa", "sv", beam_size=2, engine=engine)
