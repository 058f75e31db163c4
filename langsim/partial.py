"""Does similarity go with one thing while another is held fixed? Correlation of matrices, controlled for a third.

Languages of one family are often written in one script. That similarity goes with family says little as long as
script goes along. *Held fixed* means: what a matrix has by script alone (least squares on everything off the diagonal)
is taken away, as row and column effects are in centring, from the similarities and from kinship; what is left is
compared.
"""

import numpy as np
import pandas as pd

from langsim import agreement
from langsim.agreement import Association
from langsim.centring import centre
from langsim.errors import UsageError

_TINY = 1e-12  # a rest that is nothing but rounding


def without(matrix: pd.DataFrame, held: pd.DataFrame, *, centred: bool = False) -> pd.DataFrame:
    """(L, L) a matrix without what another gives of it by least squares; the diagonal is left out.

    Args:
        matrix, held: (L, L) on the same languages; `held` may be 0 and 1: "same script".
        centred: remove additive row and column effects from both before.

    Raises:
        UsageError: other languages, or a pair that is missing.
    """
    if set(matrix.index) != set(held.index):
        raise UsageError("the matrix and what is held fixed are of different languages; give both the same")
    codes = list(matrix.index)
    tables = [table.loc[codes, codes].astype(float) for table in (matrix, held)]
    if centred:
        tables = [centre(table).residuals for table in tables]
    x, z = (agreement.off_diagonal(table.to_numpy()) for table in tables)
    if not np.isfinite(x).all() or not np.isfinite(z).all():
        raise UsageError("a matrix misses a pair of languages; every pair is needed")
    largest = float(np.abs(agreement.off_diagonal(matrix.loc[codes, codes].to_numpy(dtype=float))).max())
    x, z = x - x.mean(), z - z.mean()
    square = float(z @ z)
    rest = x - z * ((x @ z) / square) if square > _TINY else x
    # Equal but for the last bits is equal: ranks would make something of it.
    step = max(largest, _TINY) * _TINY
    values = np.full((len(codes), len(codes)), np.nan)
    values[~np.eye(len(codes), dtype=bool)] = np.round(rest / step) * step
    return pd.DataFrame(values, codes, codes)


def partial(
    matrix: pd.DataFrame, other: pd.DataFrame, held: pd.DataFrame, *, centred: bool = False, **draws: int
) -> Association:
    """Spearman's correlation of two matrices, a third held fixed, on the languages that all of them have.

    P-value and interval as `agreement.association` has them, of the rests: the languages of one rest are exchanged
    (double semi-partialling), or drawn.

    Args:
        matrix, other, held: (L, L), larger = more alike.
        centred: remove additive row and column effects from all three before.
        draws: permutations, resamples and seed of `agreement.association`.

    Raises:
        UsageError: fewer than three languages in common, a pair that is missing.
    """
    codes = [code for code in matrix.index if code in set(other.index) & set(held.index)]
    if len(codes) < 3:
        raise UsageError(f"the matrices share {len(codes)} languages; at least three are compared")
    matrix, other, held = (table.loc[codes, codes] for table in (matrix, other, held))
    return agreement.association(without(matrix, held, centred=centred), without(other, held, centred=centred), **draws)
