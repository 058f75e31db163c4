"""The arithmetic of per-example squares against a dense loop, on every path and with tiles of every size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from langsim.fisher import products
from langsim.fisher.products import Rows

SIZES = st.tuples(*(st.integers(1, n) for n in (5, 9, 7, 6)))  # B, T, R, C


def operands(sizes, seed):
    n_examples, n_tokens, n_rows, n_columns = sizes
    generator = torch.Generator().manual_seed(seed)
    g = torch.randn(n_examples, n_tokens, n_rows, generator=generator, dtype=torch.float64)
    x = torch.randn(n_examples, n_tokens, n_columns, generator=generator, dtype=torch.float64)
    for b in range(n_examples):
        g[b, int(torch.randint(0, n_tokens + 1, (), generator=generator)) :] = 0  # padding, up to all of it
    index = torch.randint(-1, n_rows, (n_examples, n_tokens), generator=generator)
    values = torch.randn(n_examples, n_tokens, n_columns, generator=generator, dtype=torch.float64)
    return g, x, Rows(index, values)


def dense(shape, g=None, x=None, rows=None):
    """One example, one token, one row at a time."""
    total = torch.zeros(shape, dtype=torch.float64)
    for b in range(len(g if g is not None else rows.index)):
        gradient = torch.zeros(shape, dtype=torch.float64)
        if g is not None:
            for g_t, x_t in zip(g[b], x[b], strict=True):
                gradient += torch.outer(g_t, x_t)
        if rows is not None:
            for row, value in zip(rows.index[b].tolist(), rows.values[b], strict=True):
                if row >= 0:
                    gradient[row] += value
        total += gradient**2
    return total


@settings(max_examples=60, deadline=None)
@given(
    sizes=SIZES,
    seed=st.integers(0, 99),
    tile=st.sampled_from([1, 8, 20, 1 << 18]),
    width=st.sampled_from([1, 2, 4, 1 << 10]),
    with_rows=st.booleans(),
)
@pytest.mark.parametrize("path", [products._add_one_by_one, products._add_together])
def test_tiles_of_products(path, sizes, seed, tile, width, with_rows):
    g, x, rows = operands(sizes, seed)
    rows = rows if with_rows else None
    out = torch.ones(sizes[2], sizes[3], dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "_CACHED", tile)
        patch.setattr(products, "_MANY", tile)
        patch.setattr(products, "_WIDTH", width)
        path(out, g, x, rows)
    torch.testing.assert_close(out, 1 + dense(out.shape, g, x, rows), rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(sizes=SIZES, seed=st.integers(0, 99), tile=st.sampled_from([1, 40, 1 << 18]))
def test_pairs_of_tokens(sizes, seed, tile):
    g, x, _ = operands(sizes, seed)
    out = torch.ones(sizes[2], sizes[3], dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "_CACHED", tile)
        products._add_expanded(out, g, x)
    torch.testing.assert_close(out, 1 + dense(out.shape, g, x), rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(sizes=SIZES, seed=st.integers(0, 99))
def test_rows_alone(sizes, seed):
    _, _, rows = operands(sizes, seed)
    out = torch.ones(sizes[2], sizes[3], dtype=torch.float64)
    products.add_squared_rows(out, rows)
    torch.testing.assert_close(out, 1 + dense(out.shape, rows=rows), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n_tokens", [1, 3, 4, 5, 30])
def test_any_length_in_float32(n_tokens):
    g, x, rows = operands((6, n_tokens, 40, 30), seed=n_tokens)
    for given_rows in (None, Rows(rows.index, rows.values.float())):
        out = torch.zeros(40, 30)
        products.add_squared_products(out, g.float(), x.float(), given_rows)
        reference = dense((40, 30), g, x, rows if given_rows else None)
        assert (out.double() - reference).norm() < 1e-5 * reference.norm()
        assert out.min() >= 0
