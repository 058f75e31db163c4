"""Is the instrument any good? Checks to be read before any similarity is (data rule 3 of the house).

Split halves: every language's text is cut in two, by units that share no near-identical message, and a Fisher vector
is estimated from each. In the cross matrix of the halves (row = language in one half, column = language in the other)
each language should be the most similar to itself; `hits` counts how often it is.

Nulls: the trained model on sources that are another item's, a model of random weights, and no model at all, only which
tokens occur how often. What a trained model does no better than these need not be anything it has learnt.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from langsim import matching, results
from langsim.agreement import Association, association, off_diagonal, oriented
from langsim.centring import centre
from langsim.corpora.base import Pair
from langsim.estimation import Text, estimate_missing, model_of
from langsim.pipeline import FisherVectors, SimilarityMatrix
from langsim.similarity import LARGER_IS_SIMILAR, similarities
from langsim.store import FisherStore, StoredVector

if TYPE_CHECKING:
    from langsim.models import LoadedModel

VERSION = 1  # raise when what is estimated here changes
TRAINED, SHUFFLED, RANDOM, TOKENS = "trained model", "shuffled source", "random weights", "token counts"


@dataclass(frozen=True)
class Check:
    """One instrument on two halves of the text.

    Attributes:
        name: which instrument.
        cross: (L, L) row = language in the first half, column = language in the second; larger = more similar.
        nats: language to the mean loss of a token, over both halves; empty where there is no model.
    """

    name: str
    cross: pd.DataFrame
    nats: dict[str, float] = field(default_factory=dict)

    def shown(self, *, centred: bool) -> pd.DataFrame:
        """(L, L) the cross matrix, raw or centred, the diagonal included."""
        return centre(self.cross, cross=True).residuals if centred else self.cross

    def best(self, *, centred: bool) -> np.ndarray:
        """(L,) the place of the most similar language of the second half, for each of the first."""
        return self.shown(centred=centred).to_numpy().argmax(axis=1)

    def found(self, *, centred: bool) -> np.ndarray:
        """(L,) whether a language of the first half finds itself as the most similar one of the second."""
        return self.best(centred=centred) == np.arange(len(self.cross))

    def hits(self, *, centred: bool) -> int:
        """How many languages find themselves."""
        return int(self.found(centred=centred).sum())

    def follows(self, other: pd.DataFrame, *, centred: bool) -> Association:
        """Spearman's correlation with another matrix, both raw or both centred, the diagonal left out."""
        return association(self.cross, other, centred=centred, resamples=0)


def halves(pairs: Mapping[str, list[Pair]], seed: int = 0) -> tuple[dict[str, list[Pair]], dict[str, list[Pair]]]:
    """Two disjoint halves of every language's pairs; a unit (cluster of near-identical messages, document) is never
    divided, and goes to the same half in every language.

    Units come in an order drawn from the seed, whatever order the pairs are in, and each goes to the half that has
    fewer characters so far: the halves differ by the largest unit at most.
    """
    sizes: dict[str, int] = {}
    for found in pairs.values():
        for pair in found:
            sizes[pair.unit] = sizes.get(pair.unit, 0) + len(pair.source_text) + len(pair.target_text)
    filled = [0, 0]
    side = {}
    for unit in sorted(sizes, key=lambda unit: hashlib.blake2b(f"{seed}:{unit}".encode()).digest()):
        side[unit] = int(filled[1] < filled[0])
        filled[side[unit]] += sizes[unit]
    return tuple({c: [p for p in found if side[p.unit] == i] for c, found in pairs.items()} for i in (0, 1))


def shuffled(pairs: Mapping[str, list[Pair]], seed: int = 0) -> dict[str, list[Pair]]:
    """Every language's pairs with each source replaced by another pair's, the targets as they were: sources and
    targets are the same text, but none translates the other. Where languages have the same items they are exchanged
    alike."""
    found = {}
    for code, given in pairs.items():
        order = np.random.default_rng(seed).permutation(len(given))
        other = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))  # one ring: nothing stays in place
        found[code] = [replace(pair, source_text=given[other[i]].source_text) for i, pair in enumerate(given)]
    return found


def checks(vectors: FisherVectors) -> list[Check]:
    """The trained model, the same on shuffled sources, the same model with random weights, and token counts, on the
    same two halves.

    Vectors are kept in the store, so an interrupted call continues.
    """
    parts = halves(vectors.matched.pairs, vectors.settings.seed)
    affinity = token_affinity(model_of(vectors.settings), *parts, vectors.settings.target_language)
    return [*(check(vectors, name) for name in (TRAINED, SHUFFLED, RANDOM)), Check(TOKENS, affinity)]


def check(vectors: FisherVectors, name: str) -> Check:
    """One of the instruments that estimate: `TRAINED`, `SHUFFLED` or `RANDOM`."""
    settings = vectors.settings
    parts = halves(vectors.matched.pairs, settings.seed)
    if name == SHUFFLED:
        parts = tuple(shuffled(part, settings.seed) for part in parts)
    rows, columns = _vectors(name, parts, vectors)
    cross = cross_matrix(rows, columns, vectors)
    return Check(name, cross, {code: _nats(rows[code], columns[code]) for code in rows})


