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
from scipy.stats import binomtest

from langsim import matching
from langsim.agreement import Association, Difference, association, difference, holm, oriented, same_group
from langsim.centring import centre
from langsim.corpora.base import Pair
from langsim.estimation import Text, estimate_missing, model_of
from langsim.pipeline import FisherVectors
from langsim.readings import Prose, number, p, prose
from langsim.similarity import LARGER_IS_SIMILAR, similarities
from langsim.store import FisherStore, StoredVector

if TYPE_CHECKING:
    from langsim.models import LoadedModel

VERSION = 1  # raise when what is estimated here changes
TRAINED, SHUFFLED, RANDOM, TOKENS = "trained model", "shuffled source", "random weights", "token counts"
FIGURE5 = "Figure 5"


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

    def found(self, *, centred: bool) -> np.ndarray:
        """(L,) whether a language of the first half finds itself as the most similar one of the second."""
        values = (centre(self.cross, cross=True).residuals if centred else self.cross).to_numpy()
        return values.argmax(axis=1) == np.arange(len(values))

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


def table(found: list[Check], families: Mapping[str, str], published: pd.DataFrame | None = None) -> pd.DataFrame:
    """One column an instrument: languages that find themselves, and what its similarities follow. Holm's p-values,
    over all tests of the table."""
    views = {"raw": False, "centred": True}
    tests = {
        (check.name, f"follows {title}, {view}"): check.follows(other, centred=centred)
        for check in found
        for title, other in _others(families, published).items()
        for view, centred in views.items()
    }
    chances = dict(zip(tests, holm([one.p_value for one in tests.values()]).tolist(), strict=True))
    columns: dict[str, dict[str, str]] = {}
    for check in found:
        total = len(check.cross)
        columns[check.name] = {
            f"finds itself, {view}": f"{check.hits(centred=centred)} of {total}" for view, centred in views.items()
        }
    for (name, row), one in tests.items():
        columns[name][row] = f"{number(one.value)} ({p(chances[name, row])})" if one.permutations else "–"
    return pd.DataFrame(columns).rename_axis(columns="instrument")


def reading(found: list[Check], families: Mapping[str, str], published: pd.DataFrame | None = None) -> Prose:
    """Whether the trained model tells languages apart, and whether it does measurably better than the nulls."""
    trained, nulls = _apart(found)
    lines = [
        f"Of {len(trained.cross)} languages the {TRAINED} finds {trained.hits(centred=False)} again in the other half "
        f"of the text by raw similarity and {trained.hits(centred=True)} by centred; by chance it would be one. "
        "(This is one split of the text, not several.)",
        _found_again(trained, nulls),
    ]
    level: dict[str, list[str]] = {}
    for title, other in _others(families, published).items():
        apart = margins(found, other)
        lines.append(_told(apart, title))
        level[title] = [name for name, one in apart.items() if one.side <= 0]
    lines += [f"In following {title}, {_no_worse(names)}" for title, names in level.items() if names]
    return prose(*lines)


def beside(found: list[Check], published: pd.DataFrame | None) -> str:
    """What belongs beside a verdict on Figure 5: whether the nulls follow it measurably worse. Empty without one."""
    if published is None:
        return ""
    apart = margins(found, published)
    told = _told(apart, FIGURE5)
    if not told:
        return ""
    level = [name for name, one in apart.items() if one.side <= 0]
    if not level:
        return f"{told} So every null does measurably worse."
    return f"{told} Here {_no_worse(level)}"


def _no_worse(nulls: list[str]) -> str:
    """What follows where some nulls are not measurably worse, as the end of a sentence."""
    listed = " and ".join([", ".join(nulls[:-1]), nulls[-1]] if len(nulls) > 1 else nulls)
    listed += f" {'is' if nulls == [SHUFFLED] else 'are'} not measurably worse"
    if nulls == [SHUFFLED]:
        return f"{listed}: what agreement there is need not come from translating these sources."
    return f"{listed}: what agreement there is may be in the text, and need not be anything that the model has learnt."


def margins(found: list[Check], other: pd.DataFrame) -> dict[str, Difference]:
    """Null to how much better the trained model's centred similarities follow another matrix than the null's do;
    without those for which a correlation is not defined."""
    trained, nulls = _apart(found)
    apart = {check.name: difference(trained.cross, check.cross, other, centred=True) for check in nulls}
    return {name: one for name, one in apart.items() if np.isfinite(one.value)}


def _told(apart: Mapping[str, Difference], title: str) -> str:
    """The sentence on `margins`."""
    if not apart:
        return ""
    words = {1: "better", -1: "worse", 0: "not measurably better"}
    told = []
    for name, one in apart.items():
        interval = (
            f"{number(one.low)} to {number(one.high)}" if np.isfinite(one.low) else "no interval: too few languages"
        )
        told.append(f"**{words[one.side]}** than {name} ({number(one.value)}, {interval})")
    return (
        f"At following {title} (on the halves of the text, centred) the {TRAINED} does {'; '.join(told)}. In brackets: "
        "its Spearman correlation minus the null's, each with its own 95% interval over languages (not adjusted)."
    )


def _found_again(trained: Check, nulls: list[Check]) -> str:
    """The sentence on how many languages the nulls find again; a sign test on those that only one of the two finds."""
    own = trained.found(centred=True)
    chances = []
    for check in nulls:
        theirs = check.found(centred=True)
        only = int((own & ~theirs).sum()), int((theirs & ~own).sum())
        chances.append(float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0)
    told = [
        f"{check.name} {check.hits(centred=True)} ({p(chance)})"
        for check, chance in zip(nulls, holm(chances).tolist(), strict=True)
    ]
    return f"The nulls find again, centred: {', '.join(told)}; p-values of sign tests against the {TRAINED}, Holm's."


def _apart(found: list[Check]) -> tuple[Check, list[Check]]:
    """The trained model, and the nulls."""
    return next(c for c in found if c.name == TRAINED), [c for c in found if c.name != TRAINED]


def _others(families: Mapping[str, str], published: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """What is followed, or not."""
    family = {"family": same_group(families)}
    return family if published is None else {**family, FIGURE5: published}
