"""Label-smoothed cross-entropy of any sequence-to-sequence or masked model, on the scored positions alone."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from langsim.models import Batch


def decoder_inputs(model: PreTrainedModel, labels: Tensor) -> Tensor:
    """What the decoder reads (B, T) where `labels` (B, T) are to come out: the model's own shift by one position."""
    own = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    if own is not None:
        return own(labels=labels)
    start = labels.new_full((len(labels), 1), model.config.decoder_start_token_id)
    shifted = torch.cat([start, labels[:, :-1]], dim=1)
    return shifted.masked_fill(shifted == -100, model.config.pad_token_id)


def scored_logits(call: nn.Module, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (N, V) at the N scored positions of a batch, and the tokens observed there (N,).

    They are `model(**batch).logits[labels != -100]`, but padding is left out before the vocabulary's matrix: a hook
    thins out what its last layer reads. `call` is what is called, the model or what wraps it.
    """
    labels = batch["labels"]
    scored = labels != -100

    def thin_out(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0][scored],)

    hook = model.get_output_embeddings().register_forward_pre_hook(thin_out)
    decoder = model.config.is_encoder_decoder
    read = {"decoder_input_ids": decoder_inputs(model, labels), "use_cache": False} if decoder else {}
    try:
        output = call(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            **read,
        )
    finally:
        hook.remove()
    return output.logits, labels[scored]


def summed_loss(logits: Tensor, observed: Tensor, smoothing: float) -> Tensor:
    """Label-smoothed cross-entropy of logits (N, V) against observed tokens (N,), summed over them, in nats.

    (1 - e) (-log p(observed)) + e (-mean over the vocabulary of log p): that of Hugging Face's `LabelSmoother` and of
    torch. (fairseq spreads e over the V - 1 other tokens: the same but for e / V.)
    """
    return _SmoothedLoss.apply(logits, observed, smoothing)


class _SmoothedLoss(torch.autograd.Function):
    """The gradient is softmax - (1 - e) one-hot - e / V: one buffer, where autograd would keep and add several."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, observed: Tensor, smoothing: float) -> Tensor:
        values = logits.float()
        log_sum = values.logsumexp(-1)
        ctx.save_for_backward(logits, observed, log_sum)
        ctx.smoothing = smoothing
        loss = log_sum.sum() - (1 - smoothing) * values.gather(1, observed[:, None]).sum()
        return loss - smoothing * values.mean(-1).sum() if smoothing else loss

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        logits, observed, log_sum = ctx.saved_tensors
        gradient = (logits.float() - log_sum[:, None]).exp_()
        if ctx.smoothing:
            gradient -= ctx.smoothing / gradient.shape[1]
        gradient.scatter_add_(1, observed[:, None], gradient.new_full((len(observed), 1), ctx.smoothing - 1))
        return gradient.mul_(outer).to(logits.dtype), None, None
