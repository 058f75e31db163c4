"""What one use of a parameter contributes to the per-example gradients, and the square of all its uses together.

A parameter may be used several times in one pass: a tied embedding by encoder, decoder and output layer, a module
that is called twice. The gradient of an example is the sum over the uses, and the square is taken of that sum, never
of the parts. So contributions are collected until the last use has arrived.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from langsim.fisher.products import Rows, add_squared_products, add_squared_rows


@dataclass(frozen=True)
class Product:
    """A matrix used by a linear map: example b's gradient is g_b^T x_b; g (B, T, R), x (B, T, C)."""

    g: Tensor
    x: Tensor


@dataclass(frozen=True)
class Whole:
    """A bias, or the weight of a norm: the gradients themselves, (B, *shape)."""

    values: Tensor


Contribution = Product | Rows | Whole


def add_squares(out: Tensor, contributions: list[Contribution]) -> None:
    """out += sum_b (sum over contributions of example b's gradient)^2; `out` has the parameter's shape."""
    products = [each for each in contributions if isinstance(each, Product)]
    rows = [each for each in contributions if isinstance(each, Rows)]
    whole = [each.values for each in contributions if isinstance(each, Whole)]
    if whole:
        total = torch.stack(whole).sum(0) if len(whole) > 1 else whole[0]
        out.add_(total.square().sum(0))
    elif products:
        g = _joined([each.g for each in products])
        x = _joined([each.x for each in products])
        add_squared_products(out, g, x, _joined_rows(rows) if rows else None)
    else:
        add_squared_rows(out, _joined_rows(rows))


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)  # more tokens of the same examples


def _joined_rows(rows: list[Rows]) -> Rows:
    return Rows(_joined([each.index for each in rows]), _joined([each.values for each in rows]))
