"""Baselines against scipy and plain loops: L2V, LEX, SuE, EMB, script, family, random."""

import itertools
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from checkpoints import ENCODER
from hypothesis import given, settings, strategies
from scipy.spatial.distance import cosine, jensenshannon
from scipy.stats import norm

from langsim import baselines, evenness, languages, uriel
from langsim.errors import UsageError

TARGETS, SOURCES = ["de", "hi", "ja"], ["en", "de", "fa", "zh"]
rng = np.random.default_rng


def test_lang2vec_is_the_cosine_of_uriels_vectors():
    found = baselines.lang2vec(TARGETS, SOURCES)
    vectors = uriel.vectors(["de", "hi", "ja", "en", "fa", "zh"])
    for t in TARGETS:
        for s in SOURCES:
            assert found.matrix.at[t, s] == pytest.approx(1 - cosine(vectors.loc[t], vectors.loc[s]), abs=1e-6)
    assert found.matrix.index.name == "target" and found.matrix.columns.name == "source"
    assert found.larger_is_better and found.printed and found.unavailable == ()


def test_a_language_that_uriel_lacks_is_not_available(monkeypatch):
    monkeypatch.setattr(uriel, "available", lambda codes: [code for code in codes if code not in ("hi", "zh")])
    found = baselines.lang2vec(TARGETS, SOURCES)
    assert found.unavailable == ("hi", "zh")
    assert found.matrix.loc["hi"].isna().all() and found.matrix["zh"].isna().all()
    assert found.matrix.loc[["de", "ja"], ["en", "de", "fa"]].notna().all(axis=None)
    monkeypatch.setattr(uriel, "available", lambda codes: [])
    assert baselines.lang2vec(TARGETS, SOURCES).matrix.isna().all(axis=None)


def test_lexical_divergence_is_scipys_squared():
    draw = rng(0)
    counts = {code: draw.integers(0, 9, 40) * (draw.random(40) < 0.6) for code in ("de", "hi", "en", "fa")}
    counts["zh"] = np.zeros(40)  # not a single subword
    found = baselines.lexical_divergence(TARGETS, SOURCES, counts)
    assert not found.larger_is_better and found.unavailable == ("ja", "zh")
    for t in ("de", "hi"):
        for s in ("en", "de", "fa"):
            expected = jensenshannon(counts[t], counts[s], base=2) ** 2
            assert found.matrix.at[t, s] == pytest.approx(expected, abs=1e-12)
    assert found.matrix.at["de", "de"] == 0
    assert (found.oriented().loc["de"].dropna() == -found.matrix.loc["de"].dropna()).all()


def test_nothing_shared_is_one_bit_and_counts_are_counted():
    counts = {"de": baselines.unigram_counts([[0, 1, 1], [2]], 6), "en": baselines.unigram_counts([[3, 4]], 6)}
    assert counts["de"].tolist() == [1, 2, 1, 0, 0, 0]
    assert baselines.lexical_divergence(["de"], ["en"], counts).matrix.at["de", "en"] == 1
    assert baselines.unigram_counts([], 3).tolist() == [0, 0, 0]


def test_embedding_similarity_is_the_cosine_of_the_means():
    draw = rng(1)
    vectors = {code: draw.normal(1, 1, (n, 5)) for code, n in (("de", 4), ("hi", 9), ("en", 2), ("fa", 7))}
    vectors["zh"] = np.zeros((0, 5))
    found = baselines.embedding_similarity(TARGETS, SOURCES, vectors)
    assert found.unavailable == ("ja", "zh") and found.larger_is_better
    expected = 1 - cosine(vectors["hi"].mean(0), vectors["fa"].mean(0))
    assert found.matrix.at["hi", "fa"] == pytest.approx(expected)
    assert found.matrix.at["de", "de"] == pytest.approx(1)


@pytest.mark.parametrize("kind", ["XLMRoberta", "MT5"])
def test_mean_pooling_leaves_the_padding_out(kind):
    torch.manual_seed(0)
    if kind == "XLMRoberta":
        model = transformers.XLMRobertaForMaskedLM(transformers.XLMRobertaConfig(vocab_size=50, **ENCODER))
    else:
        shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
        model = transformers.MT5ForConditionalGeneration(transformers.MT5Config(vocab_size=50, **shape))
    model.eval()
    sentences = [[5, 6, 7, 8, 9], [10, 11], [12, 13, 14]]
    pad = model.config.pad_token_id
    ids = torch.tensor([one + [pad] * (5 - len(one)) for one in sentences])
    batch = {"input_ids": ids, "attention_mask": (torch.arange(5) < torch.tensor([[5], [2], [3]])).long()}
    parts = [{name: values[rows] for name, values in batch.items()} for rows in (slice(0, 2), slice(2, 3))]
    found = baselines.mean_pooled(model, parts)
    assert found.shape == (3, 16) and found.dtype == np.float32
    encoder = model.roberta if kind == "XLMRoberta" else model.encoder
    for row, one in zip(found, sentences, strict=True):
        with torch.no_grad():
            alone = encoder(input_ids=torch.tensor([one]), attention_mask=torch.ones(1, len(one))).last_hidden_state
        assert row == pytest.approx(alone[0].mean(0).numpy(), abs=1e-5)


