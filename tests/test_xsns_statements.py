"""Sensitivity, statements and drawings of part III from made-up scores and cells."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from scipy.spatial.distance import squareform
from xsns_evidence import CODES, ONLY

from langsim import agreement, claims, drawings, exhibits, figures, languages, papers, profiles, ranking, results
from langsim.fisher import FisherVector
from langsim.xsns import (
    choices,
    fits,
    mixtures,
    sensitivity,
    setting,
    statements,
    steps,
    tables,
)
from langsim.xsns.procedures import Job
from langsim.xsns.ranking_study import CENTRED, NULLS, OURS
from langsim.xsns.settings import XSNSSettings

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


def test_shares_and_sizes_are_compared_by_ranking(xsns_tasks, cells_of_shares):
    one = xsns_tasks["pos"]
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
    assert all(one.direction in claims.SIGNS and one.threshold > 0 for one in found.values())
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


def test_statements_are_decided_by_what_can_be_tested(xsns_tasks):
    facts = statements.Facts(xsns_tasks, fits=fits.all_fits(xsns_tasks))
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
    one = xsns_tasks["pos"]
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
    assert statements.shown(found.reset_index()).text.count("\n") == 2 + len(found) - 1


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
    line = next(pd.DataFrame([row | {"threshold": 3.0, "p": adjusted / 4}]).itertuples())
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


def test_drawings_show_every_number(xsns_tasks):
    frame = choices.choices_of(xsns_tasks)
    drawn = drawings.choices(choices.panels(frame, "pos", "ner"), xlabel="points")
    assert_legible(drawn)
    marks = sum(len(line.get_xdata()) for line in drawn.axes[0].lines if line.get_marker() not in ("None", ""))
    assert marks == 3 * 6 - 1, "English is no choice for itself"
    spread = {name: choices.gap_matrix(one).to_numpy().ravel() for name, one in xsns_tasks.items()}
    drawn = drawings.boxes(spread, xlabel="points", words="level")
    assert_legible(drawn)
    dots = [line for line in drawn.axes[0].lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [30, 30]


# Settings -----------------------------------------------------------------------------------------------------------


def test_mixed_are_those_of_the_run(xsns_settings):
    assert xsns_settings.mixed == (["pos"], [1])
    assert xsns_settings.model_copy(update={"mixed_seeds": [7]}).mixed == (["pos"], [0])
    assert xsns_settings.model_copy(update={"mixed_tasks": ["qa"]}).mixed == ([], [1])


def test_open_roles_are_what_the_data_has():
    assert set(languages.role("xsns-pos-open")) == set(languages.pool("xsns-pos"))
    assert set(languages.role("xsns-ner-open")) == {"de", "en", "hr", "pt", "ru", "sk", "sr-Latn", "sv", "zh"}
    assert languages.role("xsns-qa-open") == ["de", "en", "es", "hi", "ru", "tr", "zh"], "bytes: ar, th"
    assert profiles.defaults("open", XSNSSettings)["roles"] == "xsns-{task}-open"


def test_signature_names_tasks_and_model(xsns_settings):
    parts = dict(part.split(":", 1) for part in setting.signature(xsns_settings).split("|"))
    assert parts["model"].startswith("small-xlmr@") and parts["tasks"].startswith("ner+pos@")
    assert parts["tuned"] == "0+1" and parts["k"] == "0.15"
    other = setting.signature(xsns_settings.model_copy(update={"epochs": 3}))
    assert other != setting.signature(xsns_settings)


def test_what_a_run_leaves_out_is_said(xsns_settings):
    nothing = xsns_settings.model_copy(update={"compared_task": "qa"})
    assert tables.by_model(nothing) == {} and tables.table4({}).empty
    assert "leaves out the task of Table 4" in str(tables.table4_shown(tables.table4({})))
    assert tables.table4_dots(tables.table4({})) == {} == tables.table4_lines(tables.table4({}))
    assert "nothing to check" in str(setting.validity_shown(tables.model_validity({})))
    assert "nothing to check" in str(setting.validity_reading(tables.model_validity({})))
    empty = mixtures.frame({}, xsns_settings.model_copy(update={"mixed_tasks": []}))
    assert empty.empty and "`mixed_tasks`" in str(mixtures.reading(empty)) and "Nothing" in str(mixtures.table(empty))
    assert mixtures.panels(empty) == {} and "Nothing" in str(choices.summary(choices.low_frame({})))
    assert results.write_if_any("xsns-fig4", empty, signature="a:b", folder=None) == []
