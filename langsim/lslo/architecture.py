"""Which projections have language-specific LoRA, and whether the source or the target language selects it.

Three strategies of the second paper (Table 6): WL, what weight learning found there (the lower encoder layers by
source, the top quarter by target); SRC, the whole encoder by source; TGT, the whole encoder by target. In the decoder
all is selected by the target language, the cross-attention's k and v among it: that is what weight learning found
there; where another decoder was learned SRC and TGT take it (`langsim.lslo.experiment.Experiment.sides`).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from pydantic import ValidationError, field_validator
from transformers import PreTrainedModel

from langsim.errors import UsageError
from langsim.lslo.documents import Document, reason
from langsim.lslo.projections import KINDS, projections
from langsim.suggest import unknown

Side = Literal["source", "target"]
_STACKS = ("encoder", "decoder")
STRATEGIES = ("WL", "SRC", "TGT")
TARGET_SHARE = 3 / 12  # of the encoder's layers, the top ones: section 6.1


class Architecture(Document):
    """Full module name -> the language that selects its LoRA; a module that is not named has none."""

    called = "architecture"

    modules: dict[str, Side]

    @field_validator("modules")
    @classmethod
    def _some(cls, modules: dict[str, Side]) -> dict[str, Side]:
        if not modules:
            raise ValueError("no module is named")
        return modules


def by_layer(
    model: PreTrainedModel, encoder: Sequence[Side], decoder: Sequence[Side], kinds: Collection[str] = KINDS
) -> Architecture:
    """The architecture with one side a layer, the lowest layer first: what weight learning learns.

    Raises:
        UsageError: not one side a layer, an unknown side or kind, or a model whose projections have no names.
    """
    sides = {"encoder": encoder, "decoder": decoder}
    found = projections(model)
    for stack, given in sides.items():
        layers = 1 + max(p.layer for p in found if p.stack == stack)
        if len(given) != layers:
            raise UsageError(f"the {stack} has {layers} layers, but {len(given)} sides are given")
        for side in given:
            if side not in ("source", "target"):
                raise UsageError(f"side of a layer: {unknown(side, ['source', 'target'])}")
    chosen = projections(model, kinds)
    if not chosen:
        raise UsageError("no kind of projection is given")
    return Architecture(modules={p.name: sides[p.stack][p.layer] for p in chosen})


def default(
    model: PreTrainedModel, encoder_source_layers: int | None = None, kinds: Collection[str] = KINDS
) -> Architecture:
    """The lowest `encoder_source_layers` of the encoder by source, all above and the decoder by target.

    Without a number the top quarter of the encoder (rounded, at least one layer) is by target: 3 of 12 as in the paper.

    Raises:
        UsageError: a number that is not from 0 to the encoder's layers, or as `by_layer`.
    """
    layers = {stack: 1 + max(p.layer for p in projections(model) if p.stack == stack) for stack in _STACKS}
    total = layers["encoder"]
    lower = total - max(1, round(TARGET_SHARE * total)) if encoder_source_layers is None else encoder_source_layers
    if not 0 <= lower <= total:
        raise UsageError(f"encoder_source_layers={lower}: the encoder has {total} layers")
    encoder: list[Side] = ["source"] * lower + ["target"] * (total - lower)
    return by_layer(model, encoder, ["target"] * layers["decoder"], kinds)


def strategy(model: PreTrainedModel, name: str, kinds: Collection[str] = KINDS) -> Architecture:
    """WL, SRC or TGT (Table 6).

    Raises:
        UsageError: another name, or as `default`.
    """
    if name not in STRATEGIES:
        raise UsageError(f"index strategy: {unknown(name, list(STRATEGIES))}")
    if name == "WL":
        return default(model, kinds=kinds)
    layers = 1 + max(p.layer for p in projections(model) if p.stack == "encoder")
    return default(model, layers if name == "SRC" else 0, kinds)


def of(architecture: Architecture | Mapping[str, Side]) -> Architecture:
    """An architecture from what may be a plain mapping.

    Raises:
        UsageError: it is none.
    """
    if isinstance(architecture, Architecture):
        return architecture
    try:
        return Architecture(modules=dict(architecture))
    except (ValidationError, TypeError, ValueError) as error:
        raise UsageError(f"no architecture: {reason(error)}") from error
