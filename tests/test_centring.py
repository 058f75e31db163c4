"""Row and column effects against statsmodels and an explicit least-squares fit."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from langsim import papers
from langsim.centring import centre
from langsim.errors import UsageError


def labelled(values, rows=None, columns=None):
    rows = rows or [f"l{i}" for i in range(values.shape[0])]
    return pd.DataFrame(values, index=rows, columns=columns or [f"l{i}" for i in range(values.shape[1])])


def by_statsmodels(matrix, cross=False):
    long = matrix.rename_axis("t").reset_index().melt("t", var_name="a", value_name="s").dropna()
    off = long[long["t"] != long["a"]]
    fit = smf.ols("s ~ C(t) + C(a)", off).fit()
    shown = long if cross else off
    residuals = shown.assign(r=shown["s"] - fit.predict(shown))
    return residuals.pivot(index="t", columns="a", values="r").loc[matrix.index].reindex(columns=matrix.columns)


def test_the_published_matrix_as_statsmodels_centres_it():
    matrix = papers.matrix("pf-fig5").astype(float)
    ours = centre(matrix).residuals
    assert np.allclose(ours, by_statsmodels(matrix), equal_nan=True, atol=1e-12)
    assert np.isnan(np.diag(ours)).all() and ours.isna().to_numpy().sum() == 17


@settings(max_examples=60, deadline=None)
@given(values=arrays(float, (6, 6), elements=st.floats(-10, 10)))
def test_explicit_least_squares(values):
    effects = centre(labelled(values))
    rows, columns = np.nonzero(~np.eye(6, dtype=bool))
    design = np.zeros((len(rows), 13))
    design[:, 0] = 1
    design[np.arange(len(rows)), 1 + rows] = 1
    design[np.arange(len(rows)), 7 + columns] = 1
    solution = np.linalg.lstsq(design, values[rows, columns], rcond=None)[0]
    expected = values[rows, columns] - design @ solution
    assert np.allclose(effects.residuals.to_numpy()[rows, columns], expected, atol=1e-9)
    assert abs(effects.rows.sum()) < 1e-9 and abs(effects.columns.sum()) < 1e-9
    rebuilt = effects.mean + effects.rows.to_numpy()[:, None] + effects.columns.to_numpy()[None, :]
    assert np.allclose((rebuilt + effects.residuals.to_numpy())[rows, columns], values[rows, columns], atol=1e-9)


def test_pure_effects_leave_nothing_and_the_diagonal_plays_no_part():
    row, column = np.array([1.0, 2, 5, -1]), np.array([0.5, 0, 3, 9])
    values = 7 + row[:, None] + column[None, :]
    values[np.diag_indices(4)] = 1e6
    effects = centre(labelled(values))
    assert np.nanmax(np.abs(effects.residuals)) < 1e-12
    assert np.allclose(effects.rows, row - row.mean()) and np.allclose(effects.columns, column - column.mean())
    assert effects.mean == pytest.approx(7 + row.mean() + column.mean())


def test_cross_matrices_keep_the_residual_of_the_diagonal_out_of_the_fit():
    values = np.random.default_rng(0).random((5, 5))
    shifted = values + 3 * np.eye(5)
    plain, moved = centre(labelled(values), cross=True), centre(labelled(shifted), cross=True)
    assert np.allclose(np.diag(moved.residuals) - np.diag(plain.residuals), 3)
    off = ~np.eye(5, dtype=bool)
    assert np.allclose(plain.residuals.to_numpy()[off], moved.residuals.to_numpy()[off])
    assert np.allclose(plain.residuals, by_statsmodels(labelled(values), cross=True))


def test_other_languages_in_the_columns_have_no_diagonal():
    values = np.random.default_rng(1).random((3, 4))
    residuals = centre(labelled(values, ["a", "b", "c"], ["d", "e", "f", "g"]), cross=True).residuals.to_numpy()
    expected = values - values.mean(1, keepdims=True) - values.mean(0, keepdims=True) + values.mean()
    assert np.allclose(residuals, expected)


def test_missing_entries_are_left_out():
    matrix = labelled(np.random.default_rng(2).random((6, 6)))
    matrix.iloc[1, 4] = np.nan
    assert np.allclose(centre(matrix).residuals, by_statsmodels(matrix), equal_nan=True)


@pytest.mark.parametrize("size", [1, 2])
def test_too_few_languages(size):
    with pytest.raises(UsageError, match="at least 3 languages"):
        centre(labelled(np.ones((size, size))))
