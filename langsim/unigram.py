"""What predicts a translation without reading the source as language: the baselines of a translation model's loss.

*Token unigram*: every target token is drawn from the frequencies of the training text. *Copying*: with probability
lambda a token is copied from a random place of the source, else drawn from those frequencies.
"""

from collections.abc import Sequence

import numpy as np

COPY_RATES = np.linspace(0.0, 0.95, 96)


def frequencies(sequences: Sequence[Sequence[int]], vocab_size: int) -> np.ndarray:
    """(V,) relative frequency of each token, one added to every count so that no token is impossible."""
    counts = np.ones(vocab_size)
    for ids in sequences:
        np.add.at(counts, list(ids), 1.0)
    return counts / counts.sum()


def unigram_nll(targets: Sequence[Sequence[int]], p: np.ndarray) -> float:
    """Mean negative log-likelihood of the target tokens under `p` (V,), nats a token."""
    return float(-np.log(p[np.concatenate([np.asarray(ids) for ids in targets])]).mean())


def mixed_nll(targets: Sequence[Sequence[int]], own: np.ndarray, pooled: np.ndarray) -> float:
    """The same under a mixture of two distributions (V,), a language's own and that of all languages together, at the
    shares that suit these very texts best (in the baseline's favour)."""
    tokens = np.concatenate([np.asarray(ids) for ids in targets])
    return float(min(-np.log((1 - rate) * own[tokens] + rate * pooled[tokens]).mean() for rate in COPY_RATES))


def copy_nll(sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], p: np.ndarray) -> float:
    """The same for copying, nats a token, at the lambda that suits these very texts best (in the baseline's favour)."""
    drawn, copied = [], []
    for source, target in zip(sources, targets, strict=True):
        share = np.bincount(source, minlength=len(p)) / len(source)  # (V,)
        drawn.append(p[list(target)])
        copied.append(share[list(target)])
    u, c = np.concatenate(drawn), np.concatenate(copied)  # (N,) each
    return float(min(-np.log((1 - rate) * u + rate * c).mean() for rate in COPY_RATES))
