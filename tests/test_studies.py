"""What the notebooks call: comparison with the paper, families, trees, the instrument check, and computed sentences."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from langsim import comparison, family_study, instrument, papers, pipeline, profiles, readings, tree_study
from langsim.agreement import OPPOSITE, SAME, UNDECIDED, Association
from langsim.corpora.base import Pair
from langsim.families import select
from langsim.similarity import similarities

TED = ["bg", "sr", "hr", "uk", "sk", "be", "fa", "hi", "bn", "id", "ms", "kk", "tr", "de", "sv", "ja", "ko"]
ROMANCE = ["gl", "es", "pt", "ca", "fr", "it", "eu"]


def similarity_matrix(codes, seed=0, **overrides):
    """A SimilarityMatrix of random Fisher vectors, in which relatives share a part."""
    from langsim import reference

    rng = np.random.default_rng(seed)
    shared = {family: rng.random(600) for family in set(reference.families(codes).values())}
    vectors = {
        code: (rng.random(600) + shared[reference.families([code])[code]]).astype(np.float32) ** 4 for code in codes
    }
    settings = profiles.resolve("mini", languages=codes, **overrides)
    return pipeline.SimilarityMatrix(settings, similarities(vectors, k=0.4), {"model": "test"}, [])


@pytest.fixture(scope="module")
def ted():
    return similarity_matrix(TED)


@pytest.fixture(scope="module")
def romance():
    return similarity_matrix(ROMANCE)


def found(value, low=None, high=None, p=0.001, languages=17):
    low, high = (value - 0.1 if low is None else low), (value + 0.1 if high is None else high)
    return Association(value, p, low, high, languages, 4999, False)


def test_comparison_shows_the_published_matrix_first(ted):
    ours = comparison.with_published(ted)
    assert list(ours.shown()) == ["Published (Figure 5)", "Ours"]
    assert ours.shown()["Published (Figure 5)"].equals(papers.matrix("pf-fig5").astype(float))
    assert all(len(matrix) == 3 for matrix in ours.shown(codes=["sr", "bg", "uk"]).values())
    raw, centred = (ours.association(centred=view) for view in (False, True))
    assert list(ours.points(raw, centred)) == ["Raw", "Centred"]
    assert raw.verdict in ours.reading(raw, centred).text


def test_centred_panels_are_centred_on_all_languages_before_they_are_cut(ted):
    ours = comparison.with_published(ted)
    whole, part = ours.shown(centred=True)["Ours"], ours.shown(centred=True, codes=TED[:6])["Ours"]
    assert part.equals(whole.loc[TED[:6], TED[:6]])


def test_other_languages_have_nothing_to_compare_with(romance):
    ours = comparison.with_published(romance)
    assert list(ours.shown()) == ["Ours"] and ours.association(centred=True) is None
    assert ours.points(None, None) == {} and "nothing to compare" in ours.reading(None, None).text
    assert "published" not in ours.frame()


def test_frame_is_tidy_and_whole(ted):
    frame = comparison.with_published(ted).frame()
    assert len(frame) == 17 * 17
    row = frame.set_index(["target", "auxiliary"]).loc[("fa", "tr")]
    assert row["published"] == 0.83
    assert row["value"] == ted.matrix.loc["fa", "tr"] and row["centred"] == pytest.approx(ted.centred.loc["fa", "tr"])


def test_distances_are_turned_round():
    ours = comparison.with_published(similarity_matrix(TED[:5], measure="kl", targets=["bg"]))
    assert (ours.ours.to_numpy() <= 0).all() and ours.label == "− KL"
    assert 0 < ours.tolerances["value"] < abs(ours.ours.to_numpy()).max()


def test_published_facts_are_those_of_the_figure():
    facts = comparison.published_facts()
    assert facts.loc["within one family, centred", "chance"] == "p < 0.001"
    assert float(facts.loc["within one script, centred", "chance"].removeprefix("p = ")) > 0.05


def test_follows_table_has_a_cell_for_every_pair(ted):
    from langsim import agreement, reference

    same = {"same family": agreement.same_group(reference.families(TED))}
    found = comparison.follows({"ours": ted.matrix, "published": None}, same)
    assert list(comparison.follows_table(found).columns) == ["ours, raw", "ours, centred"]
    assert found["same family", "ours", True].value > 0.5  # relatives share a part
    assert "same family" in comparison.rivals(found).text


def test_nearest_relatives_are_counted(ted):
    text = comparison.nearest_reading(comparison.with_published(ted), TED[:6]).text
    published, ours = text.splitlines()
    assert "sr and hr" in published and "of the 15 languages with a relative here, 11" in published
    assert "drawn at random would be one for 2.6" in ours


def test_tree_study_on_slavic_and_on_other_languages(ted, romance):
    study = tree_study.study(comparison.with_published(ted))
    assert set(study.leaves) == set(TED[:6])
    assert next(iter(study.panels)) == "Reference" and len(study.table) == 4
    line = next(
        line for line in tree_study.reading(study).text.splitlines() if line.startswith("- Published (Figure 5):")
    )
    assert "has (sr hr), lacks (bg sr hr), (uk be)" in line
    other = tree_study.study(comparison.with_published(romance))
    assert sorted(other.leaves) == sorted(ROMANCE) and list(other.clusterings) == ["Ours", "Ours, centred"]


def test_families_by_every_measure(ted):
    rows = {row.name: row for row in family_study.rows(ted)}
    assert list(rows) == ["KL", "KL, normalised", "MSE", "MSE, normalised", "Overlap", "Overlap, centred"]
    expected = select(ted.matrix.loc["hi"], True, target="hi")
    assert rows["Overlap"].families["hi"].members == expected.members
    best = ted.centred.loc["hi"].drop("hi").idxmax()
    assert rows["Overlap, centred"].families["hi"].members[0] == best
    assert rows["MSE"].printed["fa"] == ("tr", "ko", "id") and not rows["Overlap, centred"].printed


def test_table_1_is_laid_out_as_printed(ted):
    table = family_study.table(family_study.rows(ted))
    assert list(table.columns) == ["fa", "hi", "bn", "id", "ms"]
    assert table.loc["Overlap, published", "bn"] == "hi fa tr"


def test_printed_families_need_all_their_members():
    rows = family_study.rows(similarity_matrix(["fa", "tr", "ko", "id", "hi"], targets=["fa", "hi"]))
    overlap = next(row for row in rows if row.name == "Overlap")
    assert set(overlap.printed) == {"fa"}  # Hindi's needs Bengali


def test_other_targets_have_nothing_printed(romance):
    rows = family_study.rows(romance)
    assert "nothing to compare with" in family_study.reading(rows, ROMANCE).text
    assert family_study.tidy(rows, ROMANCE)["jaccard"].isna().all()


def test_agreement_with_print_has_chance_beside_it(ted):
    rows = {row.name: row for row in family_study.rows(ted)}
    overlap = rows["Overlap"]
    same = replace(overlap, families={t: replace(overlap.families[t], members=m) for t, m in overlap.printed.items()})
    agreed = family_study.agreement_with_print(same, TED)
    assert agreed.mean == 1 and agreed.exact == 5 and agreed.p_value < 0.001 and agreed.verdict == SAME
    none = {t: tuple(c for c in TED if c not in (t, *m))[:2] for t, m in overlap.printed.items()}
    other = replace(overlap, families={t: replace(overlap.families[t], members=m) for t, m in none.items()})
    agreed = family_study.agreement_with_print(other, TED)
    assert agreed.mean == 0 and agreed.p_value == 1 and agreed.verdict == UNDECIDED
    frame = family_study.tidy([overlap], TED)
    assert agreed.chance == pytest.approx(
        np.mean([family_study.chance_jaccard(16, 2, len(m)) for m in overlap.printed.values()]), abs=0.01
    )
    assert (frame["chance"] < 0.5).all()


def test_kin_table_counts_relatives(ted):
    rows = family_study.rows(ted)
    table = family_study.kin_table(rows, TED)
    by_hand = sum(
        len(set(row.families[t].members) & set(kin.split()))
        for row in rows
        if row.name == "Overlap"
        for t, kin in {"fa": "hi bn", "hi": "fa bn", "bn": "fa hi", "id": "ms", "ms": "id"}.items()
    )
    assert table.loc["Overlap", "relatives among them"] == by_hand
    assert (table["relatives there are"] == 8).all()


def test_figure_1_is_the_registry():
    from langsim import reference

    assert family_study.figure1_reading(reference.families(TED)).text.startswith("17 of the 17 languages")
    assert "none of these" in family_study.figure1_reading(reference.families(ROMANCE)).text
    assert "The other language has" in family_study.figure1_reading(reference.families(["de", "fr"])).text


def test_walk_reading_says_why_it_ended():
    family = select({"a": 0.9, "b": 0.85, "c": 0.84, "d": 0.7}, True, target="t")
    assert "a b c" in family_study.walk_reading(family).text and "ends at d" in family_study.walk_reading(family).text
    assert "never met" in family_study.walk_reading(select({"a": 0.9}, True, target="t")).text


def pairs_of(units):
    return [Pair(f"{unit}-{i}", f"s{i}", f"t{i}", "text", unit) for i, unit in enumerate(units)]


def test_halves_are_disjoint_even_and_the_same_units_everywhere():
    units = [f"u{i % 20}" for i in range(61)]
    pairs = {"aa": pairs_of(units), "bb": pairs_of(units[:50])}
    first, second = instrument.halves(pairs)
    sides = [{pair.unit for half in part.values() for pair in half} for part in (first, second)]
    assert not sides[0] & sides[1]
    for code, whole in pairs.items():
        assert sorted(first[code] + second[code], key=repr) == sorted(whole, key=repr)
        assert abs(len(first[code]) - len(second[code])) <= 0.2 * len(whole)


def test_hits_count_languages_that_find_themselves():
    cross = pd.DataFrame([[0.9, 0.5, 0.5], [0.6, 0.7, 0.8], [0.9, 0.6, 0.95]], list("abc"), list("abc"))
    assert instrument.Check("x", cross).hits(centred=False) == 2
    shifted = cross + np.array([[0.0, 5.0, 0.0]])  # a column that all languages are similar to
    assert instrument.Check("x", shifted).hits(centred=False) == 1
    assert instrument.Check("x", shifted).hits(centred=True) == instrument.Check("x", cross).hits(centred=True)


@pytest.mark.parametrize("null_wins", [True, False])
def test_reading_of_the_instrument_names_the_nulls_that_do_as_well(null_wins):
    rng = np.random.default_rng(0)
    noise = pd.DataFrame(rng.random((6, 6)), TED[:6], TED[:6])
    sure = noise + 2 * np.eye(6)
    names = (instrument.TRAINED, instrument.RANDOM, instrument.TOKENS)
    crosses = (noise, sure, sure) if null_wins else (sure, noise, noise)
    checks = [instrument.Check(name, cross) for name, cross in zip(names, crosses, strict=True)]
    families = dict(zip(TED[:6], "xxyyzz", strict=True))
    text = instrument.reading(checks, families).text
    nulls = "**random weights and token counts** do as well" if null_wins else "neither random weights nor token counts"
    assert f"In finding a language again, {nulls}" in text
    table = instrument.table(checks, families, papers.matrix("pf-fig5").astype(float))
    assert list(table.index) == list(names) and "follows Figure 5" in table


def test_random_weights_are_drawn_anew_and_again_the_same():
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    config = M2M100Config(
        vocab_size=20, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=16,
    )  # fmt: skip
    loaded = replace_model(M2M100ForConditionalGeneration(config))
    once, again, other = (instrument.randomised(loaded, seed).model.state_dict() for seed in (1, 1, 2))
    weights = loaded.model.state_dict()
    key = "model.encoder.layers.0.fc1.weight"
    assert torch.equal(once[key], again[key]) and not torch.equal(once[key], other[key])
    assert not torch.equal(once[key], weights[key])


def replace_model(model, encode=None):
    from langsim.models import LoadedModel

    return LoadedModel("test", model, encode, None, None, 0, 16, "0" * 64)


def test_token_affinity_is_one_for_the_same_text_and_ignores_the_language_token():
    codes = {"aa": 8, "bb": 9}

    def encode(source, target, source_language, target_language):
        return [codes[source_language], *map(int, source.split()), 7], []

    loaded = replace_model(SimpleNamespace(config=SimpleNamespace(vocab_size=10)), encode)
    texts = {"aa": ["0 0 1", "2"], "bb": ["3 4", "5 0"]}
    pairs = {c: [Pair(str(i), t, "", "", str(i)) for i, t in enumerate(found)] for c, found in texts.items()}
    affinity = instrument.token_affinity(loaded, pairs, pairs, "en")
    assert affinity.loc["aa", "aa"] == pytest.approx(1) and affinity.loc["bb", "bb"] == pytest.approx(1)
    # aa: 0 twice, 1, 2 of 4; bb: 0, 3, 4, 5 of 4. Common is 0 alone: sqrt(1/2 * 1/4).
    assert affinity.loc["aa", "bb"] == pytest.approx(math.sqrt(0.5 * 0.25))


@pytest.mark.parametrize(
    ("raw", "centred", "words"),
    [
        (found(0.5), found(0.4), "Both views say the same"),
        (found(0.02), found(0.01), "neither confirm nor contradict"),
        (found(0.02), found(0.5), "lies in the affinity of pairs"),
        (found(0.5), found(0.02), "which languages are similar to all others"),
        (found(0.5), found(-0.5), "contradict each other"),
    ],
)
def test_words_of_agreement_come_from_the_verdicts(raw, centred, words):
    text = readings.agreement(raw, centred, "Figure 5").text
    assert words in text
    assert f"**{raw.verdict}**" in text and f"**{centred.verdict}**" in text and "272 ordered pairs" in text


@pytest.mark.parametrize(
    ("ours", "published", "words"),
    [
        (found(0.3), found(0.2), f"Together: **{SAME}**"),
        (found(-0.3), found(0.2), f"Together: **{OPPOSITE}**"),
        (found(0.01), found(0.2), f"Together: **{UNDECIDED}**"),
        (found(0.3), None, "**more similar**"),
        (found(-0.3), None, "**less similar**"),
        (found(math.nan), found(0.2), "can't be told"),
    ],
)
def test_words_of_kinship(ours, published, words):
    assert words in readings.kinship(ours, published).text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0004, "p < 0.001"), (0.004, "p = 0.004"), (0.25, "p = 0.25"), (math.nan, "no p")]
)
def test_p_values_in_words(value, text):
    assert readings.p(value) == text


def test_numbers_in_words():
    assert [readings.number(v) for v in (-0.123, -0.001, math.nan)] == ["−0.12", "0.00", "–"]
    assert readings.measured(found(math.nan)) == "not defined here"
    assert "too few languages" in readings.measured(Association(0.5, 0.2, math.nan, math.nan, 3, 6, True))


def test_setting_says_what_was_changed():
    assert "as it is" in readings.setting(profiles.resolve("mini")).text
    changed = readings.setting(profiles.resolve("mini", k=0.3)).text
    assert "changed `k`" in changed and "K = 0.3" in changed
    assert "K =" not in readings.setting(profiles.resolve("mini", measure="kl")).text


def test_prose_is_markdown_for_a_notebook(tmp_path):
    from langsim.paths import ROOT

    text = readings.signed("model:x", ROOT / "a.csv", tmp_path / "b.csv")
    assert "`a.csv`" in text._repr_markdown_() and str(tmp_path) in str(text)
    assert readings.warnings([]).text == "No warnings."
    assert readings.warnings(["one\n two", "one\n two"]).text == "> **Note.** one two"
