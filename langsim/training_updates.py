"""Update after update of a training: the gradient of its batches, a step, what is counted, a stop where it diverges.

Every training loop has these; which weights come out, and what happens between updates, is the loop's own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from langsim.errors import Failure
from langsim.token_batches import EncodedPairs
from langsim.training_engine import Engine
from langsim.training_recipe import TrainingRecipe

ABOVE_GUESSING = 2.0  # nats per token by which the loss of an update may exceed ln(V), or the first update's if larger


@dataclass
class Progress:
    """Where a training stands: updates done, the position in its text, and what was seen on the way."""

    update: int = 0
    tokens: int = 0
    epoch: int = 0
    index: int = 0
    skipped: int = 0
    first_loss: float = math.nan
    recent_loss: float = 0.0
    recent_tokens: int = 0
    best_update: int = 0
    curve: list[Any] = field(default_factory=list)

    def recent(self) -> float | None:
        """Mean training loss in nats per token since it was last asked for; None where there was no update."""
        mean = self.recent_loss / self.recent_tokens if self.recent_tokens else None
        self.recent_loss, self.recent_tokens = 0.0, 0
        return mean


class Updates:
    """
    Args:
        summed_loss: indexes of pairs, a batch -> label-smoothed loss in nats, summed over its target tokens.
        vocabulary: how many tokens the model knows.
        unfinished: the file of the training's state, which is deleted where the training diverges; None for none.
    """

    def __init__(
        self,
        engine: Engine,
        recipe: TrainingRecipe,
        pairs: EncodedPairs,
        summed_loss: Callable[[np.ndarray], Tensor],
        vocabulary: int,
        unfinished: Path | None,
    ) -> None:
        self.engine, self.recipe, self.pairs = engine, recipe, pairs
        self.summed_loss, self.vocabulary, self.unfinished = summed_loss, vocabulary, unfinished

    def take(self, called: nn.Module, batches: list[np.ndarray], progress: Progress) -> None:
        """One step of the optimizer over all batches of an update, of which this process computes its share.

        Raises:
            Failure: the loss diverges.
        """
        tokens = sum(self.pairs.target_tokens(batch) for batch in batches)  # of all processes
        called.train()
        mine = batches[self.engine.rank :: self.engine.processes]
        loss = self.engine.gradients(called, mine, lambda indexes: self.summed_loss(indexes) / tokens)
        done = self.engine.step(self.recipe.rate(progress.update + 1))
        progress.update += 1
        progress.tokens += tokens
        if not done:
            progress.skipped += 1
            return
        self._stop_if_diverging(loss, progress)
        progress.recent_loss += loss * tokens
        progress.recent_tokens += tokens

    def _stop_if_diverging(self, loss: float, progress: Progress) -> None:
        if math.isnan(progress.first_loss):
            progress.first_loss = loss
        bound = max(math.log(self.vocabulary), progress.first_loss) + ABOVE_GUESSING
        if math.isfinite(loss) and loss <= bound:
            return
        if self.unfinished is not None and self.engine.first:  # nothing in it is worth going on from
            self.unfinished.unlink(missing_ok=True)
        raise Failure(
            f"the training loss is {loss:.4g} nats a token at update {progress.update} (at most {bound:.4g} is sound): "
            f"lower learning_rate ({self.recipe.learning_rate:g}), lengthen warmup or set clip_norm"
        )
