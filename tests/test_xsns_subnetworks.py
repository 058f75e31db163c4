"""Sub-networks: Fisher vectors against loops over autograd in float64, masks and Jaccard against sets, recommending."""

import json

import numpy as np
import pytest
import torch
from fisher_oracle import distance
from hypothesis import given, settings
from hypothesis import strategies as st
from xsns_tiny import CODES, NAMES, TASKS, loaded, pairs_task, sentences, tokenizer, words_task

from langsim import corruption
from langsim.errors import UsageError
from langsim.fisher import FisherVector
from langsim.xsns import heads, measuring, recommend, subnetworks, texts
from langsim.xsns.encoding import Encoder

pytestmark = pytest.mark.usefixtures("one_thread")


def exact_norms(model):
    """T5's layer norm computes its variance in float32 whatever the type; here as it is written in its paper."""
    for module in model.modules():
        if type(module).__name__.endswith("T5LayerNorm"):
            module.forward = lambda x, m=module: (
                m.weight * x * torch.rsqrt((x * x).mean(-1, keepdim=True) + m.variance_epsilon)
            )


def parent_of(name):
    made = loaded(name, torch.float64)
    exact_norms(made.model)
    return made


def encoder_layers(model):
    """By name, without the pattern that is tested."""
    wanted = ("encoder.layer.", "encoder.block.")
    return {n: p for n, p in model.named_parameters() if any(w in n for w in wanted) and "decoder" not in n}


def squared(model, loss):
    parameters = encoder_layers(model)
    model.requires_grad_(True)
    grads = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return np.concatenate(
        [
            np.zeros(p.numel()) if g is None else g.numpy().ravel() ** 2
            for g, p in zip(grads, parameters.values(), strict=True)
        ]
    )


def hidden(name, rows, batches, seed, least=0):
    """What `of_text` hides, batch by batch, with transformers' own reading of the result."""
    rng = np.random.default_rng(seed)
    make = corruption.span_batch if name == "mt5" else corruption.masked_batch
    more = {} if name == "mt5" else {"least": least}
    return [make([rows[i] for i in some], tokenizer(name), rng, **more) for some in batches]


# Fisher vectors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_text_per_example_is_the_loop_over_single_texts(name):
    parent, lines = parent_of(name), sentences("de", 9)
    vector = subnetworks.of_text(parent, lines, seed=4)
    rows = tokenizer(name)(lines)["input_ids"]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # few texts: one batch
    [batch] = hidden(name, rows, [order], 4, least=1)
    assert name == "mt5" or ((batch["labels"] != -100).sum(1) > 0).all(), "of every text something is hidden"
    expected = 0.0
    for b in range(len(rows)):
        one = {key: value[b : b + 1] for key, value in batch.items()}
        n = int((one["labels"] != -100).sum())
        expected = expected + (squared(parent.model, n * parent.model(**one).loss) if n else 0.0)
    assert distance(vector.values, expected / len(rows)) < 1e-9
    names = [name for name, _, _ in vector.layout]
    assert names == list(encoder_layers(parent.model)) and any("bias" in n or "norm" in n.lower() for n in names)
    assert vector.n_terms == len(rows)


@pytest.mark.parametrize("name", ["xlmr", "mt5"])
def test_text_by_the_authors_is_the_clipped_mini_batch(name):
    parent, lines = parent_of(name), sentences("fr", 10)
    for key in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout_rate"):
        if hasattr(parent.model.config, key):
            setattr(parent.model.config, key, 0.0)
    for module in parent.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    vector = subnetworks.of_text(parent, lines, recipe="authors_code", seed=2, batch_size=4)
    rows = tokenizer(name)(lines)["input_ids"]
    expected, batches = 0.0, hidden(name, rows, [range(0, 4), range(4, 8), range(8, 10)], 2)
    for batch in batches:
        parameters = encoder_layers(parent.model)
        parent.model.requires_grad_(True)
        grads = torch.autograd.grad(parent.model(**batch).loss, list(parameters.values()), allow_unused=True)
        grads = [torch.zeros_like(p) if g is None else g for g, p in zip(grads, parameters.values(), strict=True)]
        clipped = [g * min(1.0, 1.0 / (float(g.norm()) + 1e-6)) for g in grads]
        expected = expected + np.concatenate([g.numpy().ravel() ** 2 for g in clipped])
    assert distance(vector.values, expected / 3) < 1e-7
    assert (vector.n_terms, vector.estimator, vector.recipe) == (3, "batch", "xsns_authors_code")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("head", heads.HEADS)
