"""Gold transfer: fine-tune an encoder on a task in one language, and score it, zero-shot, in all the others.

After every epoch the model is scored on the source's own validation split; the best weights (of equal scores those
with the smaller loss) are what is evaluated, and `patience` epochs without better ones end the training. No target has
a say. AdamW with a linear warm-up and a constant rate after it, as the third paper's code has it (its warm-up is 0).

Batches hold texts of like length, and the test sets of all targets are read in one pass, sorted by length.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from langsim.corruption import IGNORED
from langsim.errors import Failure, UsageError
from langsim.models import LoadedModel
from langsim.tasks.base import Task
from langsim.tasks.metrics import score
from langsim.xsns.encoding import Encoded, Encoder, Row, by_length, shuffled
from langsim.xsns.heads import Headed, with_head
from langsim.xsns.settings import XSNSSettings

TOKENS = 4096  # positions of an evaluation batch, padding counted
BETAS, EPS = (0.9, 0.999), 1e-8
# What the third paper's code scores, where it is not the measure that the paper names.
AUTHORS_METRICS = {"tokens": "sentence_accuracy", "pair": "accuracy", "answer": "squad_em"}
_MORE = {"tokens": ("token_f1", "sentence_accuracy"), "pair": (), "answer": ("squad_em",)}


@dataclass(frozen=True)
class Recipe:
    """How a model is fine-tuned; fields as in `XSNSSettings`."""

    epochs: int = 20
    patience: int = 5
    learning_rate: float = 1e-5
    warmup: int = 0
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    dropout: float = 0.1
    batch_size: int = 16

    @classmethod
    def of(cls, settings: XSNSSettings, kind: str) -> "Recipe":
        """That of a kind of task: pairs and question answering have epochs and a rate of their own."""
        epochs, rate = {
            "tokens": (settings.epochs, settings.learning_rate),
            "pair": (settings.pair_epochs, settings.pair_learning_rate),
            "answer": (settings.answer_epochs, settings.answer_learning_rate),
        }[kind]
        return cls(
            epochs,
            settings.patience,
            rate,
            settings.warmup,
            settings.weight_decay,
            settings.clip_norm,
            settings.dropout,
            settings.batch_size,
        )


@dataclass(frozen=True)
class Epoch:
    """One epoch: mean training loss of a scored place in nats, and the source's validation score and loss."""

    epoch: int
    loss: float
    validation: float
    validation_loss: float


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned model (in evaluation mode), how it reads examples, and its epochs; `best` is the one it has the
    weights of."""

    model: Headed
    encoder: Encoder
    curve: list[Epoch]
    best: Epoch
    cut: int


def metrics_of(task: Task) -> list[str]:
    """The measures of a task: its own first, then the others that its predictions allow."""
    return list(dict.fromkeys([task.metric, *_MORE[task.kind]]))


def authors_metric(task: Task) -> str:
    """The measure that the third paper's code computes for such a task."""
    return AUTHORS_METRICS[task.kind]


def fine_tune(
    loaded: LoadedModel,
    task: Task,
    sources: Sequence[str],
    recipe: Recipe,
    *,
    seed: int,
    encoder: Encoder | None = None,
) -> Tuned:
    """Fine-tune on one source, or on the examples of several together (section 6.4).

    Equal arguments give equal weights, bit by bit on one machine with one number of threads. `loaded` is not changed.

    Raises:
        UsageError: no source, a source without training or validation text.
        Failure: the loss is not a number.
    """
    if not sources:
        raise UsageError("fine-tuning needs a source language; name one")
    encoder = encoder or Encoder.of(loaded, task)
    text = {
        split: encoder.encode([one for code in sources for one in task.examples(code, split)])
        for split in ("train", "validation")
    }
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        model = with_head(loaded, task.head, len(task.labels), seed=seed, dropout=recipe.dropout)
        curve, best = _train(model, encoder, task, text["train"], text["validation"], recipe, seed)
    return Tuned(model.eval(), encoder, curve, best, text["train"].cut)


def evaluate(
    model: Headed, encoder: Encoder, task: Task, targets: Sequence[str], split: str = "test"
) -> dict[str, dict[str, float]]:
    """Target -> measure -> score in percent, all targets in one pass.

    Raises:
        UsageError: a target without this split.
    """
    encoded = {code: encoder.encode(task.examples(code, split)) for code in targets}
    logits, _ = _predict(model, encoder, [row for one in encoded.values() for row in one.rows])
    found, begin = {}, 0
    for code, one in encoded.items():
        found[code] = scores(encoder, task, one, logits[begin : begin + len(one.rows)])
        begin += len(one.rows)
    return found


