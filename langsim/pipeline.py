"""Settings in, numbers out: text -> model -> Fisher vectors -> similarities -> families.

One direction, one code path: nothing here knows which profile the settings came from. Every result carries its
signature and `warnings`, which are data to be shown beside the numbers.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from langsim import corpora, languages, results
from langsim.corpora.base import Corpus
from langsim.errors import UsageError
from langsim.estimation import Text, estimate_missing, model_of
from langsim.families import Family, families_of
from langsim.matching import Matched, digest, match
from langsim.paths import cache_dir
from langsim.profiles import Settings
from langsim.similarity import LARGER_IS_SIMILAR, Similarities
from langsim.similarity import similarities as compare_vectors
from langsim.store import FisherStore, StoredVector

FISHER_VERSION = 1  # raise when an estimator or its input changes: cached vectors of older versions are not read


@dataclass(frozen=True)
class FisherVectors:
    """The Fisher vectors of some languages, in the store.

    Attributes:
        keys: language -> key in the store.
        scope: parameters over which a mask's threshold is taken. keep: those that are compared.
        parts: the signature's parts, without measure and K.
    """

    settings: Settings
    folder: Path
    keys: dict[str, str]
    scope: list[str]
    keep: list[str]
    parts: dict[str, str]
    matched: Matched
    warnings: list[str]

    def open(self) -> dict[str, StoredVector]:
        """language -> its vector, memory-mapped (P,)."""
        store = FisherStore(self.folder)
        return {code: store.get(key) for code, key in self.keys.items()}

    @property
    def signature(self) -> str:
        return results.signature(self.parts)

    def summary(self) -> list[dict[str, Any]]:
        """One row a language: what it was estimated from, and its trace (the sum of its entries)."""
        rows = []
        for code, vector in self.open().items():
            told = vector.metadata
            row = {"language": code, "pairs": told["pairs"], "batches": told["n_batches"], "tokens": told["n_tokens"]}
            row |= {"nll": round(told["nll"], 4), "trace": told["total"], "parameters": int(vector.values.size)}
            rows.append({**row, "key": self.keys[code]})
        return rows


@dataclass(frozen=True)
class SimilarityMatrix:
    """All pairs of languages: every measure in `all`, the one asked for in `matrix`."""

    settings: Settings
    all: Similarities
    parts: dict[str, str]
    warnings: list[str]

    @property
    def matrix(self) -> pd.DataFrame:
        """(L, L) the measure asked for, row = target, column = auxiliary."""
        return self.all.matrix(self.settings.measure)

    @property
    def centred(self) -> pd.DataFrame:
        """(L, L) the same without additive row and column effects; NaN on the diagonal, and for two languages."""
        if len(self.matrix) < 3:
            return self.matrix * math.nan
        return self.all.centred(self.settings.measure)

    @property
    def label(self) -> str:
        """The measure, and its direction where a larger value is not the more similar one."""
        return label(self.settings.measure)

    @property
    def signature(self) -> str:
        return self.signature_of(self.settings.measure)

    def signature_of(self, measure: str = "") -> str:
        """The signature of one measure's matrix, or of all of them together."""
        masks = measure not in {"mse", "kl"}
        return results.signature({**self.parts, "measure": measure, "k": self.settings.k if masks else ""})

    def as_json(self) -> dict[str, Any]:
        """`{"measure", "signature", "matrix": {target: {auxiliary: value}}, "centred": {...}}`."""
        return {
            "measure": self.label,
            "signature": self.signature,
            "matrix": _nested(self.matrix),
            "centred": _nested(self.centred),
        }


@dataclass(frozen=True)
class PseudoFamily:
    """The auxiliaries that Algorithm A.2 picks for a target, most similar first, and how it walked."""

    family: Family
    signature: str
    warnings: list[str]

    @property
    def target(self) -> str:
        return self.family.target

    @property
    def members(self) -> list[str]:
        return list(self.family.members)

    @property
    def trace(self) -> list[dict[str, Any]]:
        return [dict(step) for step in self.family.trace]

    @property
    def label(self) -> str:
        return label(self.family.measure)

    def as_json(self) -> dict[str, Any]:
        """`{"target", "measure", "members": [...], "trace": [...], "signature"}`."""
        parts = {"target": self.target, "measure": self.label, "members": self.members, "trace": self.trace}
        return {**parts, "signature": self.signature}


def label(measure: str) -> str:
    """`overlap`; a distance says so: `mse (smaller = more similar)`."""
    return measure if LARGER_IS_SIMILAR[measure] else f"{measure} (smaller = more similar)"


def load_corpus(settings: Settings) -> Corpus:
    """The corpus that the settings name; of a large one, what they need of it."""
    codes = [*settings.languages, settings.target_language]
    options = {"path": settings.data, "languages": codes, "max_items": settings.max_items, "seed": settings.seed}
    return corpora.load(settings.corpus, **{name: options[name] for name in corpora.OPTIONS[settings.corpus]})


def match_text(settings: Settings, corpus: Corpus) -> Matched:
    """The pairs that each language is measured on."""
    return match(
        corpus,
        settings.languages,
        settings.target_language,
        domain=settings.domain,
        pool=settings.pool,
        matching=settings.matching,
        max_items=settings.max_items,
        seed=settings.seed,
    )


