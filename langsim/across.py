"""Similarities across two corpora: Figure 6 and Appendix A.5 of the first paper.

Row = target, its Fisher vector from the first text; column = auxiliary, its vector from the second. The diagonal is a
measurement: the same language, other words. Where it is the maximum of its row, a language is found again in another
text; where the two matrices within a text agree with each other, so are its neighbours.

What stands in both texts would be no test of that, so such items are left out of the second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from langsim import agreement, comparison, instrument, pipeline, reference, results, splits
from langsim.centring import centre
from langsim.corpora.base import Corpus, Pair
from langsim.errors import UsageError
from langsim.estimation import Text, estimate_missing, model_of
from langsim.instrument import Check
from langsim.matching import Matched, digest
from langsim.pipeline import FisherVectors
from langsim.profiles import Settings, TwoCorpora
from langsim.similarity import LARGER_IS_SIMILAR
from langsim.store import FisherStore

Pairs = Mapping[str, list[Pair]]  # language -> its pairs


@dataclass(frozen=True)
class Across:
    """Two texts compared.

    Attributes:
        first, second: the Fisher vectors of the rows and of the columns, over the same parameters.
        left_out: items of the second text that the first has too, or nearly.
        within: title of a text to its own (L, L) matrix, larger = more similar; the first text first.
        checks: the trained model, then the nulls; `cross` of each is (L, L), diagonal included, larger = more similar.
        label: the measure, for an axis.
    """

    first: FisherVectors
    second: FisherVectors
    left_out: int
    within: dict[str, pd.DataFrame]
    checks: list[Check]
    label: str
    signature: str

    @property
    def cross(self) -> pd.DataFrame:
        """(L, L) the trained model's similarities across the texts."""
        return self.checks[0].cross

    @property
    def families(self) -> dict[str, str]:
        """Language to family, ordered by family."""
        return reference.families(list(self.cross.index))

    @property
    def warnings(self) -> list[str]:
        """What a reader of these numbers has to know, of both texts."""
        return list(dict.fromkeys([*self.first.warnings, *self.second.warnings]))

    def shown(self) -> dict[str, pd.DataFrame]:
        """Title to the cross matrix, raw and centred, diagonal included."""
        return {"Raw": self.cross, "Centred": centre(self.cross, cross=True).residuals}

    def columns(self) -> dict[str, pd.DataFrame]:
        """The matrices of the tidy result, by the name of their column."""
        raw, centred = self.shown().values()
        first, second = self.within.values()
        within = {"within_first": first, "within_second": second}
        return {"value": raw, "centred": centred, **within, **instrument.columns(self.checks)}

    def frame(self) -> pd.DataFrame:
        """The tidy result: target, auxiliary, measure, value and centred (diagonal included), what the pair has within
        each text, and what the nulls have across them."""
        pairs = [(target, auxiliary) for target in self.families for auxiliary in self.families]
        named = {"target": [t for t, _ in pairs], "auxiliary": [a for _, a in pairs]}
        values = {name: [float(matrix.loc[pair]) for pair in pairs] for name, matrix in self.columns().items()}
        return pd.DataFrame({**named, "measure": self.first.settings.measure, **values})

    @property
    def tolerances(self) -> dict[str, float]:
        """How far each column may move between machines: two percent of what lies between the least and the most
        similar pair, as `comparison.Comparison.tolerances`."""
        raw = {"value": self.cross, "centred": self.cross}
        limits = {**self.columns(), **raw}
        return {name: 0.02 * float(np.ptp(agreement.off_diagonal(m.to_numpy()))) for name, m in limits.items()}


def compare(settings: TwoCorpora, *, jobs: int | None = None) -> Across:
    """Fisher vectors of both texts, the matrix across them, the matrices within them, and what nulls make of them.

    Everything estimated is kept in the store, so an interrupted call continues.

    Raises:
        UsageError: fewer than three languages; one without enough text in a corpus (it is named); a second text that
            is all in the first.
        Failure: as `pipeline.fisher_vectors`.
    """
    comparison.refuse_few(settings)
    one, other = settings.sides
    corpus = pipeline.load_corpus(other)
    known = also_in(pipeline.match_text(one, pipeline.load_corpus(one)).pairs, other, corpus)
    matched = _without(known, other, corpus)  # both texts are looked at before anything is estimated
    first = pipeline.fisher_vectors(one, jobs=jobs)
    second = _second(matched, other, corpus, first, jobs)
    larger = LARGER_IS_SIMILAR[settings.measure]
    own = [agreement.oriented(pipeline.compare(vectors).matrix, larger) for vectors in (first, second)]
    told = {f"{name}_b": second.parts[name] for name in ("corpus", "domain", "pool", "match", "items")}
    k = settings.k if settings.measure in ("overlap", "jaccard") else ""
    return Across(
        first,
        second,
        left_out=len(known),
        within=dict(zip(titles(settings), own, strict=True)),
        checks=_checks(first, second, jobs),
        label=comparison.axis_label(settings.measure),
        signature=results.signature({**first.parts, **told, "measure": settings.measure, "k": k}),
    )


