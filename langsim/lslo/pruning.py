"""Unstructured pruning of LoRA by size, in the groups that the second paper compares (section 3.2, appendix A).

Masks are found by torch's `L1Unstructured` and applied by torch's `custom_from_mask`, so a pruned matrix has what torch
gives it: the parameter `lora_B_orig`, the buffer `lora_B_mask`, and `lora_B` made of both at every forward pass. The
parameter object stays the same, an optimizer need not be told. As the LoRAs of all languages stand in one matrix, the
mask of a matrix is put together from those of its languages' parts.

Exactly `round(ratio * n)` of the n weights of a group are pruned, halves to even as torch rounds. Of weights of equal
size those that stand first are pruned first: by module in the model's order, then language, line, column. What was
pruned stays pruned: at every call it comes before all else.

A saved LSLo has plain matrices with zeros in them (`langsim.lslo.save`). To go on with its masks, load it and apply
the same pruning with the same ratio: the zeros are the smallest, so they are what it prunes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch.nn.utils import prune

from langsim.errors import UsageError
from langsim.lslo.documents import reason
from langsim.lslo.layer import LSLoLinear
from langsim.lslo.model import LSLo
from langsim.lslo.projections import Projection, projections

Scope = Literal["tensor", "language", "layer"]
Matrices = Literal["B", "A and B"]
_PARTS = {"B": ("lora_B",), "A and B": ("lora_A", "lora_B")}
Group = tuple[str | int, ...]


@dataclass(frozen=True)
class Part:
    """One matrix of Eq. 3: the A or B ("lora_A", "lora_B") of a language in a projection."""

    layer: LSLoLinear
    place: Projection
    name: str
    language: str

    @property
    def lines(self) -> slice:
        """Where it stands in the matrix of all languages."""
        return self.layer.routing.part(self.language)

    def values(self) -> torch.Tensor:
        """All of it as it is used (n,)."""
        return self.layer.used(self.name).detach()[self.lines].flatten()

    def pruned(self) -> torch.Tensor:
        """Which of its weights are masked (n,)."""
        mask = getattr(self.layer, f"{self.name}_mask", None)
        if mask is None:
            return torch.zeros_like(getattr(self.layer, self.name)[self.lines], dtype=torch.bool).flatten()
        return (mask[self.lines] == 0).flatten()


class Pruning(BaseModel):
    """Which weights are compared with which.

    Attributes:
        scope: "tensor", each matrix for itself (torch's `l1_unstructured`, which the paper's section 3.2 cites);
            "language", all matrices of a language together (language-specific pruning, section 7.2); "layer", those of
            all languages in an encoder or decoder layer together (intrinsic subspace estimation, section 4.2).
        matrices: "B" (as both estimations do), or "A and B"; an A is never compared with a B, as they begin unlike.
        languages: whose LoRAs are pruned; None for all. Those of rank 0 have none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scope: Scope
    matrices: Matrices = "B"
    languages: tuple[str, ...] | None = Field(None, min_length=1)

    @classmethod
    def of(cls, scope: str, matrices: str = "B", languages: tuple[str, ...] | list[str] | None = None) -> "Pruning":
        """A pruning.

        Raises:
            UsageError: a value that it can't have.
        """
        try:
            return cls(scope=scope, matrices=matrices, languages=languages)
        except ValidationError as error:
            raise UsageError(f"pruning: {reason(error)}") from error

    @torch.no_grad()
    def apply(self, lslo: LSLo, ratio: float) -> None:
        """Mask the smallest weights of every group, until this share of the group is pruned; at 0 nothing is masked.

        To be called again with every ratio of a schedule. In between what is masked gets no gradient, and what an
        optimizer's momentum does to it is not seen.

        Raises:
            UsageError: a ratio not from 0 to 1, or with which less would be pruned than is; an unknown language, or
                none with LoRA.
        """
        if not 0 <= ratio <= 1:
            raise UsageError(f"pruning ratio {ratio}: it has to be from 0 to 1")
        masks: dict[tuple[LSLoLinear, str], torch.Tensor] = {}
        for group, parts in self.groups(lslo).items():
            pruned = torch.cat([part.pruned() for part in parts])
            amount = round(ratio * len(pruned))
            if amount < (already := int(pruned.sum())):
                where = " ".join(map(str, group))
                raise UsageError(f"ratio {ratio:g} is {amount} weights of {where}, but {already} are pruned already")
            if amount == already:  # before a schedule's start and after its last step: nothing to sort
                continue
            found = smallest(torch.cat([part.values() for part in parts]), pruned, amount)
            start = 0
            for part in parts:
                stored = getattr(part.layer, part.name)
                mask = masks.get((part.layer, part.name))
                if mask is None:
                    mask = getattr(part.layer, f"{part.name}_mask", torch.ones_like(stored)).clone()
                    masks[part.layer, part.name] = mask
                lines = mask[part.lines]
                lines.copy_(found[start : start + lines.numel()].view_as(lines))
                start += lines.numel()
        for (layer, name), mask in masks.items():
            if _masked(layer, name):
                prune.remove(layer, name)
            if not mask.all():
                prune.custom_from_mask(layer, name, mask)

    def groups(self, lslo: LSLo) -> dict[Group, list[Part]]:
        """What is compared, by what it has in common: a name of the group, for errors and tables.

        Raises:
            UsageError: an unknown language, or none with LoRA; a module that stands in no layer.
        """
        found: dict[Group, list[Part]] = {}
        for part in self.parts(lslo):
            key: Group = {
                "tensor": (part.place.name, part.language),
                "language": (part.language,),
                "layer": (part.place.stack, part.place.layer),
            }[self.scope]
            found.setdefault((part.name, *key), []).append(part)
        return found

    def parts(self, lslo: LSLo) -> Iterator[Part]:
        """All matrices that can be pruned: by module, A or B, and language."""
        for language in self.languages or ():
            lslo.routing.check(language, "language to prune")
        chosen = [
            language
            for language, rank in lslo.settings.ranks.items()
            if rank and (self.languages is None or language in self.languages)
        ]
        if not chosen:
            raise UsageError("none of the languages to prune has LoRA: their ranks are 0")
        places = {place.name: place for place in projections(lslo.model)}
        for module, layer in lslo.layers():
            if module not in places:
                raise UsageError(f"'{module}' is no projection of a layer: leave it out of what is pruned")
            for name in _PARTS[self.matrices]:
                for language in chosen:
                    yield Part(layer, places[module], name, language)

    def counts(self, lslo: LSLo) -> pd.DataFrame:
        """How much is masked, a row a matrix.

        Returns:
            columns stack, layer (from 0), kind, module, matrix ("A" or "B"), language, size, pruned (both in weights).

        Raises:
            UsageError: as `groups`.
        """
        return pd.DataFrame(
            [
                {
                    "stack": part.place.stack,
                    "layer": part.place.layer,
                    "kind": part.place.kind,
                    "module": part.place.name,
                    "matrix": part.name.removeprefix("lora_"),
                    "language": part.language,
                    "size": len(pruned),
                    "pruned": int(pruned.sum()),
                }
                for part in self.parts(lslo)
                for pruned in [part.pruned()]
            ]
        )


def smallest(values: torch.Tensor, first: torch.Tensor, amount: int) -> torch.Tensor:
    """A mask (n,) that is 0 for the `amount` weights to prune: those of `first` (n,), then by absolute value.

    torch leaves open which of equal values goes; so its method gets ranks, which are never equal.
    """
    order = torch.where(first, -1, values.abs()).argsort(stable=True)
    ranks = torch.empty_like(values, dtype=torch.float64)
    ranks[order] = torch.arange(1, len(values) + 1, dtype=torch.float64, device=values.device)
    return prune.L1Unstructured(amount).compute_mask(ranks, torch.ones_like(values))


@torch.no_grad()
def make_permanent(lslo: LSLo) -> None:
    """Take all masks away; what they covered is 0 in the parameters, and may be trained again."""
    for _, layer in lslo.layers():
        for name in ("lora_A", "lora_B"):
            if _masked(layer, name):
                prune.remove(layer, name)


def _masked(layer: LSLoLinear, name: str) -> bool:
    return f"{name}_orig" in layer._parameters
