"""The method step by step on one target and two candidates, for Figure 2: Fisher vectors, masks, what two share.

What is drawn is a small block of one matrix of weights; the coefficients are those of all parameters.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from langsim import thresholds
from langsim.fisher import FisherVector
from langsim.readings import Prose, number, prose
from langsim.xsns import procedures, subnetworks, texts
from langsim.xsns.evidence import Evidence
from langsim.xsns.settings import XSNSSettings

SIZE = 16  # rows and columns that are drawn
TEXTS = 64
TOLERANCES = {"share": 0.001, "shared": 5000, "jaccard": 0.02}


@dataclass(frozen=True)
class Steps:
    """A worked example.

    Attributes:
        target, sources: the languages; sources from the most similar one to the least.
        matrix: the name of the parameter that the block is of.
        fisher: language -> (SIZE, SIZE) Fisher values. masks: language -> (SIZE, SIZE) bool.
        kept: language -> how many of all parameters its sub-network has. total: how many there are.
        jaccard: source -> the coefficient of all parameters. shared: source -> how many both have.
        items: texts of each language.
    """

    target: str
    sources: list[str]
    matrix: str
    fisher: dict[str, np.ndarray] = field(repr=False)
    masks: dict[str, np.ndarray] = field(repr=False)
    kept: dict[str, int] = field(repr=False)
    total: int
    jaccard: dict[str, float]
    shared: dict[str, int]
    items: int
    p: float


def steps(settings: XSNSSettings, one: Evidence, target: str = "") -> Steps:
    """Estimate, now, what Figure 2 shows, from the first texts of the task.

    Args:
        target: default: the first of the pool. Its most and its least similar candidate by the cells are drawn.
    """
    target = target or one.pool[0]
    row = one.prediction().loc[target].dropna().sort_values(ascending=False)
    sources = [str(row.index[0]), str(row.index[-1])]
    loaded = procedures.model_of(one.model, settings.device)
    found = texts.of_task(
        one.task, [target, *sources], min(TEXTS, settings.text_items), seed=settings.seeds[0], recipe=settings.recipe
    )
    vectors = {
        code: subnetworks.of_text(
            loaded,
            own,
            recipe=settings.recipe,
            seed=settings.seeds[0],
            batch_size=settings.fisher_batch_size,
            max_length=settings.max_length,
            key=code,
        )
        for code, own in found.texts.items()
    }
    return of_vectors(vectors, target, sources, settings.p, settings.recipe, found.size)


def of_vectors(
    vectors: dict[str, FisherVector], target: str, sources: list[str], p: float, recipe: str, items: int = 0
) -> Steps:
    """The same from Fisher vectors of all three languages."""
    masks = {code: thresholds.top_mask(vector.values, p, recipe) for code, vector in vectors.items()}
    name, block = _block(vectors[target], masks, p)
    shared = {code: int((masks[target] & masks[code]).sum()) for code in sources}
    union = {code: int((masks[target] | masks[code]).sum()) for code in sources}
    return Steps(
        target,
        sources,
        name,
        {code: vector.values[block] for code, vector in vectors.items()},
        {code: mask[block] for code, mask in masks.items()},
        {code: int(mask.sum()) for code, mask in masks.items()},
        len(masks[target]),
        {code: shared[code] / union[code] for code in sources},
        shared,
        items,
        p,
    )


def _block(vector: FisherVector, masks: dict[str, np.ndarray], p: float) -> tuple[str, np.ndarray]:
    """Name of a matrix of weights, and the places of one of its blocks: that in which the shares of all three masks are
    nearest to p, so that there is something to see. The first among equals."""
    best, chosen = np.inf, ("", np.array([]))
    for name, shape, start in vector.layout:
        if len(shape) != 2 or min(shape) < SIZE:
            continue
        down, across = shape[0] // SIZE, shape[1] // SIZE
        off = np.zeros((down, across))
        for mask in masks.values():
            whole = mask[start : start + shape[0] * shape[1]].reshape(shape)[: down * SIZE, : across * SIZE]
            off += np.abs(whole.reshape(down, SIZE, across, SIZE).mean((1, 3)) - p)
        if off.min() < best:
            best = off.min()
            i, j = (SIZE * int(place) for place in np.unravel_index(off.argmin(), off.shape))
            rows, columns = np.arange(i, i + SIZE)[:, None], np.arange(j, j + SIZE)[None, :]
            chosen = (name, start + rows * shape[1] + columns)
    return chosen


def table(found: Steps) -> pd.DataFrame:
    """Tidy: one row a language: role, kept, share of all, shared with the target, Jaccard's coefficient."""
    rows = [
        {
            "language": code,
            "role": "target" if code == found.target else "source",
            "kept": found.kept[code],
            "share": found.kept[code] / found.total,
            "shared": found.shared.get(code, found.kept[code]),
            "jaccard": found.jaccard.get(code, 1.0),
        }
        for code in (found.target, *found.sources)
    ]
    return pd.DataFrame(rows)


def reading(found: Steps) -> Prose:
    """The arithmetic of the last step in words, for the nearer source."""
    near, far = found.sources
    a, b, both = found.kept[found.target], found.kept[near], found.shared[near]
    first, last = (number(found.jaccard[code], 3) for code in (near, far))
    return prose(
        f"Of {found.total:,} parameters each sub-network keeps {a:,} (p = {found.p:g}). The one of {found.target} "
        f"shares {both:,} with that of {near}: {both:,} / ({a:,} + {b:,} − {both:,}) = {first}. "
        f"With {far} it is {last}; two random masks have {number(found.p / (2 - found.p), 3)}.",
        f"So of these two the first suggestion for {found.target} is {near}.",
    )
