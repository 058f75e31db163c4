"""Sums of squared per-example products, the arithmetic that `per_example` Fisher information consists of.

For a weight matrix W (R x C) used as y = x W^T, the gradient of one example with T tokens is G^T X, from its output
gradients G (T x R) and its inputs X (T x C). What is wanted is the sum over examples of its elementwise square:
as many multiplications as the weight gradient of an ordinary backward pass, and one squaring per example.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# Elements of the buffer in which products wait to be squared. On a CPU it holds a tile of one example's product
# (512 KiB in float32), which stays in the cache of one core together with the sums it is added to; elsewhere it holds
# many examples, so that few kernels are launched.
_CACHED = 1 << 17
_MANY = 1 << 25
# Columns of a tile on a CPU: of wider ones the inputs of an example are read anew for every few rows.
_WIDTH = 1 << 10

# Up to so many tokens the square is expanded over pairs of tokens, which makes one large product of many small ones:
# (sum_t g_t x_t)^2 = sum_(s,t) (g_s g_t) (x_s x_t). It has T (T + 1) / 2 terms where the product has T.
_PAIRS_UP_TO = 4


@dataclass(frozen=True)
class Rows:
    """Per-example gradients of single rows of a matrix: row `index[b, t]` of example b gets `values[b, t]`.

    index: (B, T) int64, -1 for nobody's row, repeats add up; values: (B, T, C).
    """

    index: Tensor
    values: Tensor


def add_squared_products(out: Tensor, g: Tensor, x: Tensor, rows: Rows | None = None) -> None:
    """out (R, C) += sum_b (g_b^T x_b + rows_b)^2, elementwise square, one tile of products at a time.

    Args:
        g, x: (B, T, R) and (B, T, C), in the type of `out`.
        rows: added to each example's product before squaring (a tied embedding).
    """
    if rows is None and g.shape[1] <= _PAIRS_UP_TO:
        _add_expanded(out, g, x)
    elif out.device.type == "cpu":
        _add_one_by_one(out, g, x, rows)
    else:
        _add_together(out, g, x, rows)


def add_squared_rows(out: Tensor, rows: Rows) -> None:
    """out (R, C) += sum_b rows_b^2, touching only the rows that occur."""
    example, token = (rows.index >= 0).nonzero(as_tuple=True)
    keys = example * len(out) + rows.index[example, token]
    distinct, position = keys.unique(return_inverse=True)
    sums = out.new_zeros(len(distinct), out.shape[1]).index_add_(0, position, rows.values[example, token])
    out.index_add_(0, distinct % len(out), sums.square_())


def _add_expanded(out: Tensor, g: Tensor, x: Tensor) -> None:
    s, t = torch.triu_indices(g.shape[1], g.shape[1], device=g.device)
    twice = torch.where(s == t, 1.0, 2.0).to(x)[:, None]
    x_pairs = (x[:, s] * x[:, t] * twice).flatten(0, 1)  # (B T(T+1)/2, C)
    for top, block in _blocks(out, _CACHED // max(1, len(x_pairs))):
        g_block = g[..., top : top + len(block)]
        g_pairs = (g_block[:, s] * g_block[:, t]).flatten(0, 1)
        block.add_((g_pairs.T @ x_pairs).clamp_(min=0))  # rounding must not make a square negative


def _add_one_by_one(out: Tensor, g: Tensor, x: Tensor, rows: Rows | None) -> None:
    lengths = _lengths(g)
    height = max(1, _CACHED // min(out.shape[1], _WIDTH))
    buffer = out.new_empty(min(height, len(out)) * min(_WIDTH, out.shape[1]))
    for left in range(0, out.shape[1], _WIDTH):
        columns = slice(left, left + _WIDTH)
        part = None if rows is None else Rows(rows.index, rows.values[..., columns])
        _add_columns(out[:, columns], g, x[..., columns], part, lengths, height, buffer)


def _add_columns(
    out: Tensor, g: Tensor, x: Tensor, rows: Rows | None, lengths: list[int], height: int, buffer: Tensor
) -> None:
    """Some columns of the sums, a block of rows at a time, one example after the other."""
    x_of = x.unbind()
    for top, block in _blocks(out, height):
        product = buffer[: block.numel()].view(block.shape)
        g_of = g[..., top : top + height].transpose(1, 2).unbind()  # views, made all at once: Python is slow here
        for b, length in enumerate(lengths):
            if length == g.shape[1]:
                torch.mm(g_of[b], x_of[b], out=product)
            elif length or rows is not None:
                torch.mm(g_of[b][:, :length], x_of[b][:length], out=product)
            else:
                continue
            if rows is not None:
                _add_rows(product[None], rows.index[b : b + 1], rows.values[b : b + 1], top)
            block.addcmul_(product, product)


def _add_together(out: Tensor, g: Tensor, x: Tensor, rows: Rows | None) -> None:
    height = max(1, min(len(out), _MANY // out.shape[1]))
    n_together = max(1, _MANY // (height * out.shape[1]))
    for top, block in _blocks(out, height):
        for first in range(0, len(g), n_together):
            some = slice(first, first + n_together)
            products = g[some, :, top : top + height].transpose(1, 2) @ x[some]  # (b, height, C)
            if rows is not None:
                _add_rows(products, rows.index[some], rows.values[some], top)
            block.add_(products.square_().sum(0))


def _blocks(out: Tensor, height: int) -> Iterator[tuple[int, Tensor]]:
    """Blocks of up to `height` rows, each with the number of its first row."""
    height = max(1, height)
    for top in range(0, len(out), height):
        yield top, out[top : top + height]


def _add_rows(products: Tensor, index: Tensor, values: Tensor, top: int) -> None:
    """Add to products (b, height, C), the rows from `top` on of each example's product, what falls among them."""
    height = products.shape[1]
    example, token = ((index >= top) & (index < top + height)).nonzero(as_tuple=True)
    place = example * height + index[example, token] - top
    products.flatten(0, 1).index_add_(0, place, values[example, token])


def _lengths(g: Tensor) -> list[int]:
    """Tokens of each example up to the last with a gradient: padding at the end need not be multiplied.

    A token's gradient counts as zero where the square of its norm underflows, as its share in the result would.
    """
    position = torch.arange(1, g.shape[1] + 1, device=g.device)
    return (torch.linalg.vector_norm(g, dim=-1).ne(0) * position).amax(1).tolist()