def test_random_heads_are_the_loop_over_single_examples(name, head):
    parent, task = parent_of(name), TASKS[head]()
    examples = task.examples("sv", "train")[:6]
    vector = subnetworks.of_labels(parent, task, examples, seed=7)
    model = heads.with_head(parent, head, len(task.labels), seed=7)
    exact_norms(model)
    encoder = Encoder.of(parent, task)
    expected = 0.0
    for row in encoder.encode(examples).rows:
        batch = encoder.collate([row])
        labels = batch.pop("labels")
        logits = model(**batch).logits
        log_p = logits.log_softmax(-1).reshape(-1, logits.shape[-1])
        scored = [(i, int(label)) for i, label in enumerate(labels.flatten()) if label >= 0]
        expected = expected + squared(model, -sum(log_p[i, label] for i, label in scored))
    limit = 1e-9 if name != "mt5" else 1e-5  # the head's copy of T5 keeps the float32 variance
    assert distance(vector.values, expected / len(examples)) < limit
    assert not any("classifier" in n or "embed" in n or "pooler" in n for n, _, _ in vector.layout)


def test_parts_add_up_to_the_whole():
    parent, lines = loaded("xlmr"), sentences("en", 20)
    task, examples = words_task(n=20), words_task(n=20).examples("en", "train")
    whole = subnetworks.of_labels(parent, task, examples)
    parts = [subnetworks.of_labels(parent, task, some) for some in (examples[:7], examples[7:9], examples[9:])]
    total = measuring.added(measuring.added(parts[0], parts[1]), parts[2])
    assert np.allclose(total.values, whole.values, rtol=1e-4, atol=1e-9)
    assert (total.n_terms, total.n_tokens) == (whole.n_terms, whole.n_tokens) and total.nll == pytest.approx(whole.nll)
    assert (
        subnetworks.of_text(parent, lines, seed=1).values.tolist()
        == subnetworks.of_text(parent, lines, seed=1).values.tolist()
    )


def test_a_shuffled_text_has_the_same_tokens():
    parent, lines = loaded("xlmr"), sentences("en", 12)
    plain, mixed = (subnetworks.of_text(parent, lines, seed=3, shuffle=value) for value in (False, True))
    assert plain.n_tokens > 0 and not np.allclose(plain.values, mixed.values)
    row, rng = tokenizer("xlmr")(lines[5])["input_ids"], np.random.default_rng(0)
    found = subnetworks._shuffled(row, set(tokenizer("xlmr").all_special_ids), rng)
    assert sorted(found) == sorted(row) and (found[0], found[-1]) == (row[0], row[-1]) and found != row


# Masks and Jaccard -------------------------------------------------------------------------------------------------


def vector_of(values):
    values = np.asarray(values, dtype=np.float32)
    return FisherVector(values, [("w", (values.size,), 0)], 1, 1, 1, 1, 0.0, "per_example", "paper", "all", 0)


@given(st.integers(20, 200), st.sampled_from([0.05, 0.15, 0.5, 0.9]), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=40, deadline=None)
def test_masks_hold_exactly_p_and_jaccard_is_that_of_sets(size, p, seed, ties):
    rng = np.random.default_rng(seed)
    draw = (lambda: rng.integers(0, 5, size)) if ties else (lambda: rng.random(size))
    vectors = {code: vector_of(draw()) for code in ("de", "en", "fr")}
    made = subnetworks.masks(vectors, p)
    count = int(np.floor(p * size + 0.5 + 1e-9))
    sets = {}
    for code, mask in made.items():
        order = sorted(range(size), key=lambda i: (-vectors[code].values[i], i))[:count]
        sets[code] = set(order)
        assert set(np.flatnonzero(mask).tolist()) == sets[code] and mask.sum() == count
    matrix = subnetworks.jaccard(vectors, p).raw["jaccard"]
    for t in vectors:
        for a in vectors:
            assert matrix.loc[t, a] == pytest.approx(len(sets[t] & sets[a]) / len(sets[t] | sets[a]))


def test_random_masks_meet_by_chance():
    rng = np.random.default_rng(0)
    vectors = {code: vector_of(rng.random(200_000)) for code in ("de", "en")}
    assert subnetworks.jaccard(vectors, 0.15).raw["jaccard"].iloc[0, 1] == pytest.approx(
        subnetworks.chance(0.15), abs=0.002
    )
    assert subnetworks.chance(0.15) == pytest.approx(0.081, abs=0.0005)


