"""`batch`: the square of a mini-batch's mean gradient, averaged over mini-batches (Algorithm 1, Equation 3)."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from langsim.fisher.objective import Batch, Prediction
from langsim.fisher.recipes import Recipe


class BatchSquares:
    """Adds to `sums` the squared gradient, by the mean loss per target token, of every update.

    An update is `recipe.batches_per_update` mini-batches (one in the paper): their gradients are summed and divided
    by the number of their target tokens. One gradient of the parameters is held at a time, beside the sums. An
    update without any scored token has gradient zero, and counts.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        sums: Mapping[str, Tensor],
        recipe: Recipe,
    ):
        self.n_terms = 0  # updates squared so far
        self._parameters = list(parameters.values())
        self._sums = list(sums.values())
        self._recipe = recipe
        self._start_update()

    def watching(self, batch: Batch) -> AbstractContextManager:
        """To be open during the forward pass of the batch; autograd needs no help here."""
        return nullcontext()

    def add(self, prediction: Prediction) -> None:
        loss = prediction.smoothed(self._recipe.label_smoothing)
        if prediction.n_tokens and loss.requires_grad:  # it doesn't where no selected parameter had a part in it
            self._accumulate(torch.autograd.grad(loss, self._parameters, allow_unused=True))
        self._n_tokens += prediction.n_tokens
        self._n_batches += 1
        if self._n_batches == self._recipe.batches_per_update:
            self._square()

    def finish(self) -> None:
        """Square what a last, smaller update has gathered."""
        if self._n_batches:
            self._square()

    def _start_update(self) -> None:
        self._gradients: list[Tensor | None] = [None] * len(self._parameters)
        self._n_tokens = self._n_batches = 0

    def _accumulate(self, gradients: Iterable[Tensor | None]) -> None:
        """Sum over the update. None is a parameter outside the graph, of a dropped layer for example."""
        for i, gradient in enumerate(gradients):
            if gradient is not None:
                gradient = gradient.to(self._sums[i].dtype)
                self._gradients[i] = gradient if self._gradients[i] is None else self._gradients[i] + gradient

    def _square(self) -> None:
        for gradient, total in zip(self._gradients, self._sums, strict=True):
            if gradient is not None:
                total.addcmul_(gradient, gradient, value=self._scale(gradient) ** 2)
        self.n_terms += 1
        self._start_update()

    def _scale(self, gradient: Tensor) -> float:
        """From the summed gradient to the one that is squared: the mean over target tokens, then clipped."""
        scale = 1 / self._n_tokens
        if self._recipe.clip_norm is not None:
            norm = float(gradient.norm()) * scale
            scale *= min(1.0, self._recipe.clip_norm / (norm + 1e-6))  # as torch.nn.utils.clip_grad_norm_ does it
        return scale
