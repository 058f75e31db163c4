"""Main effects apart from affinity: a language's mask size and Fisher mass move its whole row and column.

Fits  value[t, a] = mean + row[t] + column[a]  by least squares to the entries off the diagonal alone (a language with
itself is no evidence about its neighbours) and keeps what is left over.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from langsim.errors import UsageError


@dataclass(frozen=True)
class Effects:
    """An additive fit: the mean, row and column effects that sum to zero, and the residuals (the centred matrix)."""

    mean: float
    rows: pd.Series
    columns: pd.Series
    residuals: pd.DataFrame


def centre(matrix: pd.DataFrame, *, cross: bool = False) -> Effects:
    """Remove additive row and column effects.

    Args:
        matrix: (R, C), index = targets, columns = auxiliaries; missing entries are left out of the fit.
        cross: rows and columns come from different data. The diagonal then is a measurement: it stays out of the
            fit, but its residual is kept. Otherwise the diagonal of the residuals is NaN.

    Raises:
        UsageError: too few entries to tell the effects apart (fewer than three languages, say).
    """
    values = matrix.to_numpy(dtype=float)
    same = matrix.index.to_numpy()[:, None] == matrix.columns.to_numpy()[None, :]
    observed = np.isfinite(values) & ~same
    rows, columns = values.shape
    # The fit's normal equations in the effects: counts on the diagonal, who meets whom off it.
    seen = observed.astype(float)
    normal = np.block([[np.diag(seen.sum(1)), seen], [seen.T, np.diag(seen.sum(0))]])
    known = np.where(observed, values, 0.0)
    shift = known.sum() / max(1.0, seen.sum())
    known = np.where(observed, values - shift, 0.0)  # small numbers first: the effects are differences
    solution, _, rank, _ = np.linalg.lstsq(normal, np.concatenate([known.sum(1), known.sum(0)]), rcond=None)
    if rank < rows + columns - 1 or observed.sum() <= rank:
        raise UsageError("row and column effects can't be told apart in this matrix; compare at least 3 languages")
    row, column = solution[:rows], solution[rows:]
    mean = shift + row.mean() + column.mean()
    row, column = row - row.mean(), column - column.mean()
    residuals = values - (mean + row[:, None] + column[None, :])
    if not cross:
        residuals[same] = np.nan
    return Effects(
        float(mean),
        pd.Series(row, matrix.index, name="row effect"),
        pd.Series(column, matrix.columns, name="column effect"),
        pd.DataFrame(residuals, matrix.index, matrix.columns),
    )
