"""The linear projections of a translation model that can have language-specific LoRA, by their kind.

Kinds: q, k, v of self-attention; cross_q, cross_k, cross_v of cross-attention; fc1, fc2 of the feed-forward block. The
output projections of attention have none, as in the authors' code. Where the first projection of the feed-forward block
is a pair (gated T5, mT5), both are fc1.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from langsim.errors import UsageError
from langsim.suggest import unknown

ATTENTION = ("q", "k", "v")
CROSS = ("cross_q", "cross_k", "cross_v")
FEED_FORWARD = ("fc1", "fc2")
KINDS = (*ATTENTION, *CROSS, *FEED_FORWARD)

_BART = {kind: rf"self_attn\.{kind}_proj" for kind in ATTENTION}
_BART |= {f"cross_{kind}": rf"encoder_attn\.{kind}_proj" for kind in ATTENTION}
_BART |= {kind: kind for kind in FEED_FORWARD}
_T5 = {kind: rf"layer\.0\.SelfAttention\.{kind}" for kind in ATTENTION}
_T5 |= {f"cross_{kind}": rf"layer\.1\.EncDecAttention\.{kind}" for kind in ATTENTION}
_T5 |= {"fc1": r"layer\.\d\.DenseReluDense\.wi(?:_[01])?", "fc2": r"layer\.\d\.DenseReluDense\.wo"}
# How an architecture (the config's `model_type`) spells its layers, and the projections within one.
_SPELLED = {
    "m2m_100": (r"layers", _BART),  # NLLB too
    "mbart": (r"layers", _BART),
    "bart": (r"layers", _BART),
    "marian": (r"layers", _BART),
    "t5": (r"block", _T5),
    "mt5": (r"block", _T5),
    "umt5": (r"block", _T5),
}


@dataclass(frozen=True)
class Projection:
    """One projection: its name in `model.named_modules()`, "encoder" or "decoder", its layer (from 0), its kind."""

    name: str
    stack: str
    layer: int
    kind: str


def projections(model: PreTrainedModel, kinds: Collection[str] = KINDS) -> list[Projection]:
    """All projections of these kinds, in the order of `model.named_modules()`.

    Raises:
        UsageError: an unknown kind, or an architecture whose projections have no names here.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"kind of projection: {unknown(kind, list(KINDS))}")
    model_type = getattr(getattr(model, "config", None), "model_type", None) or type(model).__name__
    if model_type not in _SPELLED:
        raise UsageError(
            f"the projections of architecture {model_type!r} have no names here; known are {', '.join(_SPELLED)}"
        )
    layers, spelled = _SPELLED[model_type]
    patterns = {kind: re.compile(rf"(?:.*\.)?(encoder|decoder)\.{layers}\.(\d+)\.{spelled[kind]}$") for kind in kinds}
    found = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        for kind, pattern in patterns.items():
            if match := pattern.match(name):
                found.append(Projection(name, match[1], int(match[2]), kind))
    return found
