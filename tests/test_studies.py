"""What the notebooks call: comparison with the paper, families, trees, the instrument check, and computed sentences."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from langsim import (
    agreement,
    comparison,
    family_study,
    instrument,
    models,
    papers,
    pipeline,
    profiles,
    readings,
    tree_study,
)
from langsim.agreement import OPPOSITE, SAME, UNDECIDED, Association
from langsim.corpora.base import Pair
from langsim.errors import UsageError
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
    from langsim import reference

    same = {"same family": agreement.same_group(reference.families(TED))}
    found = comparison.follows({"ours": ted.matrix, "published": None}, same)
    assert list(comparison.follows_table(found).columns) == ["ours, raw", "ours, centred"]
    assert found["same family", "ours", True].value > 0.5  # relatives share a part
    assert "*same family*" in comparison.rivals(found).text


def test_p_values_of_a_table_are_adjusted_for_all_its_tests():
    tests = {
        ("same family", "ours", True): found(0.5, p=0.01),
        ("same script", "ours", True): found(0.3, p=0.03),
        ("alike in length", "ours", True): found(0.9, p=0.2),
        ("same family", "ours", False): found(0.2, p=0.5),
    }
    table = comparison.follows_table(tests)
    assert table.loc["same family", "ours, centred"] == "0.50 (p = 0.04)"
    assert table.loc["same script", "ours, centred"] == "0.30 (p = 0.09)"
    text = comparison.rivals(tests).text
    assert "is measurably related to *same family* (0.50, p = 0.04), not to *same script* or *alike in length*" in text
    assert "most" not in text
    none = comparison.rivals({key: found(0.9, p=0.2) for key in tests}).text
    assert "is not measurably related to *same family*, *same script* or *alike in length*" in none


def test_two_languages_are_refused_before_anything_is_estimated():
    with pytest.raises(UsageError, match=r"at least 3 languages, not 2 \(fa hi\); add one"):
        comparison.refuse_few(profiles.resolve("mini", languages=["fa", "hi"]))
    comparison.refuse_few(profiles.resolve("mini", languages=["fa", "hi", "bn"]))


def test_languages_table_shows_distinct_units_and_the_loss_on_shuffled_sources(ted):
    pairs = {code: pairs_of(["u0", "u0", "u1"]) for code in TED}
    summary = [{"language": code, "pairs": 3, "nll": 3.0} for code in TED]
    vectors = SimpleNamespace(keys=dict.fromkeys(TED), matched=SimpleNamespace(pairs=pairs), summary=lambda: summary)
    table = comparison.languages_table(vectors, ted, {code: 4.257 for code in TED})
    assert (table["pairs"] == 3).all() and (table["units"] == 2).all()
    assert (table["nats a token, shuffled source"] == 4.26).all()
    assert "nats a token, shuffled source" not in comparison.languages_table(vectors, ted)


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


def test_p_values_of_trees_are_adjusted_for_all_of_them(ted):
    """Step down by hand: the smallest of m p-values counts m times, the next m - 1 times, and none is below another."""
    from langsim.trees import compare

    study = tree_study.study(comparison.with_published(ted))
    own = [compare(one.tree, study.reference).p_value for one in study.clusterings.values()]
    largest, expected = 0.0, {}
    for place, p in enumerate(sorted(own)):
        largest = max(largest, min(1.0, p * (len(own) - place)))
        expected[p] = largest
    assert list(study.table["p_value"]) == pytest.approx([expected[p] for p in own])
    assert list(study.table["p_value"]) != pytest.approx(own)
    words = f"({readings.p(study.table['p_value'].iloc[-1])}, Holm's)."
    assert tree_study.reading(study).text.splitlines()[-1].endswith(words)


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
    assert "nothing to compare with" in family_study.reading(rows).text
    assert family_study.tidy(rows, ROMANCE)["jaccard"].isna().all()


def members(row, families):
    """The row with other families, for the targets and the other languages alike."""
    everyone = {code: replace(row.everyone[code], members=tuple(m)) for code, m in families.items()}
    return replace(row, families={t: everyone[t] for t in row.families}, everyone=everyone)


def test_agreement_with_print_has_chance_beside_it(ted):
    overlap = next(row for row in family_study.rows(ted) if row.name == "Overlap")
    rest = {code: overlap.everyone[code].members for code in TED}
    same = members(overlap, {**rest, **overlap.printed})
    agreed = family_study.agreements_with_print([same])["Overlap"]
    assert agreed.mean == 1 and agreed.exact == 5 and agreed.p_value < 0.001 and agreed.verdict == SAME
    none = {t: tuple(c for c in TED if c not in (t, *m))[:2] for t, m in overlap.printed.items()}
    agreed = family_study.agreements_with_print([members(overlap, {**rest, **none})])["Overlap"]
    assert agreed.mean == 0 and agreed.p_value == 1 and agreed.verdict == UNDECIDED
    assert (family_study.tidy([overlap], TED)["chance"] < 0.5).all()


def test_the_null_of_families_is_a_permutation_of_the_whole_matrix(ted):
    """The slow way: permute the matrix, run A.2 on it again for every target."""
    overlap = next(row for row in family_study.rows(ted) if row.name == "Overlap")
    targets = list(overlap.printed)
    orders = np.array([np.random.default_rng(seed).permutation(17) for seed in range(20)])
    slow = []
    for order in orders:
        moved = pd.DataFrame(ted.matrix.to_numpy()[np.ix_(order, order)], TED, TED)
        picked = {t: set(select(moved.loc[t], True, target=t).members) for t in targets}
        both = [len(picked[t] & set(m)) / len(picked[t] | set(m)) for t, m in overlap.printed.items()]
        slow.append(np.mean(both))
    ours = family_study._indicators({c: f.members for c, f in overlap.everyone.items()}, TED, TED)
    printed = family_study._indicators(overlap.printed, targets, TED)
    fast = family_study.permuted_jaccard(ours, printed, [TED.index(t) for t in targets], orders)
    assert fast == pytest.approx(slow) and np.ptp(slow) > 0


def test_dependent_families_are_no_independent_evidence(ted):
    """Languages that all pick the same ones hit or miss together: one lucky permutation in a few, not in millions."""
    overlap = next(row for row in family_study.rows(ted) if row.name == "Overlap")
    hub = members(overlap, {code: ["tr", "de"] if code != "tr" else ["de"] for code in TED})
    printed = replace(hub, printed={t: ("tr", "de") for t in overlap.printed})
    agreed = family_study.agreements_with_print([printed])["Overlap"]
    assert agreed.mean == 1 and agreed.p_value > 1 / (17 * 16)


def test_families_are_tested_for_all_measures_together(ted):
    rows = family_study.rows(ted)
    agreed = family_study.agreements_with_print(rows)
    assert list(agreed) == ["KL", "MSE", "Overlap"]
    smallest = min(agreed.values(), key=lambda one: one.p_value)
    assert smallest.adjusted == pytest.approx(min(1, 3 * smallest.p_value))
    assert replace(smallest, p_value=0.02, adjusted=0.06).verdict == UNDECIDED
    assert readings.p(smallest.adjusted) in family_study.reading(rows).text


def test_families_from_token_counts_are_a2_on_token_affinity(monkeypatch):
    from langsim import family_study

    affinity = pd.DataFrame(np.random.default_rng(0).random((17, 17)), TED, TED)
    settings = profiles.resolve("mini", languages=TED)
    vectors = SimpleNamespace(settings=settings, matched=SimpleNamespace(pairs={code: [] for code in TED}))
    monkeypatch.setattr(family_study, "model_of", lambda settings: None)
    monkeypatch.setattr(family_study.instrument, "token_affinity", lambda *given: affinity)
    row = family_study.token_counts(vectors)
    assert row.name == instrument.TOKENS and list(row.families) == settings.targets
    for code in TED:  # the target itself comes first in the walk, with similarity 1, and is no member
        assert row.everyone[code].members == select(affinity.loc[code].drop(code), True, target=code).members
    assert row.printed["hi"] == ("bn", "fa")
    assert f"- {instrument.TOKENS}: " in family_study.reading([row]).text


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


def characters(part):
    return sum(len(pair.source_text) + len(pair.target_text) for found in part.values() for pair in found)


def test_halves_have_as_many_characters_and_come_from_the_seed_alone():
    sizes = np.random.default_rng(0).integers(1, 200, 80)
    pairs = [Pair(str(i), "s" * size, "t" * size, "text", f"u{i}") for i, size in enumerate(sizes)]
    one, turned = instrument.halves({"aa": pairs}), instrument.halves({"aa": pairs[::-1]})
    assert abs(characters(one[0]) - characters(one[1])) <= 2 * sizes.max()
    assert {p.id for p in one[0]["aa"]} == {p.id for p in turned[0]["aa"]}, "the order of the pairs must not matter"
    assert {p.id for p in one[0]["aa"]} != {p.id for p in instrument.halves({"aa": pairs}, seed=1)[0]["aa"]}


def test_shuffled_sources_are_the_same_text_and_nobody_keeps_its_own():
    pairs = {"aa": pairs_of([f"u{i}" for i in range(30)]), "bb": pairs_of([f"u{i}" for i in range(30)])}
    mixed = instrument.shuffled(pairs)
    for code, whole in pairs.items():
        assert sorted(p.source_text for p in mixed[code]) == sorted(p.source_text for p in whole)
        assert [p.target_text for p in mixed[code]] == [p.target_text for p in whole]
        assert all(a.source_text != b.source_text for a, b in zip(mixed[code], whole, strict=True))
    assert [p.source_text for p in mixed["aa"]] == [p.source_text for p in mixed["bb"]]
    assert mixed == instrument.shuffled(pairs) != instrument.shuffled(pairs, seed=1)


def test_checks_of_a_real_model_have_all_nulls_and_are_kept(tmp_path, monkeypatch):
    from tiny import save_names, save_tiny_m2m

    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "cache"))
    names = tmp_path / "names.tsv"
    save_names(names)
    model = save_tiny_m2m(tmp_path / "tiny", names.read_text(encoding="utf-8").splitlines())
    settings = profiles.resolve(
        "mini", model=str(model), corpus="files", data=str(names), languages=["fa", "hi", "de", "sv"], max_items=30
    )
    vectors = pipeline.fisher_vectors(settings)
    checks = {check.name: check for check in instrument.checks(vectors)}
    assert list(checks) == [instrument.TRAINED, instrument.SHUFFLED, instrument.RANDOM, instrument.TOKENS]
    trained, mixed = checks[instrument.TRAINED], checks[instrument.SHUFFLED]
    assert list(mixed.nats) == settings.languages and mixed.nats != trained.nats and not checks[instrument.TOKENS].nats
    assert not trained.cross.equals(mixed.cross)
    whole = {row["language"]: row["nll"] for row in vectors.summary()}
    assert trained.nats == pytest.approx(whole, rel=0.02)  # the halves are the whole text
    monkeypatch.setattr("langsim.fisher.estimate", None)  # a second call estimates nothing
    assert instrument.checks(vectors)[1].cross.equals(mixed.cross)


def test_hits_count_languages_that_find_themselves():
    cross = pd.DataFrame([[0.9, 0.5, 0.5], [0.6, 0.7, 0.8], [0.9, 0.6, 0.95]], list("abc"), list("abc"))
    assert instrument.Check("x", cross).hits(centred=False) == 2
    shifted = cross + np.array([[0.0, 5.0, 0.0]])  # a column that all languages are similar to
    assert instrument.Check("x", shifted).hits(centred=False) == 1
    assert instrument.Check("x", shifted).hits(centred=True) == instrument.Check("x", cross).hits(centred=True)


NAMES = (instrument.TRAINED, instrument.SHUFFLED, instrument.RANDOM, instrument.TOKENS)


def instruments(signals, noise=0.3):
    """Checks whose matrices follow Figure 5's as much as they are told to, and find every language again."""
    printed = papers.matrix("pf-fig5").astype(float)
    rng = np.random.default_rng(0)
    return [
        instrument.Check(name, signal * printed + noise * rng.random((17, 17)) + 2 * np.eye(17))
        for name, signal in zip(NAMES, signals, strict=True)
    ], printed


