"""Taps: watch a forward pass where it uses parameters, so that one backward pass yields per-example gradients.

`Taps` sees every torch function that is called with one of its parameters. For the few functions in which
transformers use parameters it leaves a tap on the result: an identity whose backward pass hands the gradient there,
together with the function's input, to the collector. The parameters themselves require no gradient, so that no weight
gradient is computed at all: the backward pass only carries gradients from result to result.

Because functions are watched, not modules, it makes no difference which class a layer has (a scaled embedding, one
with an offset), how often it is called, or whether its weight is shared; and a use that has no rule is noticed.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, resolve_name

from langsim.errors import UsageError
from langsim.fisher.collector import Collector
from langsim.fisher.contributions import Product, Whole
from langsim.fisher.products import Rows


class Taps(TorchFunctionMode):
    """Active (`with taps:`) during the forward pass of one batch; its collector fills during the backward pass.

    Args:
        collector: the parameters to tap, and where their gradients go.
        n_examples: B, the first dimension of every tensor that a tapped parameter is applied to.
    """

    def __init__(self, collector: Collector, n_examples: int):
        super().__init__()
        self.collector = collector
        self.n_examples = n_examples
        self.buckets: dict[int, Tensor] = {}  # of tables of relative positions, see `relative_positions`
        self._anchor = torch.zeros((), requires_grad=True)  # makes results differentiable that otherwise are not

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tapped = [each for each in _flat((*args, *kwargs.values())) if each in self.collector]
        if not tapped or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        rule = _RULES.get(func)
        result = rule(self, *args, **kwargs) if rule else func(*args, **kwargs)
        unseen = rule is None and any(isinstance(each, Tensor) for each in _flat((result,)))  # a shape is harmless
        if result is NotImplemented or unseen:
            raise UsageError(
                f"no per-example rule for {resolve_name(func) or func} of {self.collector.name(tapped[0])}; "
                "leave that parameter out of the selection, or use estimator='batch'"
            )
        return result

    def tap(self, result: Tensor, record: Callable[..., None], *saved: Tensor) -> Tensor:
        """The result unchanged. When its gradient g arrives, `record(g, *saved)` is called."""
        return _Tap.apply(result, self._anchor, record, *(each.detach() for each in saved))

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if x in self.collector or weight.ndim != 2:
            return NotImplemented
        self._require_examples(x, weight, bias)
        collect = [self.collector.expect(each) for each in (weight, bias)]

        def record(g: Tensor, *x: Tensor) -> None:
            g = self._tokens(g)
            if collect[0]:
                collect[0](Product(g, self._tokens(*x)))
            if collect[1]:
                collect[1](Whole(g.sum(1)))

        return self.tap(F.linear(x, weight, bias), record, *([x] if collect[0] else []))

    def _embedding(
        self,
        index: Tensor,
        weight: Tensor,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Tensor:
        if max_norm is not None or scale_grad_by_freq:
            return NotImplemented  # they change the weights, or the gradient
        if id(weight) in self.buckets:
            self.buckets[id(weight)] = index
            return F.embedding(index, weight, padding_idx)
        if index.ndim > 1 and len(index) == 1:  # positions common to all examples
            index = index.expand(self.n_examples, *index.shape[1:])
        self._require_examples(index, weight)
        collect = self.collector.expect(weight)

        def record(g: Tensor, index: Tensor) -> None:
            index = index.reshape(len(index), -1)
            if padding_idx is not None:
                index = index.masked_fill(index == padding_idx % len(weight), -1)
            collect(Rows(index, self._tokens(g)))

        return self.tap(F.embedding(index, weight, padding_idx), record, index)

    def _layer_norm(
        self, x: Tensor, shape: list[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
    ) -> Tensor:
        normalised = (lambda x: F.layer_norm(x, shape, None, None, eps)) if weight in self.collector else None
        return self._scaled(F.layer_norm(x, shape, weight, bias, eps), x, normalised, weight, bias)

    def _rms_norm(self, x: Tensor, shape: list[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
        return self._scaled(F.rms_norm(x, shape, weight, eps), x, lambda x: F.rms_norm(x, shape, None, eps), weight)

    def _multiply(self, left: Tensor, right: Tensor) -> Tensor:
        """A vector times a tensor along its last dimension, as T5's layer norm ends."""
        vector, x = (left, right) if left in self.collector else (right, left)
        if x in self.collector or not isinstance(x, Tensor) or vector.ndim != 1 or x.shape[-1:] != vector.shape:
            return NotImplemented
        return self._scaled(x * vector, x, lambda x: x, vector)

    def _scaled(
        self,
        result: Tensor,
        x: Tensor,
        normalised: Callable[[Tensor], Tensor] | None,
        weight: Tensor | None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """result = normalised(x) * weight + bias, with weight and bias over the last dimensions."""
        if x in self.collector:
            return NotImplemented
        shape = (weight if weight is not None else bias).shape
        self._require_examples(x, weight, bias)
        collect = [self.collector.expect(each) for each in (weight, bias)]

        def record(g: Tensor, *x: Tensor) -> None:
            g = self.collector.exact(g)
            if collect[0]:
                g_weight = g * self.collector.exact(normalised(*x))
                collect[0](Whole(g_weight.reshape(len(g), -1, *shape).sum(1)))
            if collect[1]:
                collect[1](Whole(g.reshape(len(g), -1, *shape).sum(1)))

        return self.tap(result, record, *([x] if collect[0] else []))

    def _tokens(self, x: Tensor) -> Tensor:
        """(B, ..., n) as (B, T, n), in the type of the accumulators."""
        return self.collector.exact(x).reshape(len(x), -1, x.shape[-1])

    def _require_examples(self, x: Tensor, *parameters: Tensor | None) -> None:
        if x.ndim < 2 or len(x) != self.n_examples:
            name = next(self.collector.name(each) for each in parameters if each in self.collector)
            raise UsageError(
                f"{name} is applied to a tensor {tuple(x.shape)} that isn't split by the {self.n_examples} examples of "
                "the batch; leave it out of the selection, or use estimator='batch'"
            )


_RULES = {
    F.linear: Taps._linear,
    F.embedding: Taps._embedding,
    F.layer_norm: Taps._layer_norm,
    F.rms_norm: Taps._rms_norm,
    torch.mul: Taps._multiply,
    Tensor.mul: Taps._multiply,
    Tensor.__mul__: Taps._multiply,
    Tensor.__rmul__: Taps._multiply,
}


class _Tap(torch.autograd.Function):
    @staticmethod
    def forward(ctx, result, anchor, record, *saved):
        ctx.record = record
        ctx.save_for_backward(*saved)
        return result.view_as(result)

    @staticmethod
    def backward(ctx, g):
        saved = ctx.saved_tensors
        ctx.record(g, *saved)
        return (g, None, None, *(None for _ in saved))


def _flat(values: tuple) -> list:
    return [part for each in values for part in (each if isinstance(each, (list, tuple)) else (each,))]
