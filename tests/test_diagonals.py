"""The diagonal of a cross matrix: its chance by brute force, its interval, and sign tests between instruments."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, binomtest

from langsim import agreement, diagonals
from langsim.agreement import OPPOSITE, SAME, UNDECIDED
from langsim.instrument import RANDOM, SHUFFLED, TOKENS, TRAINED, Check


def check(matrix, name="x"):
    codes = [f"l{i}" for i in range(len(matrix))]
    return Check(name, pd.DataFrame(matrix, codes, codes))


def finding(found, name):
    """A check that finds these languages again, raw, and takes the next one for the others."""
    size = len(found)
    matrix = np.random.default_rng(0).random((size, size)) * 0.01
    for i, own in enumerate(found):
        matrix[i, i if own else (i + 1) % size] += 1
    return check(matrix, name)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_chance_of_the_diagonal_is_that_of_all_orders(size):
    """The slow way: every permutation of the columns' languages."""
    matrix = np.random.default_rng(size).random((size, size)) + 0.4 * np.eye(size)
    best = matrix.argmax(axis=1)
    hits = int((best == np.arange(size)).sum())
    orders = list(itertools.permutations(range(size)))
    exact = np.mean([sum(order[best[i]] == i for i in range(size)) >= hits for order in orders])
    one = diagonals.diagonal(check(matrix), centred=False)
    assert (one.hits, one.languages, one.columns) == (hits, size, len(set(best)))
    assert one.p_value == pytest.approx(exact, abs=0.02)


def test_a_column_that_all_choose_is_one_hit_and_no_evidence():
    hub = diagonals.diagonal(check(np.eye(10)[:, [0] * 10].T + np.linspace(0, 1, 10)), centred=False)
    assert hub.hits == 1 and hub.columns == 1 and hub.p_value == 1


@pytest.mark.parametrize(("hits", "verdict"), [(17, SAME), (14, SAME), (9, UNDECIDED), (2, OPPOSITE)])
def test_most_is_more_than_half(hits, verdict):
    """The exact binomial interval, from the two tails of the distribution."""
    one = diagonals.diagonal(finding([i < hits for i in range(17)], "x"), centred=False)
    assert one.hits == hits and one.verdict == verdict
    assert binom.sf(hits - 1, 17, one.low) == pytest.approx(0.025)
    assert one.high == 1 if hits == 17 else binom.cdf(hits, 17, one.high) == pytest.approx(0.025)


def test_rivals_are_compared_on_what_only_one_of_them_finds():
    own = [i < 9 for i in range(17)]
    theirs = {SHUFFLED: own, RANDOM: [True] * 17, TOKENS: [i in (0, 12) for i in range(17)]}
    checks = [finding(own, TRAINED), *(finding(found, name) for name, found in theirs.items())]
    plain = [1.0, binomtest(0, 8).pvalue, binomtest(8, 9).pvalue]
    assert list(diagonals.rivals(checks, centred=False).values()) == pytest.approx(agreement.holm(plain).tolist())


def test_the_two_views_are_tested_apart():
    """A null whose raw maxima all lie in one column, and whose centred ones are on the diagonal."""
    hub = np.eye(17) + 5 * np.eye(17)[[3] * 17]
    checks = [finding([True] * 17, TRAINED), check(hub, TOKENS)]
    assert diagonals.rivals(checks, centred=False)[TOKENS] < 0.001
    assert diagonals.rivals(checks, centred=True)[TOKENS] == 1.0


def test_the_best_null_is_the_one_with_the_most():
    assert diagonals.best_null({TRAINED: 9, SHUFFLED: 2, RANDOM: 5, TOKENS: 5}) == RANDOM
