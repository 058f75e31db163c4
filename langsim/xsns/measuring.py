"""What the cells of sub-networks and of baselines hold: all pairs of a task's languages, in plain JSON.

A sub-network cell is one model, task, kind (Table 1) and seed. Fisher vectors are estimated in parts, from the first
16 texts, the next 48, and so on, and added up: so the curve over |D| (Figure 6) costs nothing more, and the shares p
(Figure 3) are cuts of the last one. Jaccard's coefficients are stored for every pair once, in the order of
`scipy.spatial.distance.squareform`.

The same sums give the check of the instrument: sub-networks of the first `HALF` texts against those of the next `HALF`
(of shorter text, its halves), all languages against all: a language is also compared with itself in other words.

Nulls: `random-weights`, a model that has learnt nothing; `shuffled-text`, the tokens of every text in a random order.
What knows no model at all, only how often which token occurs, is the baseline LEX.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.spatial.distance import squareform

from langsim import baselines, evenness, models
from langsim.errors import Failure
from langsim.fisher import FisherVector
from langsim.models import LoadedModel
from langsim.tasks.base import Task
from langsim.xsns import labelled, subnetworks, texts
from langsim.xsns.encoding import Encoder
from langsim.xsns.settings import KINDS, XSNSSettings
from langsim.xsns.texts import Texts

TRAINED, RANDOM, SHUFFLED = "", "random-weights", "shuffled-text"
NULLS = (RANDOM, SHUFFLED)
ORDER = ("L2V", "LEX", "SuE", "EMB", "script", "family", "random")  # of baselines in tables
DIGITS = 6
HALF = 128  # texts
_EMBEDDED = 64  # sentences of a batch


def subnetwork_scores(
    settings: XSNSSettings, loaded: LoadedModel, task: str, kind: str, seed: int, null: str = TRAINED
) -> dict[str, object]:
    """What a sub-network cell holds.

    Returns:
        languages, items (|D|); shares: [{"p", "jaccard"}]; sizes: [{"items", "jaccard", "tokens"}] at the settings' p,
        tokens by language; halves: {"items", "jaccard"} of each half, all pairs row by row (first half by second);
        overlap: Jaccard's coefficients of the languages' token types; per language `nats` (loss of a scored place),
        `mass` (trace of its Fisher vector) and `unknown`; warnings.
    """
    corpus_kind, output = KINDS[kind]
    count = partial(subnetworks.lengths, loaded, max_length=settings.max_length)
    text = texts.of_settings(settings, task, corpus_kind, count, seed=seed, size=settings.items_of(kind))
    if null == RANDOM:
        loaded = models.randomised(loaded, seed)
    codes, grid, half = sorted(text.texts), _cuts(settings.text_grid, text.size), min(HALF, text.size // 2)
    cuts = sorted({*grid, half, 2 * half} - {0})
    tokens = {code: np.cumsum(count(text.texts[code])) for code in codes}
    sums: dict[str, FisherVector] = {}
    second: dict[str, FisherVector] = {}
    first: dict[str, np.ndarray] = {}
    sizes = []
    for begin, end in zip([0, *cuts[:-1]], cuts, strict=True):
        for code in codes:
            part = _vector(settings, loaded, task, text, code, (begin, end), output, seed, null == SHUFFLED)
            sums[code] = added(sums[code], part) if code in sums else part
            if half <= begin and end <= 2 * half:
                second[code] = added(second[code], part) if code in second else part
        if end == half:
            first = subnetworks.masks(sums, settings.p, settings.recipe)
        if end in grid:
            own = {code: int(tokens[code][end - 1]) for code in codes}
            sizes.append({"items": end, "jaccard": _pairs(sums, settings.p, settings), "tokens": own})
    crossed = subnetworks.crossed(first, subnetworks.masks(second, settings.p, settings.recipe))
    shares = [{"p": p, "jaccard": _pairs(sums, p, settings)} for p in sorted({settings.p, *settings.p_grid})]
    unknown = subnetworks.unknown_rates(loaded, {code: text.texts[code] for code in codes})
    return {
        "languages": codes,
        "items": text.size,
        "shares": shares,
        "sizes": sizes,
        "halves": {"items": half, "jaccard": crossed.round(DIGITS).tolist()},
        "overlap": _overlaps(loaded, text, codes),
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


def halves(scores: Mapping) -> pd.DataFrame:
    """(L, L) coefficients of a cell between the two halves of its text: row = language in the first, column = in the
    second; the diagonal is measured.

    Raises:
        Failure: a single text has no halves.
    """
    if not scores["halves"]["items"]:
        raise Failure("one text can't be halved; give two at least (text_items)")
    index = pd.Index(scores["languages"])
    return pd.DataFrame(scores["halves"]["jaccard"], index.rename("target"), index.rename("auxiliary"))


def overlaps(scores: Mapping) -> pd.DataFrame:
    """(L, L) Jaccard's coefficients of the token types of a cell's texts."""
    index = pd.Index(scores["languages"])
    values = squareform(np.array(scores["overlap"])) + np.eye(len(index))
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
    """What a baseline cell holds: by name of the baseline, `matrices` (one a seed where text is drawn, else one;
    targets by sources, None: not available), `larger_is_better`, `unavailable`, `title`, `formula`, `printed`; and
    `targets`, `sources`.

    LEX and EMB read the texts that X-SNS reads, seed by seed; SuE all training text of the task (Appendix B).
    """
    given = labelled.load(settings, task)
    targets, sources = given.languages, labelled.sources(settings, task, given)
    count = partial(subnetworks.lengths, loaded, max_length=settings.max_length)
    found: dict[str, list[baselines.Baseline]] = {}
    for seed in settings.seeds:
        own = texts.of_settings(settings, task, "task", count, seed=seed)
        for one in (
            baselines.lexical_divergence(targets, sources, _counts(loaded, own)),
            baselines.embedding_similarity(targets, sources, _vectors(loaded, own, settings.max_length)),
        ):
            found.setdefault(one.name, []).append(one)
    for one in (
        baselines.lang2vec(targets, sources),
        baselines.subword_evenness(targets, sources, _segmented(given, sources)),
        baselines.same_script(targets, sources),
        baselines.same_family(targets, sources),
        baselines.random_ranking(targets, sources, settings.seeds[0]),
    ):
        found[one.name] = [one]
    return {
        "targets": targets,
        "sources": sources,
        "baselines": {name: _stored(found[name]) for name in ORDER if name in found},
    }


def stored_baselines(scores: Mapping) -> dict[str, list[baselines.Baseline]]:
    """The baselines of a cell, by name: one a seed where text is drawn, else one."""
    index, columns = pd.Index(scores["targets"], name="target"), pd.Index(scores["sources"], name="source")
    found: dict[str, list[baselines.Baseline]] = {}
    for name, one in scores["baselines"].items():
        rest = {key: one[key] for key in ("title", "formula", "larger_is_better", "printed")}
        rest["unavailable"] = tuple(one["unavailable"])
        frames = [pd.DataFrame(values, index, columns, dtype=float) for values in one["matrices"]]
        found[name] = [baselines.Baseline(name, matrix=frame, **rest) for frame in frames]
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


def _overlaps(loaded: LoadedModel, text: Texts, codes: Sequence[str]) -> list[float]:
    types = {code: np.flatnonzero(counts) for code, counts in _counts(loaded, text).items()}
    pairs = combinations([set(types[code].tolist()) for code in codes], 2)
    return [round(len(one & other) / max(1, len(one | other)), DIGITS) for one, other in pairs]


def _segmented(task: Task, sources: Sequence[str]) -> dict[str, list[list[str]]]:
    """Word types of a task's training text, as subwords of their own."""
    found = {}
    for code in sources:
        types = evenness.words(task.text(code), code)
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


def _stored(seeds: Sequence[baselines.Baseline]) -> dict[str, object]:
    one = seeds[0]
    return {
        "title": one.title,
        "formula": one.formula,
        "larger_is_better": one.larger_is_better,
        "printed": one.printed,
        "unavailable": list(one.unavailable),
        "matrices": [_plain(each.matrix) for each in seeds],
    }


def _plain(matrix: pd.DataFrame) -> list[list[float | None]]:
    values = matrix.round(DIGITS).astype(object)
    return values.where(matrix.notna(), None).to_numpy().tolist()