FAMILIES = dict(zip(TED, "aaaaaabbbccddeefg", strict=True))


def test_a_null_that_is_measurably_worse_is_said_to_be():
    checks, printed = instruments((3, 0, 0, 0))
    text = instrument.beside(checks, printed)
    assert text.count("**better** than") == 3 and "every null does measurably worse" in text
    assert "In following Figure 5," not in instrument.reading(checks, FAMILIES, printed).text


def test_a_null_that_does_a_little_worse_is_not_measurably_worse():
    checks, printed = instruments((3, 0, 2.9, 0))
    apart = instrument.margins(checks, printed)
    assert apart[instrument.RANDOM].low < 0 < apart[instrument.RANDOM].high and apart[instrument.TOKENS].side == 1
    text = instrument.beside(checks, printed)
    assert "**not measurably better** than random weights" in text and "**better** than token counts" in text
    assert "Here random weights are not measurably worse" in text and "may be in the text" in text
    assert (
        "In following Figure 5, random weights are not measurably worse: what"
        in instrument.reading(checks, FAMILIES, printed).text
    )


def test_a_null_that_does_better_and_one_that_only_lacks_the_source():
    checks, printed = instruments((0, 3, 0, 0))
    text = instrument.beside(checks, printed)
    assert "**worse** than shuffled source" in text
    assert "Here shuffled source, random weights and token counts are not measurably worse" in text
    checks, printed = instruments((3, 3, 0, 0))
    text = instrument.beside(checks, printed)
    assert "Here shuffled source is not measurably worse" in text and "need not come from translating" in text


