"""Exhibits of part III from made-up scores and cells, against plain loops."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from scipy import stats
from scipy.spatial.distance import squareform
from sklearn.linear_model import LinearRegression
from xsns_tiny import blind_task, loaded, tokenizer

from langsim import agreement, drawings, exhibits, figures, languages, papers, profiles, ranking
from langsim.fisher import FisherVector
from langsim.tasks.base import Task
from langsim.xsns import (
    choices,
    fits,
    mixtures,
    procedures,
    resampling,
    sensitivity,
    setting,
    statements,
    steps,
    tables,
)
from langsim.xsns.evidence import Evidence
from langsim.xsns.procedures import Job
from langsim.xsns.ranking_study import AS_MANY, CENTRED, NULLS, OURS
from langsim.xsns.settings import XSNSSettings

CODES = ("en", "de", "fr", "sv", "es", "ru")
ONLY = ("af", "gl")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "small-xlmr"
    tokenizer("xlmr").save_pretrained(path)
    loaded("xlmr").model.save_pretrained(path)
    own = {"model": str(path), "tasks": ["ner", "pos"], "other_models": [], "languages": list(CODES)}
    own |= {"low_resource": list(ONLY), "low_resource_tasks": ["pos"], "replicates": 120, "mixed_tasks": ["pos"]}
    return profiles.resolve("mini", kind=XSNSSettings, training_seeds=[0, 1], mixed_seeds=[1], **own)


def task_of(codes, only=()):
    """Six languages with all splits, and others with test text alone."""
    splits = {code: blind_task(("en",)).splits["en"] for code in codes}
    splits |= {code: {"test": blind_task(("en",)).splits["en"]["test"]} for code in only}
    return Task("made", "pair", "accuracy", splits, ("other", "same"))


def matrix(values, targets):
    return pd.DataFrame(values, pd.Index(targets, name="target"), pd.Index(CODES, name="source"))


def made(settings, name="pos", *, good=True, seed=0):
    """Gold scores that differ between sources (`good`) or are noise; X-SNS knows a part of it."""
    rng = np.random.default_rng(seed)
    only = settings.targets_only(name)
    targets = sorted([*CODES, *only])
    base = 75 + (12 * rng.standard_normal((len(targets), 6)) if good else 0)
    everyone = []
    for _ in range(2):
        values = base + rng.standard_normal((len(targets), 6)) * (0.5 if good else 8)
        frame = matrix(values, targets)
        for code in CODES:
            frame.at[code, code] = 96 + rng.random()
        everyone.append(frame)
    mean = sum(everyone) / 2

    def noisy(scale):
        found = mean + scale * rng.standard_normal(mean.shape)
        return found.mask(found.index.to_numpy()[:, None] == found.columns.to_numpy()[None, :])

    predicted = {OURS: [noisy(5), noisy(5)], CENTRED: [noisy(8)], "X-SNS, random head": [noisy(9)]}
    predicted |= {"X-SNS, general text": [noisy(9)], **{title: [noisy(50)] for title in NULLS.values()}}
    predicted |= {name: [noisy(20)] for name in ("L2V", "LEX", "EMB", "random")}
    predicted["SuE"] = [noisy(1) * 0 + 1.0]
    return Evidence(settings, task_of(CODES, only), name, settings.model, everyone, predicted)


@pytest.fixture(scope="module")
def tasks(settings):
    return {"ner": made(settings, "ner", good=False), "pos": made(settings, "pos")}


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


def test_targets_only_are_no_part_of_the_pool(tasks):
    one = tasks["pos"]
    assert one.only == list(ONLY) and set(one.pool) == set(CODES) and len(one.gold[0]) == 6
    assert one.testable and not tasks["ner"].testable and not tasks["ner"].only
    frame = setting.validity_table(tasks)
    assert list(frame["testable"]) == [False, True] and frame["why"][1] == ""
    told = str(setting.validity_reading(frame))
    assert "1 of 2 tasks pass" in told and "**ner** is not testable here" in told


def test_table2_has_our_numbers_and_the_published(tasks):
    frame = tables.table2(tasks)
    for name, one in tasks.items():
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


def test_table1_has_kinds(tasks):
    frame = tables.table1(tasks)
    assert set(frame["kind"]) == {"task-lm", "general-lm", "task-head"}
    head = frame.query("task == 'pos' and kind == 'task-head' and metric == 'NDCG@3'").iloc[0]
    assert head["published"] == 80.01 and head["predictor"] == "X-SNS, random head"
    names = list(tables.table1_shown(frame).index)
    assert "ner †: task text, LM" in names and "pos: general text, LM, published" in names


def test_table1_compares_as_many_texts(settings, tasks):
    """X-SNS from all its text is another predictor, and its statements are about the one from as many."""
    one = tasks["pos"]
    rng, ours = np.random.default_rng(5), one.predicted[OURS]
    weak = [pd.DataFrame(rng.random(m.shape), m.index, m.columns).where(m.notna()) for m in ours]
    few = Evidence(settings, one.task, "pos", one.model, one.everyone, {**one.predicted, AS_MANY: weak})
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


def test_choices_by_plain_loops(tasks):
    one = tasks["pos"]
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


def test_gaps_by_plain_loops(tasks):
    one = tasks["pos"]
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


def test_targets_without_training_text_have_thresholds_of_their_own(settings, tasks):
    one = tasks["pos"]
    found = choices.zero_shot(one)
    assert found["reasons"] == [] and found["trivial"] == 50.0
    assert found["transfer"] == pytest.approx(np.mean([m.loc[list(ONLY)].to_numpy() for m in one.everyone]))
    level = [matrix * 0 + 50.0 + np.random.default_rng(i).random(matrix.shape) for i, matrix in enumerate(one.everyone)]
    weak = Evidence(settings, one.task, "pos", one.model, level, one.predicted)
    assert "from a trivial baseline (2 are asked)" in choices.zero_shot(weak)["reasons"][0]
    assert choices.low_resource({"ner": tasks["ner"]}) == {}
    assert "no targets beside its sources" in str(choices.low_reading({"ner": tasks["ner"]}, pd.DataFrame()))
    frame = choices.low_frame(tasks)
    told = str(choices.low_reading(tasks, frame))
    assert set(frame["target"]) == set(ONLY) and "of 2 targets" in told and "11 of 15, 1.8 points" in told
    assert choices.low_frame({"ner": tasks["ner"]}).empty


# Regression ---------------------------------------------------------------------------------------------------------


def test_table3_is_scikit_learns(tasks):
    made_fits = fits.all_fits(tasks)
    frame = fits.table3(tasks, made_fits).set_index(["task", "approach", "metric"])
    one = tasks["pos"]
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


def test_too_few_pairs_are_told(settings, tasks):
    one = tasks["pos"]
    few = one.prediction() * np.nan
    few.iloc[0, 1] = 1.0
    lost = Evidence(settings, one.task, "pos", one.model, one.everyone, {**one.predicted, OURS: [few]})
    found, why = fits.fits(lost)
    assert not found and "too few" in why
    assert "Nothing could be fitted. pos:" in str(
        fits.shown(fits.table3({"pos": lost}, {"pos": ({}, why)}), {"pos": ({}, why)})
    )


# Several sources ----------------------------------------------------------------------------------------------------


def test_three_sources_are_the_first_of_each_method(tasks):
    one = tasks["pos"]
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


def test_figure4_reads_the_trainings(settings, tasks, monkeypatch):
    def score(job, target):
        return float(sum(map(ord, job.what + target)) % 50)

    def obtain(given, kind, wanted):
        assert kind == procedures.MIXTURES
        return {job: {"targets": {t: {"accuracy": score(job, t)} for t in CODES}} for job in wanted}

    monkeypatch.setattr(procedures, "obtain", obtain)
    frame = mixtures.frame(tasks, settings)
    for row in frame[~frame["method"].isin([mixtures.SINGLE])].itertuples():
        assert row.value == score(Job("m", "pos", row.sources), row.target)
    single = frame[frame["method"] == "BEST-1"].set_index("target")
    one = tasks["pos"]
    for target in CODES:  # trained with seed 1: chosen by seed 0 alone
        best = max((s for s in CODES if s != target), key=lambda s: one.everyone[0].at[target, s])
        assert single.loc[target, "sources"] == best and single.loc[target, "value"] == one.everyone[1].at[target, best]
        three = sorted(sorted((s for s in CODES if s != target), key=lambda s: -one.everyone[0].at[target, s])[:3])
        assert mixtures.chosen(one)["BEST"][target] == three
    turned = Evidence(settings, one.task, "pos", one.model, [one.everyone[0], 500 - 5 * one.everyone[0]], one.predicted)
    assert mixtures.chosen(turned)["BEST"] == mixtures.chosen(one)["BEST"], "the seed that is compared has no say"
    alone = settings.model_copy(update={"training_seeds": [1]})
    alone = Evidence(alone, one.task, "pos", one.model, one.everyone[1:], one.predicted)
    assert mixtures.choosing(alone).equals(one.everyone[1]), "there is no other seed"
    gain = mixtures.better(frame, "pos", OURS, "LEX")
    wide = frame.pivot(index="target", columns="method", values="value")
    assert gain.estimate == pytest.approx((wide[OURS] - wide["LEX"]).mean())
    assert mixtures.better(frame, "pos", OURS, "SuE") is None and set(mixtures.panels(frame)) == {"pos"}
    assert "BEST-3 is" in str(mixtures.reading(frame))


def test_nothing_is_planned_before_the_cells_that_choose(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path))
    monkeypatch.setattr(mixtures.cells, "problem", lambda cell: "is missing")
    monkeypatch.setattr(procedures, "cell_of", lambda *a: None)
    monkeypatch.setattr(procedures, "_JOBS", {k: lambda s: [Job(s.model, "pos", "de")] for k in procedures._JOBS})
    assert mixtures.jobs(settings) == []
    assert mixtures.jobs(settings.model_copy(update={"mixed_tasks": []})) == []


# Sensitivity --------------------------------------------------------------------------------------------------------


@pytest.fixture
def cells_of_shares(monkeypatch):
    """Cells with random coefficients at five shares and three sizes."""
    rng, codes = np.random.default_rng(2), sorted([*CODES, *ONLY])

    def pairs():
        return squareform(rng.random((8, 8)) * (1 - np.eye(8)), checks=False).tolist()

    def cell():
        shares = [{"p": p, "jaccard": pairs()} for p in (0.05, 0.1, 0.3, 0.5, 0.9)]
        return {
            "languages": codes,
            "shares": shares,
            "sizes": [{"items": n, "jaccard": pairs()} for n in (64, 256, 450)],
        }

    kept = {null: {Job("m", "pos", "task-lm", s): cell() for s in (0, 1)} for null in ("", *NULLS)}
    monkeypatch.setattr(sensitivity, "cells_of", lambda one, null: kept[null])
    return kept


def test_shares_and_sizes_are_compared_by_ranking(tasks, cells_of_shares):
    one = tasks["pos"]
    frame = sensitivity.frame({"pos": one}, "p").set_index(["series", "p"])

    def ndcg(name, value):
        matrices = []
        for cell in cells_of_shares[""].values():
            row = next(row for row in cell[name] if value in (row.get("p"), row.get("items")))
            full = pd.DataFrame(squareform(row["jaccard"]), cell["languages"], cell["languages"])
            matrices.append(full.loc[one.pool, list(CODES)])
        return 100 * ranking.ranking(one.gold, matrices).mean["ndcg3"]

    assert frame.loc[(OURS, 0.3), "value"] == pytest.approx(ndcg("shares", 0.3))
    assert set(frame.index.get_level_values(0)) == {OURS, CENTRED, *NULLS.values()}
    middle = np.mean([ndcg("shares", p) for p in (0.1, 0.3, 0.5)])
    ends = np.mean([ndcg("shares", p) for p in (0.05, 0.9)])
    assert sensitivity.moderate(one).estimate == pytest.approx(middle - ends)
    others = np.mean([ndcg("shares", p) for p in (0.1, 0.3, 0.5, 0.9)])
    assert sensitivity.least(one).estimate == pytest.approx(ndcg("shares", 0.05) - others)
    assert sensitivity.few(one).estimate == pytest.approx(ndcg("sizes", 256) - ndcg("sizes", 450))
    assert sensitivity.few(one, 450) is None, "of all there are nothing is left to compare with"
    panel = sensitivity.panels(frame.reset_index(), "p")["pos"]
    assert set(panel["x"].round(6)) == {5, 10, 30, 50, 90} and panel.query("series != @OURS")["low"].isna().all()


# Statements ---------------------------------------------------------------------------------------------------------


def test_the_file_follows_from_the_printed_tables():
    found = {one.id: one for one in statements.load()}
    assert len(found) == len(statements.load()) and {one.test for one in found.values()} <= set(statements._TESTS)
    assert {one.exhibit for one in found.values()} <= {one.id for one in exhibits.all_exhibits()}
    assert all(one.direction in statements.SIGNS and one.threshold > 0 for one in found.values())
    ndcg = papers.matrix("xsns-table2")["NDCG@3"].astype(float).unstack()
    for task, row in ndcg.iterrows():
        for name in statements.BASELINES:
            assert found[f"{task.lower()}-{name.lower()}"].published == pytest.approx(
                row["X-SNS"] - row[name], abs=0.006
            )
    means = ndcg.mean()
    for name in statements.BASELINES:
        assert found[f"mean-{name.lower()}"].published == pytest.approx(means["X-SNS"] - means[name], abs=0.006)
    best = (ndcg["X-SNS"] - ndcg[list(statements.BASELINES)].max(axis=1)).mean()
    assert found["best-baseline"].published == pytest.approx(best, abs=0.01)
    first = papers.matrix("xsns-table1")["NDCG@3"].astype(float).unstack([1, 2])
    assert found["kind-head"].published == pytest.approx((first["T", "L"] - first["T", "T"]).mean(), abs=0.006)
    general = (first["T", "L"] - first["W", "L"]).drop("NER").mean()
    assert found["kind-general"].published == pytest.approx(general, abs=0.006)
    fourth = papers.published("xsns-table4").set_index(["model", "method", "metric"])["value"]
    for model, id in (("mBERT", "mbert"), ("mT5", "mt5")):
        less = fourth[model, "X-SNS", "NDCG@3"] - fourth[model, "EMB", "NDCG@3"]
        assert found[id].published == pytest.approx(less, abs=0.006)
    assert found["low-english"].published == papers.published("xsns-fig7").set_index("metric")["value"]["points"]


def test_statements_are_decided_by_what_can_be_tested(tasks):
    facts = statements.Facts(tasks, fits=fits.all_fits(tasks))
    names = (
        "xsns-table1",
        "xsns-table2",
        "xsns-table3",
        "xsns-fig1",
        "xsns-fig5",
        "xsns-fig7",
        "xsns-fig4",
        "xsns-table4",
    )
    found = statements.frame(facts, *names).set_index("id")
    assert found.loc["ner-lex", "note"] == "ner is not testable here" and found.loc["ner-lex", "verdict"] == "undecided"
    assert found.loc["nli-l2v", "note"] == "no task nli in this run"
    assert "ranks nothing" in found.loc["pos-sue", "note"]
    one = tasks["pos"]
    less = ranking.ranking(one.gold, one.predictions[OURS]).mean["ndcg3"]
    less -= ranking.ranking(one.gold, one.predictions["LEX"]).mean["ndcg3"]
    assert found.loc["pos-lex", "estimate"] == pytest.approx(100 * less)
    assert found.loc["mean-lex", "estimate"] == pytest.approx(100 * less), "the only task that is testable"
    assert found.loc["best3-pos", "note"] == "not trained on several sources in this run"
    assert found.loc["mbert", "note"] == "no mBERT in this run"
    tested = found[found["note"] == ""]
    assert (
        np.allclose(tested["adjusted"], agreement.holm(tested["p"]), equal_nan=True) and found["adjusted"].notna().any()
    )
    assert found[found["note"] != ""]["adjusted"].isna().all()
    assert set(found.loc[found["note"] != "", "verdict"]) == {"undecided"}
    told = str(statements.reading(found.reset_index()))
    assert told.startswith(f"Of {len(found)} statements:") and "can't be tested here" in told
    assert len(statements.table(found.reset_index())) == len(found)


@pytest.mark.parametrize(
    ("direction", "estimate", "low", "high", "adjusted", "expected"),
    [
        ("higher", 2.0, 1.0, 3.0, 0.01, "same direction"),
        ("higher", -2.0, -3.0, -1.0, 0.01, "opposite direction"),
        ("lower", -2.0, -3.0, -1.0, 0.01, "same direction"),
        ("higher", 2.0, 1.0, 3.0, 0.06, "undecided"),
        ("higher", 2.0, 1.0, 3.0, math.nan, "undecided"),
        ("equal", 0.2, -1.0, 1.0, 0.9, "same direction"),
        ("equal", 0.2, -3.5, 1.0, 0.9, "undecided"),
        ("equal", 5.0, 3.5, 7.0, 0.001, "opposite direction"),
    ],
)
def test_verdicts(direction, estimate, low, high, adjusted, expected):
    row = {"note": "", "direction": direction, "estimate": estimate, "low": low, "high": high, "adjusted": adjusted}
    line = next(pd.DataFrame([row | {"threshold": 3.0}]).itertuples())
    assert statements._verdict(line) == expected
    assert statements._verdict(line._replace(note="not testable")) == "undecided"


# The method drawn ---------------------------------------------------------------------------------------------------


def test_steps_are_set_arithmetic():
    rng = np.random.default_rng(3)
    layout = [("bias", (40,), 0), ("small", (4, 20), 40), ("weight", (32, 48), 120)]

    def vector():
        return FisherVector(rng.random(120 + 32 * 48).astype(np.float32), layout, 1, 1, 1, 1, 1.0, "e", "paper", "s", 0)

    vectors = {code: vector() for code in ("de", "fr", "ja")}
    found = steps.of_vectors(vectors, "de", ["fr", "ja"], 0.2, "paper")
    sets = {
        code: set(np.argsort(-v.values, kind="stable")[: round(0.2 * v.values.size)]) for code, v in vectors.items()
    }
    assert found.matrix == "weight" and found.kept == {code: len(one) for code, one in sets.items()}
    for code in ("fr", "ja"):
        both = len(sets["de"] & sets[code])
        assert found.shared[code] == both and found.jaccard[code] == both / len(sets["de"] | sets[code])
    whole = vectors["fr"].tensor("weight")
    blocks = [whole[i : i + 16, j : j + 16] for i in (0, 16) for j in (0, 16, 32)]
    assert any((found.fisher["fr"] == block).all() for block in blocks)
    assert found.masks["fr"].shape == (16, 16) and found.masks["fr"].dtype == bool
    assert list(steps.table(found)["role"]) == ["target", "source", "source"]
    drawn = drawings.sub_networks(found.target, found.sources, found.fisher, found.masks, found.jaccard)
    assert_legible(drawn)


def assert_legible(figure):
    figure.canvas.draw()
    words = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    assert words and min(text.get_fontsize() for text in words) >= figures.SMALLEST
    assert figure.get_figwidth() == figures.WIDTH


def test_drawings_show_every_number(tasks):
    frame = choices.choices_of(tasks)
    drawn = drawings.choices(choices.panels(frame, "pos", "ner"), xlabel="points")
    assert_legible(drawn)
    marks = sum(len(line.get_xdata()) for line in drawn.axes[0].lines if line.get_marker() not in ("None", ""))
    assert marks == 3 * 6 - 1, "English is no choice for itself"
    spread = {name: choices.gap_matrix(one).to_numpy().ravel() for name, one in tasks.items()}
    drawn = drawings.boxes(spread, xlabel="points", words="level")
    assert_legible(drawn)
    dots = [line for line in drawn.axes[0].lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [30, 30]


# Settings -----------------------------------------------------------------------------------------------------------


def test_mixed_are_those_of_the_run(settings):
    assert settings.mixed == (["pos"], [1])
    assert settings.model_copy(update={"mixed_seeds": [7]}).mixed == (["pos"], [0])
    assert settings.model_copy(update={"mixed_tasks": ["qa"]}).mixed == ([], [1])


def test_open_roles_are_what_the_data_has():
    assert set(languages.role("xsns-pos-open")) == set(languages.pool("xsns-pos"))
    assert set(languages.role("xsns-ner-open")) == {"de", "en", "hr", "pt", "ru", "sk", "sr-Latn", "sv", "zh"}
    assert languages.role("xsns-qa-open") == ["de", "en", "es", "hi", "ru", "tr", "zh"], "bytes: ar, th"
    assert profiles.defaults("open", XSNSSettings)["roles"] == "xsns-{task}-open"


def test_signature_names_tasks_and_model(settings):
    parts = dict(part.split(":", 1) for part in setting.signature(settings).split("|"))
    assert parts["model"].startswith("small-xlmr@") and parts["tasks"].startswith("ner+pos@")
    assert parts["tuned"] == "0+1" and parts["k"] == "0.15"
    other = setting.signature(settings.model_copy(update={"epochs": 3}))
    assert other != setting.signature(settings)


def test_what_a_run_leaves_out_is_said(settings):
    nothing = settings.model_copy(update={"compared_task": "qa"})
    assert tables.by_model(nothing) == {} and tables.table4({}).empty
    assert "leaves out the task of Table 4" in str(tables.table4_shown(tables.table4({})))
    assert tables.table4_dots(tables.table4({})) == {} == tables.table4_lines(tables.table4({}))
    assert "nothing to check" in str(setting.validity_shown(tables.model_validity({})))
    empty = mixtures.frame({}, settings.model_copy(update={"mixed_tasks": []}))
    assert empty.empty and "`mixed_tasks`" in str(mixtures.reading(empty)) and "Nothing" in str(mixtures.table(empty))
    assert mixtures.panels(empty) == {} and "Nothing" in str(choices.summary(choices.low_frame({})))
    assert setting.write_result("xsns-fig4", empty, signature="a:b", folder=None) == []
