"""What the cells of sub-networks and of baselines hold: all pairs of a task's languages, in plain JSON.

A sub-network cell is one model, task, kind (Table 1) and seed. Fisher vectors are estimated in parts, from the first
16 texts, the next 48, and so on, and added up: so the curve over |D| (Figure 6) costs nothing more, and the shares p
(Figure 3) are cuts of the last one. Jaccard's coefficients are stored for every pair once, in the order of
`scipy.spatial.distance.squareform`.

Nulls: `random-weights`, a model that has learnt nothing; `shuffled-text`, the tokens of every text in a random order.
What knows no model at all, only how often which token occurs, is the baseline LEX.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.spatial.distance import squareform

from langsim import baselines, evenness, models
from langsim.errors import Failure
from langsim.fisher import FisherVector
from langsim.models import LoadedModel
from langsim.xsns import labelled, subnetworks, texts
from langsim.xsns.encoding import Encoder
from langsim.xsns.settings import KINDS, XSNSSettings
from langsim.xsns.texts import Texts

TRAINED, RANDOM, SHUFFLED = "", "random-weights", "shuffled-text"
NULLS = (RANDOM, SHUFFLED)
DIGITS = 6
_EMBEDDED = 64  # sentences of a batch


def subnetwork_scores(
    settings: XSNSSettings, loaded: LoadedModel, task: str, kind: str, seed: int, null: str = TRAINED
) -> dict[str, object]:
    """What a sub-network cell holds.

    Returns:
        languages, items (|D|); shares: [{"p", "jaccard"}]; sizes: [{"items", "jaccard"}] at the settings' p; per
        language `nats` (loss of a scored place), `mass` (trace of its Fisher vector) and `unknown`; warnings.
    """
    corpus_kind, output = KINDS[kind]
    text = texts.of_settings(settings, task, corpus_kind, seed=seed)
    if null == RANDOM:
        loaded = models.randomised(loaded, seed)
    codes, cuts = sorted(text.texts), _cuts(settings.text_grid, text.size)
    sums: dict[str, FisherVector] = {}
    sizes = []
    for begin, end in zip([0, *cuts[:-1]], cuts, strict=True):
        for code in codes:
            part = _vector(settings, loaded, task, text, code, (begin, end), output, seed, null == SHUFFLED)
            sums[code] = added(sums[code], part) if code in sums else part
        sizes.append({"items": end, "jaccard": _pairs(sums, settings.p, settings)})
    shares = [{"p": p, "jaccard": _pairs(sums, p, settings)} for p in sorted({settings.p, *settings.p_grid})]
    unknown = subnetworks.unknown_rates(loaded, {code: text.texts[code] for code in codes})
    return {
        "languages": codes,
        "items": text.size,
        "shares": shares,
        "sizes": sizes,
        "nats": {code: round(sums[code].nll, DIGITS) for code in codes},
        "mass": {code: float(f"{sums[code].total:.6g}") for code in codes},
        "unknown": {code: round(rate, 4) for code, rate in unknown.items()},
        "warnings": [*text.warnings, *subnetworks.warnings_of(unknown)],
    }


def matrix(scores: Mapping, *, p: float | None = None, items: int | None = None) -> pd.DataFrame:
    """(L, L) Jaccard's coefficients of a sub-network cell, 1 on the diagonal: at a share p of all its text, or from so
    many texts at the settings' p.

    Raises:
        Failure: the cell has no such share or size.
    """
    name, rows, value = ("p", scores["shares"], p) if items is None else ("items", scores["sizes"], items)
    found = next((row["jaccard"] for row in rows if row[name] == value), None)
    if found is None:
        raise Failure(f"no sub-networks at {name} = {value}; there are {', '.join(str(row[name]) for row in rows)}")
    values = squareform(np.array(found)) + np.eye(len(scores["languages"]))
    index = pd.Index(scores["languages"])
    return pd.DataFrame(values, index.rename("target"), index.rename("auxiliary"))


def added(one: FisherVector, other: FisherVector) -> FisherVector:
    """The Fisher vector of both texts together: means over terms, weighted by how many they are of."""
    terms, tokens = one.n_terms + other.n_terms, one.n_tokens + other.n_tokens
    values = (one.values * (one.n_terms / terms) + other.values * (other.n_terms / terms)).astype(one.values.dtype)
    return replace(
        one,
        values=values,
        n_batches=one.n_batches + other.n_batches,
        n_examples=one.n_examples + other.n_examples,
        n_tokens=tokens,
        n_terms=terms,
        nll=(one.nll * one.n_tokens + other.nll * other.n_tokens) / tokens,
    )


def baseline_scores(settings: XSNSSettings, loaded: LoadedModel, task: str) -> dict[str, object]:
    """What a baseline cell holds: by name of the baseline, `matrix` (targets by sources, None: not available),
    `larger_is_better`, `unavailable`, `title`, `formula`, `printed`; and `targets`, `sources`."""
    given = labelled.load(settings, task)
    targets, sources = given.languages, labelled.sources(settings, task, given)
    own = texts.of_settings(settings, task, "task", seed=settings.seeds[0])
    found = [
        baselines.lang2vec(targets, sources),
        baselines.lexical_divergence(targets, sources, _counts(loaded, own)),
        baselines.subword_evenness(targets, sources, _segmented(settings, sources)),
        baselines.embedding_similarity(targets, sources, _vectors(loaded, own, settings.max_length)),
        baselines.same_script(targets, sources),
        baselines.same_family(targets, sources),
        baselines.random_ranking(targets, sources, settings.seeds[0]),
    ]
    return {"targets": targets, "sources": sources, "baselines": {one.name: _stored(one) for one in found}}


def stored_baselines(scores: Mapping) -> dict[str, baselines.Baseline]:
    """The baselines of a cell, by name."""
    index, columns = pd.Index(scores["targets"], name="target"), pd.Index(scores["sources"], name="source")
    found = {}
    for name, one in scores["baselines"].items():
        values = pd.DataFrame(one["matrix"], index, columns, dtype=float)
        rest = {key: one[key] for key in ("title", "formula", "larger_is_better", "printed")}
        found[name] = baselines.Baseline(name, matrix=values, unavailable=tuple(one["unavailable"]), **rest)
    return found


def _vector(
    settings: XSNSSettings,
    loaded: LoadedModel,
    task: str,
    text: Texts,
    code: str,
    part: tuple[int, int],
    output: str,
    seed: int,
    shuffle: bool,
) -> FisherVector:
    """From some of the texts of a language; draws differ from part to part, and are the same in every language."""
    options = {"recipe": settings.recipe, "batch_size": settings.fisher_batch_size, "key": code}
    if output == "head":
        given = labelled.load(settings, task)
        encoder = Encoder.of(
            loaded, given, max_length=settings.max_length, window=settings.window, stride=settings.stride
        )
        some = text.examples[code][slice(*part)]
        return subnetworks.of_labels(loaded, given, some, seed=seed, encoder=encoder, **options)
    options |= {"max_length": settings.max_length, "shuffle": shuffle}
    return subnetworks.of_text(loaded, text.texts[code][slice(*part)], seed=1000 * seed + part[0], **options)


def _cuts(grid: Sequence[int], size: int) -> list[int]:
    return [*(cut for cut in sorted(set(grid)) if cut < size), size]


def _pairs(vectors: Mapping[str, FisherVector], p: float, settings: XSNSSettings) -> list[float]:
    values = subnetworks.jaccard(dict(vectors), p, settings.recipe).raw["jaccard"].to_numpy().copy()
    np.fill_diagonal(values, 0.0)
    return squareform(values, checks=False).round(DIGITS).tolist()


def _counts(loaded: LoadedModel, text: Texts) -> dict[str, np.ndarray]:
    return {
        code: baselines.unigram_counts(
            loaded.tokenizer(own, add_special_tokens=False)["input_ids"], len(loaded.tokenizer)
        )
        for code, own in text.texts.items()
    }


def _segmented(settings: XSNSSettings, sources: Sequence[str]) -> dict[str, list[list[str]]]:
    """Word types of general text (SuE is of a language, whatever the task), as subwords of their own."""
    corpus, found = texts.corpus_of(settings), {}
    for code in sources:
        own = corpus.text(code, domain=settings.domain, pool=settings.pool) if corpus.texts.get(code) else []
        types = evenness.words(own, code)
        if types:
            found[code] = evenness.segment(types)
    return found


def _vectors(loaded: LoadedModel, text: Texts, max_length: int) -> dict[str, np.ndarray]:
    limit = min(max_length, loaded.max_tokens)

    def batches(own: Sequence[str]):
        for begin in range(0, len(own), _EMBEDDED):
            some = list(own[begin : begin + _EMBEDDED])
            yield loaded.tokenizer(some, truncation=True, max_length=limit, padding=True, return_tensors="pt")

    return {
        code: baselines.mean_pooled(loaded.model, batches(sorted(own, key=len))) for code, own in text.texts.items()
    }


def _stored(one: baselines.Baseline) -> dict[str, object]:
    values = one.matrix.round(DIGITS).astype(object)
    return {
        "title": one.title,
        "formula": one.formula,
        "larger_is_better": one.larger_is_better,
        "printed": one.printed,
        "unavailable": list(one.unavailable),
        "matrix": values.where(one.matrix.notna(), None).to_numpy().tolist(),
    }
