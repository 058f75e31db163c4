"""Exhibits of part III from made-up scores and cells, against plain loops."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression
from xsns_evidence import CODES, ONLY

from langsim import papers, ranking
from langsim.xsns import (
    choices,
    fits,
    mixtures,
    procedures,
    resampling,
    setting,
    statements,
    tables,
)
from langsim.xsns.evidence import Evidence
from langsim.xsns.procedures import Job
from langsim.xsns.ranking_study import AS_MANY, OURS

# Resamples ----------------------------------------------------------------------------------------------------------


def test_resamples_by_plain_loops():
    rng = np.random.default_rng(0)
    values = rng.random((4, 5))
    values[1, 2] = np.nan
    weights = resampling.drawn(4, 5, 30, seed=3)
    assert (weights[0].sum(1) == 4).all() and (weights[1].sum(1) == 5).all()
    for r, found in enumerate(resampling.two_way_mean(values, weights)):
        entries = [
            values[t, s]
            for t, s in itertools.product(range(4), range(5))
            for _ in range(int(weights[0][r, t] * weights[1][r, s]))
            if not np.isnan(values[t, s])
        ]
        assert found == pytest.approx(np.mean(entries))


def test_differences_over_targets_are_students():
    values = [1.0, 2.5, 0.3, float("nan"), 1.9]
    there = [value for value in values if value == value]
    found, expected = resampling.over_targets(values), stats.ttest_1samp(there, 0)
    low, high = expected.confidence_interval()
    assert (found.estimate, found.low, found.high, found.p) == pytest.approx(
        (np.mean(there), low, high, expected.pvalue)
    )
    assert math.isnan(resampling.over_targets([3.0]).p) and resampling.over_targets([3.0]).estimate == 3


def test_replicates_lie_around_the_estimate():
    drawn = np.random.default_rng(1).normal(7, 2, 4000)
    found = resampling.of_replicates(1.0, drawn)
    assert (found.low, found.high) == pytest.approx((1 - 3.92, 1 + 3.92), abs=0.2)
    assert found.p == pytest.approx(2 * stats.norm.sf(0.5), abs=0.03) and found.detectable == pytest.approx(
        5.6, abs=0.2
    )
    both = resampling.mean([found, resampling.of_replicates(3.0, -drawn)])
    assert both.estimate == 2 and both.error == pytest.approx(0, abs=1e-12)
    less = resampling.minus(found, found)
    assert (less.estimate, less.low, less.high, less.p) == (0, 0, 0, 1)


# Tables -------------------------------------------------------------------------------------------------------------


def test_targets_only_are_no_part_of_the_pool(xsns_tasks):
    one = xsns_tasks["pos"]
    assert one.only == list(ONLY) and set(one.pool) == set(CODES) and len(one.gold[0]) == 6
    assert one.testable and not xsns_tasks["ner"].testable and not xsns_tasks["ner"].only
    frame = setting.validity_table(xsns_tasks)
    assert list(frame["testable"]) == [False, True] and frame["why"][1] == ""
    told = str(setting.validity_reading(frame))
    assert "1 of 2 tasks pass" in told and "**ner** is not testable here" in told


def test_table2_has_our_numbers_and_the_published(xsns_tasks):
    frame = tables.table2(xsns_tasks)
    for name, one in xsns_tasks.items():
        direct = ranking.ranking(one.gold, one.predictions["LEX"]).mean
        own = frame.query("task == @name and predictor == 'LEX'").set_index("metric")
        for key, metric in tables.METRICS.items():
            assert own.loc[metric, "value"] == pytest.approx(100 * direct[key])
            assert own.loc[metric, "published"] == papers.matrix("xsns-table2").loc[(name.upper(), "LEX"), metric]
    ours = frame.query("task == 'pos' and predictor == @OURS and metric == 'NDCG@3'").iloc[0]
    assert ours["low"] <= ours["value"] <= ours["high"] and ours["published"] == 83.73
    constant = frame.query("predictor == 'SuE'")
    assert constant["value"].isna().all() and constant["note"].str.contains("constant").all()
    shown = tables.table2_shown(frame, "pos")
    assert shown.loc["X-SNS, published", "NDCG@3"] == "83.73" and "random rankings" in shown.index[-1]
    assert "ner" not in str(tables.table2_reading(frame)) and "On **pos**" in str(tables.table2_reading(frame))
    nothing = str(tables.table2_reading(frame[frame["task"] == "ner"]))
    assert nothing == "No task can be tested here, so this table decides nothing."


def test_a_null_that_is_not_beaten_is_said_for_what_it_is(xsns_tasks):
    frame = tables.table2({"pos": xsns_tasks["pos"]})
    null = (frame["predictor"] == "null: shuffled text") & (frame["metric"] == "NDCG@3")
    limits = ["difference_low", "difference_high"]
    frame.loc[frame["predictor"].str.startswith("null") & (frame["metric"] == "NDCG@3"), limits] = [1.0, 2.0]
    told = str(tables.table2_reading(frame))
    assert "better than *null: random weights*, *null: shuffled text*" in told and "is not shown" not in told
    frame.loc[null, limits] = [-1.0, 2.0]
    told = str(tables.table2_reading(frame))
    assert "order of words has a part in it is not shown" in told and "the model has learnt" not in told


def test_table1_has_kinds(xsns_tasks):
    frame = tables.table1(xsns_tasks)
    assert set(frame["kind"]) == {"task-lm", "general-lm", "task-head"}
    head = frame.query("task == 'pos' and kind == 'task-head' and metric == 'NDCG@3'").iloc[0]
    assert head["published"] == 80.01 and head["predictor"] == "X-SNS, random head"
    names = list(tables.table1_shown(frame).index)
    assert "ner †: task text, LM" in names and "pos: general text, LM, published" in names


def test_table1_compares_as_many_texts(xsns_settings, xsns_tasks):
    """X-SNS from all its text is another predictor, and its statements are about the one from as many."""
    one = xsns_tasks["pos"]
    rng, ours = np.random.default_rng(5), one.predicted[OURS]
    weak = [pd.DataFrame(rng.random(m.shape), m.index, m.columns).where(m.notna()) for m in ours]
    few = Evidence(xsns_settings, one.task, "pos", one.model, one.everyone, {**one.predicted, AS_MANY: weak})
    assert tables.compared(one) == OURS and tables.compared(few) == AS_MANY
    frame = tables.table1({"pos": few})
    own = frame.query("kind == 'task-lm' and metric == 'NDCG@3'").iloc[0]
    direct = 100 * ranking.ranking(few.gold, few.predictions[AS_MANY]).mean["ndcg3"]
    assert own["predictor"] == AS_MANY and own["value"] == pytest.approx(direct)
    assert list(tables.lines(frame)) == ["pos"] and AS_MANY not in set(tables.table2({"pos": few})["predictor"])
    stated = statements.frame(statements.Facts({"pos": few}), "xsns-table1").set_index("id")
    head = 100 * ranking.ranking(few.gold, few.predictions["X-SNS, random head"]).mean["ndcg3"]
    assert stated.loc["kind-head", "estimate"] == pytest.approx(direct - head)


# Choices ------------------------------------------------------------------------------------------------------------


def test_choices_by_plain_loops(xsns_tasks):
    one = xsns_tasks["pos"]
    frame = choices.choices(one).set_index(["target", "choice"])
    gold, ours = sum(one.gold) / 2, sum(one.predictions[OURS]) / 2
    for target in CODES:
        others = [code for code in CODES if code != target]
        assert frame.loc[(target, "best"), "value"] == max(gold.at[target, s] for s in others)
        pick = max(others, key=lambda s: ours.at[target, s])
        assert tuple(frame.loc[(target, "X-SNS"), ["source", "value"]]) == (pick, gold.at[target, pick])
        assert frame.loc[(target, "mean of all"), "value"] == pytest.approx(
            np.mean([gold.at[target, s] for s in others])
        )
    assert math.isnan(frame.loc[("en", "English"), "value"]) and frame.loc[("en", "English"), "source"] == ""
    found = choices.better(frame.reset_index())
    gains = [gold.at[t, frame.loc[(t, "X-SNS"), "source"]] - gold.at[t, "en"] for t in CODES if t != "en"]
    assert found.estimate == pytest.approx(np.mean(gains))
    panel = choices.panels(frame.reset_index(), "pos")["pos"]
    best = panel[panel["series"] == "best"]["value"].tolist()
    assert best == sorted(best, reverse=True) and "mean of all" not in set(panel["series"])


def test_gaps_by_plain_loops(xsns_tasks):
    one = xsns_tasks["pos"]
    gold, gaps = one.mean, choices.gap_matrix(one)
    assert gaps.shape == (6, 6) and np.isnan(np.diag(gaps.loc[list(CODES), list(CODES)])).all()
    assert gaps.at["de", "fr"] == pytest.approx(gold.at["de", "fr"] - gold.at["de", "de"])
    deviations = [np.std([gaps.at[t, s] for s in CODES if s != t], ddof=1) for t in CODES]
    assert choices.spread(one, replicates=50).estimate == pytest.approx(np.mean(deviations))
    above = [100 * (gaps.at[t, s] > 0) for t, s in itertools.permutations(CODES, 2)]
    assert choices.positive(one, replicates=50).estimate == pytest.approx(np.mean(above))
    values, (targets, sources) = gaps.to_numpy(), resampling.drawn(6, 6, 5, seed=0)
    for r, drawn in enumerate(choices.spread(one, replicates=5).replicates):
        expected = []
        for t in range(6):
            again = [values[t, s] for s in range(6) for _ in range(int(sources[r, s])) if not np.isnan(values[t, s])]
            expected += [np.std(again) if again else 0.0] * int(targets[r, t])
        assert drawn == pytest.approx(np.mean(expected))


def test_targets_without_training_text_have_thresholds_of_their_own(xsns_settings, xsns_tasks):
    one = xsns_tasks["pos"]
    found = choices.zero_shot(one)
    assert found["reasons"] == [] and found["trivial"] == 50.0
    assert found["transfer"] == pytest.approx(np.mean([m.loc[list(ONLY)].to_numpy() for m in one.everyone]))
    level = [matrix * 0 + 50.0 + np.random.default_rng(i).random(matrix.shape) for i, matrix in enumerate(one.everyone)]
    weak = Evidence(xsns_settings, one.task, "pos", one.model, level, one.predicted)
    assert "from a trivial baseline (2 are asked)" in choices.zero_shot(weak)["reasons"][0]
    assert choices.low_resource({"ner": xsns_tasks["ner"]}) == {}
    assert "no targets beside its sources" in str(choices.low_reading({"ner": xsns_tasks["ner"]}, pd.DataFrame()))
    frame = choices.low_frame(xsns_tasks)
    told = str(choices.low_reading(xsns_tasks, frame))
    assert set(frame["target"]) == set(ONLY) and "of 2 targets" in told and "11 of 15, 1.8 points" in told
    assert choices.low_frame({"ner": xsns_tasks["ner"]}).empty


# Regression ---------------------------------------------------------------------------------------------------------


def test_without_english_among_the_sources_nothing_is_said_of_it(xsns_tasks):
    low = choices.low_frame(xsns_tasks)
    assert "better than English in " in str(choices.low_reading(xsns_tasks, low))
    low.loc[low["choice"] == "English", "value"] = np.nan
    told = str(choices.low_reading(xsns_tasks, low))
    assert "English is no source here. Against the mean of all sources" in told and "better than English" not in told


def test_table3_is_scikit_learns(xsns_tasks):
    made_fits = fits.all_fits(xsns_tasks)
    frame = fits.table3(xsns_tasks, made_fits).set_index(["task", "approach", "metric"])
    one = xsns_tasks["pos"]
    pairs = [(t, s) for t, s in itertools.permutations(one.pool, 2)]
    x = np.array([[one.prediction().at[pair]] for pair in pairs])
    y = np.array([one.mean.at[pair] for pair in pairs])
    errors = y - LinearRegression().fit(x, y).predict(x)
    assert frame.loc[("pos", "X-SNS + OLS", "RMSE"), "value"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    outside = []
    for target in one.pool:
        seen = np.array([t != target for t, _ in pairs])
        outside += list(y[~seen] - LinearRegression().fit(x[seen], y[seen]).predict(x[~seen]))
    found = frame.loc[("pos", "X-SNS + OLS", fits.LEFT_OUT), "value"]
    assert found == pytest.approx(np.sqrt(np.mean(np.square(outside))))
    assert frame.loc[("pos", "X-POS + OLS", "Top 1"), "published"] == 33.33
    less = fits.difference(one, made_fits["pos"][0], "X-SNS + OLS", "X-POS + OLS")
    sizes = [frame.loc[("pos", f"{name} + OLS", "RMSE"), "value"] for name in ("X-SNS", "X-POS")]
    assert less.estimate == pytest.approx(sizes[0] - sizes[1]) and less.low < less.estimate < less.high
    assert len({fit.pairs for fit in made_fits["pos"][0].values()}) == 1


def test_too_few_pairs_are_told(xsns_settings, xsns_tasks):
    one = xsns_tasks["pos"]
    few = one.prediction() * np.nan
    few.iloc[0, 1] = 1.0
    lost = Evidence(xsns_settings, one.task, "pos", one.model, one.everyone, {**one.predicted, OURS: [few]})
    found, why = fits.fits(lost)
    assert not found and "too few" in why
    assert "Nothing could be fitted. pos:" in str(
        fits.shown(fits.table3({"pos": lost}, {"pos": ({}, why)}), {"pos": ({}, why)})
    )


# Several sources ----------------------------------------------------------------------------------------------------


def test_three_sources_are_the_first_of_each_method(xsns_tasks):
    one = xsns_tasks["pos"]
    found = mixtures.chosen(one)
    assert set(found) == {OURS, "L2V", "LEX", "EMB", "random", "BEST"}, "SuE is constant here, and chooses nothing"
    ours = sum(one.predictions[OURS]) / 2
    for target in CODES:
        others = sorted((s for s in CODES if s != target), key=lambda s: -ours.at[target, s])
        assert found[OURS][target] == sorted(others[:3])
    drawn = found["random"]
    assert len({tuple(three) for three in drawn.values()}) == 1 and len(drawn) == 3, "one triple, for all but its own"
    assert not set(drawn) & set(next(iter(drawn.values())))
    jobs = mixtures.jobs_of(one)
    assert (
        len(set(jobs)) == len(jobs)
        and {job.seed for job in jobs} == {1}
        and all(job.what.count("+") == 2 for job in jobs)
    )
    assert jobs[0].id == f"small-xlmr.pos.{jobs[0].what}.s1"


def test_figure4_reads_the_trainings(xsns_settings, xsns_tasks, monkeypatch):
    def score(job, target):
        return float(sum(map(ord, job.what + target)) % 50)

    def obtain(given, kind, wanted):
        assert kind == procedures.MIXTURES
        return {job: {"targets": {t: {"accuracy": score(job, t)} for t in CODES}} for job in wanted}

    monkeypatch.setattr(procedures, "obtain", obtain)
    frame = mixtures.frame(xsns_tasks, xsns_settings)
    for row in frame[~frame["method"].isin([mixtures.SINGLE])].itertuples():
        assert row.value == score(Job("m", "pos", row.sources), row.target)
    single = frame[frame["method"] == "BEST-1"].set_index("target")
    one = xsns_tasks["pos"]
    for target in CODES:  # trained with seed 1: chosen by seed 0 alone
        best = max((s for s in CODES if s != target), key=lambda s: one.everyone[0].at[target, s])
        assert single.loc[target, "sources"] == best and single.loc[target, "value"] == one.everyone[1].at[target, best]
        three = sorted(sorted((s for s in CODES if s != target), key=lambda s: -one.everyone[0].at[target, s])[:3])
        assert mixtures.chosen(one)["BEST"][target] == three
    turned = Evidence(
        xsns_settings, one.task, "pos", one.model, [one.everyone[0], 500 - 5 * one.everyone[0]], one.predicted
    )
    assert mixtures.chosen(turned)["BEST"] == mixtures.chosen(one)["BEST"], "the seed that is compared has no say"
    alone = xsns_settings.model_copy(update={"training_seeds": [1]})
    alone = Evidence(alone, one.task, "pos", one.model, one.everyone[1:], one.predicted)
    assert mixtures.choosing(alone).equals(one.everyone[1]), "there is no other seed"
    gain = mixtures.better(frame, "pos", OURS, "LEX")
    wide = frame.pivot(index="target", columns="method", values="value")
    assert gain.estimate == pytest.approx((wide[OURS] - wide["LEX"]).mean())
    assert mixtures.better(frame, "pos", OURS, "SuE") is None and set(mixtures.panels(frame)) == {"pos"}
    assert "BEST-3 is" in str(mixtures.reading(frame))


def test_nothing_is_planned_before_the_cells_that_choose(xsns_settings, tmp_path, monkeypatch):
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path))
    monkeypatch.setattr(mixtures.cells, "problem", lambda cell: "is missing")
    monkeypatch.setattr(procedures, "cell_of", lambda *a: None)
    monkeypatch.setattr(procedures, "_JOBS", {k: lambda s: [Job(s.model, "pos", "de")] for k in procedures._JOBS})
    assert mixtures.jobs(xsns_settings) == []
    assert mixtures.jobs(xsns_settings.model_copy(update={"mixed_tasks": []})) == []
