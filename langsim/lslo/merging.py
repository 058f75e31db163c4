"""One direction of an LSLo folded into the weights of its base."""

import copy

from transformers import PreTrainedModel

from langsim.lslo.model import LSLo


def merge(lslo: LSLo, source: str, target: str) -> PreTrainedModel:
    """A plain model that computes what `lslo` does from `source` into `target`: W + B A, added in float64.

    The LSLo stays as it is; the new model shares no memory with it, and has the parameters trainable that the base had.

    Raises:
        UsageError: no such language.
    """
    lslo.routing.check(source, "source language")
    lslo.routing.check(target, "target language")
    selected = {"source": source, "target": target}
    # What is in the memo counts as copied: plain projections take the places of those with LoRA.
    memo = {id(layer): layer.folded(selected[layer.side]) for _, layer in lslo.layers()}
    merged = copy.deepcopy(lslo.model, memo)
    if merged.is_activation_checkpointing:  # it asks the LSLo for languages
        merged.activation_checkpointing_disable()
    trained = set(lslo.trained_before)
    for name, parameter in merged.named_parameters():
        parameter.requires_grad_(name in trained)
    return merged
