"""The gate of the shipped model, and the baselines that it has to beat."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsim import cells, gate, models, profiles, readings, results, unigram
from langsim.centring import centre

V = 12
ids = st.lists(st.integers(0, V - 1), min_size=1, max_size=8)


@given(st.lists(ids, min_size=1, max_size=6), st.lists(ids, min_size=1, max_size=6))
def test_the_unigram_is_counting(text, targets):
    p = unigram.frequencies(text, V)
    counts = Counter(token for sequence in text for token in sequence)
    total = sum(counts.values()) + V
    expected = [-math.log((counts[token] + 1) / total) for sequence in targets for token in sequence]
    assert p.sum() == pytest.approx(1)
    assert unigram.unigram_nll(targets, p) == pytest.approx(sum(expected) / len(expected))


@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=5))
def test_copying_is_the_best_mixture_of_the_grid(pairs):
    sources, targets = zip(*pairs, strict=True)
    p = unigram.frequencies(targets, V)
    found = []
    for rate in unigram.COPY_RATES:
        nll = []
        for source, target in pairs:
            for token in target:
                nll.append(-math.log((1 - rate) * p[token] + rate * source.count(token) / len(source)))
        found.append(sum(nll) / len(nll))
    assert unigram.copy_nll(sources, targets, p) == pytest.approx(min(found))
    assert unigram.copy_nll(sources, targets, p) <= unigram.unigram_nll(targets, p) + 1e-12


def test_a_copied_source_is_cheap_and_a_foreign_one_is_not():
    p = np.full(V, 1 / V)
    assert unigram.copy_nll([[1, 2]], [[2, 1]], p) < 0.8 < math.log(V)
    assert unigram.copy_nll([[1, 2]], [[3, 4]], p) == pytest.approx(math.log(V))


def scored(nll, unigram_nll, copy_nll, chrf=20, copy_chrf=10):
    losses = {"nll": nll, "unigram_nll": unigram_nll, "copy_nll": copy_nll}
    return {**losses, "chrf": chrf, "copy_chrf": copy_chrf}


def test_the_gate_asks_both_baselines_and_the_halves():
    good = {"fa": scored(3, 5, 4), "hi": scored(3, 5, 4)}
    assert gate.judge(good, 15).passed and gate.WEAK not in gate.judge(good, 15).sentence.lower()
    assert not gate.judge(good, 14).passed
    worse = gate.judge(good | {"hi": scored(4.5, 5, 4)}, 17)
    assert not worse.passed and worse.copying == ["hi"] and not worse.unigram
    assert worse.sentence.startswith("**Weak instrument.**") and "(not in hi)" in worse.sentence
    assert not gate.judge(good | {"hi": scored(math.nan, 5, 4)}, 17).passed


def test_the_sentence_says_what_passing_does_not_mean():
    scores = {"fa": scored(3, 5, 4), "hi": scored(3, 5, 4, chrf=9), "bn": scored(3, 5, 4, chrf=10)}
    assert gate.judge(scores, 17).untranslated == ["hi"]
    assert "by chrF, copying beats its translations in 1." in gate.judge(scores, 17).sentence
    assert "random" not in gate.judge(scores, 17).sentence
    assert gate.judge(scores, 17, 17).sentence.endswith("; with random weights 17 do, too.")
    assert gate.judge(scores, 17, 3).sentence.endswith("; with random weights 3 do.")


def test_random_weights_are_counted_in_the_committed_nulls(tmp_path, monkeypatch):
    saved = results.read_result(results.reference_dir("mini") / "pf-fig5-halves.csv").frame
    cross = saved.pivot(index="target", columns="auxiliary", values="random_weights")
    rest = centre(cross, cross=True).residuals
    assert gate.verdict("mini-m2m").random == sum(rest.loc[code].idxmax() == code for code in rest.index)
    monkeypatch.setattr(results, "reference_dir", lambda profile: tmp_path)
    assert gate._found_by_random_weights() is None


def test_the_shipped_model_is_judged_on_its_cells():
    judged = gate.verdict("mini-m2m")
    assert judged.languages == 17 and 0 <= judged.found <= 17
    told = str(readings.setting(profiles.resolve("mini")))
    assert judged.sentence in told
    assert judged.sentence in (models.SHIPPED / "mini-m2m" / "README.md").read_text(encoding="utf-8")
    assert gate.verdict("somebody/else") is None


def test_the_split_half_cell_can_be_computed_again():
    (cell,) = cells.planned(gate.KIND)
    assert cells.audit(cell) == []