def cross_matrix(
    rows: Mapping[str, StoredVector], columns: Mapping[str, StoredVector], like: FisherVectors
) -> pd.DataFrame:
    """(L, L) the measure of the settings of `like` between two sets of vectors, larger = more similar."""
    settings = like.settings
    found = similarities(
        rows,
        columns,
        measures=[settings.measure],
        k=settings.k,
        scope=like.scope,
        keep=like.keep,
        recipe=settings.recipe,
    )
    return oriented(found.raw[settings.measure], LARGER_IS_SIMILAR[settings.measure])


def _nats(*vectors: StoredVector) -> float:
    """The mean loss of a token over the texts of some vectors."""
    told = [vector.metadata for vector in vectors]
    return float(np.average([one["nll"] for one in told], weights=[one["n_tokens"] for one in told]))


def token_affinity(
    loaded: "LoadedModel", rows: Mapping[str, list[Pair]], columns: Mapping[str, list[Pair]], target: str
) -> pd.DataFrame:
    """(L, L) Bhattacharyya coefficients of token frequencies on the source side: 1 = the same distribution. The
    language token is left out."""
    size = loaded.model.config.vocab_size
    found = []
    for part in (rows, columns):
        table = np.zeros((len(part), size))
        for row, (code, pairs) in enumerate(part.items()):
            for pair in pairs:
                ids, _ = loaded.encode(pair.source_text, pair.target_text, code, target)
                table[row] += np.bincount(ids, minlength=size)[:size]
        everywhere = {code: _common(loaded, pairs, code, target) for code, pairs in part.items()}
        for row, code in enumerate(part):
            table[row, list(everywhere[code])] = 0
        found.append(np.sqrt(table / table.sum(axis=1, keepdims=True)))
    return pd.DataFrame(found[0] @ found[1].T, list(rows), list(columns))


def _common(loaded: "LoadedModel", pairs: list[Pair], code: str, target: str) -> set[int]:
    """Tokens that every item of a language has: those of the language and of the end."""
    encoded = [set(loaded.encode(p.source_text, p.target_text, code, target)[0]) for p in pairs]
    return set.intersection(*encoded)


def _vectors(
    name: str, parts: Sequence[Mapping[str, list[Pair]]], vectors: FisherVectors
) -> list[dict[str, StoredVector]]:
    """One stored vector a language and half, estimated where it isn't there yet, as the full ones were."""
    settings = vectors.settings
    selection = next(iter(vectors.open().values())).metadata["selection"]
    # By model: keys are by text, so shuffled sources stand beside the others.
    model = RANDOM if name == RANDOM else TRAINED
    folder = vectors.folder.parent / f"{vectors.folder.name}-check{VERSION}-{model.replace(' ', '-')}"
    keys = [{code: f"{code}-{matching.digest(found)[:16]}" for code, found in pairs.items()} for pairs in parts]
    texts = [
        Text(code, found, key, signature=key)
        for pairs, half in zip(parts, keys, strict=True)
        for (code, found), key in zip(pairs.items(), half.values(), strict=True)
    ]
    seed = settings.seed if name == RANDOM else None
    estimate_missing(texts, folder, settings, selection, weights_seed=seed, title=f"halves, {name}")
    store = FisherStore(folder)
    return [{code: store.get(key) for code, key in half.items()} for half in keys]


def columns(found: Sequence[Check]) -> dict[str, pd.DataFrame]:
    """Name to (L, L): the columns that nulls have in a tidy result, `shuffled_source` and so on."""
    return {_column(check.name): check.cross for check in found if check.name != TRAINED}


def frame(found: Sequence[Check], measure: str, families: Mapping[str, str]) -> pd.DataFrame:
    """The tidy result of a check: target (of the first half), auxiliary (of the second), measure, value and centred of
    the trained model, and what the nulls have; languages ordered by family."""
    (trained,) = (check for check in found if check.name == TRAINED)
    views = {"value": trained.cross, "centred": trained.shown(centred=True), **columns(found)}
    pairs = [(target, auxiliary) for target in families for auxiliary in families]
    named = {"target": [t for t, _ in pairs], "auxiliary": [a for _, a in pairs], "measure": measure}
    return pd.DataFrame({**named, **{name: [float(m.loc[pair]) for pair in pairs] for name, m in views.items()}})


def tolerances(found: Sequence[Check]) -> dict[str, float]:
    """How far the columns of `frame` may move between machines: two percent of what lies between the least and the most
    similar pair of two languages, as `comparison.Comparison.tolerances`."""
    (trained,) = (check for check in found if check.name == TRAINED)
    views = {"value": trained.cross, "centred": trained.cross, **columns(found)}
    return {name: 0.02 * float(np.ptp(off_diagonal(matrix.to_numpy()))) for name, matrix in views.items()}


def signature(matrix: SimilarityMatrix) -> str:
    """The signature of a check: that of the full text's matrix, and that it was cut."""
    return results.signature({**results.parse_signature(matrix.signature), "halves": str(VERSION)})


def read(saved: pd.DataFrame) -> list[Check]:
    """The checks that a tidy result holds (`frame`, or Figure 6's); only the trained model where nulls were not saved.
    Losses are not in it."""
    codes = list(dict.fromkeys(saved["target"]))
    names = {"value": TRAINED, **{_column(name): name for name in (SHUFFLED, RANDOM, TOKENS)}}
    return [
        Check(name, saved.pivot(index="target", columns="auxiliary", values=column).loc[codes, codes].astype(float))
        for column, name in names.items()
        if column in saved
    ]


def _column(name: str) -> str:
    return name.replace(" ", "_")
