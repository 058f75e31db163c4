"""How often each language is read, and the batches by tokens: shares against plain arithmetic and by chi-square."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from langsim.errors import UsageError
from langsim.sampling import SamplingRule, check_pairs, draw
from langsim.token_batches import BatchStream, EncodedPairs, Ragged

SIZES = st.lists(st.integers(1, 400), min_size=1, max_size=9)


def invented(sizes, seed=0, longest=40):
    """Pairs of random lengths; the ids of an example are its own number."""
    rng = np.random.default_rng(seed)
    sides = [Ragged.of([[i] * int(rng.integers(2, longest)) for i in range(sum(sizes))]) for _ in range(2)]
    return EncodedPairs({f"l{i:02d}": size for i, size in enumerate(sizes)}, *sides, truncated=0)


def stream(pairs, rule="equal", mixing="mixed", tokens=300, seed=1):
    return BatchStream(pairs, SamplingRule.parse(rule), mixing, tokens, seed)


def languages_of(pairs, indexes):
    """The number of each pair's language, from where it stands."""
    return np.searchsorted(np.cumsum(list(pairs.sizes.values())), indexes, side="right")


# Rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "temperature"),
    [
        ("equal", "equal", float("inf")),
        ("proportional", "proportional", 1.0),
        (" temperature( 1.5 ) ", "temperature", 1.5),
        ("temperature(5)", "temperature", 5.0),
    ],
)
def test_rules_by_name(text, name, temperature):
    rule = SamplingRule.parse(text)
    assert (rule.name, rule.temperature) == (name, temperature)
    assert SamplingRule.parse(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("equall", "unknown 'equall' \\(did you mean 'equal'\\?\\)"),
        ("", "unknown ''"),
        ("temperature", "'temperature' needs a number, as in temperature\\(1.5\\)"),
        ("temperature(warm)", "needs a number"),
        ("temperature(0.5)", "the temperature is at least 1"),
        ("temperature(nan)", "the temperature is at least 1"),
        ("temperature(inf)", "the temperature is at least 1"),
        ("equal(2)", "'equal' takes no number"),
        ("temperature(1.5", "cannot read 'temperature\\(1.5'; write equal, proportional or temperature\\(1.5\\)"),
        (1.5, "cannot read 1.5"),
    ],
)
def test_a_wrong_rule_is_one_line(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        SamplingRule.parse(text)
    assert "\n" not in str(caught.value)


@given(SIZES, st.floats(1, 20))
def test_shares_are_powers_of_the_sizes(sizes, temperature):
    rule = SamplingRule.parse(f"temperature({temperature})")
    powers = [size ** (1 / temperature) for size in sizes]
    np.testing.assert_allclose(rule.shares(sizes), [power / sum(powers) for power in powers], rtol=1e-9)


@given(SIZES)
def test_proportional_reads_everything_once(sizes):
    assert SamplingRule.parse("proportional").counts(sizes).tolist() == sizes
    assert SamplingRule.parse("temperature(1)").counts(sizes).tolist() == sizes


@given(SIZES)
def test_an_epoch_of_equal_is_as_the_authors_have_it(sizes):
    counts = SamplingRule.parse("equal").counts(sizes)
    epoch = min(len(sizes) * max(sizes), 1.5 * sum(sizes))
    assert len(set(counts)) == 1
    assert counts[0] == max(1, int(epoch / len(sizes) + 1e-9))


@given(SIZES, st.floats(1, 20))
def test_an_epoch_of_a_temperature_keeps_the_shares_to_within_one_example(sizes, temperature):
    rule = SamplingRule.parse(f"temperature({temperature})")
    counts, shares = rule.counts(sizes), rule.shares(sizes)
    assert abs(counts.sum() - min(max(sizes) / shares[np.argmax(sizes)], 1.5 * sum(sizes))) <= 1
    assert (np.abs(counts - shares * counts.sum()) < 1 + 1e-6).all()


def test_a_worked_example():
    sizes = [1000, 125, 8]
    assert SamplingRule.parse("temperature(3)").shares(sizes).tolist() == pytest.approx([10 / 17, 5 / 17, 2 / 17])
    assert SamplingRule.parse("temperature(3)").counts(sizes).tolist() == [999, 500, 200]  # of 1.5 x 1133
    assert SamplingRule.parse("temperature(3)").counts([1000, 125]).tolist() == [1000, 500]
    assert SamplingRule.parse("equal").counts(sizes).tolist() == [566] * 3
    assert SamplingRule.parse("equal").counts([100, 90]).tolist() == [100, 100]


def test_examples_are_drawn_evenly_and_again_only_where_they_are_too_few():
    rng = np.random.default_rng(7)
    few = np.concatenate([draw(50, 20, rng) for _ in range(400)])
    assert chisquare(np.bincount(few, minlength=50)).pvalue > 0.01
    assert all(len(set(draw(50, count, rng))) == count for count in (1, 20, 50))
    many = draw(50, 20_000, rng)
    assert len(many) == 20_000 and chisquare(np.bincount(many, minlength=50)).pvalue > 0.01


def test_pairs_are_checked():
    assert check_pairs("Persian", ["hi", "iw"]) == ["fa", "hi", "he"]
    assert check_pairs("fa", []) == ["fa"]
    for target, auxiliaries, message in [
        ("fa", ["hi", "pes"], "auxiliary 'pes' is the target language itself; leave it out"),
        ("fa", ["hi", "hin"], "auxiliary 'hin' is there twice"),
        ("fa", ["en"], "cannot train on en-en: 'en' is the language translated into"),
        ("en", ["fa"], "cannot train on en-en"),
        ("fa", ["xx"], "xx"),
    ]:
        with pytest.raises(UsageError, match=message) as caught:
            check_pairs(target, auxiliaries)
        assert "\n" not in str(caught.value)


# Batches ---------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(20, 900), st.integers(0, 2**31))
def test_equal_has_the_same_number_of_each_language_in_every_batch(sizes, tokens, seed):
    pairs = invented(sizes)
    batches = stream(pairs, tokens=tokens, seed=seed).epoch(0)
    for batch in batches:
        counts = np.bincount(languages_of(pairs, batch), minlength=len(sizes))
        assert len(set(counts)) == 1 and counts[0] >= 1
    assert sum(map(len, batches)) == SamplingRule.parse("equal").counts(sizes).sum()


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(20, 900), st.sampled_from(["proportional", "temperature(1.5)", "equal"]), st.booleans())
def test_batches_hold_no_more_than_their_tokens(sizes, tokens, rule, single):
    pairs = invented(sizes)
    single = single and rule != "equal"
    made = stream(pairs, rule, "single-pair" if single else "mixed", tokens).epoch(3)
    longest = np.maximum(pairs.source.lengths, pairs.target.lengths)
    least = len(sizes) if rule == "equal" else 1
    for batch in made:
        assert longest[batch].max() * len(batch) <= tokens or len(batch) == least
        assert not single or len(set(languages_of(pairs, batch))) == 1
    counts = Counter(languages_of(pairs, np.concatenate(made)).tolist())
    wanted = SamplingRule.parse(rule).counts(sizes)
    assert [counts[i] for i in range(len(sizes))] == wanted.tolist()
    for index, times in Counter(np.concatenate(made).tolist()).items():
        own = languages_of(pairs, [index])[0]
        assert times == 1 or wanted[own] > sizes[own]


