"""Is the instrument any good? Checks to be read before any similarity is (data rule 3 of the house).

Split halves: every language's text is cut in two, by units that share no near-identical message, and a Fisher vector
is estimated from each. In the cross matrix of the halves (row = language in one half, column = language in the other)
each language should be the most similar to itself; `hits` counts how often it is.

Nulls: the same with a model of random weights, and with no model at all, from which tokens occur how often. A trained
model that does no better shows the text, not what it has learnt.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm import tqdm

from langsim import matching
from langsim.agreement import Association, association, oriented, same_group
from langsim.centring import centre
from langsim.corpora.base import Pair
from langsim.pipeline import FisherVectors
from langsim.readings import Prose, number, p, prose
from langsim.similarity import LARGER_IS_SIMILAR, similarities
from langsim.store import FisherStore, StoredVector

if TYPE_CHECKING:
    from langsim.models import LoadedModel

VERSION = 1  # raise when what is estimated here changes
TRAINED, RANDOM, TOKENS = "trained model", "random weights", "token counts"


@dataclass(frozen=True)
class Check:
    """One instrument on two halves of the text.

    Attributes:
        name: which instrument.
        cross: (L, L) row = language in the first half, column = language in the second; larger = more similar.
    """

    name: str
    cross: pd.DataFrame

    def hits(self, *, centred: bool) -> int:
        """How many languages of the first half find themselves as the most similar one of the second."""
        values = (centre(self.cross, cross=True).residuals if centred else self.cross).to_numpy()
        return int((values.argmax(axis=1) == np.arange(len(values))).sum())

    def follows(self, other: pd.DataFrame) -> Association:
        """Spearman's correlation with another matrix, both centred, the diagonal left out."""
        return association(self.cross, other, centred=True, resamples=0)


def halves(pairs: Mapping[str, list[Pair]]) -> tuple[dict[str, list[Pair]], dict[str, list[Pair]]]:
    """Two disjoint halves of every language's pairs; a unit (cluster of near-identical messages, document) is never
    divided, and goes to the same half in every language."""
    sizes: dict[str, int] = {}
    for found in pairs.values():
        for pair in found:
            sizes[pair.unit] = sizes.get(pair.unit, 0) + 1
    filled = [0, 0]
    side = {}
    for unit, size in sorted(sizes.items(), key=lambda item: -item[1]):  # large ones first, to the emptier half
        side[unit] = int(filled[1] < filled[0])
        filled[side[unit]] += size
    return tuple({c: [p for p in found if side[p.unit] == i] for c, found in pairs.items()} for i in (0, 1))


def checks(vectors: FisherVectors) -> list[Check]:
    """The trained model, the same model with random weights, and token counts, on the same two halves.

    Vectors are kept in the store, so an interrupted call continues.
    """
    from langsim import models

    settings = vectors.settings
    loaded = models.load(settings.model, device=settings.device)
    parts = halves(vectors.matched.pairs)
    found = []
    for name, model in ((TRAINED, loaded), (RANDOM, randomised(loaded, settings.seed))):
        rows, columns = (_vectors(model, part, vectors, name) for part in parts)
        compared = similarities(
            rows,
            columns,
            measures=[settings.measure],
            k=settings.k,
            scope=vectors.scope,
            keep=vectors.keep,
            recipe=settings.recipe,
        )
        found.append(Check(name, oriented(compared.raw[settings.measure], LARGER_IS_SIMILAR[settings.measure])))
    return [*found, Check(TOKENS, token_affinity(loaded, *parts, settings.target_language))]


def randomised(loaded: "LoadedModel", seed: int) -> "LoadedModel":
    """The same architecture with freshly drawn weights."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = type(loaded.model)(copy.deepcopy(loaded.model.config))
    return replace(loaded, model=model.to(loaded.model.device).eval())


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
    loaded: "LoadedModel", pairs: Mapping[str, list[Pair]], vectors: FisherVectors, name: str
) -> dict[str, StoredVector]:
    """One stored vector a language, estimated where it isn't there yet, as the full ones were."""
    import torch

    from langsim import fisher

    settings = vectors.settings
    selection = next(iter(vectors.open().values())).metadata["selection"]
    store = FisherStore(vectors.folder.parent / f"{vectors.folder.name}-check{VERSION}-{name.replace(' ', '-')}")
    keys = {code: f"{code}-{matching.digest(found)[:16]}" for code, found in pairs.items()}
    todo = [code for code in pairs if not store.has(keys[code], keys[code])]
    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        for code in tqdm(todo, desc=f"halves, {name}", mininterval=1, disable=None if todo else True):
            vector = fisher.estimate(
                loaded.model,
                loaded.batches(pairs[code], code, settings.target_language, size=settings.batch_size),
                estimator=settings.estimator,
                recipe=settings.recipe,
                selection=selection,
                seed=settings.seed,
                key=code,
            )
            metadata = {"signature": keys[code], "language": code, **vector.metadata()}
            store.put(keys[code], np.asarray(vector.values, dtype=np.float32), vector.layout, metadata)
    finally:
        torch.set_num_threads(before)
    return {code: store.get(key) for code, key in keys.items()}


def table(found: list[Check], families: Mapping[str, str], published: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row an instrument: languages that find themselves, and what its centred similarities follow."""
    rows = {}
    for check in found:
        total = len(check.cross)
        rows[check.name] = {
            "finds itself, raw": f"{check.hits(centred=False)} of {total}",
            "finds itself, centred": f"{check.hits(centred=True)} of {total}",
        }
        for title, one in _followed(check, families, published).items():
            rows[check.name][f"follows {title}"] = (
                f"{number(one.value)} ({p(one.p_value)})" if one.permutations else "–"
            )
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="instrument")


def reading(found: list[Check], families: Mapping[str, str], published: pd.DataFrame | None = None) -> Prose:
    """Whether the trained model tells languages apart, and whether it does better than what knows no language."""
    scores = {}
    for check in found:
        followed = {f"following {t}": one.value for t, one in _followed(check, families, published).items()}
        scores[check.name] = {"finding a language again": check.hits(centred=True), **followed}
    trained = next(check for check in found if check.name == TRAINED)
    lines = [
        f"Of {len(trained.cross)} languages the {TRAINED} finds {trained.hits(centred=False)} again in the other half "
        f"of the text by raw similarity and {trained.hits(centred=True)} by centred; by chance it would be one."
    ]
    beaten = False
    for task, own in scores[TRAINED].items():
        if np.isnan(own):
            continue
        nulls = [name for name in scores if name != TRAINED]
        as_good = [name for name in nulls if scores[name][task] >= own]
        beaten = beaten or bool(as_good)
        lines.append(
            f"In {task}, **{' and '.join(as_good)}** do as well."
            if as_good
            else f"In {task}, neither {' nor '.join(nulls)} do as well."
        )
    if beaten:
        lines.append(
            "Where something that knows no language does as well, the similarities show the text, not a model."
        )
    return prose(*lines)


def _followed(check: Check, families: Mapping[str, str], published: pd.DataFrame | None) -> dict[str, Association]:
    found = {"family": check.follows(same_group(families))}
    return found if published is None else {**found, "Figure 5": check.follows(published)}