def scores(encoder: Encoder, task: Task, encoded: Encoded, logits: Sequence[np.ndarray]) -> dict[str, float]:
    """Measure -> score in percent of the logits of some examples."""
    gold, predicted = encoder.predictions(encoded, logits)
    return {name: score(name, gold, predicted) for name in metrics_of(task)}


def gold_scores(
    loaded: LoadedModel,
    task: Task,
    sources: Sequence[str],
    targets: Sequence[str],
    recipe: Recipe,
    *,
    seed: int,
    encoder: Encoder | None = None,
) -> dict[str, object]:
    """What a cell of gold transfer holds: `targets` (language -> measure -> score), `epochs`, `best_epoch`,
    `validation`, `loss`, `curve` (validation score after each epoch), `cut` (training examples that were too long)."""
    tuned = fine_tune(loaded, task, sources, recipe, seed=seed, encoder=encoder)
    return {
        "targets": _rounded(evaluate(tuned.model, tuned.encoder, task, targets)),
        "epochs": len(tuned.curve),
        "best_epoch": tuned.best.epoch,
        "validation": round(tuned.best.validation, 4),
        "loss": round(tuned.best.validation_loss, 6),
        "curve": [round(epoch.validation, 4) for epoch in tuned.curve],
        "cut": tuned.cut,
    }


def _rounded(found: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {code: {name: round(value, 4) for name, value in own.items()} for code, own in found.items()}


# Training ----------------------------------------------------------------------------------------------------------


def _train(
    model: Headed, encoder: Encoder, task: Task, train: Encoded, validation: Encoded, recipe: Recipe, seed: int
) -> tuple[list[Epoch], Epoch]:
    optimizer = _optimizer(model, recipe)
    rng = np.random.default_rng(seed)
    curve: list[Epoch] = []
    best, kept, updates = None, {}, 0
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        total = places = 0.0
        for batch in shuffled(train.rows, recipe.batch_size, rng):
            updates += 1
            loss, n = _update(model, encoder.collate([train.rows[i] for i in batch]), optimizer, recipe, updates)
            total, places = total + loss * n, places + n
        logits, validation_loss = _predict(model, encoder, validation.rows)
        own = scores(encoder, task, validation, logits)[task.metric]
        curve.append(Epoch(epoch, total / max(places, 1), own, validation_loss))
        if best is None or (own, -validation_loss) > (best.validation, -best.validation_loss):
            best, kept = curve[-1], {name: p.detach().clone() for name, p in model.named_parameters()}
        elif recipe.patience and epoch - best.epoch >= recipe.patience:
            break
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(kept[name])
    return curve, best


def _update(
    model: Headed, batch: dict[str, Tensor], optimizer: torch.optim.Optimizer, recipe: Recipe, number: int
) -> tuple[float, int]:
    """One step; the mean loss of a scored place, and how many were scored."""
    summed, n = _loss(model, batch)
    if not n:
        return 0.0, 0
    loss = summed / n
    value = float(loss.detach())
    if not math.isfinite(value):
        raise Failure(
            f"the training loss is {value} at update {number}: lower learning_rate ({recipe.learning_rate:g})"
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * min(1.0, number / recipe.warmup if recipe.warmup else 1.0)
    optimizer.step()
    return value, n


def _optimizer(model: Headed, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; biases and norms (vectors) are not decayed."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=BETAS, eps=EPS, fused=True)


def _loss(model: Headed, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
    """Cross-entropy summed over the scored places, and how many they are."""
    logits, labels = _logits(model, batch), batch["labels"].to(model.device)
    summed = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return summed, int((labels != IGNORED).sum())


def _logits(model: Headed, batch: dict[str, Tensor]) -> Tensor:
    return model(**{name: tensor.to(model.device) for name, tensor in batch.items() if name != "labels"}).logits


@torch.inference_mode()
def _predict(model: Headed, encoder: Encoder, rows: Sequence[Row]) -> tuple[list[np.ndarray], float]:
    """Logits of every row without its padding, in the order of the rows, and the mean loss of a scored place."""
    with _evaluating(model):
        found: list[np.ndarray] = [np.empty(0)] * len(rows)
        total, places = 0.0, 0
        for numbers in by_length(rows, TOKENS):
            batch = encoder.collate([rows[i] for i in numbers])
            logits = _logits(model, batch).float()
            labels = batch["labels"].to(logits.device)
            flat = logits.flatten(0, -2), labels.flatten()
            total += float(F.cross_entropy(*flat, ignore_index=IGNORED, reduction="sum"))
            places += int((labels != IGNORED).sum())
            values = logits.cpu().numpy()
            for i, own in zip(numbers, values, strict=True):
                size = len(rows[i].ids)
                found[i] = {"token": own[:size], "span": own[..., :size]}.get(model.form, own)
    return found, total / max(1, places)


@contextmanager
def _evaluating(model: Headed):
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)
