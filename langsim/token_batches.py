"""Pairs of several languages, encoded once, and the endless stream of batches by tokens that training reads them in.

Pairs stand in groups: one a source language where all are into one target language (`encode`), one a direction where
they are from many languages into many (`encode_directions`).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from langsim import languages
from langsim.corpora.base import Pair
from langsim.errors import UsageError
from langsim.models import Batch, LoadedModel
from langsim.sampling import SamplingRule, draw

Mixing = Literal["mixed", "single-pair"]
Direction = tuple[str, str]  # source and target language


@dataclass(frozen=True)
class Ragged:
    """Sequences of token ids one after the other: `ids` int32, sequence i from `starts[i]` to `starts[i + 1]`."""

    ids: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]]) -> "Ragged":
        starts = np.concatenate([[0], np.cumsum([len(ids) for ids in sequences], dtype=np.int64)])
        flat = (token for ids in sequences for token in ids)
        return cls(np.fromiter(flat, dtype=np.int32, count=int(starts[-1])), starts)

    def __getitem__(self, i: int) -> list[int]:
        return self.ids[self.starts[i] : self.starts[i + 1]].tolist()

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)


@dataclass(frozen=True)
class EncodedPairs:
    """Pairs of several groups as token ids, group after group.

    Attributes:
        sizes: group (source language, or direction) -> number of pairs, in the order in which they stand.
        truncated: how many of their texts were longer than the model allows, and were cut.
    """

    sizes: dict[str, int] | dict[Direction, int]
    source: Ragged
    target: Ragged
    truncated: int

    @property
    def digest(self) -> str:
        """Hex sha256 of all groups and ids."""
        total = hashlib.sha256(repr(self.sizes).encode())
        for array in (self.source.starts, self.source.ids, self.target.starts, self.target.ids):
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()

    def batch(self, loaded: LoadedModel, indexes: Sequence[int]) -> Batch:
        """Padded tensors of the pairs with these indexes, as `LoadedModel.batches` gives them."""
        return loaded.pad([(self.source[i], self.target[i]) for i in indexes])

    def groups(self, indexes: Sequence[int]) -> list:
        """The group of each of these pairs."""
        names, ends = list(self.sizes), np.cumsum(list(self.sizes.values()))
        return [names[i] for i in np.searchsorted(ends, indexes, side="right")]

    def target_tokens(self, indexes: np.ndarray) -> int:
        """How many tokens of these pairs are scored."""
        return int(self.target.lengths[indexes].sum())


def encode(loaded: LoadedModel, data: Mapping[str, Sequence[Pair]], target: str, what: str) -> EncodedPairs:
    """Every pair once, languages sorted by code. `what` names the data in errors.

    Raises:
        UsageError: no data at all, a language without data, one that the model has no token for or that is the target.
    """
    if not data:
        raise UsageError(f"there is no {what} text: give pairs of at least one language")
    for code, pairs in data.items():
        if not pairs:
            raise UsageError(f"there is no {what} text of {code!r}: leave it out, or give it pairs")
        if languages.get(code).code == target:
            raise UsageError(
                f"wrong direction: {what} text of {code}-{target} is not a translation; leave {code!r} out"
            )
    codes = sorted(data)
    return _encoded(loaded, {code: (code, target, data[code]) for code in codes})


def encode_directions(loaded: LoadedModel, data: Mapping[Direction, Sequence[Pair]], what: str) -> EncodedPairs:
    """Every pair once, directions sorted by their codes. `what` names the data in errors.

    Raises:
        UsageError: no data at all, a direction without data or within one language, a language that the model has no
            token for.
    """
    if not data:
        raise UsageError(f"there is no {what} text: give pairs of at least one direction")
    for (source, target), pairs in data.items():
        if languages.get(source).code == languages.get(target).code:
            raise UsageError(f"wrong direction: {what} text of {source}-{target} is not a translation; leave it out")
        if not pairs:
            raise UsageError(f"there is no {what} text of {source}-{target}: leave it out, or give it pairs")
    return _encoded(loaded, {group: (*group, data[group]) for group in sorted(data)})


def _encoded(loaded: LoadedModel, data: Mapping[str | Direction, tuple[str, str, Sequence[Pair]]]) -> EncodedPairs:
    """Group -> source language, target language and pairs, in this order."""
    before = loaded.truncated
    sources, targets = [], []
    for code, target, pairs in data.values():
        for pair in pairs:
            source, into = loaded.encode(pair.source_text, pair.target_text, code, target)
            sources.append(loaded._cut(source))
            targets.append(loaded._cut(into))
    sizes = {group: len(pairs) for group, (_, _, pairs) in data.items()}
    return EncodedPairs(sizes, Ragged.of(sources), Ragged.of(targets), loaded.truncated - before)


@dataclass(frozen=True)
class BatchStream:
    """Endless batches of pairs by a sampling rule, bucketed by length: the same from the same seed, whoever else draws.

    Every epoch draws its examples anew (`SamplingRule.counts`), puts those of like length together, cuts them into
    batches of at most `tokens` positions on either side, padding counted, and shuffles the batches. A batch holds at
    least one example, under `equal` at least one of each language, however long.

    With `mixed` a batch holds whatever languages chance brings; under the rule `equal` it holds the same number of
    examples of each: the languages' examples are ordered by length, and those of one rank stay together.
    With `single-pair` a batch holds one language.
    """

    pairs: EncodedPairs
    rule: SamplingRule
    mixing: Mixing
    tokens: int
    seed: int

    def epoch(self, number: int) -> list[np.ndarray]:
        """The batches of an epoch, each the int64 indexes of its pairs."""
        rng = np.random.default_rng([self.seed, number])
        sizes = list(self.pairs.sizes.values())
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        counts = self.rule.counts(sizes)
        drawn = [
            offset + draw(size, int(count), rng) for offset, size, count in zip(offsets, sizes, counts, strict=True)
        ]
        if self.mixing == "single-pair":
            batches = [batch for own in drawn for batch in self._cut(self._by_length(own)[:, None])]
        elif self.rule.name == "equal":
            batches = self._cut(np.stack([self._by_length(own) for own in drawn], axis=1))
        else:
            everything = rng.permutation(np.concatenate(drawn))  # equal lengths in an order of chance
            batches = self._cut(self._by_length(everything)[:, None])
        return [batches[i] for i in rng.permutation(len(batches))]

    def updates(self, size: int, epoch: int = 0, index: int = 0) -> Iterator[tuple[list[np.ndarray], int, int]]:
        """From a position (epoch, batch) on: the next `size` batches, across epochs, and the position after them."""
        batches = self.epoch(epoch)
        while True:
            chosen = []
            while len(chosen) < size:
                if index == len(batches):
                    epoch, index = epoch + 1, 0
                    batches = self.epoch(epoch)
                chosen.append(batches[index])
                index += 1
            yield chosen, epoch, index

    def _by_length(self, indexes: np.ndarray) -> np.ndarray:
        """Indexes by the length of the longer side, then of the shorter; the order of equal ones stays."""
        source, target = self.pairs.source.lengths[indexes], self.pairs.target.lengths[indexes]
        return indexes[np.lexsort((np.minimum(source, target), np.maximum(source, target)))]

    def _cut(self, rows: np.ndarray) -> list[np.ndarray]:
        """Consecutive rows (n, languages of a row) as batches."""
        width = np.maximum(self.pairs.source.lengths[rows], self.pairs.target.lengths[rows]).max(axis=1)
        starts, widest = [0], 0
        for row, own in enumerate(width.tolist()):
            widest = max(widest, own)
            if row > starts[-1] and widest * (row + 1 - starts[-1]) * rows.shape[1] > self.tokens:
                starts.append(row)
                widest = own
        return [rows[a:b].ravel() for a, b in zip(starts, [*starts[1:], len(rows)], strict=True)]
