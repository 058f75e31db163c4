"""Ranking metrics against scipy and scikit-learn in plain loops; bootstrap and chance against slow ones."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import ndcg_score

from langsim import ranking_chance
from langsim.errors import UsageError
from langsim.ranking import METRICS, metrics, rank_target, ranking
from langsim.ranking_chance import chance, differences, intervals

CODES = list("abcdefgh")


def matrix(values, targets=None, sources=None):
    values = np.asarray(values, dtype=float)
    return pd.DataFrame(values, targets or CODES[: values.shape[0]], sources or CODES[: values.shape[1]])


def tied(seed, rows=6, columns=8, levels=4):
    """A matrix of few different values, so that ties are everywhere."""
    return matrix(np.random.default_rng(seed).integers(levels, size=(rows, columns)))


def slowly(gold, predicted, first=False):
    """The four metrics of one target from two lists, by scipy and scikit-learn; a tie of top-1 is tried out."""
    constant = len(set(gold)) == 1 or len(set(predicted)) == 1
    best = [i for i, value in enumerate(predicted) if value == max(predicted)]
    hits = [gold[i] == max(gold) for i in best]
    relevance, ranks = ([float(r) for r in pd.Series(one).rank()] for one in (gold, predicted))
    return [
        np.nan if constant else stats.pearsonr(gold, predicted).statistic,
        np.nan if constant else stats.spearmanr(gold, predicted).statistic,
        float(list(gold).index(max(gold)) == best[0]) if first else np.mean(hits),
        ndcg_score([relevance], [ranks], k=3),
    ]


def slow_table(gold, predicted, first=False):
    rows = {}
    for target in gold.index:
        there = [s for s in gold.columns if s != target and pd.notna(gold.at[target, s] + predicted.at[target, s])]
        one, other = ([float(m.at[target, s]) for s in there] for m in (gold, predicted))
        rows[target] = slowly(one, other, first) if len(there) > 1 else [np.nan] * 4
    return pd.DataFrame(rows, list(METRICS)).T


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("recipe", ["paper", "authors_code"])
def test_metrics_are_scipys_and_scikit_learns(seed, recipe):
    gold, predicted = tied(seed, levels=2 + seed % 5), tied(100 + seed, levels=2 + seed % 7)
    rng = np.random.default_rng(seed)
    if seed % 2:
        gold = gold.mask(rng.random(gold.shape) < 0.2)
        predicted = predicted.mask(rng.random(gold.shape) < 0.2)
    found = ranking(gold, predicted, recipe=recipe)
    expected = slow_table(gold, predicted, first=recipe == "authors_code")
    assert found.targets.to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-12, nan_ok=True)
    for name in METRICS:
        assert found.mean[name] == pytest.approx(expected[name].mean(), nan_ok=True)
        assert found.defined[name] == expected[name].notna().sum()
    missing = gold.isna() | predicted.isna()
    left = {(t, s) for t, s in itertools.product(gold.index, gold.columns) if t != s and missing.at[t, s]}
    assert {(t, s) for t, s, _ in found.left_out.itertuples(index=False)} == left
    assert found.candidates["a"] == 7 - missing.loc["a"].drop("a").sum()


def test_the_relevance_is_the_rank_by_gold_score():
    """Four candidates of gold ranks 4, 3, 2, 1; the prediction puts the second first, and ties the last two."""
    gold = pd.Series([0.9, 0.8, 0.3, 0.1], list("wxyz"))
    predicted = pd.Series([2.0, 5.0, 1.0, 1.0], list("wxyz"))
    found = rank_target(gold, predicted, "t")
    discount = 1 / np.log2([2, 3, 4])
    third = (2 * discount[2] + 1 * discount[2]) / 2  # the tied two share the third place, and the fourth that is none
    expected = (3 * discount[0] + 4 * discount[1] + third) / (discount @ [4, 3, 2])
    assert found["ndcg3"] == pytest.approx(expected)
    assert found["top1"] == 0


def test_tied_best_predictions_share_the_hit():
    gold, predicted = pd.Series([3.0, 2, 1], list("xyz")), pd.Series([1.0, 1, 0], list("xyz"))
    assert rank_target(gold, predicted, "t")["top1"] == 0.5
    assert rank_target(gold, predicted, "t", recipe="authors_code")["top1"] == 1
    back = [one.iloc[[1, 0, 2]] for one in (gold, predicted)]
    assert rank_target(*back, "t", recipe="authors_code")["top1"] == 0  # the first of the tied now is another


def test_both_orders_of_averaging_over_seeds():
    gold, predicted = [tied(i, levels=5) for i in range(3)], [tied(10 + i, levels=5) for i in range(2)]
    paper = ranking(gold, predicted)
    means = [sum(one) / len(one) for one in (gold, predicted)]
    expected = slow_table(*means)
    assert paper.targets.to_numpy() == pytest.approx(expected.to_numpy(), nan_ok=True)
    code = ranking(gold, predicted, recipe="authors_code")
    tables = [slow_table(g, p, first=True) for g, p in itertools.product(gold, predicted)]
    assert code.targets.to_numpy() == pytest.approx(sum(tables).to_numpy() / 6)
    assert code.mean["ndcg3"] != pytest.approx(paper.mean["ndcg3"])


def test_targets_that_are_no_sources_and_labels_in_any_order():
    gold, predicted = tied(0), tied(1)
    gold.index = predicted.index = [f"low{i}" for i in range(6)]
    found = ranking(gold, predicted)
    assert (found.candidates == 8).all()
    shuffled = ranking(gold, predicted.iloc[::-1, [3, 1, 0, 2, 7, 6, 4, 5]])
    assert shuffled.mean == found.mean


values = arrays(float, (4, 6), elements=strategies.integers(0, 5).map(float))


@settings(max_examples=30, deadline=None)
@given(values, values, strategies.permutations(range(6)))
def test_what_ranking_has_to_be(gold, predicted, order):
    gold, predicted = matrix(gold), matrix(predicted)
    if min(m.loc[t].drop(t).nunique() for m in (gold, predicted) for t in m.index) < 2:
        return
    found = ranking(gold, predicted)
    grown = ranking(gold, np.exp(predicted / 3) + predicted**3)
    for name in ("spearman", "top1", "ndcg3"):  # a monotone change of the prediction changes no order
        assert grown.mean[name] == pytest.approx(found.mean[name], abs=1e-12)
    stretched = ranking(7 * gold - 3, 0.1 * predicted + 5)
    assert stretched.mean == pytest.approx(found.mean, abs=1e-9)
    moved = ranking(gold.iloc[:, list(order)], predicted.iloc[:, list(order)])  # nor does the order of the candidates
    assert moved.mean == pytest.approx(found.mean, abs=1e-12)
    best = ranking(gold, gold).mean
    assert best == pytest.approx({"pearson": 1, "spearman": 1, "top1": 1, "ndcg3": 1})
    turned = ranking(gold, -predicted).mean
    assert [turned["pearson"], turned["spearman"]] == pytest.approx([-found.mean["pearson"], -found.mean["spearman"]])
    assert 0 <= found.mean["top1"] <= 1 and 0 < found.mean["ndcg3"] <= 1 + 1e-12


def test_resamples_count_copies_in_correlations_and_choices_once():
    """Against lists in which a source drawn twice stands twice (correlations) or once (top-1, NDCG)."""
    rng = np.random.default_rng(5)
    gold, predicted = tied(3), tied(4)
    weights = rng.multinomial(8, np.full(8, 1 / 8), size=20)
    ok = gold.index.to_numpy()[:, None] != gold.columns.to_numpy()[None, :]
    found = metrics(gold.to_numpy(), predicted.to_numpy(), ok, weights.astype(float), first=False)
    for r, t in np.ndindex(20, 6):
        copies = [s for s in range(8) for _ in range(weights[r, s]) if ok[t, s]]
        several, once = ([(gold.iat[t, s], predicted.iat[t, s]) for s in one] for one in (copies, sorted(set(copies))))
        if len(once) < 2:
            assert np.isnan(found[r, t]).all()
            continue
        expected = [*slowly(*zip(*several, strict=True))[:2], *slowly(*zip(*once, strict=True))[2:]]
        assert found[r, t] == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_blocks_of_resamples_are_all_of_them(monkeypatch):
    gold, predicted = tied(0), tied(1)
    whole = intervals(gold, predicted, replicates=50)
    monkeypatch.setattr("langsim.ranking._AT_ONCE", 100)
    parts = intervals(gold, predicted, replicates=50)
    assert all((whole[name].replicates == parts[name].replicates).all() for name in METRICS)


def noisy(seed, size=8, noise=0.5):
    """Gold and a prediction of it that is right but for noise."""
    rng = np.random.default_rng(seed)
    gold = rng.standard_normal((size, size))
    return matrix(gold), matrix(gold + noise * rng.standard_normal(gold.shape))


def test_intervals_hold_the_estimate_and_stay_where_the_metric_is():
    gold, predicted = noisy(0)
    found, table = intervals(gold, predicted, replicates=400), ranking(gold, predicted)
    for name, one in found.items():
        assert one.estimate == pytest.approx(table.mean[name])
        assert ranking_chance.LOWEST[name] <= one.low < one.estimate <= one.high <= 1 and one.error > 0
    again = intervals(gold, predicted, replicates=400)
    assert (again["top1"].low, again["top1"].high) == (found["top1"].low, found["top1"].high)
    perfect = intervals(gold, gold, replicates=50)["ndcg3"]
    assert (perfect.low, perfect.estimate, perfect.high) == (1, 1, 1)


def test_a_prediction_against_itself_against_noise_and_turned():
    gold, good = noisy(1, noise=0.3)
    bad = matrix(np.random.default_rng(9).standard_normal((8, 8)))
    none = differences(gold, good, good, replicates=100)
    assert all((one.estimate, one.error, one.p) == (0, 0, 1) for one in none.values())
    found, turned = (differences(gold, *pair, replicates=400) for pair in ((good, bad), (bad, good)))
    assert found["spearman"].low > 0 and found["spearman"].p < 0.05
    for name in METRICS:
        assert turned[name].estimate == -found[name].estimate and turned[name].p == found[name].p


def test_differences_compare_the_same_candidates():
    gold, good = noisy(2)
    other = noisy(2, noise=1.5)[1].mask(np.random.default_rng(0).random((8, 8)) < 0.25)
    found = differences(gold, good, other, replicates=20)
    both = ranking(gold, good.where(other.notna())).mean["ndcg3"] - ranking(gold, other).mean["ndcg3"]
    assert found["ndcg3"].estimate == pytest.approx(both)


def test_p_is_no_smaller_than_it_may_be_where_nothing_differs():
    low = 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        gold, ours, theirs = (matrix(rng.standard_normal((8, 8))) for _ in range(3))
        low += differences(gold, ours, theirs, replicates=100, seed=trial)["ndcg3"].p < 0.1
    assert low <= 12  # at most a fifth; a tenth would be exact, and the two-way bootstrap errs towards large p


@pytest.mark.parametrize("recipe", ["paper", "authors_code"])
def test_chance_is_the_mean_over_all_rankings(recipe):
    gold = matrix(np.random.default_rng(1).integers(4, size=(3, 5)), targets=["t", "u", "a"])
    rows = {}
    for target in gold.index:
        one = gold.loc[target].drop(target, errors="ignore").tolist()
        orders = list(itertools.permutations(range(len(one))))
        rows[target] = np.mean([slowly(one, order, first=recipe == "authors_code") for order in orders], axis=0)
    expected = pd.DataFrame(rows, list(METRICS)).T.mean()
    found = chance(gold, recipe=recipe, draws=500)
    assert [found.expected[name] for name in METRICS] == pytest.approx(expected.tolist(), abs=1e-12)
    error = found.draws.std() / np.sqrt(500)
    assert (np.abs(found.draws.mean() - expected.to_numpy()) < 4 * error).all()
    assert found.line("top1") > found.expected["top1"]


@pytest.mark.parametrize("recipe", ["paper", "authors_code"])
def test_a_random_ranking_is_scored_as_any_other(recipe):
    rng = np.random.default_rng(0)
    for _ in range(20):
        gold, order = rng.integers(4, size=6).astype(float), rng.permuted(np.arange(6.0))
        found = ranking_chance._drawn(gold, order[None], recipe)[0]
        assert found == pytest.approx(slowly(list(gold), list(order), first=recipe == "authors_code"), nan_ok=True)


def test_p_against_random_rankings():
    gold, good = noisy(3, noise=0.1)
    found = chance(gold, draws=199)
    assert found.p("ndcg3", ranking(gold, good).mean["ndcg3"]) == 1 / 200
    assert found.p("ndcg3", 0.0) == 1
    some = chance(gold, good.mask(good < 0), draws=5)
    assert some.expected["top1"] > found.expected["top1"]  # fewer candidates are easier to guess among


def test_constant_for_one_target_is_not_defined_and_counted():
    gold, predicted = noisy(4)
    predicted.loc["a"] = 1.0
    found = ranking(gold, predicted)
    assert found.defined == {"pearson": 7, "spearman": 7, "top1": 8, "ndcg3": 8}
    assert found.targets.at["a", "top1"] == pytest.approx(1 / 7)


def test_one_candidate_ranks_nothing():
    gold, predicted = noisy(5, size=3)
    predicted.loc["a", "b"] = np.nan
    found = ranking(gold, predicted)
    assert found.candidates["a"] == 1 and found.targets.loc["a"].isna().all() and found.defined["top1"] == 2
    with pytest.raises(UsageError, match="no target has two candidates"):
        ranking(gold.iloc[:2, :2], predicted.iloc[:2, :2])
    with pytest.raises(UsageError, match="no target has two candidates"):
        rank_target(pd.Series([1.0], ["x"]), pd.Series([2.0], ["x"]), "t")


GOLD, GOOD = noisy(6, size=4)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: rank_target(GOLD.loc["a"], GOOD.loc["a"], "a"), "'a' is among its own candidates"),
        (lambda: ranking(GOLD, GOOD.iloc[:3]), "targets that are not in both it and the gold scores: d"),
        (lambda: ranking(GOLD, GOOD.rename(columns={"a": "z"})), "sources that are not in both .*: a, z"),
        (lambda: ranking(GOLD.iloc[[0, 0, 1]], GOOD), "the target 'a' is there twice"),
        (lambda: ranking(GOLD, GOOD * 0), "the predictions are constant for every target"),
        (lambda: ranking(GOLD * 0, GOOD), "the gold scores are constant for every target"),
        (lambda: differences(GOLD, GOOD, GOOD * 0), r"the predictions \(2\) are constant"),
        (lambda: ranking(GOLD, GOOD.mask(GOOD > 0, np.inf)), "infinite values"),
        (lambda: ranking(GOLD, GOOD.map(str) + "x"), "every value is a number or NaN"),
        (lambda: ranking(GOLD, GOOD.to_numpy()), "give a DataFrame"),
        (lambda: ranking([], GOOD), "give a DataFrame"),
        (lambda: ranking(GOLD, GOOD, recipe="mine"), "no recipe 'mine'; choose paper or authors_code"),
        (lambda: intervals(GOLD, GOOD, replicates=0), "replicates=0"),
        (lambda: chance(GOLD, draws=0), "draws=0"),
    ],
)
def test_bad_input_is_one_line(call, says):
    with pytest.raises(UsageError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)
