"""Whether similarity predicts gain: against SciPy and a loop over permutations."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from langsim import profiles, results, table2, translation_study, validity

CODES = list("abcdefghi")


def matrix(seed):
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(9, 9)), index=CODES, columns=CODES)


@pytest.fixture
def gains():
    found = matrix(1).loc[["b", "e", "g"]]
    for target in found.index:
        found.loc[target, target] = np.nan
    return found


def test_the_value_is_the_mean_of_scipys(gains):
    similar = matrix(2)
    (found,) = validity.predictions(gains, {"x": similar})
    expected = [spearmanr(similar.loc[t].drop(t), gains.loc[t].drop(t)).statistic for t in gains.index]
    assert found.value == pytest.approx(np.mean(expected), abs=1e-12)
    assert found.low <= found.value <= found.high


def test_exchanging_languages_is_that_of_a_loop(gains):
    similar, rows = matrix(3).to_numpy(), [CODES.index(t) for t in gains.index]
    orders = np.array([np.random.default_rng(i).permutation(9) for i in range(20)])
    fast = validity._exchanged(similar, gains.to_numpy(), rows, orders)
    for order, value in zip(orders, fast, strict=True):
        exchanged = pd.DataFrame(similar[np.ix_(order, order)], index=CODES, columns=CODES)
        slow = [spearmanr(exchanged.loc[t].drop(t), gains.loc[t].drop(t)).statistic for t in gains.index]
        assert value == pytest.approx(np.mean(slow), abs=1e-12)


def test_what_predicts_is_found_and_noise_is_not(gains):
    perfect = matrix(4)
    perfect.loc[gains.index] = gains.fillna(0.0)
    found = {
        one.name: one
        for one in validity.predictions(gains, {"perfect": perfect, "noise": matrix(5), "worst": -perfect})
    }
    assert found["perfect"].value == pytest.approx(1) and found["perfect"].adjusted < 0.05
    assert found["worst"].value == pytest.approx(-1) and found["worst"].p_value == found["perfect"].p_value
    assert found["noise"].adjusted > 0.05
    text = str(validity.reading(list(found.values())))
    assert "measurably for: perfect." in text and "the other way for: worst." in text
    assert list(validity.table(list(found.values())).index) == ["perfect", "noise", "worst"]


def test_equal_gains_are_predicted_by_nothing(gains):
    (found,) = validity.predictions(gains * 0, {"x": matrix(6)})
    assert found.value == 0 and found.p_value == 1


def test_the_committed_correlations_have_the_tolerances_of_the_page():
    saved = results.read_result(results.reference_dir("mini") / "pf-table2-validity.csv")
    assert saved.tolerances == validity.TOLERANCES


def test_without_single_auxiliaries_there_is_no_question(tmp_path):
    settings = profiles.resolve("mini", kind=profiles.Tuning, singles="none")
    measures = ["kl", "mse", "overlap", *map(table2.key_of, table2.KS)]
    pseudo = {measure: {target: ["ar"] for target in settings.targets} for measure in measures}
    plan = table2.plan_of(settings, pseudo)
    assert plan.singles == {} and plan.rows["FT"] and plan.by_k
    study = translation_study.Study(settings, pseudo, plan, {}, {}, {})
    gains = translation_study.singles(study)
    assert gains.shape == (0, 17)
    found = validity.predictions(gains, validity.predictors(settings))
    assert found == [] and validity.table(found).empty and "not asked" in str(validity.reading(found))
    assert validity.figure(gains) is None
    for name, frame, tolerances in (
        ("gains", translation_study.gains_frame(study), {}),
        ("validity", validity.frame(found), validity.TOLERANCES),
    ):
        file = results.write_result(name, frame, signature="model:a@b", tolerances=tolerances, folder=tmp_path)
        read = results.read_result(file).frame
        assert read.empty and list(read.columns) == list(frame.columns)
