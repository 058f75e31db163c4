"""Regressions against normal equations, known effects and refits by hand."""

import warnings

import numpy as np
import pandas as pd
import pytest
from statsmodels.regression.mixed_linear_model import MixedLM

from langsim import languages, regression, uriel
from langsim.errors import UsageError
from langsim.ranking import ranking
from langsim.regression import regress, writing_system, xpos_features

CODES = ["en", "de", "fr", "ru", "ar", "hi", "ja", "tr"]


def frame(values, codes=CODES):
    return pd.DataFrame(np.asarray(values, dtype=float), codes, codes)


def made(seed=0, targets=3.0, sources=0.0, noise=0.5, codes=CODES):
    """Scores of a known line with an effect of every target and source."""
    rng = np.random.default_rng(seed)
    n = len(codes)
    x, z = rng.standard_normal((2, n, n))
    effect = targets * rng.standard_normal((n, 1)) + sources * rng.standard_normal((1, n))
    gold = 50 + 4 * x + effect + noise * rng.standard_normal((n, n))
    return frame(gold, codes), {"x": frame(x, codes), "z": frame(z, codes)}


def long(gold, features, without=None):
    """Rows of (1, features), scores and pairs in plain loops."""
    pairs = [(t, s) for t in gold.index for s in gold.columns if t not in (s, without)]
    design = np.array([[1.0, *(m.at[t, s] for m in features.values())] for t, s in pairs])
    return design, np.array([gold.at[t, s] for t, s in pairs]), pairs


def test_ols_is_the_normal_equations_in_sample_and_left_out():
    gold, features = made()
    found = regress(gold, features)
    design, scores, pairs = long(gold, features)
    beta = np.linalg.solve(design.T @ design, design.T @ scores)
    assert found.coefficients.to_numpy() == pytest.approx(beta) and found.pairs == len(pairs) == 56
    assert found.rmse == pytest.approx(np.sqrt(np.mean((scores - design @ beta) ** 2)))
    errors = []
    for target in CODES:
        seen, known, _ = long(gold, features, without=target)
        beta = np.linalg.lstsq(seen, known, rcond=None)[0]
        rows = [i for i, (t, _) in enumerate(pairs) if t == target]
        predicted = design[rows] @ beta
        row = found.predicted_left_out.loc[target]
        assert row[[pairs[i][1] for i in rows]].to_numpy() == pytest.approx(predicted)
        errors += list(scores[rows] - predicted)
    assert found.rmse_left_out == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert found.rmse < found.rmse_left_out and found.converged and not found.warnings
    assert found.predicted.isna().to_numpy().diagonal().all() and found.dropped.empty


def test_the_ranking_of_one_feature_is_that_of_the_feature():
    gold, features = made(1)
    expected = ranking(gold, features["x"])
    for method in ("ols", "mixed"):
        found = regress(gold, {"x": features["x"]}, method)
        for one in (found.ranking, found.ranking_left_out):
            assert (one.mean["top1"], one.mean["ndcg3"]) == (expected.mean["top1"], expected.mean["ndcg3"])


def test_mixed_finds_the_intercepts_of_targets():
    gold, features = made(2, targets=5.0)
    ols, mixed = (regress(gold, features, method) for method in ("ols", "mixed"))
    design, scores, pairs = long(gold, features)
    direct = MixedLM(scores, design, groups=[t for t, _ in pairs]).fit()
    assert mixed.coefficients.to_numpy() == pytest.approx(direct.fe_params, rel=1e-3)
    assert mixed.rmse == pytest.approx(np.sqrt(np.mean((scores - direct.fittedvalues) ** 2)), rel=1e-3)
    assert mixed.rmse < 0.2 * ols.rmse and mixed.coefficients["x"] == pytest.approx(4, abs=0.2)
    # A new target has no intercept yet: what is gained in-sample is not gained there.
    assert mixed.rmse_left_out > 3 * mixed.rmse


def test_crossed_finds_the_intercepts_of_sources_as_well():
    gold, features = made(3, targets=5.0, sources=5.0, noise=0.3)
    one = {"x": features["x"]}
    mixed, crossed = (regress(gold, one, method) for method in ("mixed", "crossed"))
    assert crossed.rmse < 0.2 * mixed.rmse
    assert crossed.ranking_left_out.mean["spearman"] > mixed.ranking_left_out.mean["spearman"] + 0.2
    assert crossed.coefficients["x"] == pytest.approx(4, abs=0.3)


def test_warnings_are_data_and_nothing_is_printed(recwarn, capsys):
    """Scores without any variance between targets: the variance component is on its boundary, and the fit says so."""
    gold, features = made(4, targets=0.0, codes=CODES[:4])
    own = np.eye(4, dtype=bool)
    gold, x = (one.mask(own).sub(one.mask(own).mean(axis=1), axis=0) for one in (gold, features["x"]))
    found = regress(gold, {"x": x}, "mixed")
    assert found.warnings and any(line.startswith("all targets: ") for line in found.warnings)
    assert all("\n" not in line for line in found.warnings)
    assert not recwarn.list and capsys.readouterr() == ("", "")


