"""Encoding, heads and gold transfer, against plain transformers and hand-written loops."""

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from xsns_tiny import CODES, NAMES, TASKS, answers_task, loaded, pairs_task, tokenizer, words_task

from langsim.errors import Failure, UsageError
from langsim.tasks.base import Answer, Task, Tokens
from langsim.tasks.metrics import score
from langsim.xsns import encoding, heads, transfer
from langsim.xsns.encoding import Encoder

QUICK = transfer.Recipe(epochs=2, patience=0, learning_rate=1e-3, batch_size=4)


pytestmark = pytest.mark.usefixtures("one_thread")


# Encoding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_first_subwords_have_the_tags(name):
    task = words_task()
    encoder = Encoder.of(loaded(name), task)
    examples = task.examples("de", "train")
    for one, row in zip(examples, encoder.encode(examples).rows, strict=True):
        pieces = tokenizer(name).convert_ids_to_tokens(row.ids)
        assert [task.labels[label] for label in row.labels if label >= 0] == list(one.tags)
        for word, place in zip(one.words, row.places, strict=True):
            start = pieces[place].lstrip("▁#") or pieces[place + 1]
            assert start and (name == "mbert" or word.startswith(start)), (word, pieces)


def test_a_word_that_is_cut_off_is_counted_and_predicted_as_outside():
    task = words_task()
    encoder = Encoder.of(loaded("xlmr"), task, max_length=8)
    encoded = encoder.encode(task.examples("de", "test"))
    assert encoded.cut > 0 and max(len(row.ids) for row in encoded.rows) <= 8
    logits = [np.tile([0.0, 1.0], (len(row.ids), 1)) for row in encoded.rows]
    gold, predicted = encoder.predictions(encoded, logits)
    for row, own, right in zip(encoded.rows, predicted, gold, strict=True):
        assert len(own) == len(right) and own == ["B-X" if place >= 0 else "O" for place in row.places]


@pytest.mark.parametrize("name", NAMES)
def test_answers_come_back_from_their_own_labels(name):
    task = answers_task(repeat=3)
    encoder = Encoder.of(loaded(name), task, window=34, stride=10)
    for code in CODES:
        encoded = encoder.encode(task.examples(code, "test"))
        assert encoded.cut > 0, "several windows"
        logits = []
        for row in encoded.rows:
            values = np.zeros((2, len(row.ids)))
            if row.labels != [0, 0]:
                values[0, row.labels[0]] = values[1, row.labels[1]] = 5.0
            logits.append(values)
        gold, predicted = encoder.predictions(encoded, logits)
        assert score("squad_f1", gold, predicted) > 80, "subwords may be wider than the answer, never elsewhere"
        for one, text in zip(encoded.examples, predicted, strict=True):
            assert one.answer in text and len(text) <= len(one.answer) + 8


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_best_span_is_the_best_of_all(size, longest, seed):
    rng = np.random.default_rng(seed)
    scores, allowed = rng.integers(-3, 4, size=(2, size)).astype(float), rng.random(size) < 0.7
    found = encoding.best_span(scores, allowed.tolist(), longest)
    every = [
        (scores[0, i] + scores[1, j], -i, -j)
        for i in range(size)
        for j in range(i, min(size, i + longest))
        if allowed[i] and allowed[j]
    ]
    if not every:
        assert found == (0, 0, -np.inf)
    else:
        best = max(every)
        assert found == (-best[1], -best[2], best[0])


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(1, 7), st.integers(30, 90))
@settings(max_examples=50, deadline=None)
def test_every_row_is_in_one_batch(lengths, size, tokens):
    rows = [encoding.Row([0] * n, [], [], i) for i, n in enumerate(lengths)]
    sorted_ = list(encoding.by_length(rows, tokens))
    drawn = encoding.shuffled(rows, size, np.random.default_rng(0))
    for batches in (sorted_, drawn):
        assert sorted(i for batch in batches for i in batch) == list(range(len(rows)))
    assert all(max(lengths[i] for i in b) * len(b) <= max(tokens, max(lengths[i] for i in b)) for b in sorted_)
    assert all(len(batch) <= size for batch in drawn)


