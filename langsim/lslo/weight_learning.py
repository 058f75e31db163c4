"""Weight learning: which layers should be selected by the source, which by the target language (section 4.1).

Every projection gets two LSLos of its own, one that the source and one that the target language selects. They add to
its output by a softmax pair of weights that all projections of a layer share, and that is trained with them:

    h = W x + w_src LSLo_src(x, l_src) + w_tgt LSLo_tgt(x, l_tgt)

The paper gives no initial weights; here they are equal. Its setting is rank 8, on all projections of both stacks
(section 6.1). Afterwards each layer takes the side with the larger weight: `Learned.architecture`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import pandas as pd
import torch
from pydantic import field_validator
from torch import nn
from transformers import PreTrainedModel

from langsim.errors import Failure, UsageError
from langsim.lslo.architecture import Architecture, Side, by_layer
from langsim.lslo.documents import Document
from langsim.lslo.layer import LoRALinear, widths
from langsim.lslo.model import Routed, check_options, plain_module, ranks_of
from langsim.lslo.projections import KINDS, projections
from langsim.lslo.routing import Plan, Routing

SIDES: tuple[Side, Side] = ("source", "target")
STACKS = ("encoder", "decoder")
RANK = 8  # section 6.1

Pair = tuple[float, float]


class WeightedLinear(LoRALinear):
    """A frozen projection with two LoRAs a language, of which each row uses one of its source and one of its target.

    Both LSLos stand in the same matrices, the source-indexed above the target-indexed, and the weight of a side is
    multiplied where masks are: so both together cost one gathered product, of the sum of their ranks.

    Args:
        logits: (layers, 2) of a stack, whose softmax over the last axis is the weights of source and target.
        layer: which row of it is this projection's.
    """

    def __init__(
        self, plain: nn.Linear, routing: Routing, widths: tuple[int, int], logits: nn.Parameter, layer: int
    ) -> None:
        super().__init__(plain, routing, widths, 2 * routing.total)
        self._place = (logits, layer)  # in a tuple: the logits are a parameter of the whole model, not of each layer

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """w_src B A x of the source-indexed LoRAs plus w_tgt B A x of the target-indexed, (N, ..., outputs)."""
        logits, layer = self._place
        weights = logits[layer].softmax(-1)
        indexes, masks = [], []
        for i, side in enumerate(SIDES):
            index, mask = _lines(self.routing.plan(side, len(x), x.device), len(x), x.device)
            indexes.append(index + i * self.routing.total)
            masks.append(weights[i] * mask.to(weights.dtype))
        return self.gathered(x, torch.cat(indexes, 1), torch.cat(masks, 2))

    @torch.no_grad()
    def initialise(self, init: str, seed: int, name: str) -> None:
        """As `LSLoLinear.initialise`; the two LSLos draw different numbers."""
        self.lora_B.zero_()
        for i, side in enumerate(SIDES):
            for language in self.routing.ranks:
                start = self.routing.part(language).start + i * self.routing.total
                self.draw(language, start, init, seed, f"{name}.{side}")


def _lines(plan: Plan, rows: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The lines (N, r) that each row uses, and 1 where there is one, 0 where there is none (N, 1, r)."""
    index = plan.index
    if plan.alone is not None:
        index = torch.arange(plan.alone.start, plan.alone.stop, device=device).expand(rows, -1)
    mask = plan.mask if plan.mask is not None else torch.ones((), device=device).expand(rows, 1, index.shape[1])
    return index, mask


