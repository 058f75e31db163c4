"""A vector for every sentence, in three ways, so that sentences of different languages can be compared by cosine.

`encoder`: the mean of the encoder's last states. `embeddings`: the mean of the input embeddings, which knows no order
and no context. `characters`: TF-IDF of character 1- to 3-grams, in which no model has a part; across scripts it sees
little more than digits, punctuation and names in Latin letters. Vectors have length 1 (or 0 for nothing but unknowns).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from langsim.corpora.base import Pair

if TYPE_CHECKING:
    from langsim.models import Batch, LoadedModel

ENCODER, EMBEDDINGS, CHARACTERS = "encoder", "embeddings", "characters"
UNTRAINED = "untrained encoder"  # a null: the encoder's vectors of a model whose weights were drawn anew
KINDS = {
    ENCODER: "mean of the encoder's last states",
    EMBEDDINGS: "mean of the input embeddings",
    CHARACTERS: "TF-IDF of character 1- to 3-grams",
    UNTRAINED: "the first, with random weights",
}
Vectors = np.ndarray | csr_matrix  # (sentences, features)


def vectors(
    loaded: "LoadedModel", pairs: Mapping[str, Sequence[Pair]], target: str, *, size: int = 16, threads: int = 1
) -> dict[str, dict[str, Vectors]]:
    """Kind of vector -> language -> (N, D) vectors of the source texts of its pairs, in their order.

    Tokens that every sentence of a language has (its own token, the end of the sentence) are left out of the means:
    they would make all sentences alike, short ones most.

    Args:
        target: the language that the pairs are translated into. size: sentences in a batch. threads: of the CPU.
    """
    import torch

    found: dict[str, dict[str, Vectors]] = {ENCODER: {}, EMBEDDINGS: {}, CHARACTERS: characters(pairs)}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for code, given in pairs.items():
            batches = list(loaded.batches(given, code, target, size=size))
            everywhere = _common(batches)
            means = [_means(loaded, batch, everywhere) for batch in batches]
            for kind, parts in zip((ENCODER, EMBEDDINGS), zip(*means, strict=True), strict=True):
                found[kind][code] = normalize(np.concatenate(parts))
    finally:
        torch.set_num_threads(before)
    return found


def characters(pairs: Mapping[str, Sequence[Pair]]) -> dict[str, csr_matrix]:
    """Language -> (N, D) TF-IDF of the source texts; the weights of n-grams are those of all languages together."""
    texts = [pair.source_text for given in pairs.values() for pair in given]
    counts = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), dtype=np.float32).fit_transform(texts)
    ends = np.cumsum([len(given) for given in pairs.values()]).tolist()
    return {code: counts[end - len(pairs[code]) : end] for code, end in zip(pairs, ends, strict=True)}


def _common(batches: Sequence["Batch"]) -> set[int]:
    """Tokens that every sentence has."""
    rows = [set(ids[keep > 0].tolist()) for b in batches for ids, keep in zip(b["input_ids"], b["attention_mask"])]  # noqa: B905
    return set.intersection(*rows)


def _means(loaded: "LoadedModel", batch: "Batch", everywhere: set[int]) -> tuple[np.ndarray, np.ndarray]:
    """(B, D) mean of the encoder's last states, and of the input embeddings, over a sentence's own tokens."""
    import torch

    model = loaded.model
    ids, mask = (batch[name].to(model.device) for name in ("input_ids", "attention_mask"))
    own = mask.bool() & ~torch.isin(ids, torch.tensor(sorted(everywhere), device=ids.device, dtype=ids.dtype))
    own = torch.where(own.any(dim=1, keepdim=True), own, mask.bool())[..., None]  # a sentence of nothing else
    with torch.inference_mode():
        states = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        tables = (states, model.get_input_embeddings()(ids))
        means = [(table * own).sum(dim=1) / own.sum(dim=1) for table in tables]
    return tuple(one.float().cpu().numpy() for one in means)