def test_a_question_that_fills_the_window_is_told():
    long = Answer("red " * 60, "the red house", "red", 4, "u")
    task = Task("long", "answer", "squad_f1", {"en": {"test": [long]}})
    with pytest.raises(UsageError, match=r"a question has \d+ tokens, and a window of 30 has room"):
        Encoder.of(loaded("xlmr"), task, window=30, stride=8).encode([long])


# Heads -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("head", heads.HEADS)
def test_the_encoder_is_the_models(name, head):
    """States of the headed model are those of the model itself, and only the head is new."""
    parent = loaded(name)
    before = {n: p.clone() for n, p in parent.model.named_parameters()}
    made = heads.with_head(parent, head, 3, seed=1)
    task = TASKS[head]()
    encoder = Encoder.of(parent, task)
    batch = encoder.collate(encoder.encode(task.examples("de", "test")).rows)
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    encode = parent.model.get_encoder() if name == "mt5" else parent.model.base_model
    for parameter in made.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        states = encode(**inputs).last_hidden_state
        logits = made(**inputs).logits
    linear = made.model.classifier if not hasattr(made.model.classifier, "out_proj") else None
    if head == "span":
        expected = linear(states).transpose(1, 2)
        there = batch["attention_mask"][:, None].expand_as(expected) == 1
        assert torch.allclose(logits[there], expected[there], atol=1e-5) and (logits[~there] < -1e30).all()
        assert logits.shape[:2] == batch["labels"].shape
    elif head == "token":
        assert torch.allclose(logits, linear(states), atol=1e-5)
    elif name == "mt5":
        means = torch.stack([s[: int(m.sum())].mean(0) for s, m in zip(states, batch["attention_mask"], strict=True)])
        assert torch.allclose(logits, linear(means), atol=1e-5)
    else:
        kind = transformers.AutoModelForSequenceClassification
        assert type(made.model) is type(kind.from_config(made.config)) and logits.shape == (len(states), 3)
    assert all(torch.equal(before[n], p) for n, p in parent.model.named_parameters()), "the parent is untouched"
    again, other = heads.with_head(parent, head, 3, seed=1), heads.with_head(parent, head, 3, seed=2)
    same = [torch.equal(a, b) for a, b in zip(made.parameters(), again.parameters(), strict=True)]
    assert all(same)
    changed = [
        n for (n, a), b in zip(made.named_parameters(), other.parameters(), strict=True) if not torch.equal(a, b)
    ]
    assert changed and all("classifier" in n or "pooler" in n for n in changed)


def test_unknown_heads_and_models_are_told():
    with pytest.raises(UsageError, match="head: unknown 'tokens'"):
        heads.with_head(loaded("xlmr"), "tokens", 2, seed=0)


# Training ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", heads.HEADS)
def test_training_is_deterministic_and_selects_on_the_source(head):
    task, parent = TASKS[head](), loaded("xlmr")
    first, second = (transfer.fine_tune(parent, task, ["de"], QUICK, seed=3) for _ in range(2))
    assert first.curve == second.curve and len(first.curve) == 2
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))
    assert not first.model.training
    own = transfer.evaluate(first.model, first.encoder, task, ["de"], "validation")["de"][task.metric]
    assert own == pytest.approx(first.best.validation), "the weights are those of the best epoch"
    assert first.best == max(first.curve, key=lambda e: (e.validation, -e.validation_loss))


