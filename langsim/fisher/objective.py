"""The log-likelihood of a batch, computed from a model's logits by ourselves, summed over the scored tokens."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from langsim.errors import UsageError

Batch = Mapping[str, Tensor]
IGNORED = -100  # the label of a position that is not scored, as in transformers and PyTorch


@dataclass(frozen=True)
class Prediction:
    """Logits (..., V), float32 or wider, and the observed labels (...) with -100 where nothing is scored."""

    logits: Tensor
    labels: Tensor

    @cached_property
    def n_tokens(self) -> int:
        """How many positions are scored."""
        return int((self.labels != IGNORED).sum())

    @cached_property
    def nll(self) -> Tensor:
        """-log P(labels | input) summed over all scored tokens, nats, a scalar."""
        logits = self.logits.flatten(0, -2)
        return F.cross_entropy(logits, self.labels.flatten(), ignore_index=IGNORED, reduction="sum")

    def smoothed(self, epsilon: float) -> Tensor:
        """Label-smoothed cross-entropy summed over all scored tokens, nats, a scalar; see `Recipe.label_smoothing`."""
        if epsilon == 0.0:
            return self.nll
        scored = self.labels != IGNORED
        log_p = self.logits[scored].log_softmax(-1)  # (N, V)
        observed = log_p.gather(1, self.labels[scored][:, None]).squeeze(1)  # (N,)
        share = epsilon / (log_p.shape[1] - 1)
        return -((1 - epsilon - share) * observed + share * log_p.sum(1)).sum()

    def drawn(self, generator: torch.Generator) -> "Prediction":
        """The same with every scored label replaced by a draw from the model's own distribution at its place."""
        scored = self.labels != IGNORED
        p = self.logits.detach()[scored].softmax(-1)  # (N, V)
        labels = self.labels.clone()
        if len(p):
            labels[scored] = torch.multinomial(p, 1, generator=generator).squeeze(1)
        return Prediction(self.logits, labels)


def on_device(batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """The batch's tensors on the device.

    Raises:
        UsageError: no labels.
    """
    if "labels" not in batch:
        raise UsageError(f"a batch needs 'labels' (-100 = not scored); this one has {', '.join(batch) or 'nothing'}")
    return {name: tensor.to(device) for name, tensor in batch.items()}


def predict(model: nn.Module, batch: Batch) -> Prediction:
    """Run the model on a batch. Labels stand at the positions of the logits: target tokens of an encoder-decoder
    (teacher-forced: the decoder reads them shifted, as transformers does it), masked tokens of a masked language
    model, one a sequence for a classifier.

    Raises:
        UsageError: labels that do not fit the logits, or a left-to-right model, whose labels are shifted.
    """
    if type(model).__name__.endswith(("ForCausalLM", "LMHeadModel")):
        raise UsageError(f"{type(model).__name__} predicts the next token; use an encoder-decoder or a masked model")
    labels = batch["labels"]
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    if getattr(model.config, "is_encoder_decoder", False):
        inputs.setdefault("decoder_input_ids", _shifted(model, labels))
        inputs["use_cache"] = False
    logits = model(**inputs).logits
    if logits.shape[:-1] != labels.shape:
        raise UsageError(f"labels {tuple(labels.shape)} do not fit logits {tuple(logits.shape)}; one label a position")
    return Prediction(logits.to(torch.promote_types(logits.dtype, torch.float32)), labels)


def _shifted(model: nn.Module, labels: Tensor) -> Tensor:
    """What the decoder reads to predict these labels. Each architecture starts its sentences in its own way."""
    if hasattr(model, "prepare_decoder_input_ids_from_labels"):
        return model.prepare_decoder_input_ids_from_labels(labels)
    shift = getattr(sys.modules[type(model).__module__], "shift_tokens_right", None)  # M2M100 has the function alone
    if shift is None:
        raise UsageError(f"put decoder_input_ids into the batch: {type(model).__name__} does not say how to shift")
    return shift(labels, model.config.pad_token_id, model.config.decoder_start_token_id)
