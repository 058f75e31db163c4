"""Subword evenness, SuE (Pelloni, Shaitarova and Samardžić 2022; Appendix B of the third paper).

Every word type of a language is cut into subwords. A run of single characters counts as one subword, and words of one
subword are left out. The unevenness of a word is its longest subword minus its shortest, in characters. Over the plane
of word length (x) and unevenness (y) lies a density; the region above a third of its peak has a highest point and a
right-most one, and the line through both has the slope k <= 0. The other side of the triangle is the line of the most
uneven words, y = x - 2, of slope 1. SuE is the angle at the top of the triangle:

    SuE = 180 - |arctan 1| - |arctan k|  in degrees, from 45 to 135; the lower, the more uneven, the better the source.

As the authors do, every pair of length and unevenness that occurs counts once in the density, however many words have
it, and the kernel is a Gaussian of the normal reference width, 1.06 min(sd, IQR / 1.34) n^(-1/5) in each axis. Not as
they do: they add a little noise and average 100 rounds, and read the region from a plot; here the grid is fixed, and
the number with it. They take a number of merges a language (that of least redundancy), which they list for theirs
alone; here `MERGES`, the number in their script, serves all languages.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
import regex
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from langsim import languages

MERGES = 200
FEWEST = 10  # different pairs of length and unevenness; fewer have no shape
WITHOUT_SPACES = frozenset({"Hans", "Hant", "Jpan", "Thai", "Khmr", "Laoo", "Mymr", "Tibt"})
_CELLS = 200  # of the grid, a side
_LEVEL = 1 / 3  # of the peak: the lower border of the middle one of three bands
_END = "</w>"


def words(sentences: Iterable[str], code: str) -> list[str]:
    """The word types of a language: what stands between spaces, without punctuation, in the order of first use.

    None in scripts that write words without spaces (`WITHOUT_SPACES`): what stands between spaces there is no word.
    """
    if languages.get(code).script in WITHOUT_SPACES:
        return []
    found = (regex.sub(r"[\p{P}\p{C}]+", "", word) for text in sentences for word in text.split())
    return list(dict.fromkeys(filter(None, found)))


def segment(types: Sequence[str], merges: int = MERGES) -> list[list[str]]:
    """Each word type as the subwords of a byte-pair encoding learnt from these very types.

    As `subword-nmt`: the last character of a word is a symbol of its own, and a pair is merged if it occurs twice.
    """
    alphabet = {letter for word in types for letter in word} | {word[-1] + _END for word in types}
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=_END))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + merges, min_frequency=2, end_of_word_suffix=_END, show_progress=False
    )
    tokenizer.train_from_iterator(types, trainer)
    return [[piece.removesuffix(_END) for piece in tokenizer.encode(word).tokens] for word in types]


def clump(pieces: Sequence[str]) -> list[str]:
    """Runs of single characters as one subword."""
    found: list[str] = []
    for single, run in groupby(pieces, key=lambda piece: len(piece) == 1):
        some = list(run)
        found += ["".join(some)] if single else some
    return found


def points(segmented: Iterable[Sequence[str]]) -> np.ndarray:
    """(n, 2) the different pairs of word length and unevenness, in characters, ascending."""
    found = set()
    for pieces in map(clump, segmented):
        lengths = [len(piece) for piece in pieces]
        if len(lengths) > 1:
            found.add((sum(lengths), max(lengths) - min(lengths)))
    return np.array(sorted(found), dtype=float).reshape(-1, 2)


def evenness(segmented: Iterable[Sequence[str]]) -> float:
    """SuE in degrees; NaN where fewer than `FEWEST` different pairs occur, or all words are alike."""
    given = points(segmented)
    if len(given) < FEWEST or not (np.ptp(given, axis=0) > 0).all():
        return float("nan")
    (top_x, top_y), (right_x, right_y) = corners(given)
    return float(135 - np.degrees(np.arctan2(top_y - right_y, right_x - top_x)))


def corners(given: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """(x, y) of the highest and of the right-most point of the region above `_LEVEL` of the peak of the density."""
    axes, kernels = [], []
    for values in given.T:
        width = _bandwidth(values)
        axes.append(np.linspace(values.min() - 3 * width, values.max() + 3 * width, _CELLS + 1))
        kernels.append(np.exp(-(((axes[-1][:, None] - values) / width) ** 2) / 2))  # (cells, n)
    density = kernels[0] @ kernels[1].T  # (x, y)
    inside = density >= _LEVEL * density.max()
    top = np.flatnonzero(inside.any(0))[-1]
    right = np.flatnonzero(inside.any(1))[-1]
    highest = axes[0][density[:, top].argmax()], axes[1][top]
    rightmost = axes[0][right], axes[1][density[right].argmax()]
    return highest, rightmost


def _bandwidth(values: np.ndarray) -> float:
    low, high = np.quantile(values, [0.25, 0.75])
    spread = min(values.std(ddof=1), (high - low) / 1.34) or values.std(ddof=1)
    return 1.06 * spread * values.size ** (-1 / 5)
