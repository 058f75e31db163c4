"""An encoder with the head of a task, from the weights of a pre-trained model and random ones for the head.

    token      a linear map of every state (transformers' `...ForTokenClassification`)
    sequence   XLM-R and BERT: transformers' `...ForSequenceClassification`; others: the mean of a linear map of every
               state
    span       a linear map of every state to two scores: here the answer starts, here it ends

Of an encoder-decoder the encoder is used alone, in all three: the paper does not say what stands on mT5, and so the
fine-tuned parameters are those that its sub-networks cover (`ENCODER_LAYERS`). BERT's pooler, which its masked language
model lacks, is part of the head.

Logits are (B, S, labels), (B, labels) or (B, 2, S); labels of a batch fit them as `langsim.fisher` wants it: (B, S),
(B,), (B, 2).
"""

import copy
from dataclasses import dataclass

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from langsim.errors import Failure, UsageError
from langsim.models import LoadedModel
from langsim.suggest import unknown

HEADS = ("token", "sequence", "span")
# Fisher vectors of part III cover what is in the encoder's layers: no embeddings, no head, no decoder.
ENCODER_LAYERS = r"re:\bencoder\.(layer|layers|block)\.\d+\."
_OWN_SEQUENCE = ("bert", "roberta", "xlm-roberta")  # have a first token that stands for the text


@dataclass(frozen=True)
class Output:
    """What `langsim.fisher.objective.predict` reads of a model's output."""

    logits: Tensor


class Headed(nn.Module):
    """A transformers model for classification whose logits are brought into the form of a head."""

    def __init__(self, model: PreTrainedModel, form: str) -> None:
        super().__init__()
        self.model, self.form = model, form

    @property
    def config(self) -> transformers.PreTrainedConfig:
        """The encoder's."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **more: Tensor) -> Output:
        """input_ids, attention_mask (B, S) -> logits of the head's form."""
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask, **more).logits
        if self.form == "mean":
            weights = attention_mask[..., None].to(logits.dtype)
            return Output((logits * weights).sum(1) / weights.sum(1))
        if self.form == "span":  # padding is no place for an answer
            lowest = torch.finfo(logits.dtype).min
            return Output(logits.masked_fill(attention_mask[..., None] == 0, lowest).transpose(1, 2))
        return Output(logits)


def with_head(loaded: LoadedModel, head: str, labels: int, *, seed: int, dropout: float | None = None) -> Headed:
    """A copy of the encoder of `loaded` with a random head, in evaluation mode; `loaded` is not changed.

    Args:
        head: `token`, `sequence` or `span` (`Task.head`). labels: how many the head tells apart (`span`: ignored).
        seed: of the head's weights.
        dropout: while training, wherever the model has any; None: as its configuration has it.

    Raises:
        UsageError: an unknown head, or an architecture that transformers has no classifier for.
    """
    if head not in HEADS:
        raise UsageError(f"head: {unknown(head, HEADS)}")
    config = copy.deepcopy(loaded.model.config)
    own = head == "sequence" and config.model_type in _OWN_SEQUENCE
    kind = transformers.AutoModelForSequenceClassification if own else transformers.AutoModelForTokenClassification
    config.num_labels = 2 if head == "span" else labels
    config.is_encoder_decoder = False
    for name in (
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "classifier_dropout",
        "dropout_rate",
        "dropout",
    ):
        if dropout is not None and getattr(config, name, None):
            setattr(config, name, dropout)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        try:
            model = kind.from_config(config)
        except (ValueError, KeyError) as error:
            raise UsageError(
                f"the model '{loaded.name}' ({config.model_type}) can't be fine-tuned here: choose XLM-R, BERT or mT5"
            ) from error
    _copy_encoder(loaded, model)
    form = {"token": "token", "span": "span", "sequence": "sequence" if own else "mean"}[head]
    return Headed(model.to(loaded.model.device, loaded.model.dtype), form).eval()


def _copy_encoder(loaded: LoadedModel, model: PreTrainedModel) -> None:
    """Every weight of the encoder and its embeddings, by name; what is left is the head."""
    given = dict(loaded.model.named_parameters(remove_duplicate=False))
    copied = 0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            source = given.get(name, given.get(name.removeprefix("transformer.")))  # T5's token classifier adds it
            if source is not None and source.shape == parameter.shape and not name.startswith("classifier"):
                parameter.copy_(source)
                copied += 1
            elif ".encoder." in name or "embeddings" in name or "shared" in name:
                raise Failure(f"the model '{loaded.name}' has no weights for {name}; it can't be fine-tuned")
    if not copied:
        raise Failure(f"the model '{loaded.name}' shares no weight with its classifier; it can't be fine-tuned")