def test_one_epoch_equals_a_plain_loop():
    """AdamW over the same batches with transformers' own loss, in float64, dropout off."""
    task, parent = words_task(), loaded("mbert", torch.float64)
    recipe = transfer.Recipe(
        epochs=1, learning_rate=1e-3, warmup=2, dropout=0.0, batch_size=4, clip_norm=0.5, weight_decay=0.1
    )
    parent.model.config.hidden_dropout_prob = parent.model.config.attention_probs_dropout_prob = 0.0
    tuned = transfer.fine_tune(parent, task, ["fr"], recipe, seed=5)
    model = heads.with_head(parent, "token", 2, seed=5).model.train()
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    rows = tuned.encoder.encode(task.examples("fr", "train")).rows
    for number, batch in enumerate(encoding.shuffled(rows, 4, np.random.default_rng(5)), start=1):
        loss = model(**tuned.encoder.collate([rows[i] for i in batch])).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, number / 2)
        optimizer.step()
    for (name, ours), theirs in zip(tuned.model.model.named_parameters(), model.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-9), name


@pytest.mark.parametrize("head", heads.HEADS)
def test_scores_in_one_pass_are_those_of_each_target_alone(head):
    task, parent = TASKS[head](), loaded("xlmr")
    tuned = transfer.fine_tune(parent, task, ["en"], QUICK, seed=0)
    together = transfer.evaluate(tuned.model, tuned.encoder, task, CODES)
    for code in CODES:
        assert transfer.evaluate(tuned.model, tuned.encoder, task, [code])[code] == pytest.approx(together[code])
    assert list(together["en"]) == transfer.metrics_of(task)
    assert transfer.authors_metric(task) in together["en"]


def test_it_learns_what_is_there():
    task = words_task(n=30)
    recipe = transfer.Recipe(epochs=12, patience=4, learning_rate=3e-3, batch_size=8)
    found = transfer.gold_scores(loaded("xlmr"), task, ["en"], ["en", "de"], recipe, seed=0)
    assert found["targets"]["en"]["entity_f1"] > 90 and found["best_epoch"] <= found["epochs"] <= 12
    assert len(found["curve"]) == found["epochs"] and found["cut"] == 0


def test_several_sources_are_read_together():
    task = pairs_task()
    both = transfer.fine_tune(loaded("xlmr"), task, ["de", "fr"], QUICK, seed=0)
    assert both.best.validation == pytest.approx(
        np.mean(
            [
                v["accuracy"]
                for v in transfer.evaluate(both.model, both.encoder, task, ["de", "fr"], "validation").values()
            ]
        )
    )


def test_patience_ends_the_training():
    task = words_task()
    found = transfer.fine_tune(
        loaded("xlmr"), task, ["en"], transfer.Recipe(epochs=20, patience=1, learning_rate=1e-12), seed=0
    )
    assert len(found.curve) < 20 and len(found.curve) == found.best.epoch + 1


def test_a_loss_that_is_no_number_stops_in_one_line():
    parent = loaded("xlmr")
    with torch.no_grad():
        parent.model.roberta.encoder.layer[0].output.dense.bias[0] = float("nan")
    with pytest.raises(Failure, match=r"^the training loss is nan at update 1: lower learning_rate \(0.001\)$"):
        transfer.fine_tune(parent, words_task(), ["en"], QUICK, seed=0)


def test_bad_tasks_are_told():
    task = words_task()
    with pytest.raises(UsageError, match="fine-tuning needs a source"):
        transfer.fine_tune(loaded("xlmr"), task, [], QUICK, seed=0)
    only = Task("t", "tokens", "token_f1", {c: {"test": task.splits[c]["test"]} for c in CODES}, task.labels)
    with pytest.raises(UsageError, match="has no train split in 'en'"):
        transfer.fine_tune(loaded("xlmr"), only, ["en"], QUICK, seed=0)
    with pytest.raises(UsageError, match="the split is empty"):
        Task("t", "tokens", "token_f1", {"en": {"test": []}})
    odd = {"en": {"test": [Tokens(("a",), ("X",), "u")]}, "de": {"test": [Tokens(("a",), ("Y",), "u")]}}
    with pytest.raises(UsageError, match="label sets differ between languages"):
        Task("t", "tokens", "token_f1", odd)