# Texts -------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_the_same_units_are_drawn_in_every_language_and_larger_draws_hold_smaller(size, seed):
    units = [f"u{i}" for i in range(30)]
    first = subnetworks.drawn([f"a{u}" for u in units], units, size, seed)
    second = subnetworks.drawn([f"b{u}" for u in reversed(units)], list(reversed(units)), size, seed)
    assert {one[1:] for one in first} == {one[1:] for one in second} and len(first) == size
    assert set(first) <= set(subnetworks.drawn([f"a{u}" for u in units], units, size + 1, seed))


def test_task_text_is_matched_and_the_authors_read_the_premise_alone():
    task = pairs_task()
    found = texts.of_task(task, CODES, 7, seed=1)
    assert found.size == 7 and {len(own) for own in found.texts.values()} == {7}
    assert len({tuple(one.unit for one in own) for own in found.examples.values()}) == 1
    task.labels = ("entailment", "neutral", "contradiction")
    assert texts.of_task(task, CODES, 7, seed=1, recipe="authors_code").texts["de"] == [
        one.first for one in found.examples["de"]
    ]


def test_unknown_languages_are_warned_of_with_the_rate():
    parent = loaded("mbert")
    rates = subnetworks.unknown_rates(parent, {"en": sentences("en"), "ja": ["色は匂へど 散りぬるを", "我が世誰ぞ"]})
    assert rates["en"] < 0.05 and rates["ja"] == 1.0
    assert subnetworks.warnings_of(rates) == [
        "The tokenizer has no piece for 100% of the text in 'ja': its sub-network says little."
    ]
    assert subnetworks.unknown_rates(loaded("xlmr"), {"ja": ["色は匂へど"]})["ja"] > 0.5, "spelt in bytes"


# Recommending ------------------------------------------------------------------------------------------------------


def test_a_recommendation_is_the_ranking_by_jaccard():
    parent = loaded("xlmr")
    given = {code: sentences(code) for code in CODES}
    found = recommend.recommend(parent, "sv", given, parts=4, items=32)
    assert set(found.table["source"]) == {"de", "en", "fr"} and found.items == 32
    assert found.table["similarity"].is_monotonic_decreasing and not found.table["tied"].iloc[0]
    assert (found.table["low"] <= found.table["similarity"]).all() and (
        found.table["similarity"] <= found.table["high"]
    ).all()
    assert found.chance == pytest.approx(0.15 / 1.85) and found.best in found.trust
    assert json.loads(json.dumps(found.as_json()))["ranking"][0]["source"] == found.best
    again = recommend.recommend(parent, "sv", given, parts=4, items=32)
    assert again.table.equals(found.table)


def test_the_jackknife_is_that_of_the_textbook():
    values = np.random.default_rng(0).random((6, 3))
    means = np.stack([np.delete(values, j, axis=0).mean(0) for j in range(6)])
    assert recommend._error(means) == pytest.approx(values.std(0, ddof=1) / np.sqrt(6))


def test_bad_requests_are_told():
    parent, given = loaded("xlmr"), {code: sentences(code) for code in CODES}
    with pytest.raises(UsageError, match=r"^the target 'sv' is among its own candidates; leave it out$"):
        recommend.recommend(parent, "sv", given, candidates=["de", "sv"])
    with pytest.raises(UsageError, match="1 candidate source: give two at least"):
        recommend.recommend(parent, "sv", given, candidates=["de"])
    with pytest.raises(UsageError, match="the text of 'fr' has 2 lines, at least 16"):
        recommend.recommend(parent, "sv", {**given, "fr": ["oui", "non"]})
    with pytest.raises(UsageError, match="no text of 'xx'"):
        subnetworks.of_text(parent, [], key="xx")
    parent.tokenizer = None
    with pytest.raises(UsageError, match="reads pairs of languages, not plain text"):
        subnetworks.of_text(parent, ["a"])


def test_a_text_too_short_for_parts_is_told():
    few = {code: [line.split()[0] for line in sentences(code, 20)] for code in ("sv", "de", "en")}
    with pytest.raises(UsageError, match=r"the text of '\w+' has \d+ tokens in 20 lines, at least 300 are needed"):
        recommend.recommend(loaded("xlmr"), "sv", few)
