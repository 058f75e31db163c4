"""Correlation with a third matrix held fixed, against statsmodels, loops and made worlds."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import spearmanr

from langsim import agreement
from langsim.centring import centre
from langsim.errors import UsageError
from langsim.partial import partial, without

CODES = list("abcdefghijkl")


def table(values):
    return pd.DataFrame(values, CODES[: len(values)], CODES[: len(values)])


def random_table(size, seed):
    return table(np.random.default_rng(seed).random((size, size)))


def same(labels):
    return agreement.same_group(dict(zip(CODES, labels, strict=False)))


def off(matrix):
    """The slow way: row by row, without the diagonal."""
    return [matrix.iloc[i, j] for i in range(len(matrix)) for j in range(len(matrix)) if i != j]


@pytest.mark.parametrize("centred", [False, True])
def test_what_is_left_is_the_residual_of_a_regression(centred):
    matrix, held = random_table(7, 1), same("aabbccc")
    rest = off(without(matrix, held, centred=centred))
    if centred:
        matrix, held = centre(matrix).residuals, centre(held).residuals
    slow = sm.OLS(off(matrix), sm.add_constant(off(held))).fit().resid
    assert np.allclose(rest, slow, atol=1e-10)
    assert np.isclose(np.dot(rest, off(held)), 0, atol=1e-9)


@pytest.mark.parametrize("centred", [False, True])
def test_value_is_the_rank_correlation_of_both_rests(centred):
    matrix, other, held = random_table(8, 1), random_table(8, 2), same("aabbccdd")
    found = partial(matrix, other, held, centred=centred, permutations=20, resamples=0)
    slow = spearmanr(off(without(matrix, held, centred=centred)), off(without(other, held, centred=centred)))
    assert found.value == pytest.approx(slow.statistic, abs=1e-12) and found.languages == 8


def test_what_comes_with_script_alone_is_gone_when_script_is_held_fixed():
    """Families lie within scripts, and similarity is script and noise: family seems to matter, and does not."""
    scripts, families = same("aaaaaabbbbbb"), same("111222333444")
    matrix = scripts + 0.3 * random_table(12, 5)
    alone = agreement.association(matrix, families, centred=True)
    held = partial(matrix, families, scripts, centred=True)
    assert alone.value > 0.3 and alone.p_value < 0.01
    assert abs(held.value) < 0.2 and held.p_value > 0.05


def test_what_family_adds_to_script_is_found():
    scripts, families = same("aaaaaabbbbbb"), same("111222333444")
    matrix = scripts + 0.5 * families + 0.3 * random_table(12, 5)
    held = partial(matrix, families, scripts, centred=True)
    assert held.value > 0.4 and held.p_value < 0.01


def test_the_permutation_test_keeps_its_level():
    """Families drawn at random beside scripts that count: p < 0.05 in about one case of twenty."""
    rng = np.random.default_rng(0)
    scripts = same("aaaaaabbbbbb")
    below = 0
    for _ in range(200):
        matrix = table(rng.random((12, 12))) + 0.5 * scripts
        families = same(rng.permutation(list("111222333444")))
        below += partial(matrix, families, scripts, centred=True, permutations=199, resamples=0).p_value < 0.05
    assert 1 <= below <= 24  # of 200; beyond that lie less than one in a thousand for 5 percent


def test_a_matrix_that_is_the_held_one_has_nothing_left():
    held = same("aabbcc")
    assert np.allclose(off(without(2 * held + 1, held)), 0)
    assert np.isnan(partial(2 * held + 1, random_table(6, 1), held).value)


def test_held_fixed_where_nothing_varies_is_the_plain_correlation():
    matrix, other, constant = random_table(6, 1), random_table(6, 2), same("aaaaaa")
    plain = agreement.association(matrix, other, permutations=10, resamples=0)
    assert partial(matrix, other, constant, permutations=10, resamples=0).value == pytest.approx(plain.value)


def test_bad_input_is_one_line():
    with pytest.raises(UsageError, match="share 2 languages"):
        partial(random_table(6, 1), random_table(2, 2), same("aabbcc"))
    holes = random_table(4, 1)
    holes.iloc[0, 1] = np.nan
    with pytest.raises(UsageError, match="misses a pair"):
        without(holes, same("aabb"))
    with pytest.raises(UsageError, match="of different languages"):
        without(random_table(4, 1), same("aab"))
