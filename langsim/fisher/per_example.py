"""`per_example` and `sampled`: the mean over examples of the squared gradient of one example's log-likelihood.

The log-likelihood of an example is summed over its scored tokens (Equation 2; Section 3 of X-SNS), with the observed
labels, or with labels drawn from the model's own distribution at the same, teacher-forced inputs (`sampled`).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from langsim.fisher.collector import Collector
from langsim.fisher.objective import Batch, Prediction
from langsim.fisher.relative_positions import per_example_positions
from langsim.fisher.taps import Taps


class ExampleSquares:
    """Adds to `sums` the squared gradient of every example: one forward and one backward pass a batch.

    An example without any scored token has gradient zero, and counts.

    Args:
        loss: from a prediction to the scalar whose gradient is wanted, a sum over the examples.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Mapping[str, Tensor],
        sums: Mapping[str, Tensor],
        loss: Callable[[Prediction], Tensor],
    ):
        self.n_terms = 0  # examples squared so far
        self._model = model
        self._collector = Collector(parameters, sums)
        self._loss = loss

    @contextmanager
    def watching(self, batch: Batch) -> Iterator[None]:
        """To be open during the forward pass of the batch."""
        taps = Taps(self._collector, n_examples=len(batch["labels"]))
        with per_example_positions(self._model, taps), taps:
            yield

    def add(self, prediction: Prediction) -> None:
        loss = self._loss(prediction)
        if prediction.n_tokens and loss.requires_grad:  # it doesn't where no selected parameter had a part in it
            loss.backward()
        self._collector.finish()
        self.n_terms += len(prediction.labels)

    def finish(self) -> None:
        """Nothing is left over."""
