"""The log-likelihood of a batch, computed from a model's logits by ourselves, summed over the scored tokens."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    with _scored_alone(model, labels) as labels:
        logits = model(**inputs).logits
    _check_fit(labels, logits)
    return Prediction(logits.to(torch.promote_types(logits.dtype, torch.float32)), labels)


def _check_fit(labels: Tensor, values: Tensor) -> None:
    if values.shape[:-1] != labels.shape:
        raise UsageError(
            f"labels {tuple(labels.shape)} do not fit logits at {tuple(values.shape[:-1])}; one label a position"
        )


@contextmanager
def _scored_alone(model: nn.Module, labels: Tensor) -> Iterator[Tensor]:
    """While it lasts the matrix of the vocabulary reads what is scored and no more; yields the labels (B, S) of that.

    A masked model scores one token in seven, and this matrix is half of a small model. Rows keep their examples, so
    that those with fewer scored tokens than the most, S, keep some places with label -100.
    """
    last = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    scored = labels != IGNORED
    most = int(scored.sum(-1).max()) if labels.ndim == 2 and labels.numel() else 0
    if not isinstance(last, nn.Linear) or not 0 < most < labels.shape[1]:
        yield labels
        return
    places = scored.int().argsort(dim=1, descending=True, stable=True)[:, :most]  # (B, S)

    def thinned(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (hidden,) = inputs
        _check_fit(labels, hidden)
        return (hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1])),)

    hook = last.register_forward_pre_hook(thinned)
    try:
        yield labels.gather(1, places)
    finally:
        hook.remove()


def _shifted(model: nn.Module, labels: Tensor) -> Tensor:
    """What the decoder reads to predict these labels. Each architecture starts its sentences in its own way."""
    if hasattr(model, "prepare_decoder_input_ids_from_labels"):
        return model.prepare_decoder_input_ids_from_labels(labels)
    shift = getattr(sys.modules[type(model).__module__], "shift_tokens_right", None)  # M2M100 has the function alone
    if shift is None:
        raise UsageError(f"put decoder_input_ids into the batch: {type(model).__name__} does not say how to shift")
    return shift(labels, model.config.pad_token_id, model.config.decoder_start_token_id)
