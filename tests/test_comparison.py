"""Comparison with the published figures: what stands beside what, and which words are said of it."""

from types import SimpleNamespace

import pytest
from studies import TED, association, pairs_of, similarity_matrix

from langsim import agreement, comparison, papers, profiles
from langsim.errors import UsageError


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


def test_kinship_comes_again_with_script_held_fixed(ted):
    from langsim import reference
    from langsim.partial import partial

    same = {
        "same family": agreement.same_group(reference.families(TED)),
        "same script": agreement.same_group(reference.scripts(TED)),
    }
    found = comparison.follows({"ours": ted.matrix}, same)
    table = comparison.follows_table(found)
    assert list(table.index) == ["same family", comparison.HELD, "same script"]
    slow = partial(ted.matrix, same["same family"], same["same script"], centred=True, resamples=0)
    assert found[comparison.HELD, "ours", True] == slow and slow.value > 0.5
    text = comparison.rivals(found).text
    assert f"*{comparison.HELD}*" in text and "nothing else held fixed but where it says so" in text


def test_p_values_of_a_table_are_adjusted_for_all_its_tests():
    tests = {
        ("same family", "ours", True): association(0.5, p=0.01),
        ("same script", "ours", True): association(0.3, p=0.03),
        ("alike in length", "ours", True): association(0.9, p=0.2),
        ("same family", "ours", False): association(0.2, p=0.5),
    }
    table = comparison.follows_table(tests)
    assert table.loc["same family", "ours, centred"] == "0.50 (p = 0.04)"
    assert table.loc["same script", "ours, centred"] == "0.30 (p = 0.09)"
    text = comparison.rivals(tests).text
    assert "is measurably related to *same family* (0.50, p = 0.04), not to *same script* or *alike in length*" in text
    assert "most" not in text
    none = comparison.rivals({key: association(0.9, p=0.2) for key in tests}).text
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
    assert (table["shuffled"] == 4.26).all()
    assert "shuffled" not in comparison.languages_table(vectors, ted)


def test_nearest_relatives_are_counted(ted):
    text = comparison.nearest_reading(comparison.with_published(ted), TED[:6]).text
    published, ours = text.splitlines()
    assert "sr and hr" in published and "of the 15 languages with a relative here, 11" in published
    assert "drawn at random would be one for 2.6" in ours
