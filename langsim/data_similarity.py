"""Data similarity (Appendix A.3 of the first paper): is the text of an auxiliary language close to that of the target?

T is a sample of an auxiliary's sentences, S one of the target's. For every sentence of T the cosines with all of S are
taken, and the mean of the largest few; the similarity is the mean over T. It isn't symmetric. Samples are drawn many
times: the paper prints one draw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.utils.extmath import safe_sparse_dot

from langsim.corpora.base import Pair
from langsim.errors import UsageError
from langsim.sentences import Vectors

_CELLS = 1 << 24  # cosines held at once (64 MiB of float32)


@dataclass(frozen=True)
class Sampling:
    """How the sentences are drawn.

    Attributes:
        share: of each language's sentences. nearest: how many of the largest cosines are averaged. draws: how often.
    """

    share: float
    nearest: int
    draws: int

    def __post_init__(self) -> None:
        problems = []
        if not _number(self.share) or not 0 < self.share <= 1:
            problems.append(f"sample: a share of the sentences in (0, 1] such as 0.1, not {self.share!r}")
        if not _whole(self.nearest) or self.nearest < 1:
            problems.append(f"nearest: a whole number from 1 such as 5, not {self.nearest!r}")
        if not _whole(self.draws) or self.draws < 1:
            problems.append(f"draws: a whole number from 1 such as 100, not {self.draws!r}")
        if problems:
            raise UsageError("; ".join(problems))

    def size(self, sentences: int) -> int:
        """How many of them are drawn.

        Raises:
            UsageError: fewer than `nearest`.
        """
        drawn = max(1, round(self.share * sentences))
        if drawn < self.nearest:
            raise UsageError(
                f"sample: {100 * self.share:g} % of {sentences} sentences are {drawn}, fewer than the {self.nearest} "
                "nearest that are averaged; raise sample"
            )
        return drawn


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def nearest_cosines(t: Vectors, s: Vectors, nearest: int) -> np.ndarray:
    """(n,) for every row of `t` the mean of its `nearest` largest cosines with the rows of `s`.

    Matrix products of blocks of rows: memory does not grow with n times m.

    Args:
        t: (n, d) of length 1 or 0, dense or sparse. s: (m, d) of the same kind.

    Raises:
        UsageError: fewer than `nearest` rows in `s`.
    """
    if s.shape[0] < nearest:
        raise UsageError(f"{s.shape[0]} sentences have no {nearest} nearest; give more")
    step = max(1, _CELLS // s.shape[0])
    other = s.T
    found = np.empty(t.shape[0])
    for start in range(0, t.shape[0], step):
        cosines = safe_sparse_dot(t[start : start + step], other, dense_output=True)
        top = np.partition(cosines, s.shape[0] - nearest, axis=1)[:, s.shape[0] - nearest :]
        found[start : start + step] = top.mean(axis=1, dtype=np.float64)
    return found


def similarity(t: Vectors, s: Vectors, nearest: int = 5) -> float:
    """Steps 3 to 5 of A.3, as a share of one: the mean of `nearest_cosines` over the rows of `t`."""
    return float(nearest_cosines(t, s, nearest).mean())


@dataclass(frozen=True)
class Items:
    """Which items the languages have, by number.

    Attributes:
        count: different items in all. of: language to the (N,) numbers of its sentences' items, in their order.
    """

    count: int
    of: dict[str, np.ndarray]

    @classmethod
    def numbered(cls, pairs: Mapping[str, Sequence[Pair]]) -> "Items":
        """Numbers follow the sorted ids, whatever order the languages come in."""
        number = {item: i for i, item in enumerate(sorted({pair.id for given in pairs.values() for pair in given}))}
        return cls(len(number), {c: np.array([number[pair.id] for pair in given]) for c, given in pairs.items()})


def sample(items: Items, sampling: Sampling, stream: np.random.Generator) -> dict[str, np.ndarray]:
    """Language -> ascending positions of the sentences drawn.

    Every item draws one lot, whatever languages have it, and each language takes its lowest: languages with the same
    items are sampled alike, so a difference between them is no accident of what was drawn.

    Raises:
        UsageError: a language has too few sentences for the sample.
    """
    lots = stream.random(items.count)
    return {code: np.sort(np.argsort(lots[own])[: sampling.size(len(own))]) for code, own in items.of.items()}


def draws(
    vectors: Mapping[str, Vectors], items: Items, target: str, sampling: Sampling, *, seed: int = 0
) -> pd.DataFrame:
    """(draws, auxiliaries) data similarity of every other language to the target; T and S are drawn apart.

    Args:
        vectors: language to the (N, D) vectors of its sentences.

    Raises:
        UsageError: a language has too few sentences for the sample.
    """
    others = [code for code in items.of if code != target]
    rows = []
    for draw in range(sampling.draws):
        t, s = (sample(items, sampling, np.random.default_rng([seed, draw, side])) for side in (0, 1))
        near = vectors[target][s[target]]
        rows.append({code: similarity(vectors[code][t[code]], near, sampling.nearest) for code in others})
    return pd.DataFrame(rows)
