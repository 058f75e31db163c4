"""What is hidden from masked models: rates, fates, spans, and that what is hidden can be put back."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from masked import share_is

from langsim import corruption
from langsim.errors import UsageError


@pytest.mark.parametrize("name", ["mini-xlmr", "mini-mbert"])
def test_masking_rates_and_fates(masked_tokenizers, masked_text, name):
    tokenizer = masked_tokenizers[name]
    encoded = tokenizer(list(masked_text.texts["de"].values()) * 12)["input_ids"]
    ids = corruption.padded(encoded, tokenizer.pad_token_id)
    batch = corruption.masked_batch(encoded, tokenizer, np.random.default_rng(0))
    inputs, labels = batch["input_ids"].numpy(), batch["labels"].numpy()
    special = np.isin(ids, tokenizer.all_special_ids)
    assert batch["attention_mask"].numpy().tolist() == (np.arange(ids.shape[1]) < [[len(r)] for r in encoded]).tolist()
    chosen = labels != -100
    n, hidden = int((~special).sum()), int(chosen.sum())
    assert n > 10_000 and not (chosen & special).any()
    assert share_is(hidden, n, 0.15)
    assert (labels[chosen] == ids[chosen]).all() and (inputs[~chosen] == ids[~chosen]).all()
    masked = inputs[chosen] == tokenizer.mask_token_id
    kept = inputs[chosen] == ids[chosen]
    assert share_is(masked.sum(), hidden, 0.8)
    assert share_is(kept.sum(), hidden, 0.1 + 0.1 / len(corruption.ordinary(tokenizer)))
    replaced = inputs[chosen][~masked & ~kept]
    assert not np.isin(replaced, tokenizer.all_special_ids).any() and len(set(replaced.tolist())) > len(replaced) / 3
    again = corruption.masked_batch(encoded, tokenizer, np.random.default_rng(0))
    other = corruption.masked_batch(encoded, tokenizer, np.random.default_rng(1))
    assert torch.equal(again["input_ids"], batch["input_ids"]) and not torch.equal(other["labels"], batch["labels"])
    every = corruption.masked_batch(encoded, tokenizer, np.random.default_rng(0), shares=(1.0, 0.0))
    assert (every["input_ids"][every["labels"] != -100] == tokenizer.mask_token_id).all()


def test_spans_can_be_put_back():
    rng, sentinels = np.random.default_rng(0), list(range(1000, 1100))
    for n in [*range(1, 60), 200, 400]:
        ids = rng.integers(0, 1000, size=n).tolist()
        inputs, targets = corruption.corrupt_spans(ids, sentinels, rng)
        assert corruption.restored(inputs, targets, sentinels) == ids
        hidden = [token for token in targets if token < 1000]
        used = [token for token in inputs if token >= 1000]
        assert len(hidden) == min(n, max(1, round(0.15 * n))) and len(used) == max(1, round(len(hidden) / 3))
        assert [token for token in targets if token >= 1000] == sentinels[: len(used) + 1] and targets[-1] >= 1000
        assert used == sentinels[: len(used)]
        assert all(a < 1000 or b < 1000 for a, b in itertools.pairwise(inputs))  # spans never touch


def test_every_place_is_hidden_equally_often():
    """Every set of spans is as likely as any other: 20 tokens, 2 of 3 hidden in 1 span, by counting them all."""
    rng, sentinels, seen = np.random.default_rng(1), [100, 101, 102], Counter()
    n = 6000
    for _ in range(n):
        inputs, _ = corruption.corrupt_spans(range(20), sentinels, rng)
        seen[inputs.index(100)] += 1
    assert set(seen) == set(range(18)) and all(share_is(count, n, 1 / 18) for count in seen.values())


def test_few_sentinels_make_few_spans():
    ids, sentinels = list(range(200)), [1000, 1001, 1002]
    inputs, targets = corruption.corrupt_spans(ids, sentinels, np.random.default_rng(0))
    assert corruption.restored(inputs, targets, sentinels) == ids and targets[-1] == 1002


def test_a_batch_of_spans(masked_tokenizers, masked_text):
    tokenizer, strings = masked_tokenizers["mini-mt5"], list(masked_text.texts["fa"].values())[:40]
    encoded = tokenizer(strings)["input_ids"]
    batch = corruption.span_batch(encoded, tokenizer, np.random.default_rng(0))
    sentinels = corruption.sentinel_ids(tokenizer)
    assert len(sentinels) == 100 and tokenizer.convert_ids_to_tokens(sentinels[:2]) == ["<extra_id_0>", "<extra_id_1>"]
    for ids, inputs, attention, labels in zip(encoded, *batch.values(), strict=True):
        read, target = inputs[attention == 1].tolist(), labels[labels != -100].tolist()
        assert read[-1] == target[-1] == ids[-1] == tokenizer.eos_token_id
        assert corruption.restored(read[:-1], target[:-1], sentinels) == ids[:-1]


def test_the_wrong_tokenizer_is_said(masked_tokenizers):
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="no mask token"):
        corruption.masked_batch([[5, 6]], masked_tokenizers["mini-mt5"], rng)
    with pytest.raises(UsageError, match="no sentinels"):
        corruption.span_batch([[5, 6]], masked_tokenizers["mini-xlmr"], rng)
    with pytest.raises(UsageError, match="at least one token"):
        corruption.span_batch([[masked_tokenizers["mini-mt5"].eos_token_id]], masked_tokenizers["mini-mt5"], rng)