def fisher_vectors(settings: Settings, *, jobs: int | None = None) -> FisherVectors:
    """The Fisher vector of every language, from the store where it is there and sound, else estimated.

    Languages are estimated `jobs` at a time; see `langsim.estimation.estimate_missing`. Each is stored as soon as it
    is done, so an interrupted call continues.

    Raises:
        UsageError: text or parameters that the settings ask for and that are not there.
        Failure: a NaN gradient (the batch is named), a full disk.
    """
    corpus = load_corpus(settings)
    matched = match_text(settings, corpus)
    loaded = model_of(settings)
    selection, scope, keep = _parameters(loaded.model, settings)
    ingredients = _ingredients(settings, loaded.digest, selection)
    store = FisherStore(cache_dir() / "fisher" / results.digest_of(ingredients)[:16])
    texts = []
    for code, pairs in matched.pairs.items():
        text = digest(pairs)
        texts.append(Text(code, pairs, key=f"{code}-{text[:16]}", signature=f"{code}:{text}"))
    estimate_missing(texts, store.folder, settings, selection, jobs=jobs)
    keys = {text.language: text.key for text in texts}
    parts = {
        "model": results.named(loaded.name, loaded.digest),
        "corpus": results.named(corpus.name, corpus.digest),
        "domain": settings.domain,
        "pool": settings.pool,
        "match": matched.matching,
        "items": str(matched.size),
        "langs": results.named(str(len(keys)), results.digest_of([*keys, settings.target_language])),
        "fisher": settings.estimator,
        "recipe": settings.recipe,
        "params": settings.params,
        "batch": str(settings.batch_size),
        "seed": str(settings.seed),
    }
    warnings = [*matched.warnings, *_notes(corpus, loaded, keys, {code: store.get(key) for code, key in keys.items()})]
    return FisherVectors(settings, store.folder, keys, scope, keep, parts, matched, warnings)


def similarities(settings: Settings, *, jobs: int | None = None) -> SimilarityMatrix:
    """Every measure for all pairs of languages, in one pass over the Fisher vectors; see `fisher_vectors`."""
    return compare(fisher_vectors(settings, jobs=jobs))


def compare(vectors: FisherVectors) -> SimilarityMatrix:
    """`similarities` for vectors that are there already."""
    settings = vectors.settings
    matrices = compare_vectors(
        vectors.open(),
        k=settings.k,
        scope=vectors.scope,
        keep=vectors.keep,
        recipe=settings.recipe,
        signature=results.signature({**vectors.parts, "k": settings.k}),
    )
    return SimilarityMatrix(settings, matrices, vectors.parts, vectors.warnings)


def family(settings: Settings, target: str, *, jobs: int | None = None) -> PseudoFamily:
    """The pseudo family of one target by the settings' measure and recipe.

    Raises:
        UsageError: a target that is not among the languages.
    """
    code = languages.get(target).code
    if code not in settings.languages:
        raise UsageError(f"target: {target!r} is not among the languages {', '.join(settings.languages)}; add it")
    return families(similarities(settings, jobs=jobs), [code])[code]


def families(matrix: SimilarityMatrix, targets: Sequence[str] = ()) -> dict[str, PseudoFamily]:
    """target -> its pseudo family, for the settings' targets unless others are named."""
    settings = matrix.settings
    found = families_of(
        matrix.matrix,
        LARGER_IS_SIMILAR[settings.measure],
        settings.recipe,
        targets=targets or settings.targets,
        measure=settings.measure,
    )
    return {code: PseudoFamily(chosen, matrix.signature, matrix.warnings) for code, chosen in found.items()}


def _parameters(model: Any, settings: Settings) -> tuple[str, list[str], list[str]]:
    """Selection to estimate, scope of the threshold, parameters that are compared (the table of switches).

    The threshold is taken over all layers' weights (in the authors' code also biases and norms), then `params` of
    them are kept: that gives the asymmetry of Figure 5. Parameters outside the layers are a scope of their own.
    """
    from langsim import groups

    keep = groups.select(model, settings.params)
    layers = {"paper": "layers", "authors_code": "layers+bias"}[settings.recipe]
    if not settings.params.startswith("re:") and settings.params != "all":
        return layers, groups.select(model, layers), keep
    return settings.params, keep, keep


def _ingredients(settings: Settings, model_digest: str, selection: str) -> dict[str, Any]:
    """What determines the Fisher vectors, the text apart. Devices and thread numbers only round differently, but a
    comparison of devices must not find the other's vectors."""
    return {
        "version": FISHER_VERSION,
        "model": model_digest,
        "target_language": settings.target_language,
        "estimator": settings.estimator,
        "recipe": settings.recipe,
        "selection": selection,
        "batch_size": settings.batch_size,
        "seed": settings.seed,
        "device": settings.device.partition(":")[0],
    }


def _notes(corpus: Corpus, loaded: Any, codes: Iterable[str], vectors: Mapping[str, StoredVector]) -> list[str]:
    """What a reader of these numbers has to know about the text and the model."""
    found, name = list(corpus.warnings), Path(loaded.name).name
    if corpus.problems:
        found.append(f"{len(corpus.problems)} lines of the corpus could not be used; the first: {corpus.problems[0]}.")
    untrained = loaded.untrained(list(codes))
    if untrained:
        found.append(f"{name} was not trained on {', '.join(untrained)}.")
    cut = {code: vector.metadata["truncated"] for code, vector in vectors.items() if vector.metadata["truncated"]}
    if cut:
        counts = ", ".join(f"{code} {count}" for code, count in cut.items())
        found.append(f"Texts longer than the {loaded.max_tokens} tokens that {name} takes were cut: {counts}.")
    return found


def _nested(matrix: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """{target: {auxiliary: value}}; JSON has no NaN, so what is not defined is null."""
    return {
        str(t): {str(a): None if math.isnan(value) else float(value) for a, value in row.items()}
        for t, row in matrix.iterrows()
    }
