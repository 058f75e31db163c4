"""Which readings carry weight: verdicts on made worlds, their numbers, and what is read back from a saved result."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from studies import TED

from langsim import agreement, instrument, instrument_study, papers, reference, results
from langsim.agreement import Difference
from langsim.instrument import RANDOM, SHUFFLED, TOKENS, TRAINED, Check
from langsim.instrument_study import BELOW, CARRIES, CHANCE, LEVEL_WITH, Reading

NAMES = (TRAINED, SHUFFLED, RANDOM, TOKENS)
FAMILIES = reference.families(TED)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(instrument_study, "RESAMPLES", 299)


def instruments(signals, noise=0.3):
    """Checks whose matrices follow Figure 5's as much as they are told to, and find every language again."""
    printed = papers.matrix("pf-fig5").astype(float)
    rng = np.random.default_rng(0)
    return [
        Check(name, signal * printed + noise * rng.random((17, 17)) + 2 * np.eye(17))
        for name, signal in zip(NAMES, signals, strict=True)
    ], printed


def verdicts(signals):
    checks, printed = instruments(signals)
    return {one.question: one for one in instrument_study.readings_of(checks, FAMILIES, printed)}


def reading(value, sides, p=0.001, total=0):
    values = {TRAINED: value, **dict.fromkeys(sides, 0.1)}
    return Reading("script, raw", values, p, dict(sides), total)


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (reading(0.5, {SHUFFLED: 1, RANDOM: 1, TOKENS: 1}), CARRIES),
        (reading(0.5, {SHUFFLED: 1, RANDOM: 0, TOKENS: 1}), LEVEL_WITH),
        (reading(0.5, {SHUFFLED: 1, RANDOM: 1, TOKENS: -1}), BELOW),
        (reading(0.5, {SHUFFLED: 1, RANDOM: 1, TOKENS: 1}, p=0.06), CHANCE),
        (reading(-0.5, {SHUFFLED: 1, RANDOM: 1, TOKENS: 1}), CHANCE),
        (reading(0.5, {SHUFFLED: 1}, p=np.nan), CHANCE),
    ],
)
def test_a_reading_carries_weight_when_it_is_no_chance_and_every_null_is_beaten(one, verdict):
    assert one.verdict == verdict


def test_a_model_that_alone_follows_figure_5_carries_weight_there_and_nowhere_else():
    found = verdicts((3, 0, 0, 0))
    assert found["Figure 5, raw"].verdict == found["Figure 5, centred"].verdict == CARRIES
    assert found["finds itself, centred"].verdict == LEVEL_WITH  # all of them find every language
    text = instrument_study.reading(list(found.values())).text
    assert "carry weight**: Figure 5 (raw and centred)" in text


def test_one_null_is_enough():
    checks, printed = instruments((3, 0, 2.9, 0))
    apart = instrument_study.margins(checks, printed, centred=True)
    assert apart[RANDOM].low < 0 < apart[RANDOM].high and apart[TOKENS].side == 1
    found = instrument_study.readings_of(checks, FAMILIES, printed)
    one = next(one for one in found if one.question == "Figure 5, centred")
    assert one.verdict == LEVEL_WITH and one.best_null == RANDOM


def test_a_null_that_does_better():
    found = verdicts((1, 3, 0, 0))
    assert found["Figure 5, centred"].verdict == BELOW
    text = instrument_study.reading(list(found.values())).text
    assert "**None of these 9 readings carries weight.**" in text and "Measurably below a null: Figure 5" in text


def test_what_only_shuffled_sources_share_may_be_learnt():
    sides = {SHUFFLED: 0, RANDOM: 1, TOKENS: 1}
    text = instrument_study.reading([reading(0.5, sides)]).text
    assert "may have been learnt, but not from translating these sources" in text
    assert "not as something that the model has learnt" in instrument_study.reading([reading(0.5, sides, p=0.5)]).text


def test_numbers_are_rank_correlations_and_p_values_holms_over_the_table():
    checks, printed = instruments((1, 0, 0, 0))
    found = {one.question: one for one in instrument_study.readings_of(checks, FAMILIES, printed)}
    assert list(found) == [
        "finds itself, raw", "finds itself, centred", "Figure 5, raw", "Figure 5, centred", "family, raw",
        "family, centred", "script, raw", "script, centred", "family, script held fixed, centred",
    ]  # fmt: skip
    slow = spearmanr(agreement.off_diagonal(checks[0].cross.to_numpy()), agreement.off_diagonal(printed.to_numpy()))
    assert found["Figure 5, raw"].values[TRAINED] == pytest.approx(slow.statistic)
    plain = [instrument_study._finds(checks, view).p_value for view in (False, True)]
    for other in instrument_study.followed(FAMILIES, printed).values():
        plain += [checks[0].follows(other, centred=view).p_value for view in (False, True)]
    plain.append(instrument_study._held(checks, FAMILIES).p_value)
    assert [one.p_value for one in found.values()] == pytest.approx(agreement.holm(plain).tolist())