class Learned(Document):
    """What weight learning found: (source weight, target weight) of every layer, the lowest first.

    Attributes:
        kinds: of the projections that shared the weights.
    """

    called = "learned weights"

    model_type: str
    kinds: tuple[str, ...]
    encoder: tuple[Pair, ...]
    decoder: tuple[Pair, ...]

    @field_validator("encoder", "decoder")
    @classmethod
    def _weights(cls, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        for pair in pairs:
            if not min(pair) >= 0 or abs(sum(pair) - 1) > 1e-5:
                raise ValueError(f"weights {pair[0]:g} and {pair[1]:g} are not positive with sum 1")
        return pairs

    def sides(self, stack: str) -> tuple[Side, ...]:
        """The side with the larger weight of every layer of the "encoder" or "decoder", the lowest first.

        Raises:
            UsageError: the two weights of a layer are equal.
        """
        for layer, (source, target) in enumerate(getattr(self, stack)):
            if source == target:
                raise UsageError(f"layer {layer} of the {stack} has equal weights: train the weight learning first")
        return tuple(SIDES[target > source] for source, target in getattr(self, stack))

    def architecture(self, model: PreTrainedModel, kinds: Collection[str] | None = None) -> Architecture:
        """The architecture of a later LSLo: each layer by the side with the larger weight.

        Args:
            kinds: of projections that get LoRA; None for those that learnt.

        Raises:
            UsageError: equal weights of a layer, or a model of another type or with other numbers of layers.
        """
        if model.config.model_type != self.model_type:
            raise UsageError(f"learned on a '{self.model_type}', the model is a '{model.config.model_type}'")
        return by_layer(model, self.sides("encoder"), self.sides("decoder"), self.kinds if kinds is None else kinds)

    def frame(self) -> pd.DataFrame:
        """Figure 1, one row a stack, layer (from 0) and side: stack, layer, side, weight."""
        return pd.DataFrame(
            [
                {"stack": stack, "layer": layer, "side": side, "weight": weight}
                for stack in STACKS
                for layer, pair in enumerate(getattr(self, stack))
                for side, weight in zip(SIDES, pair, strict=True)
            ]
        )


class WeightLearning(Routed):
    """A frozen translation model in weight learning: used and trained like an `LSLo`, then asked for `learned()`.

    Attributes:
        model: the base, with `WeightedLinear` in place of its projections.
        logits: "encoder" and "decoder" -> (layers, 2), the pairs before the softmax.
    """

    def __init__(self, model: PreTrainedModel, routing: Routing, logits: nn.ParameterDict, kinds: tuple[str, ...]):
        super().__init__(model, routing)
        self.logits = logits
        self.kinds = kinds

    def layers(self) -> Iterator[tuple[str, WeightedLinear]]:
        """The projections with LoRA, by their names in the base, in its order."""
        for name, module in self.model.named_modules():
            if isinstance(module, WeightedLinear):
                yield name, module

    @torch.no_grad()
    def learned(self) -> Learned:
        """The weights as they are now.

        Raises:
            Failure: some are no numbers.
        """
        pairs = {stack: self.logits[stack].double().softmax(-1) for stack in STACKS}
        if not all(found.isfinite().all() for found in pairs.values()):
            raise Failure("the learned weights are no numbers: lower the learning rate")
        return Learned(
            model_type=self.model.config.model_type,
            kinds=self.kinds,
            **{stack: tuple(map(tuple, found.tolist())) for stack, found in pairs.items()},
        )


def learn(
    model: PreTrainedModel,
    languages: Sequence[str],
    ranks: Mapping[str, int] | int = RANK,
    kinds: Collection[str] = KINDS,
    *,
    span: str = "full",
    init: str = "gaussian",
    seed: int = 0,
) -> WeightLearning:
    """Freeze a model and prepare it for weight learning. The model itself is changed: it is the base.

    At first it computes what it did before, and all weights are equal.

    Args:
        languages, ranks, span, init: as of `langsim.lslo.wrap`.
        kinds: of projections that get LoRA, and share their layer's weights.

    Raises:
        UsageError: as `wrap`, or one of the stacks has no such projections.
    """
    of_each = ranks_of(list(languages), ranks)
    check_options(span, init)
    chosen = projections(model, kinds)
    for stack in STACKS:
        if not any(p.stack == stack for p in chosen):
            raise UsageError(f"the {stack} has no projections of the kinds {', '.join(kinds) or 'given'}: add some")
    plain = {p.name: plain_module(model, p.name) for p in chosen}
    model.requires_grad_(False)
    routing, weight = Routing(of_each), next(iter(plain.values())).weight
    like = {"device": weight.device, "dtype": torch.promote_types(weight.dtype, torch.float32)}
    depth = {stack: 1 + max(p.layer for p in chosen if p.stack == stack) for stack in STACKS}
    logits = nn.ParameterDict({s: nn.Parameter(torch.zeros(n, 2, **like)) for s, n in depth.items()})
    for p in chosen:
        of_lora = widths(plain[p.name], span, model.config.d_model)
        layer = WeightedLinear(plain[p.name], routing, of_lora, logits[p.stack], p.layer)
        layer.initialise(init, seed, p.name)
        model.set_submodule(p.name, layer)
    return WeightLearning(model, routing, logits, tuple(kinds))