def test_finding_itself_alone_does_not_make_the_text_suspect():
    """Every instrument finds every language again; that is a ceiling, and no evidence against the model."""
    checks, printed = instruments((3, 0, 0, 0))
    for check in checks:
        assert check.hits(centred=True) == 17
    families = dict.fromkeys(TED, "one")  # nothing to follow
    text = instrument.reading(checks, families, printed).text
    assert "random weights 17 (p = 1.00)" in text and "one split" in text
    assert "not measurably worse" not in text


def test_nothing_published_nothing_to_say_beside_it():
    checks, _ = instruments((3, 0, 0, 0))
    assert instrument.beside(checks, None) == ""


def test_table_of_the_instrument_is_adjusted_for_all_its_tests():
    checks, printed = instruments((3, 0, 0, 0))
    table = instrument.table(checks, FAMILIES, printed)
    followed = ["follows family, raw", "follows family, centred", "follows Figure 5, raw", "follows Figure 5, centred"]
    assert list(table.columns) == list(NAMES) and list(table.index)[2:] == followed
    others = (instrument.same_group(FAMILIES), printed)
    tests = [c.follows(other, centred=view) for c in checks for other in others for view in (False, True)]
    at = 4 * list(NAMES).index(instrument.RANDOM) + 1  # family, centred
    adjusted = agreement.holm([one.p_value for one in tests])[at]
    assert adjusted > 2 * tests[at].p_value
    words = f"{readings.number(tests[at].value)} ({readings.p(adjusted)})"
    assert table.loc["follows family, centred", instrument.RANDOM] == words


def test_random_weights_are_drawn_anew_and_again_the_same():
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    config = M2M100Config(
        vocab_size=20, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=16,
    )  # fmt: skip
    loaded = replace_model(M2M100ForConditionalGeneration(config))
    once, again, other = (models.randomised(loaded, seed).model.state_dict() for seed in (1, 1, 2))
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
        (found(0.5), found(0.4), "Both views agree with Figure 5"),
        (found(-0.5), found(-0.4), "Both views run against Figure 5"),
        (found(0.02), found(0.01), "neither confirm nor contradict Figure 5"),
        (found(0.02), found(0.5), "Only the centred view is decided; the two were not tested against each other"),
        (found(0.5), found(0.02), "Only the raw view is decided; the two were not tested against each other"),
        (found(-0.5), found(0.02), "Only the raw view is decided"),
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