@pytest.mark.parametrize("rule", ["proportional", "temperature(1.5)"])
def test_mixed_batches_hold_languages_by_their_shares(rule):
    sizes = [400, 120, 30]
    pairs = invented(sizes)
    shares = SamplingRule.parse(rule).shares(sizes)
    first = np.concatenate([stream(pairs, rule, seed=seed).epoch(0)[0] for seed in range(300)])
    counts = np.bincount(languages_of(pairs, first), minlength=3)
    assert chisquare(counts, shares * counts.sum()).pvalue > 0.001
    if rule != "proportional":  # and the test can tell the rules apart
        other = SamplingRule.parse("proportional").shares(sizes)
        assert chisquare(counts, other * counts.sum()).pvalue < 1e-6


def test_like_lengths_are_together():
    pairs = invented([500, 500])
    longest = np.maximum(pairs.source.lengths, pairs.target.lengths)
    within = np.mean([np.ptp(longest[batch]) for batch in stream(pairs, "proportional").epoch(0)])
    shuffled = np.random.default_rng(0).permutation(1000).reshape(-1, 10)
    assert within < 3 < np.mean([np.ptp(longest[batch]) for batch in shuffled]) / 5


def test_batches_follow_from_the_seed_alone():
    pairs = invented([60, 20])

    def found(seed, epoch=0):
        np.random.seed(len(str(seed)) + np.random.randint(100))
        return [batch.tolist() for batch in stream(pairs, seed=seed).epoch(epoch)]

    assert found(5) == found(5)
    assert found(5) != found(6) and found(5) != found(5, epoch=1)
    lengths = [np.mean([len(pairs.target[i]) for i in batch]) for batch in found(5)]
    assert lengths != sorted(lengths), "batches are shuffled"


@pytest.mark.parametrize("size", [1, 3, 50])
def test_a_stream_goes_on_from_any_position(size):
    made = stream(invented([60, 20]))
    endless = made.updates(size)
    found = [next(endless) for _ in range(12)]
    for i in (0, 4, 10):
        batches, epoch, index = found[i]
        assert len(batches) == size
        again = next(made.updates(size, epoch, index))
        assert again[1:] == found[i + 1][1:]
        assert all(np.array_equal(a, b) for a, b in zip(again[0], found[i + 1][0], strict=True))
    flat = [batch.tolist() for batches, _, _ in found for batch in batches]
    epochs = [batch.tolist() for epoch in range(found[-1][1] + 1) for batch in made.epoch(epoch)]
    assert flat == epochs[: len(flat)]
