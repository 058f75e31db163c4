"""A translation model with language-specific LoRA: `wrap` makes one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn
from transformers import PreTrainedModel

from langsim.errors import UsageError
from langsim.lslo.architecture import Architecture, Side, of
from langsim.lslo.layer import INITS, SPANS, LoRALinear, LSLoLinear, widths
from langsim.lslo.routing import Codes, Routing
from langsim.suggest import unknown


class Settings(BaseModel):
    """All that says what an LSLo is, but for its numbers. `ranks` is in the order of the languages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_type: str
    ranks: dict[str, int]
    span: Literal["full", "slice"]
    init: Literal["gaussian", "kaiming"]
    seed: int
    architecture: Architecture


class Routed(nn.Module):
    """A frozen translation model whose chosen projections have LoRAs of languages.

    Every call says which languages the samples are in: `lslo(**batch, source=["de", "fa"], target=["en", "de"])`. A
    batch mixes any directions.

    Attributes:
        model: the base, with other projections in place of those that have LoRA.
        routing: the languages with their ranks.
    """

    def __init__(self, model: PreTrainedModel, routing: Routing) -> None:
        super().__init__()
        self.model = model
        self.routing = routing

    @property
    def languages(self) -> tuple[str, ...]:
        """In the order of their LoRAs."""
        return tuple(self.routing.ranks)

    def route(self, source: Codes, target: Codes) -> AbstractContextManager[None]:
        """Languages for all that is called within: a code for all rows, or a code a sample. With single codes the base
        can be used as any model, for generation too.

        Raises:
            UsageError: a language is unknown, or not as many sources as targets.
        """
        return self.routing.use(source, target)

    def forward(self, *args: Any, source: Codes | None = None, target: Codes | None = None, **kwargs: Any) -> Any:
        """The base's forward pass.

        Raises:
            UsageError: a language is missing or unknown, or there is not one a sample.
        """
        with self.routing.use(source, target):
            return self.model(*args, **kwargs)

    def generate(self, *args: Any, source: Codes | None = None, target: Codes | None = None, **kwargs: Any) -> Any:
        """The base's generation; where a translation starts with a token of its language, give `decoder_input_ids` of
        each sample (or `forced_bos_token_id` if all are into one language).

        Raises:
            UsageError: a language is missing or unknown, or there is not one a sample.
        """
        with self.routing.use(source, target, beams=True):
            return self.model.generate(*args, **kwargs)

    def gradient_checkpointing_enable(self) -> None:
        """Compute activations again in the backward pass, by the languages of their own batch."""
        options = {"use_reentrant": False, "context_fn": self.routing.for_checkpointing}
        self.model.activation_checkpointing_enable(options)
        # Only reentrant checkpoints need inputs with gradients; the hook for them would stay in a merged model.
        self.model.disable_input_require_grads()

    def gradient_checkpointing_disable(self) -> None:
        """Keep activations."""
        self.model.activation_checkpointing_disable()


class LSLo(Routed):
    """A frozen translation model whose chosen projections have one LoRA a language.

    Attributes:
        model: the base, with `LSLoLinear` in place of the projections that the architecture names.
        settings: languages with ranks, architecture, span, initialisation, seed.
    """

    def __init__(self, model: PreTrainedModel, settings: Settings, routing: Routing, trained: list[str]) -> None:
        super().__init__(model, routing)
        self.settings = settings
        self.trained_before = trained  # names of the parameters that were not frozen in the base

    def layers(self) -> Iterator[tuple[str, LSLoLinear]]:
        """The projections with LoRA, by their names in the base, in its order."""
        for name, module in self.model.named_modules():
            if isinstance(module, LSLoLinear):
                yield name, module


def wrap(
    model: PreTrainedModel,
    languages: Sequence[str],
    ranks: Mapping[str, int] | int,
    architecture: Architecture | Mapping[str, Side],
    *,
    span: str = "full",
    init: str = "gaussian",
    seed: int = 0,
) -> LSLo:
    """Freeze a model and give projections of it one LoRA a language. The model itself is changed: it is the base.

    At first it computes what it did before: every B is 0.

    Args:
        languages: any names, in the order that LoRAs are stored in.
        ranks: language -> rank of its LoRA, in every module; 0 for none, then the language uses the base as it is; or
            one rank for all.
        span: "full", conventional LoRA; "slice", as in the authors' code, see `langsim.lslo.layer.widths`.
        init: of the A matrices: "gaussian" or "kaiming", see `LSLoLinear.initialise`.

    Raises:
        UsageError: no languages, one twice, one without a rank or a rank without its language, a bad rank, nothing but
            zeros; an unknown span or init; a module that the model does not have, or that is no linear projection.
    """
    of_each = ranks_of(list(languages), ranks)
    architecture = of(architecture)
    check_options(span, init)
    plain = {name: plain_module(model, name) for name in architecture.modules}
    settings = Settings(
        model_type=model.config.model_type, ranks=of_each, span=span, init=init, seed=seed, architecture=architecture
    )
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    model.requires_grad_(False)
    routing = Routing(of_each)
    for name, side in architecture.modules.items():
        layer = LSLoLinear(plain[name], side, routing, widths(plain[name], span, model.config.d_model))
        layer.initialise(init, seed, name)
        model.set_submodule(name, layer)
    return LSLo(model, settings, routing, trained)


def check_options(span: str, init: str) -> None:
    """
    Raises:
        UsageError: no such span or initialisation.
    """
    for what, value, known in (("span", span, SPANS), ("init", init, INITS)):
        if value not in known:
            raise UsageError(f"{what}: {unknown(value, list(known))}")


def ranks_of(languages: list[str], ranks: Mapping[str, int] | int) -> dict[str, int]:
    """Language -> rank, in the order of the languages.

    Raises:
        UsageError: as `wrap` about languages and ranks.
    """
    if not languages:
        raise UsageError("no languages are given")
    if twice := {language for language in languages if languages.count(language) > 1}:
        raise UsageError(f"language '{min(twice)}' is given twice")
    if not isinstance(ranks, Mapping):
        ranks = dict.fromkeys(languages, ranks)
    for language in languages:
        if language not in ranks:
            raise UsageError(f"language '{language}' has no LoRA: give its rank (0 to use the base model as it is)")
    for language, rank in ranks.items():
        if language not in languages:
            raise UsageError(f"a rank is given for '{language}', which is not among the languages")
        if isinstance(rank, bool) or not isinstance(rank, int) or rank < 0:
            raise UsageError(f"rank {rank!r} of '{language}': it has to be a whole number from 0 on")
    if not any(ranks.values()):
        raise UsageError("every language has rank 0: nothing could be trained")
    return {language: ranks[language] for language in languages}


def plain_module(model: PreTrainedModel, name: str) -> nn.Linear:
    """A module of the base that LoRA can be added to.

    Raises:
        UsageError: there is none of this name, or it is no linear projection of floating-point numbers without LoRA.
    """
    try:
        module = model.get_submodule(name)
    except AttributeError as error:
        raise UsageError(f"the model has no module '{name}', which the architecture names") from error
    if isinstance(module, LoRALinear):
        raise UsageError(f"'{name}' has language-specific LoRA already")
    if type(module) is not nn.Linear:
        raise UsageError(f"'{name}' is a {type(module).__name__}, no linear projection of torch")
    if not torch.is_floating_point(module.weight):
        raise UsageError(f"the weights of '{name}' are {module.weight.dtype}, not floating-point numbers")
    return module
