"""Intervals and chances of part II: against slow bootstraps, brute force and SciPy."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from langsim.errors import UsageError
from langsim.lslo import directions, intervals


def test_seeds_are_students():
    values = [0.3, 0.5, 0.1]
    found, oracle = intervals.over_seeds(values), stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(oracle.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval()))
    alone = intervals.over_seeds([0.3])
    assert alone.estimate == 0.3 and math.isnan(alone.p) and math.isnan(alone.low)
    assert intervals.over_seeds([0.2, 0.2]).p == 0 and intervals.over_seeds([0.0, 0.0]).p == 1


def test_directions_by_a_slow_bootstrap():
    """Languages of each class drawn for both sides, seeds with them: the same spread by a loop of its own."""
    classes = {"a": "high", "b": "high", "c": "high", "d": "low", "e": "low", "f": "low"}
    named, rng = directions.labels(classes), np.random.default_rng(3)
    all_of_them = directions.everything(classes)
    sources, targets = ({code: rng.normal() for code in classes} for _ in range(2))
    ours = np.array([[sources[s] + targets[t] + rng.normal() for s, t in all_of_them] for _ in range(3)])
    theirs = np.array([[rng.normal() for _ in all_of_them] for _ in range(3)])
    scope = {"H2H": 0.25, "L2L": 0.75}
    found = intervals.over_directions(ours, theirs, all_of_them, classes, scope)
    plain = sum(
        weight * np.mean([(ours - theirs)[:, i].mean() for i, one in enumerate(all_of_them) if named[one] == name])
        for name, weight in scope.items()
    )
    assert found.estimate == pytest.approx(plain)
    drawn, slow = [], np.random.default_rng(99)
    members = [[code for code in classes if classes[code] == name] for name in ("high", "low")]
    while len(drawn) < 1500:
        picked = [[c for group in members for c in slow.choice(group, len(group))] for _ in range(2)]
        seeds, total = slow.choice(3, 3), 0.0
        for name, weight in scope.items():
            cells = [
                (ours[k, i] - theirs[k, i])
                for k in seeds
                for s in picked[0]
                for t in picked[1]
                if s != t and named[s, t] == name
                for i in [all_of_them.index((s, t))]
            ]
            total += weight * (np.mean(cells) if cells else math.nan)
        if math.isfinite(total):
            drawn.append(total)
    assert found.error == pytest.approx(np.std(drawn, ddof=1), rel=0.1)
    assert (found.low, found.high) == pytest.approx(
        tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.15 * found.error * 4
    )
    plain_texts = intervals.Texts(("0", "1"), tuple("-".join(one) for one in all_of_them), *level_texts(ours))
    assert intervals.over_directions(ours, None, all_of_them, classes, scope, texts=(plain_texts, None)).error == (
        pytest.approx(intervals.over_directions(ours, None, all_of_them, classes, scope).error, rel=0.05)
    ), "clusters that are alike add nothing"
    same = intervals.over_directions(ours, ours, all_of_them, classes, scope)
    assert (same.estimate, same.low, same.high, same.p) == (0, 0, 0, 1)
    with pytest.raises(UsageError, match="no direction L2X"):
        intervals.over_directions(ours, None, all_of_them, classes, {"L2X": 1})
    with pytest.raises(UsageError, match="one line a seed of 30 numbers"):
        intervals.over_directions(ours[:, :3], None, all_of_them, classes, scope)


def level_texts(values):
    """Two clusters of equal losses."""
    return np.stack([values * 10, values * 20], axis=-1), np.tile([10.0, 20.0], (values.shape[1], 1))


@pytest.mark.parametrize("single", [True, False])
def test_texts_are_drawn_again(single):
    """Clusters, languages and seeds drawn together: the same spread by a loop of its own; by pairs of classes too,
    where what clusters change is nearly the same for all directions."""
    classes = {"a": "high", "b": "high", "c": "high", "d": "low", "e": "low"}
    named, rng = directions.labels(classes), np.random.default_rng(1)
    everything, scope = directions.everything(classes), {"H2H": 1.0}
    counts = np.tile(rng.integers(5, 40, 6), (len(everything), 1)).astype(float)
    hard, of_language = rng.normal(0, 0.5, 6), {code: rng.normal(0, 0.1) for code in classes}
    level = np.array([[4 + of_language[s] + of_language[t] for s, t in everything] for _ in range(3)])
    per_token = level[:, :, None] + hard + rng.normal(0, 0.05, (3, len(everything), 6))
    sums = per_token * counts
    ours = sums.sum(-1) / counts.sum(-1)
    groups = ["-".join(one) for one in everything]
    texts = intervals.Texts(tuple("uvwxyz"), tuple(groups), sums, counts)
    if not single:
        order = list(dict.fromkeys(named[one] for one in everything))
        own = [[i for i, one in enumerate(everything) if named[one] == name] for name in order]
        parts = np.stack([sums[:, i].sum(1) for i in own], axis=1), np.stack([counts[i].sum(0) for i in own])
        texts = intervals.Texts(texts.units, tuple(order), *parts)
    found = intervals.over_directions(ours, None, everything, classes, scope, texts=(texts, None))
    drawn, slow = [], np.random.default_rng(2)
    while len(drawn) < 1500:
        picked = [list(slow.choice(list("abc"), 3)) for _ in range(2)]
        seeds, clusters = slow.choice(3, 3), slow.choice(6, 6)
        values = []
        for s in picked[0]:
            for t in picked[1]:
                if s != t:
                    i = everything.index((s, t))
                    values += [sums[k, i, clusters].sum() / counts[i, clusters].sum() for k in seeds]
        if values:
            drawn.append(np.mean(values))
    assert found.error == pytest.approx(np.std(drawn, ddof=1), rel=0.1)
    assert found.error > 2 * intervals.over_directions(ours, None, everything, classes, scope).error
    same = intervals.over_directions(ours, ours, everything, classes, scope, texts=(texts, texts))
    assert (same.estimate, same.low, same.high) == (0, 0, 0)
    other = intervals.Texts(tuple("uvwxyq"), texts.groups, texts.sums, texts.counts)
    with pytest.raises(UsageError, match="scored on different texts"):
        intervals.over_directions(ours, ours, everything, classes, scope, texts=(texts, other))


def test_permutations_by_brute_force():
    rng = np.random.default_rng(0)
    mean = rng.normal(size=8)
    inside = [True, False, True, False, False, False, True, False]
    apart = mean[inside].mean() - mean[~np.array(inside)].mean()
    ways = [
        mean[list(chosen)].mean() - np.delete(mean, list(chosen)).mean()
        for chosen in itertools.combinations(range(8), 3)
    ]
    two_sided = min(1, 2 * min(np.mean(np.array(ways) >= apart - 1e-9), np.mean(np.array(ways) <= apart + 1e-9)))
    assert intervals.exchanged(inside)(mean) == pytest.approx(two_sided)
    signs = [np.mean(mean * s) for s in itertools.product((1, -1), repeat=8)]
    two_sided = min(1, 2 * min(np.mean(np.array(signs) >= mean.mean() - 1e-9), np.mean(signs <= mean.mean() + 1e-9)))
    assert intervals.flipped(mean) == pytest.approx(two_sided)
    assert math.isnan(intervals.exchanged([True] * 8)(mean)) and math.isnan(intervals.flipped(mean[:1]))


def test_overfitting_by_a_slow_bootstrap():
    """Languages of both sides and seeds drawn, the best epoch looked for in each resample: a loop of its own."""
    classes = dict.fromkeys("abcd", "high")
    everything, rng = directions.everything(classes), np.random.default_rng(5)
    values = rng.normal(3, 0.3, (3, 5, 12)) + np.array([0.5, 0.2, 0, 0.1, 0.3])[None, :, None]
    found = intervals.over_epochs(values, None, everything, classes)
    mean = values.mean((0, 2))
    assert found.estimate == pytest.approx(mean[-1] - mean.min())
    slow, drawn = np.random.default_rng(9), []
    while len(drawn) < 1500:
        sources, targets, seeds = slow.choice(list("abcd"), 4), slow.choice(list("abcd"), 4), slow.choice(3, 3)
        own = [everything.index((s, t)) for s in sources for t in targets if s != t]
        if own:
            curve = np.mean([values[k][:, i] for k in seeds for i in own], axis=0)
            drawn.append(curve[-1] - curve.min())
    assert found.error == pytest.approx(np.std(drawn, ddof=1), rel=0.1)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.05)
    same = intervals.over_epochs(values, values, everything, classes)
    assert (same.estimate, same.low, same.high) == (0, 0, 0)
