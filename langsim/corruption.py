"""What a masked model is asked: texts with some tokens hidden, and the hidden tokens as labels.

*Masking* (BERT, XLM-R): each token is chosen with probability 0.15; of the chosen, 80% become the mask token, 10%
another token, 10% stay. *Span corruption* (T5, mT5): 15% of a text's tokens, in spans of 3 on average, give way to one
sentinel a span; the target is each sentinel with what it hides, then one sentinel more and the end. A special token is
never hidden. All draws come from the caller's generator, so that the same generator gives the same batch.
"""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from langsim.errors import UsageError

IGNORED = -100
RATE = 0.15  # of the tokens are hidden, where nothing else is asked for (recipes do)
SPAN = 3.0  # tokens a span, on average
SHARES = (0.8, 0.1)  # of the chosen tokens: masked, replaced; the rest stays
SENTINELS = 100  # as T5 has them

Batch = dict[str, torch.Tensor]


def masked_batch(
    encoded: Sequence[Sequence[int]],
    tokenizer: PreTrainedTokenizerBase,
    rng: np.random.Generator,
    *,
    rate: float = RATE,
    shares: tuple[float, float] = SHARES,
    least: int = 0,
) -> Batch:
    """Padded batch of a masked language model: input_ids, attention_mask, labels (B, S), -100 = not scored.

    Args:
        encoded: ids of each text with its special tokens, as the tokenizer gives them.
        least: so many tokens of every text are hidden at least, where it has them.

    Raises:
        UsageError: the tokenizer has no mask token.
    """
    if tokenizer.mask_token_id is None:
        raise UsageError("the tokenizer has no mask token: choose a masked language model, or span corruption")
    ids = padded(encoded, tokenizer.pad_token_id)
    maskable = ~np.isin(ids, tokenizer.all_special_ids)
    inputs, labels = mask(
        ids,
        maskable,
        rng,
        mask_id=tokenizer.mask_token_id,
        others=ordinary(tokenizer),
        rate=rate,
        shares=shares,
        least=least,
    )
    return _tensors(inputs, padded([[1] * len(row) for row in encoded], 0), labels)


def span_batch(
    encoded: Sequence[Sequence[int]],
    tokenizer: PreTrainedTokenizerBase,
    rng: np.random.Generator,
    *,
    rate: float = RATE,
    span: float = SPAN,
) -> Batch:
    """Padded batch of span corruption: input_ids, attention_mask (B, S); labels (B, T), -100 = not scored.

    Args:
        encoded: ids of each text; special tokens in it are left out, and the end is put back.

    Raises:
        UsageError: the tokenizer has no sentinels, or a text has no token.
    """
    sentinels, special = sentinel_ids(tokenizer), set(tokenizer.all_special_ids)
    pairs = []
    for row in encoded:
        content = [i for i in row if i not in special]
        if not content:
            raise UsageError("span corruption needs texts with at least one token")
        inputs, targets = corrupt_spans(content, sentinels, rng, rate=rate, span=span)
        pairs.append(([*inputs, tokenizer.eos_token_id], [*targets, tokenizer.eos_token_id]))
    inputs, targets = zip(*pairs, strict=True)
    mask_of = padded([[1] * len(row) for row in inputs], 0)
    return _tensors(padded(inputs, tokenizer.pad_token_id), mask_of, padded(targets, IGNORED))


def mask(
    ids: np.ndarray,
    maskable: np.ndarray,
    rng: np.random.Generator,
    *,
    mask_id: int,
    others: np.ndarray,
    rate: float = RATE,
    shares: tuple[float, float] = SHARES,
    least: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels (B, S) of ids (B, S); `maskable` (B, S) says where, `others` what replaces a token.

    A token is chosen where its draw is below `rate`; where fewer than `least` of a text are, those with the lowest.
    """
    draws = np.where(maskable, rng.random(ids.shape), np.inf)
    chosen = (draws < rate) | (maskable & (draws.argsort(1).argsort(1) < least))
    fate, drawn = rng.random(ids.shape), rng.choice(others, size=ids.shape)
    inputs = np.where(chosen & (fate < shares[0]), mask_id, ids)
    inputs = np.where(chosen & (fate >= shares[0]) & (fate < sum(shares)), drawn, inputs)
    return inputs, np.where(chosen, ids, IGNORED)


def corrupt_spans(
    ids: Sequence[int],
    sentinels: Sequence[int],
    rng: np.random.Generator,
    *,
    rate: float = RATE,
    span: float = SPAN,
) -> tuple[list[int], list[int]]:
    """Inputs and targets of one text (both without the end token); `restored` undoes it.

    round(rate n) tokens are hidden, at least one, in round(that / span) spans, at least one, which never touch: all
    places of the spans are equally likely.
    """
    hidden = min(len(ids), max(1, round(len(ids) * rate)))
    spans = min(max(1, round(hidden / span)), hidden, len(ids) - hidden + 1, len(sentinels) - 1)
    lengths = _parts(hidden, spans, rng)
    between = _parts(len(ids) - hidden + 2, spans + 1, rng)  # two more: what is kept at either end may be nothing
    between[0], between[-1] = between[0] - 1, between[-1] - 1
    inputs, targets, at = [], [], 0
    for kept, length, sentinel in zip(between, lengths, sentinels, strict=False):
        inputs += [*ids[at : at + kept], sentinel]
        targets += [sentinel, *ids[at + kept : at + kept + length]]
        at += kept + length
    return [*inputs, *ids[at:]], [*targets, sentinels[spans]]


def restored(inputs: Sequence[int], targets: Sequence[int], sentinels: Sequence[int]) -> list[int]:
    """The text from which `corrupt_spans` made these inputs and targets."""
    hidden: dict[int, list[int]] = {}
    for token in targets:
        if token in sentinels:
            hidden[token] = current = []
        else:
            current.append(token)
    return [original for token in inputs for original in hidden.get(token, [token])]


def sentinel_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of `<extra_id_0>`, `<extra_id_1>`, ... as far as the tokenizer has them.

    Raises:
        UsageError: fewer than two.
    """
    vocabulary, found = tokenizer.get_vocab(), []
    for number in range(SENTINELS):
        names = (f"<extra_id_{number}>", f"▁<extra_id_{number}>")  # mT5's own file has the second
        known = [vocabulary[name] for name in names if name in vocabulary]
        if not known:
            break
        found.append(known[0])
    if len(found) < 2:
        raise UsageError("the tokenizer has no sentinels (<extra_id_0>, ...): choose T5 or mT5, or masking")
    return found


def ordinary(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Ids of all tokens that are not special, ascending."""
    return np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)


def padded(rows: Sequence[Sequence[int]], value: int) -> np.ndarray:
    """(B, S) the rows, filled up with `value`."""
    width = max(map(len, rows))
    return np.array([[*row, *[value] * (width - len(row))] for row in rows], dtype=np.int64)


def _parts(total: int, parts: int, rng: np.random.Generator) -> list[int]:
    """`total` as a sum of so many positive integers, all such sums equally likely."""
    cuts = np.sort(rng.choice(total - 1, size=parts - 1, replace=False)) + 1
    return np.diff([0, *cuts, total]).tolist()


def _tensors(inputs: np.ndarray, attention: np.ndarray, labels: np.ndarray) -> Batch:
    arrays = {"input_ids": inputs, "attention_mask": attention, "labels": labels}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
