"""Sub-networks of languages: Fisher vectors of text, the top p of them, and Jaccard's coefficient (Section 3).

A Fisher vector covers the encoder's layers with biases and norms, as the paper's footnote 1 says: no embeddings, no
head (`heads.ENCODER_LAYERS`; of an encoder-decoder the paper says nothing, and the encoder is taken, which is what is
fine-tuned).

p(y|x) is the language model's (`lm`): masked tokens, 15%, 80/10/10, one of every text at least (a short text of which
nothing is hidden says nothing; the authors' code lets it be so), or span corruption for T5 and mT5; or that of a
random head of the task on labelled text (`head`). `per_example` averages over texts the squared gradient of a text's
log-likelihood, summed over what is scored of it; `batch` is the authors' code (see `langsim.fisher`).

The texts come shortest first, so that batches have little padding; for `batch`, in the order drawn, as the authors'
loader has them.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd

from langsim import corruption, fisher
from langsim.corruption import Batch
from langsim.errors import UsageError
from langsim.fisher import FisherVector
from langsim.models import LoadedModel
from langsim.similarity import Similarities, similarities
from langsim.tasks.base import Example, Task
from langsim.xsns.encoding import Encoder
from langsim.xsns.heads import ENCODER_LAYERS, with_head

Recipe = Literal["paper", "authors_code"]
ESTIMATORS = {"paper": "per_example", "authors_code": "batch"}
FISHER_RECIPES = {"paper": "paper", "authors_code": "xsns_authors_code"}
LEAST = {"paper": 1, "authors_code": 0}  # hidden tokens of a text, at least
TOKENS = 4096  # positions of a batch of `per_example`, where batches decide nothing
UNKNOWN = 0.2  # share of a language's tokens from which on a page warns


def of_text(
    loaded: LoadedModel,
    texts: Sequence[str],
    *,
    recipe: Recipe = "paper",
    seed: int = 0,
    batch_size: int = 4,
    max_length: int = 512,
    shuffle: bool = False,
    key: str = "",
) -> FisherVector:
    """The Fisher vector of plain text under the model's own objective.

    Args:
        seed: of what is hidden (and, in `authors_code`, of dropout).
        batch_size: texts in a mini-batch of `authors_code`.
        shuffle: the tokens of each text in a random order: a null that keeps which tokens occur together.
        key: what the text is of, a language for example; for messages.

    Raises:
        UsageError: no text, a model without mask token or sentinels.
        Failure: a gradient that isn't finite.
    """
    rng = np.random.default_rng(seed)
    encoded = _encoded(loaded, texts, max_length, key)
    if shuffle:
        special = set(loaded.tokenizer.all_special_ids)
        encoded = [_shuffled(row, special, rng) for row in encoded]
    spans = loaded.model.config.is_encoder_decoder
    corrupted = corruption.span_batch if spans else partial(corruption.masked_batch, least=LEAST[recipe])

    def batches() -> Iterator[Batch]:
        for some in _grouped(encoded, [len(row) for row in encoded], recipe, batch_size):
            yield corrupted([encoded[i] for i in some], loaded.tokenizer, rng)

    return _estimate(loaded.model, batches(), recipe, seed, key)


def of_labels(
    loaded: LoadedModel,
    task: Task,
    examples: Sequence[Example],
    *,
    recipe: Recipe = "paper",
    seed: int = 0,
    batch_size: int = 4,
    encoder: Encoder | None = None,
    key: str = "",
) -> FisherVector:
    """The Fisher vector of labelled text under a random head of the task (Section 3, `T` for p(y|x)).

    Args:
        seed: of the head, the same for all languages that are compared.

    Raises:
        UsageError: no example.
        Failure: a gradient that isn't finite.
    """
    if not examples:
        raise UsageError(f"no labelled text{_of(key)}; give at least one example")
    encoder = encoder or Encoder.of(loaded, task)
    rows = encoder.encode(examples).rows
    model = with_head(loaded, task.head, len(task.labels), seed=seed)

    def batches() -> Iterator[Batch]:
        for some in _grouped(rows, [len(row.ids) for row in rows], recipe, batch_size):
            yield encoder.collate([rows[i] for i in some])

    return _estimate(model, batches(), recipe, seed, key)


def drawn(items: Sequence, units: Sequence[str], size: int, seed: int) -> list:
    """`size` items by the lowest hashes of seed and unit, in their own order: where languages have the same units, the
    same are drawn in each."""
    from langsim.matching import rank

    chosen = sorted(range(len(items)), key=lambda i: (rank(units[i], seed), i))[:size]
    return [items[i] for i in sorted(chosen)]


def masks(vectors: dict[str, FisherVector], p: float, recipe: Recipe = "paper") -> dict[str, np.ndarray]:
    """Language -> (P,) bool: its sub-network, round(p P) parameters (`langsim.thresholds`)."""
    from langsim.thresholds import top_mask

    return {code: top_mask(vector.values, p, recipe) for code, vector in vectors.items()}


def jaccard(vectors: dict[str, FisherVector], p: float, recipe: Recipe = "paper") -> Similarities:
    """Jaccard's coefficient of the sub-networks of all pairs; `matrix("jaccard", "centred")` has no main effects.

    Raises:
        UsageError: fewer than two languages, vectors of different models.
    """
    return similarities(vectors, measures=("jaccard",), k=p, recipe=recipe)


def crossed(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> np.ndarray:
    """(L, L) Jaccard's coefficients of sub-networks of two different texts: row = language in the first, column = in
    the second. The diagonal is a measurement: how much a language is like itself."""
    return np.array([[float((a & b).sum() / max(1, (a | b).sum())) for b in second.values()] for a in first.values()])


def lengths(loaded: LoadedModel, texts: Sequence[str], max_length: int) -> list[int]:
    """Tokens of each text, special ones apart, as far as they are read."""
    limit = min(max_length, loaded.max_tokens)
    found = loaded.tokenizer(list(texts), add_special_tokens=False, truncation=True, max_length=limit)["input_ids"]
    return [len(row) for row in found]


def chance(p: float) -> float:
    """Expected Jaccard's coefficient of two random masks: p / (2 - p)."""
    return p / (2 - p)


