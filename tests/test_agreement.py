"""Dyadic statistics against loops, scikit-bio's Mantel test and brute force."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from skbio import DistanceMatrix
from skbio.stats.distance import mantel
from statsmodels.stats.multitest import multipletests

from langsim import agreement
from langsim.agreement import (
    OPPOSITE,
    SAME,
    UNDECIDED,
    Association,
    Difference,
    association,
    contrast,
    difference,
    holm,
)
from langsim.errors import UsageError

CODES = list("abcdefghijklmnopq")


def table(values):
    codes = CODES[: len(values)]
    return pd.DataFrame(values, codes, codes)


def random_table(size, seed, symmetric=False):
    values = np.random.default_rng(seed).random((size, size))
    return table((values + values.T) / 2 if symmetric else values)


def off(values):
    """The slow way: row by row, without the diagonal."""
    return [values[i][j] for i in range(len(values)) for j in range(len(values)) if i != j]


@pytest.mark.parametrize(("method", "slow"), [("spearman", spearmanr), ("pearson", pearsonr)])
def test_value_is_the_correlation_of_the_entries_off_the_diagonal(method, slow):
    a, b = random_table(7, 1), random_table(7, 2)
    a.iloc[0, 1] = a.iloc[2, 3]  # a tie
    found = association(a, b, method=method, permutations=10, resamples=0)
    assert found.value == pytest.approx(slow(off(a.to_numpy()), off(b.to_numpy())).statistic, abs=1e-12)
    assert found.languages == 7


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_symmetric_input_agrees_with_scikit_bio(method):
    rng = np.random.default_rng(3)
    points = rng.random((12, 2))
    near = np.linalg.norm(points[:, None] - points[None], axis=-1)
    noise = rng.random((12, 12))
    a, b = near, near + 0.7 * (noise + noise.T)
    np.fill_diagonal(b, 0)
    theirs, p, _ = mantel(DistanceMatrix(a), DistanceMatrix(b), method=method, permutations=4999, seed=0)
    ours = association(table(a), table(b), method=method, resamples=0)
    assert ours.value == pytest.approx(theirs, abs=1e-10)
    assert ours.p_value == pytest.approx(p, abs=0.02)
    weak = table(noise + noise.T)
    theirs, p, _ = mantel(
        DistanceMatrix(a), DistanceMatrix(weak - np.diag(np.diag(weak))), method=method, permutations=4999, seed=0
    )
    assert association(table(a), weak, method=method, resamples=0).p_value == pytest.approx(p, abs=0.04)


def test_few_languages_get_the_exact_permutation_p():
    a, b = random_table(5, 4), random_table(5, 5)
    x, y = a.to_numpy(), b.to_numpy()
    value = spearmanr(off(x), off(y)).statistic
    as_far = [
        abs(spearmanr(off(x[list(order)][:, list(order)]), off(y)).statistic) >= abs(value) - 1e-9
        for order in itertools.permutations(range(5))
    ]
    found = association(a, b, resamples=0)
    assert found.exact and found.permutations == 120
    assert found.p_value == pytest.approx(np.mean(as_far))


def test_rows_and_columns_are_permuted_together():
    """A matrix of row effects alone, twice: 272 pairs agree perfectly, but only 17 languages do."""
    effect = np.arange(4.0)
    a = table(np.tile(effect[:, None], 4))
    found = association(a, a, resamples=0)
    # A permutation is as good if it keeps the order of the rows or turns it round; of pairs it would be one in 12!.
    assert found.value == pytest.approx(1) and found.p_value >= 1 / 24


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.permutations(range(6)))
def test_order_of_the_languages_does_not_matter(seed, order):
    a, b = random_table(6, seed), random_table(6, seed + 1)
    names = [CODES[i] for i in order]
    first = association(a, b, centred=True, permutations=1, resamples=0).value
    assert association(a, b.loc[names, names], centred=True, permutations=1, resamples=0).value == pytest.approx(first)


def test_only_shared_languages_count():
    a, b = random_table(7, 1), random_table(7, 2)
    inside = CODES[:5]
    assert association(a, b.loc[inside, inside]).value == association(a.loc[inside, inside], b).value


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_centring_removes_what_is_additive(seed):
    rng = np.random.default_rng(seed)
    a, b = random_table(6, seed), random_table(6, seed + 1)
    shifted = a + 3 * rng.random((6, 1)) + 5 * rng.random((1, 6))
    with_effects = association(shifted, b, centred=True, permutations=1, resamples=0)
    assert with_effects.value == pytest.approx(association(a, b, centred=True, permutations=1, resamples=0).value)


def test_a_purely_additive_matrix_has_no_centred_correlation():
    a = table(np.add.outer(np.arange(6.0), np.linspace(0, 1, 6)))
    found = association(a, random_table(6, 1), centred=True)
    assert math.isnan(found.value) and found.verdict == UNDECIDED


def test_contrast_is_mean_within_minus_mean_between():
    matrix = random_table(6, 7)
    groups = dict(zip(CODES, "xxyyyz", strict=False))
    within, between = [], []
    for t, a in itertools.permutations(CODES[:6], 2):
        (within if groups[t] == groups[a] else between).append(matrix.loc[t, a])
    found = contrast(matrix, groups, centred=False, permutations=50, resamples=50)
    assert found.value == pytest.approx(np.mean(within) - np.mean(between))


@pytest.mark.parametrize("groups", ["aaaaaa", "abcdef"])
def test_contrast_needs_pairs_within_and_between(groups):
    found = contrast(random_table(6, 1), dict(zip(CODES, groups, strict=False)))
    assert math.isnan(found.value) and found.verdict == UNDECIDED


def planted(size=12, strength=1.0, seed=0):
    groups = {code: "xyz"[i % 3] for i, code in enumerate(CODES[:size])}
    return random_table(size, seed) * 0.2 + strength * agreement.same_group(groups), groups


@pytest.mark.parametrize(("strength", "verdict"), [(1.0, SAME), (-1.0, OPPOSITE), (0.0, UNDECIDED)])
def test_verdicts(strength, verdict):
    matrix, groups = planted(strength=strength)
    found = contrast(matrix, groups, permutations=999, resamples=199)
    assert found.verdict == verdict
    assert found.low <= found.value <= found.high


def test_interval_of_a_matrix_with_itself_is_a_point():
    matrix = random_table(8, 1)
    for centred in (False, True):
        found = association(matrix, matrix, centred=centred, resamples=50, permutations=10)
        assert found.low == pytest.approx(1) and found.high == pytest.approx(1)


def test_the_diagonal_is_never_looked_at():
    a, b = random_table(6, 1), random_table(6, 2)
    wild = a.mask(np.eye(6, dtype=bool), np.nan)
    for centred in (False, True):
        assert association(wild, b, centred=centred, resamples=40) == association(a, b, centred=centred, resamples=40)


def test_same_seed_same_numbers():
    a, b = random_table(9, 1), random_table(9, 2)
    assert association(a, b, seed=5, resamples=30) == association(a, b, seed=5, resamples=30)
    assert association(a, b, seed=5, resamples=30) != association(a, b, seed=6, resamples=30)


def slow_draws(statistic, size, draws, seed):
    """Resamples by copying rows and columns, one at a time."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        drawn = rng.integers(size, size=size)
        row, column = np.nonzero(drawn[:, None] != drawn[None, :])
        found.append(statistic(drawn[row], drawn[column]))
    return found


