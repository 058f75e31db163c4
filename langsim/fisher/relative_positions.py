"""T5's table of relative position biases, which a forward pass looks up once for all examples of a batch.

The bias (1, H, Q, K) is broadcast over the examples when it is added to the attention scores, and its gradient comes
back already summed over them. Here the bias is given to the model once for every example, as a view without a copy,
so that its gradient (B, H, Q, K) keeps the examples apart.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from langsim.fisher.products import Rows
from langsim.fisher.taps import Taps


@contextmanager
def per_example_positions(model: nn.Module, taps: Taps) -> Iterator[None]:
    """While it lasts, every tapped `relative_attention_bias` of the model yields per-example gradients."""
    patched = []
    for module in model.modules():
        table = getattr(module, "relative_attention_bias", None)
        if isinstance(table, nn.Embedding) and hasattr(module, "compute_bias") and table.weight in taps.collector:
            taps.buckets[id(table.weight)] = None
            module.compute_bias = _per_example(module.compute_bias, table.weight, taps)
            patched.append(module)
    try:
        yield
    finally:
        for module in patched:
            del module.compute_bias  # the class's method is visible again


def _per_example(compute_bias: Callable[..., Tensor], table: Tensor, taps: Taps) -> Callable[..., Tensor]:
    def computed(*args, **kwargs) -> Tensor:
        bias = compute_bias(*args, **kwargs)  # (1, H, Q, K); its look-up leaves the buckets with the taps
        collect = taps.collector.expect(table)

        def record(g: Tensor, buckets: Tensor) -> None:
            n_rows, n_heads = table.shape
            sums = taps.collector.exact(g).new_zeros(n_rows, len(g), n_heads)
            by_position = taps.collector.exact(g).permute(2, 3, 0, 1).flatten(0, 1)  # (Q K, B, H)
            sums.index_add_(0, buckets.flatten(), by_position)
            every_row = torch.arange(n_rows, device=g.device).expand(len(g), -1)
            collect(Rows(every_row, sums.transpose(0, 1)))

        return taps.tap(bias.expand(taps.n_examples, -1, -1, -1), record, taps.buckets[id(table)])

    return computed