def predicted(matrix: pd.DataFrame, targets: Sequence[str], sources: Sequence[str]) -> pd.DataFrame:
    """(T, S) the part of an (L, L) similarity that ranks sources, row = target; a language itself is NaN."""
    part = matrix.loc[list(targets), list(sources)].copy()
    own = part.index.to_numpy()[:, None] == part.columns.to_numpy()[None, :]
    return part.mask(own).rename_axis(index="target", columns="source")


def unknown_rates(loaded: LoadedModel, texts: dict[str, Sequence[str]]) -> dict[str, float]:
    """Language -> share of its tokens that the tokenizer has no piece for: unknown, or spelt in bytes."""
    tokenizer, found = loaded.tokenizer, {}
    bytes_of = {i for piece, i in tokenizer.get_vocab().items() if len(piece) == 6 and piece.startswith("<0x")}
    odd = bytes_of | ({tokenizer.unk_token_id} - {None})
    for code, own in texts.items():
        ids = [i for row in tokenizer(list(own), add_special_tokens=False)["input_ids"] for i in row]
        found[code] = sum(i in odd for i in ids) / max(1, len(ids))
    return found


def warnings_of(rates: dict[str, float]) -> list[str]:
    """One sentence for each language of which the tokenizer knows too little."""
    return [
        f"The tokenizer has no piece for {rate:.0%} of the text in '{code}': its sub-network says little."
        for code, rate in rates.items()
        if rate >= UNKNOWN
    ]


def _estimate(model, batches: Iterator[Batch], recipe: Recipe, seed: int, key: str) -> FisherVector:
    return fisher.estimate(
        model,
        batches,
        estimator=ESTIMATORS[recipe],
        recipe=FISHER_RECIPES[recipe],
        selection=ENCODER_LAYERS,
        seed=seed,
        key=key,
    )


def _encoded(loaded: LoadedModel, texts: Sequence[str], max_length: int, key: str) -> list[list[int]]:
    if loaded.tokenizer is None:
        raise UsageError(
            f"the model '{loaded.name}' reads pairs of languages, not plain text; choose XLM-R, BERT or mT5"
        )
    limit = min(max_length, loaded.max_tokens)
    found = loaded.tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"] if texts else []
    special = set(loaded.tokenizer.all_special_ids)
    found = [row for row in found if set(row) - special]
    if not found:
        raise UsageError(f"no text{_of(key)}; give at least one sentence")
    return found


def _shuffled(row: list[int], special: set[int], rng: np.random.Generator) -> list[int]:
    places = [i for i, token in enumerate(row) if token not in special]
    mixed = dict(zip(places, rng.permutation([row[i] for i in places]).tolist(), strict=True))
    return [mixed.get(i, token) for i, token in enumerate(row)]


def _grouped(rows: Sequence, lengths: Sequence[int], recipe: Recipe, size: int) -> Iterator[list[int]]:
    if recipe == "authors_code":
        yield from (list(range(i, min(i + size, len(rows)))) for i in range(0, len(rows), size))
        return
    batch: list[int] = []
    for i in sorted(range(len(rows)), key=lengths.__getitem__):
        if batch and lengths[i] * (len(batch) + 1) > TOKENS:
            yield batch
            batch = []
        batch.append(i)
    yield batch


def _of(key: str) -> str:
    return f" of '{key}'" if key else ""
