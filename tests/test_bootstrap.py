"""The paired bootstrap against a slow loop over sentences, and against sacreBLEU's."""

import numpy as np
import pytest
import sacrebleu
from sacrebleu.significance import PairedTest
from test_scoring import corpus

from langsim import bootstrap, scoring
from langsim.errors import UsageError

N = 60


@pytest.fixture(scope="module")
def bleu():
    return scoring.bleu()


@pytest.fixture(scope="module")
def systems(bleu):
    """name -> per seed (N, 10) statistics: 'good' beats 'bad'."""
    references = corpus(N, 1)[1]
    made = {}
    for name, wrong, seeds in (("good", 0.15, (11, 12, 13)), ("bad", 0.4, (14, 15, 16))):
        made[name] = []
        for seed in seeds:
            rng = np.random.default_rng(seed)
            texts = [[w if rng.random() > wrong else "fog" for w in text.split()] for text in references]
            made[name].append(bleu.statistics([" ".join(words) for words in texts], references))
    return made


@pytest.fixture(scope="module")
def units():
    return [f"u{i // 3}" for i in range(N)]


def slowly(system, units, score, seed, replicates):
    """(R,) draw names of clusters, collect their sentences one by one, score each seed that was drawn."""
    rng, names, found = np.random.default_rng(seed), sorted(set(units)), []
    for _ in range(replicates):
        rows = [i for name in rng.choice(names, len(names)) for i in range(len(units)) if units[i] == name]
        seeds = rng.integers(len(system), size=len(system))
        found.append(np.mean([score(system[k][rows].sum(0)) for k in seeds]))
    return np.array(found)


def test_one_system_against_the_slow_loop(systems, units, bleu):
    found = bootstrap.interval(systems["good"], units, bleu.score, replicates=4000)
    slow = slowly(systems["good"], units, bleu.score, 1, 1500)
    assert found.estimate == pytest.approx(np.mean([bleu.score(one.sum(0)) for one in systems["good"]]))
    assert found.error == pytest.approx(slow.std(), rel=0.1)
    assert found.low == pytest.approx(np.quantile(slow, 0.025), abs=0.35 * found.error)
    assert found.high == pytest.approx(np.quantile(slow, 0.975), abs=0.35 * found.error)


def test_the_same_draws_give_the_same_scores(systems, units, bleu):
    """Given its weights, a replicate is the score of the sentences that the weights repeat: exactly."""
    clusters = bootstrap.Clusters(units)
    weights = clusters.draw(np.random.default_rng(3), 5)
    sums = bootstrap._resampled(weights, clusters.sums(systems["good"]))
    for row, weight in zip(sums, weights, strict=True):
        for one, expected in zip(systems["good"], row, strict=True):
            rows = np.repeat(np.arange(N), weight[clusters.index])
            assert (one[rows].sum(0) == expected).all()


def test_the_difference_is_paired(systems, units, bleu):
    """A system differs from itself by nothing, whatever its seeds; clusters and seeds widen what is left."""
    one = systems["good"][:1]
    for same in (one, systems["good"]):
        nothing = bootstrap.difference(same, same, units, bleu.score)
        assert (nothing.estimate, nothing.low, nothing.high, nothing.error, nothing.p) == (0, 0, 0, 0, 1)
    single = bootstrap.difference(one, systems["bad"][:1], units, bleu.score)
    apart = [bootstrap.interval(systems[name][:1], units, bleu.score).error for name in ("good", "bad")]
    assert single.error < np.hypot(*apart)


def test_a_clear_difference_and_what_could_have_been_found(systems, units, bleu):
    found = bootstrap.difference(systems["good"], systems["bad"], units, bleu.score)
    expected = [np.mean([bleu.score(one.sum(0)) for one in systems[name]]) for name in ("good", "bad")]
    assert found.estimate == pytest.approx(expected[0] - expected[1])
    assert 0 < found.low < found.estimate < found.high and found.p == 1 / 1001
    assert found.detectable == pytest.approx(2.8016 * found.error, rel=1e-4)
    turned = bootstrap.difference(systems["bad"], systems["good"], units, bleu.score)
    assert turned.estimate == -found.estimate and turned.p == found.p


def test_the_p_value_is_level_where_nothing_differs():
    """Means of normal numbers, systems alike: p below .1 in about a tenth of the experiments."""
    rng, low = np.random.default_rng(0), 0
    for trial in range(300):
        ours, theirs = rng.standard_normal((2, 40, 1))
        found = bootstrap.difference([ours], [theirs], range(40), lambda s: s[..., 0] / 40, replicates=200, seed=trial)
        low += found.p < 0.1
    assert 15 <= low <= 50


def test_sentences_alone_are_sacrebleus_paired_bootstrap(bleu):
    """Its p-value centres the absolute differences: where they have one sign that is one tail of ours."""
    references = corpus(200, 4)[1]
    hypotheses = []
    for wrong, seed in ((0.30, 1), (0.33, 2)):
        rng = np.random.default_rng(seed)
        hypotheses.append([" ".join(w if rng.random() > wrong else "fog" for w in r.split()) for r in references])
    named = [("base", hypotheses[0]), ("system", hypotheses[1])]
    test = PairedTest(named, {"bleu": sacrebleu.BLEU()}, [references], test_type="bs", n_samples=2000)
    theirs = test()[1]["BLEU"][1]
    stats = [bleu.statistics(texts, references) for texts in hypotheses]
    found = bootstrap.difference([stats[1]], [stats[0]], range(200), bleu.score, replicates=4000)
    alone = bootstrap.interval([stats[1]], range(200), bleu.score, replicates=4000)
    assert alone.estimate == pytest.approx(theirs.score)
    assert alone.replicates.mean() == pytest.approx(theirs.mean, abs=0.1 * alone.error)
    assert 1.96 * alone.error == pytest.approx(theirs.ci, rel=0.1)
    absolute = np.abs(found.replicates)
    same_way = (np.sum(absolute - absolute.mean() > abs(found.estimate)) + 1) / (found.replicates.size + 1)
    assert same_way == pytest.approx(theirs.p_value, abs=0.03)


def test_few_seeds_show_their_part_of_the_variance():
    """Seeds that differ by nothing but a constant: (k - 1) / k of the variance, by k, for a mean of k."""
    offsets = np.array([0.0, 3.0, 9.0])
    system = [np.full((10, 1), offset) for offset in offsets]
    found = bootstrap.interval(system, range(10), lambda s: s[..., 0] / 10, replicates=20000)
    assert found.error == pytest.approx(offsets.std() / np.sqrt(3), rel=0.05)


@pytest.mark.parametrize(
    ("system", "units", "says"),
    [
        ([], ["a"], "got 0 of shapes none"),
        ([np.zeros((2, 10))], ["a"], "each of 1 sentences"),
        ([np.zeros((1, 10)), np.zeros((1, 18))], ["a"], "one array a seed"),
        ([np.zeros((0, 10))], [], "there are no sentences"),
    ],
)
def test_bad_input_is_one_line(system, units, says, bleu):
    with pytest.raises(UsageError, match=says):
        bootstrap.interval(system, units, bleu.score)
