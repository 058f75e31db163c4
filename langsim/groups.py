"""Parameter groups of a transformer (E_a, E_f, D_a, D_c, D_f, ...) and the selections that Fisher vectors cover.

The five groups of Figure 2 of the first paper are encoder self-attention E_a, encoder feed-forward E_f, decoder
self-attention D_a, cross-attention D_c and decoder feed-forward D_f. Beside them stand the layer norms of either side
(E_norm, D_norm), the embeddings, the head, and whatever else (other). An encoder-only model has the E groups alone.

A tensor that several modules share is one parameter. It goes by the first of its names, as in
`model.named_parameters()`, and counts as an embedding if any of its names is one.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langsim.errors import UsageError
from langsim.suggest import did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

_BART_LAYER = r"\b(encoder|decoder)\.layers\.(\d+)\."
_T5_LAYER = r"\b(encoder|decoder)\.block\.(\d+)\."
_BERT_LAYER = r"\b(encoder)\.layer\.(\d+)\."

# How each architecture (the config's `model_type`) spells "layer 3 of the encoder".
_LAYER_OF = {
    "m2m_100": _BART_LAYER,  # NLLB too
    "mbart": _BART_LAYER,
    "bart": _BART_LAYER,
    "marian": _BART_LAYER,
    "t5": _T5_LAYER,
    "mt5": _T5_LAYER,
    "umt5": _T5_LAYER,
    "bert": _BERT_LAYER,
    "roberta": _BERT_LAYER,
    "xlm-roberta": _BERT_LAYER,
}

_NORM = re.compile(r"norm", re.IGNORECASE)
_INSIDE = [  # within a layer, in this order: BERT's `attention.output.dense` is attention, its `output.dense` is not
    ("a", re.compile(r"\.self_attn\.|\.SelfAttention\.|\.attention\.")),
    ("c", re.compile(r"\.encoder_attn\.|\.EncDecAttention\.")),
    ("f", re.compile(r"\.fc[12]\.|\.DenseReluDense\.|\.intermediate\.|\.output\.")),
]
_EMBEDDING = re.compile(r"\bshared\b|embed_tokens|embed_positions|_embeddings\b")
_HEAD = re.compile(r"\b(lm_head|cls|classifier|classification_head|qa_outputs|score|pooler)\b")
_BIAS = re.compile(r"\bbias$|relative_attention_bias")

SELECTIONS = ("ffn", "attention", "layers", "layers+bias", "all")


@dataclass(frozen=True)
class Place:
    """Where one parameter belongs: its group, its layer (None outside the layers), its kind (weight, bias, norm)."""

    group: str
    layer: int | None
    kind: str


def describe(model: "nn.Module") -> "pd.DataFrame":
    """One row per parameter, in `model.named_parameters()` order.

    Columns: name; group (E_a, E_f, D_a, D_c, D_f, E_norm, D_norm, embedding, head, other); layer (from 0, counted
    within encoder and decoder; <NA> outside the layers); kind ("weight"; "bias", to which T5's table of relative
    attention biases belongs; "norm", the weights and biases of layer norms); numel; trainable (Marian's sinusoidal
    positions are not).

    Raises:
        UsageError: an architecture that has no groups here.
    """
    import pandas as pd

    places = _places(model)
    rows = [
        (name, *(getattr(places[name], part) for part in ("group", "layer", "kind")), p.numel(), p.requires_grad)
        for name, p in model.named_parameters()
    ]
    table = pd.DataFrame(rows, columns=["name", "group", "layer", "kind", "numel", "trainable"])
    return table.astype({"layer": "Int64"})


def select(model: "nn.Module", selection: str) -> list[str]:
    """Names of the selected parameters, in `model.named_parameters()` order; only trainable ones.

    Args:
        selection: "ffn", the weight matrices of the feed-forward blocks; "attention", those of self- and
            cross-attention; "layers", both; "layers+bias", every tensor inside the layers, with biases and norms;
            "all"; or "re:PATTERN", every parameter whose name PATTERN matches somewhere (`re.search`).
            "all" and "re:" work for any architecture.

    Raises:
        UsageError: an unknown selection, a bad pattern, an unknown architecture, or nothing selected.
    """
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not trainable:
        raise UsageError("every parameter of this model is frozen; call model.requires_grad_(True) first")
    if selection == "all":
        return trainable
    if selection.startswith("re:"):
        chosen = _matching(trainable, selection.removeprefix("re:"))
    elif selection in SELECTIONS:
        places = _places(model)
        chosen = [name for name in trainable if _selected(places[name], selection)]
    else:
        known = (*SELECTIONS, "re:PATTERN")
        raise UsageError(f"unknown selection {selection!r}: {did_you_mean(selection, known, n=len(known))}")
    if not chosen:
        raise UsageError(f"selection {selection!r} matches no trainable parameter; see langsim.groups.describe(model)")
    return chosen


def _matching(names: list[str], pattern: str) -> list[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"bad pattern in selection 're:{pattern}': {error}") from error
    return [name for name in names if compiled.search(name)]


def _selected(place: Place, selection: str) -> bool:
    if place.layer is None:
        return False
    if selection == "layers+bias":
        return True
    wanted = {"ffn": ("f",), "attention": ("a", "c"), "layers": ("a", "c", "f")}[selection]
    return place.kind == "weight" and place.group[-1] in wanted


def _places(model: "nn.Module") -> dict[str, Place]:
    layer_of = _layer_pattern(model)
    names = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    return {aliases[0]: _place(aliases, layer_of) for aliases in names.values()}


def _layer_pattern(model: "nn.Module") -> re.Pattern:
    architecture = getattr(getattr(model, "config", None), "model_type", None) or type(model).__name__
    if architecture not in _LAYER_OF:
        raise UsageError(
            f"no parameter groups for architecture {architecture!r}; known are {', '.join(_LAYER_OF)} "
            "(a 're:PATTERN' selection works for any model)"
        )
    return re.compile(_LAYER_OF[architecture])


def _place(aliases: list[str], layer_of: re.Pattern) -> Place:
    name = aliases[0]
    kind = "norm" if _NORM.search(name) else "bias" if _BIAS.search(name) else "weight"
    inside = layer_of.search(name)
    if inside:
        side, layer = inside[1][0].upper(), int(inside[2])
        part = "norm" if kind == "norm" else next((part for part, rule in _INSIDE if rule.search(name)), None)
        return Place(f"{side}_{part}" if part else "other", layer, kind)
    if kind != "norm" and any(_EMBEDDING.search(alias) for alias in aliases):
        return Place("embedding", None, kind)
    if _HEAD.search(name):
        return Place("head", None, kind)
    if kind == "norm":  # BERT's embedding norm has no side in its name: everything there is encoder
        return Place("D_norm" if re.search(r"\bdecoder\.", name) else "E_norm", None, kind)
    return Place("other", None, kind)
