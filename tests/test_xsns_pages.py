"""What the pages of part III add to its numbers: other profiles, a recommendation beside gold scores, costs."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from xsns_evidence import CODES, ONLY

from langsim import beside, charts, costs, languages, masked_evaluation, ranking, results, runner
from langsim.errors import UsageError
from langsim.xsns import costs as xsns_costs
from langsim.xsns import (
    elsewhere,
    fits,
    mixtures,
    procedures,
    ranking_study,
    sensitivity,
    setting,
    statements,
    suggestions,
    tables,
)
from langsim.xsns.evidence import Evidence
from langsim.xsns.procedures import BASELINES, MIXTURES, SUBNETWORKS, TRANSFER
from langsim.xsns.ranking_study import CENTRED, OURS
from langsim.xsns.recommend import Recommendation

SIGNED = "model:mini-xlmr@0123456789ab|corpus:ntrex@0|tasks:pos+ner@0|langsim:0.1.0"


# Nothing to rank ----------------------------------------------------------------------------------------------------


@pytest.fixture
def level(xsns_settings, xsns_tasks):
    """Models that have learnt nothing: the same score everywhere."""
    one = xsns_tasks["pos"]
    scores = [matrix * 0 for matrix in one.everyone]
    return Evidence(xsns_settings, one.task, "pos", one.model, scores, one.predicted)


def test_constant_gold_scores_are_told_and_end_no_page(level, monkeypatch):
    frame = tables.table2({"pos": level})
    assert frame["value"].isna().all() and frame["note"].str.contains("constant").all()
    assert set(frame["predictor"]) <= set(level.predictions) and OURS in set(frame["predictor"])
    assert "–" in set(tables.table2_shown(frame, "pos").loc[OURS])
    stated = statements.frame(statements.Facts({"pos": level}), "xsns-table2")
    assert set(stated["verdict"]) == {"undecided"}
    monkeypatch.setattr(sensitivity, "grid", lambda one, axis: [0.1, 0.5])
    monkeypatch.setattr(sensitivity, "predicted", lambda one, axis, value, series: one.predictions[OURS])
    curves = sensitivity.frame({"pos": level}, "p")
    assert len(curves) == 8 and curves[["value", "line"]].isna().all(axis=None)


def test_other_rankings_stand_where_ours_is_constant(xsns_tasks):
    one = xsns_tasks["pos"]
    constant = [matrix * 0 + 0.5 for matrix in one.predictions[OURS]]
    found = ranking_study.study(one.gold, {OURS: constant, "LEX": one.predictions["LEX"]}, replicates=20)
    assert set(found.table["predictor"]) == {"LEX"} and "constant" in found.unranked[OURS]
    assert found.table["value"].notna().all() and found.table["difference"].isna().all()


def test_labels_that_do_not_fit_are_no_constant_prediction(xsns_tasks):
    one = xsns_tasks["pos"]
    odd = [matrix.rename(columns={matrix.columns[0]: "xx"}) for matrix in one.predictions[OURS]]
    for predictions in ({OURS: odd}, {OURS: one.predictions[OURS], "LEX": odd}):
        with pytest.raises(UsageError, match="not in both it and the gold scores") as caught:
            ranking_study.study(one.gold, predictions, replicates=20)
        assert not isinstance(caught.value, ranking.NothingToRank)


def test_table_of_a_study_has_its_columns(xsns_tasks):
    one = xsns_tasks["pos"]
    found = ranking_study.study(one.gold, one.predictions, replicates=20)
    assert tuple(found.table.columns) == ranking_study.COLUMNS


# What a page shows --------------------------------------------------------------------------------------------------


def test_the_matrix_is_that_of_the_cells(xsns_tasks):
    one = xsns_tasks["pos"]
    families, raw, centred = tables.families(one), tables.matrix(one), tables.matrix(one, centred=True)
    assert set(families) == set(CODES) and families["de"] == languages.get("de").family
    order = list(families.values())
    assert order == sorted(order), "a family's languages stand together"
    for matrix, name in ((raw, OURS), (centred, CENTRED)):
        assert list(matrix.index) == list(matrix.columns) == list(families)
        assert matrix.at["de", "fr"] == pytest.approx(one.prediction(name).at["de", "fr"])
    assert (np.diag(raw) == 1).all() and np.isnan(np.diag(centred)).all()


def test_all_tasks_stand_below_each_other(xsns_tasks):
    text = tables.table2_tables(tables.table2(xsns_tasks)).text
    assert "**ner † (6 sources)**" in text and "**pos (6 sources)**" in text and text.count("<table") == 2


def test_a_chart_leaves_out_what_the_paper_lacks(xsns_tasks):
    panels = tables.table2_dots(tables.table2(xsns_tasks))
    assert set(panels) == {"ner †", "pos"} and set(panels["pos"]["row"]) <= set(tables.DRAWN)
    assert "random" not in set(panels["pos"]["row"])


def test_tasks_are_described_by_their_data(xsns_settings):
    text = str(setting.tasks_reading(xsns_settings))
    assert text.count("\n") == 1 and "**pos** (`mini-pos`): Every word" in text and "of syntax" in text
    names = {"mini-ner", "mini-pos", "mini-nli", "mini-pi", "mini-qa", "ud-pos", "uner", "xquad"}
    assert set(setting.MEASURED) == names and all(re.search(r"[.?] [A-Z]", text) for text in setting.MEASURED.values())


def test_a_page_says_how_good_its_models_are(xsns_settings, monkeypatch):
    judged = {"mini-xlmr": masked_evaluation.Gate(29, ["eu"]), "mini-mbert": masked_evaluation.Gate(29, [])}
    monkeypatch.setattr(masked_evaluation, "verdict", judged.get)
    assert setting._judged(xsns_settings) == [], "a checkpoint of one's own is not judged"
    shipped = xsns_settings.model_copy(update={"model": "mini-xlmr", "other_models": ["mini-mbert"]})
    weak, sound = setting._judged(shipped)
    assert weak.startswith("`mini-xlmr`: **Weak instrument.**") and "28 of 29 languages (not in eu)" in weak
    assert sound.startswith("`mini-mbert`: Loss per hidden token") and "29 of 29" in sound


def test_lines_of_panels_are_their_own():
    frame = pd.DataFrame({"series": "a", "x": [1, 2], "value": [3.0, 4.0], "low": np.nan, "high": np.nan})
    drawn = charts.curves({"one": frame, "two": frame}, xlabel="x", ylabel="y", lines={"two": 3.5}, words="chance")
    level = [[line.get_ydata() for line in axes.lines if line.get_label() == "chance"] for axes in drawn.axes]
    assert level[0] == [] and list(level[1][0]) == [3.5, 3.5]


# Other profiles -----------------------------------------------------------------------------------------------------


@pytest.fixture
def committed(xsns_settings, xsns_tasks, monkeypatch, tmp_path):
    """Results of another profile, written and read again."""
    made = fits.all_fits(xsns_tasks)
    frames = {
        "xsns-table1": tables.table1(xsns_tasks),
        "xsns-table2": tables.table2(xsns_tasks),
        "xsns-table2-claims": statements.frame(statements.Facts(xsns_tasks), "xsns-table2"),
        "xsns-table3": fits.table3(xsns_tasks, made),
    }
    files = {id: results.write_result(id, frame, signature=SIGNED, folder=tmp_path) for id, frame in frames.items()}

    def others(exhibit, settings):
        if exhibit not in files:
            return []
        return [beside.Other("open", files[exhibit], results.read_result(files[exhibit]), "")]

    monkeypatch.setattr(beside, "others", others)
    return frames


def test_other_profiles_are_shown_as_this_one(xsns_settings, committed):
    text = elsewhere.shown(xsns_settings, "xsns-table2").text
    assert "**At open** (tasks: pos+ner)." in text and text.endswith(f"<small>Signature: `{SIGNED}`.</small>")
    row = committed["xsns-table2"].query("task == 'pos' and predictor == @OURS and metric == 'NDCG@3'").iloc[0]
    assert f"{row['value']:.1f} ({row['low']:.1f} to {row['high']:.1f})" in text and "<td>83.73</td>" in text
    stated = committed["xsns-table2-claims"]
    assert f"Of {len(stated)} statements" in text and "no task nli" not in text
    assert text.count("in print") == stated["estimate"].notna().sum()
    for exhibit in ("xsns-table1", "xsns-table3"):
        assert "<table" in elsewhere.shown(xsns_settings, exhibit).text
    assert elsewhere.shown(xsns_settings, "xsns-table4").text == elsewhere.NOTHING


def test_a_replaced_model_is_named(xsns_settings, monkeypatch):
    other = beside.Other("open", None, None, "it was made with an older model")
    monkeypatch.setattr(beside, "others", lambda exhibit, settings: [] if "claims" in exhibit else [other])
    assert "is not shown: it was made with an older model" in elsewhere.shown(xsns_settings, "xsns-table2").text


# The use ------------------------------------------------------------------------------------------------------------


def test_a_suggestion_stands_beside_its_gold_scores(xsns_tasks):
    one = xsns_tasks["pos"]
    target = suggestions.target_of(one)
    assert target == ONLY[0] and suggestions.target_of(xsns_tasks["ner"]) == xsns_tasks["ner"].pool[0]
    similar = [0.5, 0.4, 0.3, 0.25, 0.2, 0.1]
    table = pd.DataFrame(
        {"source": CODES, "similarity": similar, "low": 0.0, "high": 1.0, "tied": [False] * 5 + [True]}
    )
    found = Recommendation(target, table, 0.081, 64, 0.15, ["A warning."])
    frame = suggestions.frame(found, one)
    assert frame["gold"].tolist() == [one.mean.at[target, code] for code in CODES]
    shown = suggestions.shown(frame)
    assert list(shown["told from the first"]) == ["", "yes", "yes", "yes", "yes", "no"]
    order = one.mean.loc[target, list(CODES)].sort_values(ascending=False)
    assert shown.loc["en English", "place by gold"] == str(list(order.index).index("en") + 1)
    text = str(suggestions.reading(found, one))
    assert "For af Afrikaans the suggestion is en English. The text does not tell en from ru" in text
    assert text.endswith("A warning.") and "langsim exhibits" not in text and "judge nothing" not in text


def test_a_suggestion_is_computed_from_the_tasks_text(xsns_settings, monkeypatch):
    own = xsns_settings.model_copy(
        update={"train_items": 40, "validation_items": 4, "test_items": 40, "text_items": 40}
    )
    task = suggestions.labelled.load(own, "pos")
    sources = suggestions.labelled.sources(own, "pos", task)
    gold = pd.DataFrame(1.0, pd.Index(task.languages, name="target"), pd.Index(sources, name="source"))
    one = Evidence(own, task, "pos", own.model, [gold], {OURS: [gold]})
    found = suggestions.suggest(own, one)
    assert found.target == "af" and found.items == 40 and set(found.table["source"]) == set(sources)


# Costs --------------------------------------------------------------------------------------------------------------


def test_cells_that_lack_are_counted(xsns_settings, monkeypatch, tmp_path):
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path))
    counts = xsns_costs.missing(xsns_settings, "xsns/03_ranking")
    sources = {task: len(CODES) for task in xsns_settings.tasks}
    assert counts[TRANSFER] == 2 * sum(sources.values()) and counts[BASELINES] == 2
    kinds, nulls, seeds = len(xsns_settings.kinds), 2, len(xsns_settings.seeds)
    assert counts[SUBNETWORKS] == 2 * (kinds + nulls) * seeds and MIXTURES not in counts
    several = xsns_costs.missing(xsns_settings, xsns_costs.SEVERAL)
    assert several[TRANSFER] == counts[TRANSFER] / 2, "one of the two tasks"
    assert several[MIXTURES] == mixtures.at_most(xsns_settings) == len(CODES) * (len(mixtures.METHODS) + 1)
    assert (
        xsns_costs.missing(xsns_settings.model_copy(update={"compared_task": "qa"}), xsns_costs.MODELS)[TRANSFER] == 0
    )


def test_costs_grow_with_what_is_read(xsns_settings, monkeypatch, tmp_path):
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path))
    monkeypatch.setattr(xsns_costs, "missing", lambda *a: {TRANSFER: 4, SUBNETWORKS: 2})
    once = xsns_costs.estimate(xsns_settings, "xsns/03_ranking").seconds - costs.NOTEBOOK_SECONDS
    twice = xsns_settings.model_copy(update={"epochs": 2 * xsns_settings.epochs})
    minutes = 4 * procedures.MINUTES[TRANSFER] * xsns_costs._size(xsns_settings) * 60
    grown = xsns_costs.estimate(twice, "xsns/03_ranking").seconds - costs.NOTEBOOK_SECONDS
    assert grown - once == pytest.approx(minutes)
    assert costs.estimate is not xsns_costs.estimate and math.isfinite(once) and once > 0


def test_a_dry_run_tells_the_cost_of_a_page(xsns_settings, monkeypatch, tmp_path):
    monkeypatch.setattr(xsns_costs, "missing", lambda *a: {TRANSFER: 1})
    item = runner.Run(
        "xsns/03_ranking", runner.find("pseudo_families/02_similarity"), tmp_path / "out.ipynb", {}, xsns_settings
    )
    assert dict(zip(costs.COLUMNS, costs.row(item), strict=True))["state"] == "to run (new)"


def test_labels_of_ones_own_and_other_models_count_as_dependencies(xsns_settings, tmp_path):
    (tmp_path / "train.de.conll").write_text("eins O\n")
    update = {"tasks_from": "files", "tasks_path": str(tmp_path), "other_models": [xsns_settings.model]}
    own = xsns_settings.model_copy(update=update)
    item = runner.Run("xsns/03_ranking", runner.find("pseudo_families/02_similarity"), tmp_path / "out.ipynb", {}, own)
    before = runner.dependencies(item)
    assert {"model", "model 1", "your labelled data"} <= set(before)
    (tmp_path / "train.de.conll").write_text("zwei O\n")
    after = runner.dependencies(item)
    assert [name for name in before if before[name] != after[name]] == ["your labelled data"]