def test_a_failed_fit_is_said_and_has_no_numbers(monkeypatch):
    def fail(table, design):
        warnings.warn("about to fail", stacklevel=1)
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setitem(regression._FITS, "mixed", fail)
    found = regress(*made(5), "mixed")
    assert not found.converged and np.isnan(found.rmse) and found.ranking is None
    assert "all targets: not fitted: Singular matrix" in found.warnings
    assert "without de: about to fail" in found.warnings


@pytest.mark.parametrize("method", ["ols", "mixed"])
def test_constant_and_dependent_features_change_no_prediction(method):
    gold, features = made(6)
    plain = regress(gold, features, method)
    more = features | {"twice": 2 * features["x"], "same": features["z"] * 0 + 1}
    found = regress(gold, more, method)
    assert found.rmse == pytest.approx(plain.rmse, rel=1e-4)
    assert found.rmse_left_out == pytest.approx(plain.rmse_left_out, rel=1e-4)
    expected = {"x": plain.coefficients["x"] / 5, "twice": plain.coefficients["x"] * 2 / 5, "same": 0.0}
    for name, value in expected.items():  # the shortest of the vectors that give these predictions
        assert found.coefficients[name] == pytest.approx(value, rel=1e-3, abs=1e-9)


def test_equal_features_are_tied_predictions():
    """Rounding errors of the fit must not rank candidates that the features don't tell apart."""
    gold, _ = made(7)
    found = regress(gold, xpos_features(CODES, CODES))
    features = pd.concat({name: m.stack() for name, m in xpos_features(CODES, CODES).items()}, axis=1)
    for target, row in found.predicted.iterrows():
        groups = features.loc[target].drop(target).groupby(list(features.columns)).groups
        assert row.drop(target).nunique() <= len(groups)
        for alike in groups.values():
            assert row[list(alike)].nunique() == 1


def test_missing_values_are_dropped_and_named():
    gold, features = made(8)
    gold.loc["de", "fr"] = np.nan
    features["x"].loc["en", "ar"] = features["z"].loc["en", "ar"] = np.nan
    found = regress(gold, features)
    assert found.pairs == 54
    rows = {(t, s): missing for t, s, missing in found.dropped.itertuples(index=False)}
    assert rows == {("en", "ar"): "x, z", ("de", "fr"): "score"}
    assert np.isnan(found.predicted.at["de", "fr"]) and ("de", "fr") not in found.ranking.targets.index


def test_targets_that_are_no_sources():
    gold, features = made(9)
    rows, columns = CODES[:5], CODES[5:]
    found = regress(gold.loc[rows, columns], features, "mixed")
    assert found.pairs == 15 and found.predicted.shape == (5, 3)


def test_xpos_features_are_the_registrys_and_uriels():
    found = xpos_features(["de", "sr", "zh"], ["nl", "ru", "ja", "hi"])
    assert found["same_family"].loc["de"].tolist() == [1, 0, 0, 0]
    assert found["same_script"].loc["sr"].tolist() == [0, 1, 0, 0]
    assert found["same_writing_system"].loc["sr"].tolist() == [1, 1, 0, 0]
    vectors = uriel.vectors(["de", "ja"], ["syntax"])
    apart = [abs(vectors.at["de", name] - vectors.at["ja", name]) for name in regression.ORDERS]
    assert found["word_order"].at["de", "ja"] == pytest.approx(1 - sum(apart) / 6)
    assert found["word_order"].loc["zh", "ru"] > found["word_order"].loc["zh", "ja"]


def test_uriel_without_a_language_is_not_available(monkeypatch):
    monkeypatch.setattr(uriel, "available", lambda codes: [code for code in codes if code != "ja"])
    found = xpos_features(["de", "fr"], ["ja", "ru"])["word_order"]
    assert found["ja"].isna().all() and found["ru"].notna().all()


def test_every_script_of_the_registry_has_a_writing_system():
    kinds = {language.code: writing_system(language.code) for language in languages.all_languages()}
    assert set(kinds.values()) >= {"alphabet", "abjad", "abugida", "logography", "mixed"}
    assert [kinds[c] for c in ("ka", "he", "th", "zh", "ja")] == ["alphabet", "abjad", "abugida", "logography", "mixed"]


GOLD, FEATURES = made(10)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: regress(GOLD, FEATURES, "forest"), "no method 'forest'; choose ols, mixed, crossed"),
        (lambda: regress(GOLD, {}), "no features"),
        (lambda: regress(GOLD, {"x": FEATURES["x"].drop("ja")}), "the feature 'x' lacks ja"),
        (lambda: regress(GOLD.iloc[:2], FEATURES), "14 pairs of 2 targets are too few"),
        (lambda: regress(GOLD, {"x": FEATURES["x"] * 0}), "every feature is constant"),
        (lambda: xpos_features(["xx"], ["de"]), "unknown language 'xx'"),
    ],
)
def test_bad_input_is_one_line(call, says):
    with pytest.raises(UsageError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)
