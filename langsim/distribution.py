"""Where the Fisher information lies: how much of a language's mask, and of its Fisher mass, is in which parameters.

Figure 2 of the first paper shows the top K parameters by group (E_a, E_f, D_a, D_c, D_f). A large group holds many of
them whatever they mean, so a share of the mask belongs beside the *share of the parameters*; the ratio of the two is
the *enrichment*. It is 1 for a group that holds what its size gives it, and at most 1/K. The same ratio of Fisher mass
(the sum of the vector's entries) asks for the size of the entries rather than for their rank.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from langsim import groups, instrument, matching
from langsim.estimation import Text, estimate_missing, model_of
from langsim.layout import Layout, pieces, spans
from langsim.pipeline import FisherVectors
from langsim.store import FisherStore, StoredVector
from langsim.thresholds import Recipe, top_share

TRAINED, RANDOM = instrument.TRAINED, instrument.RANDOM
FFN = "FFN"  # E_f and D_f together: what the paper's number is about
# Feed-forward first, so that in a bar of shares the whole FFN starts at zero.
GROUPS = ("E_f", "D_f", "E_a", "D_a", "D_c", "E_norm", "D_norm", "embedding", "head", "other")
LAYERS = {"paper": "layers", "authors_code": "layers+bias"}  # what the top K is taken from
_BLOCK = 1 << 22  # elements looked at together


@dataclass(frozen=True)
class Distribution:
    """Mask entries and Fisher mass of every tensor, for every language.

    Attributes:
        tensors: (T, ...) one row a tensor of the scope, indexed by name: group, layer (<NA> outside the layers), size.
        active: (T, L) entries in the mask, row = tensor, column = language.
        mass: (T, L) sum of the Fisher values.
    """

    tensors: pd.DataFrame
    active: pd.DataFrame
    mass: pd.DataFrame

    @property
    def groups(self) -> list[str]:
        """The groups that there are, feed-forward ones first."""
        return [group for group in GROUPS if group in set(self.tensors["group"])]

    @cached_property
    def parameters(self) -> pd.Series:
        """(G,) share of the parameters in each group, and in the FFN."""
        return self._by_group(self.tensors["size"].to_frame())["size"]

    @cached_property
    def mask(self) -> pd.DataFrame:
        """(G, L) share of each language's mask in each group, and in the FFN."""
        return self._by_group(self.active)

    @cached_property
    def fisher_mass(self) -> pd.DataFrame:
        """(G, L) share of each language's Fisher mass in each group, and in the FFN."""
        return self._by_group(self.mass)

    def enrichment(self, of: str = "mask") -> pd.DataFrame:
        """(G, L) share of the mask (or of the `fisher_mass`) divided by the share of the parameters."""
        return getattr(self, of).div(self.parameters, axis=0)

    def by_layer(self) -> pd.DataFrame:
        """One row a language, group and layer, in that order: parameters, mask, fisher_mass (shares of the whole)."""
        inside = self.tensors["layer"].notna()
        where = [self.tensors.loc[inside, name] for name in ("group", "layer")]
        sizes = self.tensors.loc[inside, "size"].groupby(where).sum() / self.tensors["size"].sum()
        tables = {"mask": self.active, "fisher_mass": self.mass}
        shares = {name: table[inside].groupby(where).sum() / table.sum() for name, table in tables.items()}
        found = pd.concat({name: table.stack() for name, table in shares.items()}, axis=1)
        found.index.names = ["group", "layer", "language"]
        found = found.reset_index()
        found.insert(3, "parameters", sizes.loc[list(zip(found["group"], found["layer"], strict=True))].to_numpy())
        order = {name: i for i, name in enumerate((*self.active.columns, *GROUPS))}
        return found.sort_values(
            ["language", "group", "layer"], key=lambda c: c if c.name == "layer" else c.map(order), ignore_index=True
        )[["language", "group", "layer", "parameters", "mask", "fisher_mass"]]

    def _by_group(self, table: pd.DataFrame) -> pd.DataFrame:
        """Column sums by group, and of the feed-forward groups together, as shares of the whole column."""
        shares = (table.groupby(self.tensors["group"]).sum() / table.sum()).reindex(self.groups)
        forward = [group for group in shares.index if group.endswith("_f")]
        if forward:
            shares.loc[FFN] = shares.loc[forward].sum()
        return shares.rename_axis(index="group")