def titles(settings: TwoCorpora) -> list[str]:
    """What the two texts are called: `catalogs, interface`; with what else tells them apart, where that doesn't."""
    sides = settings.sides
    named = [", ".join(filter(None, (Path(side.data).name or side.corpus, side.domain))) for side in sides]
    if named[0] == named[1] and sides[0].pool != sides[1].pool:
        named = [f"{name}, {side.pool}" for name, side in zip(named, sides, strict=True)]
    return named if named[0] != named[1] else [f"{named[0]} (first)", f"{named[1]} (second)"]


def also_in(pairs: Pairs, settings: Settings, corpus: Corpus) -> set[str]:
    """The items of a text that are among some pairs of another: the same unit, or the same text (as
    `splits.normalise` sees it) in the language translated into."""
    everything = [pair for found in pairs.values() for pair in found]
    units = {pair.unit for pair in everything}
    texts = {splits.normalise(text) for text in {pair.target_text for pair in everything}}
    unit, target = corpus.items["unit"].to_dict(), corpus.texts.get(settings.target_language, {})
    items = corpus.select(domain=settings.domain, pool=settings.pool)
    return {i for i in items if unit[i] in units or (i in target and splits.normalise(target[i]) in texts)}


def _without(known: set[str], settings: Settings, corpus: Corpus) -> Matched:
    """The pairs of each language from the items of a text that are not `known`."""
    if len(known) == len(corpus.select(domain=settings.domain, pool=settings.pool)):
        raise UsageError(
            "corpus_b: all of the second text is in the first too; choose domains or pools that don't overlap"
        )
    return pipeline.match_text(settings, replace(corpus, items=corpus.items.drop(index=sorted(known))))


def _second(
    matched: Matched, settings: Settings, corpus: Corpus, first: FisherVectors, jobs: int | None
) -> FisherVectors:
    """The vectors of the second text, over the parameters of the first's and in the same store."""
    (keys,) = _estimate([matched.pairs], first, "Fisher vectors", jobs=jobs)
    told = {"domain": settings.domain, "pool": settings.pool, "match": matched.matching, "items": str(matched.size)}
    parts = {**first.parts, **told, "corpus": results.named(corpus.name, corpus.digest)}
    warnings = [f"The second text: {line}" for line in (*matched.warnings, *corpus.warnings)]
    if corpus.problems:
        warnings.append(
            f"{len(corpus.problems)} lines of the second text could not be used; the first: {corpus.problems[0]}."
        )
    second = FisherVectors(settings, first.folder, keys, first.scope, first.keep, parts, matched, warnings)
    cut = {code: vector.metadata["truncated"] for code, vector in second.open().items()}
    if any(cut.values()):
        counts = ", ".join(f"{code} {count}" for code, count in cut.items() if count)
        warnings.append(f"Of the second text, what is longer than the model takes was cut: {counts}.")
    return second


def _checks(first: FisherVectors, second: FisherVectors, jobs: int | None) -> list[Check]:
    """The trained model, and the three nulls of `langsim.instrument`, across the same two texts."""
    settings = first.settings
    texts = [first.matched.pairs, second.matched.pairs]
    mixed = [instrument.shuffled(pairs, settings.seed) for pairs in texts]
    found = [Check(instrument.TRAINED, instrument.cross_matrix(first.open(), second.open(), first))]
    for name, given, seed in ((instrument.SHUFFLED, mixed, None), (instrument.RANDOM, texts, settings.seed)):
        keys = _estimate(given, first, name, weights_seed=seed, jobs=jobs)
        store = FisherStore(_folder(first, seed))
        rows, columns = ({code: store.get(key) for code, key in each.items()} for each in keys)
        found.append(Check(name, instrument.cross_matrix(rows, columns, first)))
    tokens = instrument.token_affinity(model_of(settings), *texts, settings.target_language)
    return [*found, Check(instrument.TOKENS, tokens)]


def _estimate(
    texts: Sequence[Pairs], first: FisherVectors, name: str, *, weights_seed: int | None = None, jobs: int | None = None
) -> list[dict[str, str]]:
    """Estimate vectors as the first text's were, where they are not stored yet; language -> key for each text."""
    digests = [{code: digest(found) for code, found in pairs.items()} for pairs in texts]
    keys = [{code: f"{code}-{own[:16]}" for code, own in each.items()} for each in digests]
    todo = [
        Text(code, found, key[code], signature=f"{code}:{own[code]}")
        for pairs, own, key in zip(texts, digests, keys, strict=True)
        for code, found in pairs.items()
    ]
    selection = next(iter(first.open().values())).metadata["selection"]
    folder = _folder(first, weights_seed)
    estimate_missing(todo, folder, first.settings, selection, weights_seed=weights_seed, jobs=jobs, title=name)
    return keys


def _folder(first: FisherVectors, weights_seed: int | None) -> Path:
    """Where vectors of these ingredients belong: those of drawn weights beside the others."""
    return first.folder if weights_seed is None else first.folder.with_name(f"{first.folder.name}-random-weights")