def test_interval_agrees_with_copying_rows_and_columns():
    a, b = random_table(9, 1), random_table(9, 2)
    b += 0.6 * a
    a.iloc[3, 1] = a.iloc[2, 5] = a.iloc[0, 4]  # ties
    x, y = a.to_numpy(), b.to_numpy()
    slow = slow_draws(lambda r, c: spearmanr(x[r, c], y[r, c]).statistic, 9, 3000, 0)
    found = association(a, b, permutations=10)
    assert (found.low, found.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.03)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=6, max_size=6).filter(lambda c: sum(v > 0 for v in c) > 2), st.integers(0, 9)
)
def test_a_language_that_counts_twice_is_one_that_is_there_twice(counts, seed):
    a, b = random_table(6, seed).round(1).to_numpy(), random_table(6, seed + 10).to_numpy()
    drawn = np.repeat(np.arange(6), counts)
    row, column = np.nonzero(drawn[:, None] != drawn[None, :])
    slow = spearmanr(a[drawn[row], drawn[column]], b[drawn[row], drawn[column]]).statistic
    weights = agreement.off_diagonal(np.outer(counts, counts).astype(float))[None]
    fast = agreement._spearman(agreement.off_diagonal(a), agreement.off_diagonal(b), weights)
    assert fast[0] == pytest.approx(slow, abs=1e-9, nan_ok=True)


def test_permutations_and_resamples_do_not_disturb_each_other():
    a, b = random_table(9, 1), random_table(9, 2)
    some, more = (association(a, b, permutations=200, resamples=n) for n in (100, 300))
    assert some.p_value == more.p_value and some.low != more.low
    few, many = (association(a, b, permutations=n, resamples=100) for n in (200, 400))
    assert (few.low, few.high) == (many.low, many.high) and few.p_value != many.p_value


def test_the_error_of_a_bound_is_how_far_it_moves_with_the_seed():
    a = random_table(9, 1)
    b = random_table(9, 2) + 0.5 * a
    found = [association(a, b, permutations=10, resamples=999, seed=seed) for seed in range(40)]
    moves, told = 1.96 * np.std([one.low for one in found]), np.mean([one.error for one in found])
    assert 0.5 * told < moves < 1.6 * told