def distribution(
    vectors: Mapping[str, Sequence[StoredVector]],
    places: pd.DataFrame,
    *,
    k: float,
    scope: Sequence[str] | None = None,
    recipe: Recipe = "paper",
) -> Distribution:
    """Count mask entries and add up Fisher mass, tensor by tensor, in two passes over each vector.

    Args:
        vectors: language to its Fisher vectors, of the parts of its text (one, if it was not cut): pooled.
        places: what `groups.describe` says of the model.
        k: the share of the scope that a mask keeps. scope: names of the parameters (default: all that there are).

    Raises:
        UsageError: a parameter that the vectors lack, a bad share.
        Failure: a negative, NaN or infinite Fisher value.
    """
    layout = next(iter(vectors.values()))[0].layout
    wanted = {name for name, _, _ in layout} if scope is None else set(scope)
    spans(layout, wanted)  # refuses unknown names
    inside = [entry for entry in layout if entry[0] in wanted]
    names = [name for name, _, _ in inside]
    found = {code: _counted(parts, inside, k, recipe) for code, parts in vectors.items()}
    tensors = places.set_index("name").loc[names, ["group", "layer"]]
    tensors["size"] = [prod(shape) for _, shape, _ in inside]
    tables = (pd.DataFrame({code: both[i] for code, both in found.items()}, index=tensors.index) for i in (0, 1))
    return Distribution(tensors, *tables)


def _counted(parts: Sequence[StoredVector], inside: Layout, k: float, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """(T,) mask entries and (T,) Fisher mass of every tensor."""

    def walk() -> Iterator[np.ndarray]:
        for _, shape, offset in inside:
            for start, stop in pieces([(offset, offset + prod(shape))], _BLOCK):
                yield _pooled(parts, start, stop)

    cut = top_share(walk, k, recipe)
    active, mass = np.zeros(len(inside), np.int64), np.zeros(len(inside))
    position = 0
    for row, (_, shape, offset) in enumerate(inside):
        for start, stop in pieces([(offset, offset + prod(shape))], _BLOCK):
            block = _pooled(parts, start, stop)
            active[row] += np.count_nonzero(cut.mask(block, position))
            mass[row] += block.sum(dtype=np.float64)
            position += block.size
    for part in parts:
        part.release()
    return active, mass


def _pooled(parts: Sequence[StoredVector], start: int, stop: int) -> np.ndarray:
    """A piece of the Fisher vector of all parts of a text: the mean, each part counted as often as it has squares."""
    if len(parts) == 1:
        return parts[0].values[start:stop]
    weights = np.array([part.metadata["n_terms"] for part in parts], dtype=float)
    total = sum(w * part.values[start:stop].astype(np.float64) for w, part in zip(weights, parts, strict=True))
    return (total / weights.sum()).astype(np.float32)


def measured(vectors: FisherVectors) -> dict[str, Distribution]:
    """The distribution of the trained model, and of the same model with random weights on the same text.

    Random weights take the vectors of the instrument check's two halves, so that nothing is estimated twice.
    """
    settings = vectors.settings
    places = groups.describe(model_of(settings).model)
    options = {"k": settings.k, "scope": vectors.scope, "recipe": settings.recipe}
    trained = {code: [vector] for code, vector in vectors.open().items()}
    return {
        TRAINED: distribution(trained, places, **options),
        RANDOM: distribution(random_weights(vectors), places, **options),
    }


def random_weights(vectors: FisherVectors) -> dict[str, list[StoredVector]]:
    """Language to the Fisher vectors of both halves of its text, of the same model with random weights.

    They lie where the instrument check keeps them, and are estimated if they are not there.
    """
    settings = vectors.settings
    selection = next(iter(vectors.open().values())).metadata["selection"]
    folder = vectors.folder.parent / f"{vectors.folder.name}-check{instrument.VERSION}-{RANDOM.replace(' ', '-')}"
    texts = []
    for half in instrument.halves(vectors.matched.pairs, settings.seed):
        for code, pairs in half.items():
            key = f"{code}-{matching.digest(pairs)[:16]}"
            texts.append(Text(code, pairs, key, signature=key))
    title = f"halves, {RANDOM}"
    estimate_missing(texts, folder, settings, selection, weights_seed=settings.seed, title=title)
    store = FisherStore(folder)
    return {code: [store.get(text.key) for text in texts if text.language == code] for code in vectors.keys}


def paper_model(recipe: Recipe = "paper") -> pd.Series:
    """(G,) share of the parameters of m2m100_418M, the first paper's model, in each group and in the FFN.

    Of what the top K is taken from: the layers' weights, in the authors' code biases and norms too. Counted on a
    model without memory ("meta"); the class's own default configuration is that of m2m100_418M.
    """
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    with torch.device("meta"):
        model: Any = M2M100ForConditionalGeneration(M2M100Config())
    places = groups.describe(model).set_index("name")
    tensors = places.loc[groups.select(model, LAYERS[recipe]), ["group", "layer", "numel"]]
    nothing = pd.DataFrame(index=tensors.index)
    return Distribution(tensors.rename(columns={"numel": "size"}), nothing, nothing).parameters
