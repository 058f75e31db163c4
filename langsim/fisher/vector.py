"""A diagonal Fisher information matrix as one flat vector, and where each parameter lies in it."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import prod

import numpy as np

from langsim.errors import UsageError
from langsim.layout import Layout


@dataclass(frozen=True)
class FisherVector:
    """The Fisher information of P parameters, concatenated in `model.named_parameters()` order.

    Attributes:
        values: (P,) float32, or float64 when the model is float64; not negative.
        layout: [(parameter name, shape, offset into `values`)].
        n_batches, n_examples, n_tokens: what was read: mini-batches, examples, scored target tokens.
        n_terms: how many squared gradients were averaged: updates for `batch`, examples for the other estimators.
        nll: mean negative log-likelihood per scored token, nats, of the observed labels, under the weights as they
            are (with dropout if the recipe has it).
        estimator, recipe, selection, seed: how the values were made.
    """

    values: np.ndarray
    layout: Layout
    n_batches: int
    n_examples: int
    n_tokens: int
    n_terms: int
    nll: float
    estimator: str
    recipe: str
    selection: str
    seed: int

    @property
    def total(self) -> float:
        """The trace: the sum of all values, in float64."""
        return float(self.values.sum(dtype=np.float64))

    def tensor(self, name: str) -> np.ndarray:
        """One parameter's values in the parameter's shape (a view).

        Raises:
            UsageError: no such parameter in this vector.
        """
        for known, shape, offset in self.layout:
            if known == name:
                return self.values[offset : offset + prod(shape)].reshape(shape)
        raise UsageError(f"no parameter {name!r} in this Fisher vector of selection {self.selection!r}")

    def items(self) -> Iterator[tuple[str, np.ndarray]]:
        """(name, values in the parameter's shape) of every parameter, in order (views)."""
        for name, shape, offset in self.layout:
            yield name, self.values[offset : offset + prod(shape)].reshape(shape)

    def metadata(self) -> dict[str, str | int | float]:
        """Everything but the values and their layout, fit for JSON; for `FisherStore.put`."""
        kept = [field.name for field in fields(self) if field.name not in ("values", "layout")]
        return {name: getattr(self, name) for name in kept} | {"total": self.total}