@pytest.mark.parametrize(
    ("low", "high", "p_value", "error", "verdict"),
    [
        (0.02, 0.4, 0.001, 0.01, SAME),
        (0.02, 0.4, 0.001, 0.03, UNDECIDED),  # another seed could put the bound below zero
        (-0.4, -0.02, 0.001, 0.01, OPPOSITE),
        (-0.4, -0.02, 0.001, 0.03, UNDECIDED),
        (0.02, 0.4, 0.0499, 0.01, UNDECIDED),  # another seed could put p above 0.05
        (math.nan, math.nan, 0.001, 0.0, UNDECIDED),
    ],
)
def test_what_another_seed_could_turn_round_is_undecided(low, high, p_value, error, verdict):
    assert Association((low + high) / 2, p_value, low, high, 17, 9999, False, error).verdict == verdict


def test_difference_is_paired_and_agrees_with_copying():
    z = random_table(9, 1)
    a, b = z + 0.3 * random_table(9, 2), z + 2 * random_table(9, 3)
    found = difference(a, b, z)
    x, y, w = (one.to_numpy() for one in (a, b, z))
    assert found.value == pytest.approx(spearmanr(off(x), off(w)).statistic - spearmanr(off(y), off(w)).statistic)
    slow = slow_draws(
        lambda r, c: spearmanr(x[r, c], w[r, c]).statistic - spearmanr(y[r, c], w[r, c]).statistic, 9, 2000, 1
    )
    assert (found.low, found.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.05)
    assert found.side == 1 and difference(b, a, z).side == -1
    same = difference(a, a, z)
    assert (same.value, same.low, same.high, same.side) == (0, 0, 0, 0)


def test_difference_close_to_zero_or_without_an_interval_has_no_side():
    assert Difference(0.1, 0.01, 0.2, 17, 0.02).side == 0 and Difference(0.1, 0.01, 0.2, 17, 0.005).side == 1
    few = difference(random_table(3, 1), random_table(3, 2), random_table(3, 3))
    assert math.isnan(few.low) and few.side == 0


@pytest.mark.parametrize("size", [1, 2, 5, 16])
def test_holm_is_that_of_statsmodels(size):
    for scale in (0.02, 0.2, 1):
        p_values = scale * np.random.default_rng(size).random(size).round(1)  # some are equal
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_holm_does_not_count_what_was_not_tested():
    assert holm([0.01, math.nan, 0.02]) == pytest.approx([0.02, math.nan, 0.02], nan_ok=True)


def test_three_languages_have_no_interval():
    found = association(random_table(3, 1), random_table(3, 2))
    assert math.isnan(found.low) and found.permutations == 6 and found.verdict == UNDECIDED


@pytest.mark.parametrize(
    ("a", "b", "options", "words"),
    [
        (random_table(2, 1), random_table(2, 2), {}, "share 2 languages"),
        (random_table(4, 1).mask(random_table(4, 1) > 0.5), random_table(4, 2), {}, "misses a pair"),
        (random_table(4, 1), random_table(4, 2), {"method": "kendall"}, "no method 'kendall'"),
    ],
)
def test_mistakes_end_with_a_line(a, b, options, words):
    with pytest.raises(UsageError, match=words) as error:
        association(a, b, **options)
    assert "\n" not in str(error.value)


def test_predictor_matrices():
    shared = agreement.shared_items({"a": {"1", "2", "3"}, "b": {"2", "3", "4"}, "c": set()})
    assert shared.loc["a", "b"] == 0.5 and shared.loc["a", "c"] == 0 and shared.loc["c", "c"] == 1
    lengths = agreement.like_length({"a": 10, "b": 20, "c": 20})
    assert lengths.loc["b", "c"] == 0 and lengths.loc["a", "b"] == pytest.approx(-math.log(2))
    assert (lengths == lengths.T).all(axis=None)
    assert agreement.oriented(shared, False).loc["a", "b"] == -0.5


def test_p_value_of_a_contrast_keeps_its_level_and_its_interval_is_cautious():
    """Families at random: p < 0.05 in one case of twenty, so it is a test; the interval over languages, of which many
    draws have few relatives, leaves zero out less often still."""
    rng = np.random.default_rng(4)
    groups = dict(zip(CODES, "aaaaaabbbccddeefg", strict=True))
    below = outside = 0
    for seed in range(150):
        matrix = table(rng.normal(size=(17, 17)) + rng.normal(size=(17, 1)))
        one = contrast(matrix, groups, permutations=199, resamples=199, seed=seed)
        below += one.p_value < 0.05
        outside += one.low > 0 or one.high < 0
    assert 1 <= below <= 18 and outside <= below
