"""Examples of a task as inputs of an encoder, and the encoder's logits as predictions of the task.

tokens   words are cut into subwords; the first subword of a word has its tag, the others are not scored. A word
         that is cut off at the end, or that leaves no subword, is predicted as `O` (or the first label).
pair     both texts with the model's separator between them.
answer   question and context; a long context in several windows, of which the best span of all is the answer.
         Windows without the answer are trained to point at the first token (as SQuAD's readers do).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from langsim.corruption import IGNORED, padded
from langsim.errors import UsageError
from langsim.models import LoadedModel
from langsim.tasks.base import Answer, Example, Pair, Task, Tokens

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Row:
    """One input: ids, what is scored, and where it came from.

    Attributes:
        ids: with special tokens. types: BERT's segments (0 everywhere where there is one).
        labels: (len(ids),) tags of tokens, (1,) a class, or (2,) start and end of the answer, -100 = not scored.
        example: number of the example it was made from.
        places: tokens: position of the first subword of each word, -1 where there is none. answer: for every position
            (start, end) in characters of the context, or None outside of it.
    """

    ids: list[int]
    types: list[int]
    labels: list[int]
    example: int
    places: Sequence[Any] = ()


@dataclass
class Encoded:
    """Examples of one language and split, encoded. `cut`: how many were longer than allowed."""

    rows: list[Row]
    examples: Sequence[Example]
    cut: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Encoder:
    """How examples of one task are read by one model."""

    tokenizer: PreTrainedTokenizerBase
    kind: str
    labels: tuple[str, ...]
    max_length: int
    window: int
    stride: int
    answer_length: int
    segments: bool

    @classmethod
    def of(
        cls,
        loaded: LoadedModel,
        task: Task,
        *,
        max_length: int = 512,
        window: int = 384,
        stride: int = 128,
        answer_length: int = 30,
    ) -> "Encoder":
        """Lengths are cut down to what the model takes.

        Raises:
            UsageError: a model without a tokenizer that knows words and offsets.
        """
        tokenizer = loaded.tokenizer
        if tokenizer is None or not tokenizer.is_fast:
            raise UsageError(f"the model '{loaded.name}' has no fast tokenizer: words can't be found in its subwords")
        limit = loaded.max_tokens
        segments = "token_type_ids" in tokenizer("a")
        segments = segments and getattr(loaded.model.config, "type_vocab_size", 0) > 1
        window = min(window, limit)
        sizes = (min(max_length, limit), window, min(stride, window // 2 - 1), answer_length)
        return cls(tokenizer, task.kind, task.labels, *sizes, segments)

    def encode(self, examples: Sequence[Example]) -> Encoded:
        """Rows of the examples, in their order."""
        return {"tokens": self._tokens, "pair": self._pairs, "answer": self._answers}[self.kind](examples)

    def collate(self, rows: Sequence[Row]) -> Batch:
        """One padded batch: input_ids, attention_mask (B, S), labels ((B, S), (B,) or (B, 2))."""
        batch = {
            "input_ids": padded([row.ids for row in rows], self.tokenizer.pad_token_id),
            "attention_mask": padded([[1] * len(row.ids) for row in rows], 0),
            "labels": padded([row.labels for row in rows], IGNORED),
        }
        if self.segments:
            batch["token_type_ids"] = padded([row.types for row in rows], 0)
        if self.kind == "pair":
            batch["labels"] = batch["labels"][:, 0]
        return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in batch.items()}

    # Tokens ----------------------------------------------------------------------------------------------------------

    def _tokens(self, examples: Sequence[Tokens]) -> Encoded:
        number = {label: i for i, label in enumerate(self.labels)}
        found = self.tokenizer(
            [list(one.words) for one in examples],
            is_split_into_words=True,
            truncation=True,
            max_length=self.max_length,
        )
        rows, cut = [], 0
        for i, one in enumerate(examples):
            ids, labels, places = found["input_ids"][i], [], [-1] * len(one.words)
            for position, word in enumerate(found.word_ids(i)):
                first = word is not None and places[word] < 0
                if first:
                    places[word] = position
                labels.append(number[one.tags[word]] if first else IGNORED)
            cut += places[-1] < 0
            rows.append(Row(ids, self._types(found, i), labels, i, places))
        return Encoded(rows, examples, cut)

    # Pairs -----------------------------------------------------------------------------------------------------------

    def _pairs(self, examples: Sequence[Pair]) -> Encoded:
        number = {label: i for i, label in enumerate(self.labels)}
        first = [one.first for one in examples]
        second = [one.second for one in examples] if any(one.second for one in examples) else None
        whole = self.tokenizer(first, second)["input_ids"]
        found = self.tokenizer(first, second, truncation=True, max_length=self.max_length)
        rows = [
            Row(found["input_ids"][i], self._types(found, i), [number[one.label]], i) for i, one in enumerate(examples)
        ]
        return Encoded(rows, examples, sum(len(ids) > self.max_length for ids in whole))

    # Answers ---------------------------------------------------------------------------------------------------------

    def _answers(self, examples: Sequence[Answer]) -> Encoded:
        questions = self.tokenizer([one.question for one in examples], add_special_tokens=False)["input_ids"]
        room = self.window - self.stride - self.tokenizer.num_special_tokens_to_add(pair=True) - 1
        longest = max(map(len, questions))
        if longest > room:
            raise UsageError(f"a question has {longest} tokens, and a window of {self.window} has room for {room}")
        found = self.tokenizer(
            [one.question for one in examples],
            [one.context for one in examples],
            truncation="only_second",
            max_length=self.window,
            stride=self.stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        rows = []
        for i, example in enumerate(found["overflow_to_sample_mapping"]):
            sides = found.sequence_ids(i)
            places = [
                tuple(place) if side == 1 and place[1] > place[0] else None
                for side, place in zip(sides, found["offset_mapping"][i], strict=True)
            ]
            labels = self._span(places, examples[example])
            rows.append(Row(found["input_ids"][i], self._types(found, i), labels, example, places))
        return Encoded(rows, examples, len(rows) - len(examples))

    def _span(self, places: Sequence[tuple[int, int] | None], one: Answer) -> list[int]:
        """First and last token of the answer, or the first position where this window does not have all of it."""
        start, end = one.start, one.start + len(one.answer)
        inside = [i for i, place in enumerate(places) if place and place[0] < end and place[1] > start]
        if not inside or places[inside[0]][0] > start or places[inside[-1]][1] < end:
            return [0, 0]
        return [inside[0], inside[-1]]

    def _types(self, found: Any, i: int) -> list[int]:
        return list(found["token_type_ids"][i]) if self.segments else []

    # Predictions -----------------------------------------------------------------------------------------------------

    def predictions(self, encoded: Encoded, logits: Sequence[np.ndarray]) -> tuple[list, list]:
        """Gold and predicted values, as `langsim.tasks.metrics` takes them.

        Args:
            logits: of every row, without padding: (S, labels), (labels,) or (2, S).
        """
        if self.kind == "pair":
            gold = [one.label for one in encoded.examples]
            return gold, [self.labels[int(one.argmax())] for one in logits]
        if self.kind == "tokens":
            return self._tags(encoded, logits)
        best = [("", -np.inf)] * len(encoded.examples)
        for row, one in zip(encoded.rows, logits, strict=True):
            start, end, score = best_span(one, [place is not None for place in row.places], self.answer_length)
            if score > best[row.example][1]:
                text = encoded.examples[row.example].context
                best[row.example] = (text[row.places[start][0] : row.places[end][1]], score)
        return [one.answer for one in encoded.examples], [text for text, _ in best]

    def _tags(self, encoded: Encoded, logits: Sequence[np.ndarray]) -> tuple[list, list]:
        lost = "O" if "O" in self.labels else self.labels[0]
        gold, predicted = [], []
        for row, one in zip(encoded.rows, logits, strict=True):
            best = one.argmax(-1)
            gold.append(list(encoded.examples[row.example].tags))
            predicted.append([self.labels[best[place]] if place >= 0 else lost for place in row.places])
        return gold, predicted


def best_span(scores: np.ndarray, allowed: Sequence[bool], longest: int) -> tuple[int, int, float]:
    """(start, end, score) of the best span of at most `longest` tokens.

    That is the largest sum of the scores (2, S) of its ends, both allowed; the first among equals. (0, 0, -inf) where
    nothing is allowed.
    """
    start, end = np.where(allowed, scores, -np.inf).astype(float)  # (S,) each
    total = start[:, None] + end[None, :]
    i, j = np.indices(total.shape)
    total[(j < i) | (j >= i + longest)] = -np.inf
    place = int(total.argmax())
    best = float(total.flat[place])
    return (*divmod(place, total.shape[1]), best) if best > -np.inf else (0, 0, -np.inf)


def by_length(rows: Sequence[Row], tokens: int) -> Iterator[list[int]]:
    """Numbers of rows in batches of at most `tokens` positions, padding counted (one row at least), shortest first."""
    batch: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: len(rows[i].ids)):
        if batch and len(rows[i].ids) * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def shuffled(rows: Sequence[Row], size: int, rng: np.random.Generator, pool: int = 8) -> list[list[int]]:
    """Numbers of rows in batches of `size` for one epoch: drawn in pools of so many batches, in a pool by length, and
    the batches in a new order, so that a batch holds rows of like length and little padding."""
    order = rng.permutation(len(rows))
    batches = []
    for begin in range(0, len(order), size * pool):
        part = sorted(order[begin : begin + size * pool].tolist(), key=lambda i: len(rows[i].ids))
        batches += [part[i : i + size] for i in range(0, len(part), size)]
    return [batches[i] for i in rng.permutation(len(batches))]
