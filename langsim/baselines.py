"""What ranks sources without the model's Fisher vectors (Section 4.2 and Appendix B of the third paper), and plainer.

Every function gives a `Baseline`: a matrix with a target in every row and a candidate source in every column, in the
orientation of its formula. A language that a baseline has no data for is not available: NaN, and named; it never gets a
default. `Baseline.oriented()` is what `langsim.ranking` takes: larger = a better source.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from langsim import languages, uriel
from langsim.errors import UsageError
from langsim.evenness import evenness

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from langsim.models import Batch

Values = Callable[[list[str], list[str]], np.ndarray]  # targets, sources -> (T, S)


@dataclass(frozen=True)
class Baseline:
    """A prediction and what it is.

    Attributes:
        matrix: index = target, columns = source, NaN where not available.
        larger_is_better: the direction of `matrix`.
        printed: whether the third paper has it.
        unavailable: languages without data, in order of first mention.
    """

    name: str
    title: str
    formula: str
    larger_is_better: bool
    printed: bool
    matrix: pd.DataFrame
    unavailable: tuple[str, ...] = ()

    def oriented(self) -> pd.DataFrame:
        """The matrix with larger = a better source."""
        return self.matrix if self.larger_is_better else -self.matrix


def lang2vec(targets: Sequence[str], sources: Sequence[str], kinds: Sequence[str] = tuple(uriel.KINDS)) -> Baseline:
    """L2V: cosine of URIEL's syntax, phonology and inventory vectors side by side, gaps filled by its neighbours (kNN).

    Raises:
        UsageError: an unknown language or kind of feature.
    """
    targets, sources = _named(targets, sources)
    vectors = {code: uriel.vectors([code], kinds).to_numpy()[0] for code in uriel.available(_all(targets, sources))}
    found = _pairs(targets, sources, _cosines(vectors), vectors)
    return Baseline("L2V", "lang2vec", "e_s . e_t / (|e_s| |e_t|)", True, True, *found)


def lexical_divergence(targets: Sequence[str], sources: Sequence[str], counts: Mapping[str, np.ndarray]) -> Baseline:
    """LEX: Jensen-Shannon divergence of the subword unigram distributions, in bits (0 = the same, 1 = nothing shared).

    Args:
        counts: language -> (V,) how often each subword of one vocabulary occurs (`unigram_counts`); without an entry or
            without a single subword it is not available.

    Raises:
        UsageError: counts of different vocabularies, negative or NaN.
    """
    targets, sources = _named(targets, sources)
    counts = {languages.get(code).code: np.asarray(one, dtype=float) for code, one in counts.items()}
    if len({one.shape for one in counts.values()}) > 1 or any(one.ndim != 1 for one in counts.values()):
        raise UsageError("counts: one number for every subword of one vocabulary, the same for all languages")
    if any(not (one >= 0).all() for one in counts.values()):
        raise UsageError("counts: numbers from 0; count the subwords again")
    shares = {code: one / one.sum() for code, one in counts.items() if one.sum() > 0}

    def values(some: list[str], others: list[str]) -> np.ndarray:
        p = np.stack([shares[code] for code in others])
        entropies = _entropy(p)
        rows = [_entropy((shares[t] + p) / 2) - (_entropy(shares[t]) + entropies) / 2 for t in some]
        return np.clip(np.stack(rows), 0.0, 1.0)

    found = _pairs(targets, sources, values, shares)
    return Baseline("LEX", "lexical divergence", "H((D_s + D_t) / 2) - (H(D_s) + H(D_t)) / 2", False, True, *found)


def unigram_counts(sequences: Iterable[Sequence[int]], vocab_size: int) -> np.ndarray:
    """(V,) how often each subword id occurs; leave special and language tokens out of the sequences."""
    ids = [np.asarray(one, dtype=np.int64) for one in sequences]
    return np.bincount(np.concatenate(ids) if ids else np.zeros(0, np.int64), minlength=vocab_size).astype(float)


def subword_evenness(
    targets: Sequence[str], sources: Sequence[str], segmented: Mapping[str, Iterable[Sequence[str]]]
) -> Baseline:
    """SuE of the source, whatever the target (`langsim.evenness`): the lower, the better the source is said to be.

    Args:
        segmented: source -> its word types as subwords; none or too few of them: not available.
    """
    targets, sources = _named(targets, sources)
    segmented = {languages.get(code).code: one for code, one in segmented.items()}
    scores = {code: evenness(segmented[code]) for code in sources if code in segmented}
    known = {code for code, score in scores.items() if not np.isnan(score)}
    row = [scores[code] if code in known else np.nan for code in sources]
    matrix = _frame(np.tile(row, (len(targets), 1)), targets, sources)
    formula = "180 - |arctan 1| - |arctan k| in degrees"
    lost = tuple(code for code in sources if code not in known)
    return Baseline("SuE", "subword evenness", formula, False, True, matrix, lost)


def embedding_similarity(targets: Sequence[str], sources: Sequence[str], vectors: Mapping[str, np.ndarray]) -> Baseline:
    """EMB: cosine of the languages' mean sentence vectors.

    Args:
        vectors: language -> (N, D) a vector a sentence, from any encoder (the paper: `mean_pooled`, N = 1,024).

    Raises:
        UsageError: vectors of different widths, or values that aren't finite.
    """
    targets, sources = _named(targets, sources)
    given = {languages.get(code).code: np.asarray(one, dtype=float) for code, one in vectors.items()}
    if any(one.ndim != 2 for one in given.values()) or len({one.shape[1] for one in given.values()}) > 1:
        raise UsageError("vectors: for every language (sentences, features), with the same number of features")
    if not all(np.isfinite(one).all() for one in given.values()):
        raise UsageError("vectors: a value is NaN or infinite; encode the sentences again")
    means = {code: one.mean(0) for code, one in given.items() if len(one)}
    means = {code: one for code, one in means.items() if one.any()}  # nothing has no direction
    found = _pairs(targets, sources, _cosines(means), means)
    return Baseline("EMB", "embedding similarity", "e_s . e_t / (|e_s| |e_t|)", True, True, *found)


def mean_pooled(model: "PreTrainedModel", batches: Iterable["Batch"]) -> np.ndarray:
    """(N, D) the mean of an encoder's last states over the tokens of each sentence (padding left out), float32.

    Args:
        model: an encoder with any head, or an encoder-decoder, of which the encoder is used; in evaluation mode.
        batches: `input_ids` and `attention_mask` (B, S).
    """
    import torch

    encoder = model.get_encoder() if model.config.is_encoder_decoder else model.base_model
    found = []
    with torch.inference_mode():
        for batch in batches:
            ids, mask = (batch[name].to(model.device) for name in ("input_ids", "attention_mask"))
            states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            weights = mask[..., None].to(states.dtype)
            found.append(((states * weights).sum(1) / weights.sum(1)).float().cpu().numpy())
    return np.concatenate(found)


def same_script(targets: Sequence[str], sources: Sequence[str]) -> Baseline:
    """1 where the default scripts of the registry are the same, else 0."""
    return _alike("script", "same script", "[script_s = script_t]", targets, sources)


def same_family(targets: Sequence[str], sources: Sequence[str]) -> Baseline:
    """1 where the families of the registry are the same (branches of Indo-European, else whole families), else 0."""
    return _alike("family", "same family", "[family_s = family_t]", targets, sources)


def random_ranking(targets: Sequence[str], sources: Sequence[str], seed: int = 0) -> Baseline:
    """One draw of uniform numbers: what a single random ranking gives (`ranking_chance.chance`: all of them)."""
    targets, sources = _named(targets, sources)
    values = np.random.default_rng(seed).random((len(targets), len(sources)))
    return Baseline("random", "random", "U(0, 1)", True, False, _frame(values, targets, sources))


def _alike(attribute: str, title: str, formula: str, targets: Sequence[str], sources: Sequence[str]) -> Baseline:
    targets, sources = _named(targets, sources)
    of = {code: getattr(languages.get(code), attribute) for code in _all(targets, sources)}

    def values(some: list[str], others: list[str]) -> np.ndarray:
        return np.array([[float(of[t] == of[s]) for s in others] for t in some])

    known = {code for code, value in of.items() if value}
    return Baseline(attribute, title, formula, True, False, *_pairs(targets, sources, values, known))


def _named(targets: Sequence[str], sources: Sequence[str]) -> tuple[list[str], list[str]]:
    targets, sources = languages.resolve(targets), languages.resolve(sources)
    if not targets or not sources:
        raise UsageError("no targets or no sources; name at least one of each")
    return targets, sources


def _all(targets: list[str], sources: list[str]) -> list[str]:
    return list(dict.fromkeys([*targets, *sources]))


def _frame(values: np.ndarray, targets: list[str], sources: list[str]) -> pd.DataFrame:
    return pd.DataFrame(values, pd.Index(targets, name="target"), pd.Index(sources, name="source"))


def _pairs(
    targets: list[str], sources: list[str], values: Values, known: Collection[str]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The matrix of `values(targets, sources)` of the known languages, NaN for the others; and who those are."""
    some, others = [t for t in targets if t in known], [s for s in sources if s in known]
    matrix = _frame(np.full((len(targets), len(sources)), np.nan), targets, sources)
    if some and others:
        matrix.loc[some, others] = values(some, others)
    return matrix, tuple(code for code in _all(targets, sources) if code not in known)


def _cosines(vectors: Mapping[str, np.ndarray]) -> Values:
    def values(some: list[str], others: list[str]) -> np.ndarray:
        t, s = (np.stack([vectors[code] for code in codes]).astype(float) for codes in (some, others))
        return (t @ s.T) / np.outer(np.linalg.norm(t, axis=1), np.linalg.norm(s, axis=1))

    return values


def _entropy(p: np.ndarray) -> np.ndarray:
    """(..., V) -> (...) in bits; 0 log 0 = 0."""
    return -(p * np.log2(np.where(p > 0, p, 1.0))).sum(-1)