def test_script_family_and_random():
    script, family = (one(TARGETS, SOURCES) for one in (baselines.same_script, baselines.same_family))
    for t in TARGETS:
        for s in SOURCES:
            one, other = languages.get(t), languages.get(s)
            assert script.matrix.at[t, s] == (one.script == other.script)
            assert family.matrix.at[t, s] == (one.family == other.family)
    assert script.matrix.at["de", "en"] == family.matrix.at["hi", "fa"] == 1
    drawn = baselines.random_ranking(TARGETS, SOURCES, seed=3)
    assert drawn.matrix.equals(baselines.random_ranking(TARGETS, SOURCES, seed=3).matrix)
    assert not drawn.matrix.equals(baselines.random_ranking(TARGETS, SOURCES, seed=4).matrix)
    assert not (script.printed or family.printed or drawn.printed)


# Subword evenness


def made_words(slope, top=12):
    """Words in two subwords that fill a triangle: as uneven as can be up to length `top`, then falling by `slope`."""
    found = []
    for length in range(4, int(top + (top - 2) / slope) + 1):
        for short in range(1, length // 2 + 1):
            if length - 2 * short <= min(length - 2, top - 2 - slope * (length - top)):
                found.append(["a" * short, "b" * (length - short)])
    return found


def slow_evenness(segmented):
    """From scratch: loops, scipy's normal density, a finer grid with other ends."""
    pairs = set()
    for pieces in segmented:
        joined, run = [], ""
        for piece in [*pieces, None]:
            if piece is not None and len(piece) == 1:
                run += piece
                continue
            joined += [run] if run else []
            joined += [piece] if piece is not None else []
            run = ""
        if len(joined) > 1:
            sizes = [len(piece) for piece in joined]
            pairs.add((sum(sizes), max(sizes) - min(sizes)))
    x, y = (np.array(one, dtype=float) for one in zip(*sorted(pairs), strict=True))
    widths = [
        1.06 * min(v.std(ddof=1), np.subtract(*np.quantile(v, [0.75, 0.25])) / 1.34) * len(v) ** -0.2 for v in (x, y)
    ]
    ax, ay = (np.linspace(v.min() - 5, v.max() + 5, 601) for v in (x, y))
    density = np.zeros((601, 601))
    for a, b in zip(x, y, strict=True):
        density += np.outer(norm.pdf(ax, a, widths[0]), norm.pdf(ay, b, widths[1]))
    inside = np.argwhere(density >= density.max() / 3)
    top = max(inside, key=lambda cell: (cell[1], density[tuple(cell)]))
    right = max(inside, key=lambda cell: (cell[0], density[tuple(cell)]))
    k = (ay[right[1]] - ay[top[1]]) / (ax[right[0]] - ax[top[0]])
    return 180 - 45 - abs(math.degrees(math.atan(k)))


@pytest.mark.parametrize("slope", [0.3, 0.8, 2.0])
def test_evenness_is_the_angle_of_the_slow_one(slope):
    given = made_words(slope)
    assert evenness.evenness(given) == pytest.approx(slow_evenness(given), abs=3)


def test_steeper_is_more_uneven_and_frequency_counts_for_nothing():
    found = [evenness.evenness(made_words(slope)) for slope in (0.3, 0.8, 2.0)]
    assert 45 <= found[2] < found[1] < found[0] <= 135
    given = made_words(0.8)
    assert evenness.evenness(given + given[:10] * 20) == evenness.evenness(given)


def test_the_points_of_words_by_hand():
    segmented = [["un", "break", "able"], ["a", "b", "cat"], ["whole"], ["x", "y", "z"], ["ab", "c", "d", "ef", "g"]]
    assert evenness.clump(segmented[4]) == ["ab", "cd", "ef", "g"]
    # lengths 2 5 4; 2 3; one; one, clumped; 2 2 2 1
    assert evenness.points(segmented).tolist() == [[5, 1], [7, 1], [11, 3]]
    assert evenness.points([]).shape == (0, 2)
    assert math.isnan(evenness.evenness(segmented))
    assert math.isnan(evenness.evenness([["ab", "c" * n] for n in [2] * 50]))


@settings(max_examples=25, deadline=None)
@given(strategies.lists(strategies.lists(strategies.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=60))
def test_what_evenness_has_to_be(sizes):
    segmented = [["x" * size for size in word] for word in sizes]
    found = evenness.evenness(segmented)
    assert math.isnan(found) or 45 <= found <= 135
    shuffled = evenness.evenness(segmented[::-1])
    assert shuffled == found or (math.isnan(found) and math.isnan(shuffled))


def slow_merges(types, merges):
    """Byte-pair encoding a merge at a time; stops at the first tie, where the choice is anybody's."""
    parts = {word: [*word[:-1], word[-1] + "</w>"] for word in types}
    for _ in range(merges):
        counts = Counter(pair for one in parts.values() for pair in itertools.pairwise(one))
        best = counts.most_common(2)
        if not best or best[0][1] < 2:
            break
        assert len(best) == 1 or best[0][1] > best[1][1], "the example must have no ties"
        for word, one in parts.items():
            joined = []
            for piece in one:
                if joined and (joined[-1], piece) == best[0][0]:
                    joined[-1] += piece
                else:
                    joined.append(piece)
            parts[word] = joined
    return [[piece.removesuffix("</w>") for piece in parts[word]] for word in types]


def test_segmentation_is_byte_pair_encoding():
    types = ["ab", "abc", "abd", "abcd", "xabc", "yzab", "abq", "zab", "cdab", "cabcd"]
    assert evenness.segment(types, 1) == slow_merges(types, 1)
    assert evenness.segment(types, 1)[2] == ["ab", "d"]
    many = ["".join(rng(i).choice(list("abcde"), 8)) for i in range(200)]
    found = evenness.segment(many)
    assert ["".join(pieces) for pieces in found] == many and found == evenness.segment(many)
    assert len({piece for pieces in found for piece in pieces}) <= 200 + 10
    assert sum(map(len, evenness.segment(many, 20))) > sum(map(len, found))


def test_words_are_types_without_punctuation_where_spaces_divide_them():
    assert evenness.words(["Well, well: a “dog-house”.", "- a dog!"], "en") == ["Well", "well", "a", "doghouse", "dog"]
    assert evenness.words(["你好 世界"], "zh") == evenness.words(["สวัสดี"], "th") == []
    scripts = {language.script for language in languages.all_languages()}
    assert scripts >= evenness.WITHOUT_SPACES


def test_subword_evenness_is_one_number_a_source():
    segmented = {"en": made_words(0.3), "de": made_words(2.0), "zh": []}
    found = baselines.subword_evenness(TARGETS, SOURCES, segmented)
    assert not found.larger_is_better and found.unavailable == ("fa", "zh")
    assert (found.matrix["en"] == evenness.evenness(segmented["en"])).all()
    assert found.oriented().loc["ja", "de"] > found.oriented().loc["ja", "en"]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: baselines.same_script(["xx"], ["de"]), "unknown language 'xx'"),
        (lambda: baselines.same_script([], ["de"]), "no targets or no sources"),
        (lambda: baselines.same_script("de", ["en"]), "languages are given as a list"),
        (lambda: baselines.lang2vec(["de"], ["en"], ["smell"]), "no features of kind 'smell'"),
        (lambda: baselines.lexical_divergence(["de"], ["en"], {"de": [1, 2], "en": [1]}), "one vocabulary"),
        (lambda: baselines.lexical_divergence(["de"], ["en"], {"de": [1, -2], "en": [1, 1]}), "numbers from 0"),
        (lambda: baselines.embedding_similarity(["de"], ["en"], {"de": np.ones(3)}), "number of features"),
        (lambda: baselines.embedding_similarity(["de"], ["en"], {"de": np.full((1, 2), np.nan)}), "NaN or infinite"),
    ],
)
def test_bad_input_is_one_line(call, says):
    with pytest.raises(UsageError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_baselines_are_what_ranking_takes():
    from langsim.ranking import ranking

    gold = pd.DataFrame(rng(0).random((3, 4)), TARGETS, SOURCES)
    found = ranking(gold, baselines.same_family(TARGETS, SOURCES).oriented())
    assert found.defined["top1"] == 3 and found.targets.at["hi", "top1"] in (0, 1)