def test_table_has_the_model_its_best_null_and_the_verdict():
    checks, printed = instruments((3, 0, 2.9, 0))
    found = instrument_study.readings_of(checks, FAMILIES, printed)
    lines = instrument_study.table(found).text.splitlines()
    assert lines[0] == "| question | model | best null | verdict |" and len(lines) == 2 + len(found)
    one = next(one for one in found if one.question == "Figure 5, centred")
    row = next(line for line in lines if line.startswith("| Figure 5, centred"))
    assert f"{one.values[TRAINED]:.2f} (p < 0.001)" in row and f"{one.values[RANDOM]:.2f} (random weights)" in row
    assert row.endswith(f"| {LEVEL_WITH} |") and "17 of 17" in lines[2]


def test_details_hold_every_instrument_and_every_difference():
    checks, printed = instruments((1, 0, 0, 0))
    found = instrument_study.readings_of(checks, FAMILIES, printed)
    assert instrument_study.instruments_table(found).shape == (9, 4)
    margins = instrument_study.margins_table(found)
    assert margins.shape == (7, 3) and " to " in margins.loc["script, centred", TOKENS]
    assert instrument_study._margin(Difference(0.1, np.nan, np.nan, 3)) == "0.10 (no interval)"
    assert instrument_study.details(found).text.count("<details>") == 2


def test_nothing_published_nothing_to_say_beside_it():
    checks, printed = instruments((3, 0, 0, 0))
    found = instrument_study.readings_of(checks, FAMILIES)
    assert instrument_study.beside(found) == "" and len(found) == 7
    told = instrument_study.beside(instrument_study.readings_of(checks, FAMILIES, printed))
    assert told.count(CARRIES) == 2 and "raw " in told and "centred " in told


def test_families_of_one_have_nothing_to_follow():
    checks, printed = instruments((1, 0, 0, 0))
    alone = {code: code for code in TED}
    found = instrument_study.readings_of(checks, alone, printed)
    assert not [one for one in found if one.question.startswith("family")]


def test_a_saved_check_gives_the_same_verdicts(tmp_path):
    checks, printed = instruments((1, 0.5, 0, 2))
    frame = instrument.frame(checks, "overlap", FAMILIES)
    assert list(frame)[:5] == ["target", "auxiliary", "measure", "value", "centred"] and len(frame) == 17 * 17
    saved = results.write_result(
        "pf-fig5-halves", frame, signature="model:x|langsim:0", folder=tmp_path,
        tolerances=instrument.tolerances(checks),
    )  # fmt: skip
    again = results.read_result(saved).frame
    for one, other in zip(checks, instrument.read(again), strict=True):
        assert one.name == other.name
        codes = list(one.cross.index)
        assert np.allclose(one.cross, other.cross.loc[codes, codes], atol=1e-9)
    own = instrument_study.table(instrument_study.readings_of(checks, FAMILIES, printed)).text
    elsewhere = instrument_study.elsewhere({"At open": again}, FAMILIES, printed).text
    assert elsewhere.startswith("*At open*") and own.splitlines()[4] in elsewhere
    assert instrument_study.elsewhere({}, FAMILIES, printed).text == ""


def test_a_result_without_nulls_is_the_trained_model_alone():
    checks, _ = instruments((1, 0, 0, 0))
    frame = instrument.frame(checks[:1], "overlap", FAMILIES)
    assert [check.name for check in instrument.read(frame)] == [TRAINED]


def test_tolerances_are_narrower_than_what_lies_between_languages():
    checks, _ = instruments((1, 0, 0, 0))
    limits = instrument.tolerances(checks)
    frame = instrument.frame(checks, "overlap", FAMILIES)
    off = frame[frame["target"] != frame["auxiliary"]]
    assert {"value", "centred", "shuffled_source", "random_weights", "token_counts"} == set(limits)
    assert all(0 < limits[name] < off[name].std() / 5 for name in limits)


def test_the_cross_matrix_is_shown_with_its_diagonal():
    checks, _ = instruments((1, 0, 0, 0))
    assert instrument_study.halves(checks).equals(checks[0].cross)
    assert np.isfinite(np.diag(instrument_study.halves(checks, centred=True))).all()
