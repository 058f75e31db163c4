"""Where per-example gradients go: collected per parameter until its last use has arrived, squared, added up."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from langsim.fisher.contributions import Contribution, add_squares


class Collector:
    """The running sums of squared per-example gradients of some parameters.

    Args:
        parameters: by name.
        sums: by name, the accumulators, of the parameters' shapes.
    """

    def __init__(self, parameters: Mapping[str, Tensor], sums: Mapping[str, Tensor]):
        self._names = {id(parameter): name for name, parameter in parameters.items()}
        self._parameters = list(parameters.values())  # keeps the ids valid
        self._sums = sums
        self._dtype = next(iter(sums.values())).dtype
        self._expected: Counter[str] = Counter()
        self._arrived: defaultdict[str, list[Contribution]] = defaultdict(list)

    def __contains__(self, value: Any) -> bool:
        return id(value) in self._names

    def name(self, parameter: Tensor) -> str:
        return self._names[id(parameter)]

    def exact(self, x: Tensor) -> Tensor:
        """x in the type of the accumulators (a bfloat16 gradient is squared and summed in float32)."""
        return x.to(self._dtype)

    def expect(self, parameter: Tensor | None) -> Callable[[Contribution], None] | None:
        """Announce one use of a parameter in the forward pass; call the answer with what that use contributes.
        None for a tensor that isn't collected."""
        if parameter not in self:
            return None
        name = self.name(parameter)
        self._expected[name] += 1
        return lambda contribution: self._arrive(name, contribution)

    def finish(self) -> None:
        """After the backward pass: square what was waiting for a use whose result the loss does not depend on."""
        for name in list(self._arrived):
            self._flush(name)
        self._expected.clear()

    def _arrive(self, name: str, contribution: Contribution) -> None:
        self._arrived[name].append(contribution)
        if len(self._arrived[name]) == self._expected[name]:
            self._flush(name)

    def _flush(self, name: str) -> None:
        add_squares(self._sums[name], self._arrived.pop(name))
