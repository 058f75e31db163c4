"""From cells of part II to tables, curves and verdicts: against plain loops, on cells that were made up."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from langsim import claims, papers, profiles, results
from langsim.agreement import OPPOSITE, SAME, UNDECIDED
from langsim.errors import UsageError
from langsim.lslo import curves, directions, rows, statements, tables
from langsim.lslo.curves import Curves
from langsim.lslo.statements import UNTESTABLE
from langsim.lslo.study import Study
from langsim.lslo_settings import LSLoSettings

CODES = ["en", "fr", "es", "zh", "ja", "gl", "ne", "ky"]
TEXTS = ["one two three four five six", "seven eight nine ten eleven", "red green blue white black grey pink"]


@pytest.fixture(scope="module")
def settings():
    return profiles.resolve("mini", kind=LSLoSettings, languages=CODES, seeds=[0, 1, 2])


def clusters(everything, nll, rng, spread=0.0):
    """Three clusters of the text for every direction, whose means are these up to the spread."""
    counts = [30, 45, 25]
    lines = []
    for value in nll:
        moved = rng.normal(0, spread, 3) if spread else np.zeros(3)
        moved -= np.average(moved, weights=counts)
        lines.append(" ".join(f"{(value + shift) * count:.4f}" for shift, count in zip(moved, counts, strict=True)))
    names = {"units": ["c0", "c1", "c2"], "groups": ["-".join(one) for one in everything]}
    return names | {"sums": lines, "counts": [" ".join(map(str, counts))] * len(everything)}


def curve_of(name, number, watched, named, rng, losses):
    """Four points: before training, and after three epochs; `losses` of a pair of classes by epoch."""
    end = (watched or {}).get(name, -0.5)
    found = []
    for epoch in range(number):
        own = {"AVG": 4 + end * epoch / 3 + rng.normal(0, 0.01)}
        own |= {scope: values[epoch] for scope, values in losses.items()}
        own |= {"-".join(one): losses[label][epoch] for one, label in named.items() if label in losses}
        found.append({"epoch": epoch, "watched": own})
    return found


def made_up(settings, gains, *, noise=0.01, words=None, watched=None, apart=1.0, passes=2.0, losses=None, spread=0.0):
    """A study of Table 1 whose rows are better than the model as it came by `gains[row][pair of classes]` nats.

    That model is worse by `apart` where both languages are very-low-resource.
    """
    classes, rng = settings.classes_of(), np.random.default_rng(0)
    named = directions.labels(classes)
    everything, some = directions.everything(classes), directions.chosen(classes)
    level = {one: 4 + apart * (named[one] == "V2V") + rng.normal(0, 0.1) for one in everything}
    losses = losses or {"H2H": [4, 5, 6, 7], "V2V": [4, 3, 2, 1]}
    found = {name: of for name, of in rows.rows(settings, "lslo-table1").items() if name in gains}
    scores = {}
    for name, jobs in found.items():
        for job in jobs:
            nll = [level[one] - gains[name].get(named[one], 0.0) + rng.normal(0, noise) for one in everything]
            curve = curve_of(name, 4, watched, named, rng, losses)
            kept = (words or {}).get(name, 4)
            hypotheses = [[" ".join(text.split()[:kept]) for text in TEXTS] for _ in some]
            scores[job.id] = {
                "directions": ["-".join(one) for one in everything],
                "translated": ["-".join(one) for one in some],
                "nll": nll,
                "tokens_scored": [100] * len(nll),
                "clusters": clusters(everything, nll, rng, spread),
                "passes": passes,
                **{measure: list(rng.uniform(0, 20, len(some))) for measure in ("bleu", "chrf", "spbleu")},
                "hypotheses": hypotheses,
                "parameters": 0 if name == "Pretrain" else 1000,
                "curve": [] if name == "Pretrain" else curve,
            }
    references = dict.fromkeys(some, TEXTS)
    units = {one: ["c0", "c1", "c2"] for one in some}
    return Study(settings, "lslo-table1", "languages", found, scores, references, units)


# Tables ----------------------------------------------------------------------------------------------------------


def test_columns_are_means_over_directions_by_plain_loops(settings):
    study = made_up(settings, {"Pretrain": {}, "Ft-all": {"H2H": -0.2, "V2V": 0.5}})
    frame = tables.tidy(study).set_index(["method", "measure", "column"])
    classes = settings.classes_of()
    for measure in ("nll", "chrf"):
        sums, of_seeds = {}, []
        for job in study.rows["Ft-all"]:
            scores, cells = study.scores[job.id], {}
            for text, value in zip(
                scores["directions" if measure == "nll" else "translated"], scores[measure], strict=True
            ):
                source, target = text.split("-")
                name = f"{classes[source][0].upper()}2{classes[target][0].upper()}"
                cells.setdefault(name, []).append(value)
            columns = {name: sum(values) / len(values) for name, values in cells.items()}
            number = {
                f"{a[0].upper()}2{b[0].upper()}": sum(
                    1 for s in CODES for t in CODES if s != t and classes[s] == a and classes[t] == b
                )
                for a in set(classes.values())
                for b in set(classes.values())
            }
            whole = sum(columns[name] * number[name] for name in columns) / sum(number.values())
            of_seeds.append(columns | {"AVG": whole, "plain": sum(columns.values()) / len(columns)})
        assert sum(number.values()) == len(CODES) * (len(CODES) - 1)
        for name in of_seeds[0]:
            values = [one[name] for one in of_seeds]
            row = frame.loc["Ft-all", measure, name]
            interval = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
            assert (row["value"], row["low"], row["high"]) == pytest.approx((np.mean(values), *interval))
            sums[name] = row["value"]
        assert row["seeds"] == 3 and len(sums) == 11
    assert frame.loc[("Pretrain", "nll", "AVG"), "seeds"] == 1 and math.isnan(
        frame.loc["Pretrain", "nll", "AVG"]["low"]
    )
    assert frame.loc[("Ft-all", "spbleu", "AVG"), "published"] == 15.43
    printed = papers.matrix("lslo-table1").loc["Ft-all"].drop(["#Params", "AVG"]).astype(float)
    assert frame.loc[("Ft-all", "spbleu", "plain"), "published"] == pytest.approx(printed.mean())
    assert frame.xs("nll", level="measure")["published"].isna().all()
    assert (frame.loc["Ft-all", "nll", "AVG"]["value"] - frame.loc["Ft-all", "nll", "plain"]["value"]) != 0


def test_the_table_says_what_is_published_and_what_did_not_train(settings):
    study = made_up(settings, {"Pretrain": {}, "Ft-all": {}, "2;2;8+WL": {}}, watched={"2;2;8+WL": 0.3})
    frame = tables.tidy(study)
    shown = tables.table(frame, "spbleu")
    assert list(shown.index) == [
        "Pretrain", "Pretrain, published", "Ft-all", "Ft-all, published", "2;2;8+WL †",
        "2;2;8+WL, published",
    ]  # fmt: skip
    assert list(shown.columns)[:3] == ["AVG", "mean of columns", "H2H"] and list(shown)[-2:] == ["#Params", "seeds"]
    assert shown.columns.name == "spBLEU († did not train)"
    assert shown.loc["Ft-all, published", "H2H"] == "29.29" and shown.loc["Ft-all", "#Params"] == "0.00M"
    assert "(" in tables.table(frame, "nll").loc["Ft-all", "AVG"] and len(tables.table(frame, "nll")) == 3
    text = tables.training_reading(study).text
    assert (
        "decide nothing" in text
        and "all the same): 2;2;8+WL." in text
        and "In 6 trainings" in text
        and "read their text 2.0 times" in text
    )
    assert "less than 1 spBLEU" in tables.instrument(study, "Pretrain").text


def test_a_table_that_is_in_no_print(settings):
    study = replace(made_up(settings, {"Pretrain": {}, "4;4;4+WL": {}}), exhibit="lslo-init")
    frame = tables.tidy(study)
    assert frame["published"].isna().all() and list(tables.table(frame, "nll").index) == ["Pretrain", "4;4;4+WL"]


def test_budgets(settings):
    study = made_up(settings, {"Ft-all": {}, "2;2;8+WL": {}})
    for job in study.rows["2;2;8+WL"]:
        study.scores[job.id]["parameters"] = 250
    text = tables.budgets_reading(study, [("2;2;8+WL", "Ft-all"), ("2;2;8+WL", "no row")]).text
    assert text == "Parameters, as trained here: 2;2;8+WL has 0.25 of Ft-all's."


def test_own_ranks_leave_the_other_tables_out(settings):
    from langsim.lslo import study

    own = settings.model_copy(update={"ranks": ["2;2;8"]})
    nothing = study.study(own, "lslo-table6")
    assert not nothing.rows and tables.tidy(nothing).empty
    assert "rows of Table 1 alone" in tables.table(tables.tidy(nothing), "nll").text
    assert "rows of Table 1 alone" in tables.training_reading(nothing).text
    assert results.write_if_any("lslo-table6", tables.tidy(nothing), signature="a:b", folder=None) == []
    stated = statements.frame({"lslo-table6": nothing})
    assert set(stated["verdict"]) == {UNDECIDED} and stated["note"].str.startswith("no row").all()
    assert statements.shown(stated, "nll").text.count("undecided: no row 2;2;8") == len(stated) / 3, "three measures"


def test_epochs_against_plain_loops(settings):
    study = made_up(settings, {"Pretrain": {}, "Ft-all": {}, "2;2;8+WL": {}})
    found = Curves(study)
    assert found.rows == ["Ft-all", "2;2;8+WL"] and found.scopes == ["H2H", "V2V"]
    frame = curves.frame(found).set_index(["method", "scope", "epoch"])
    assert frame.loc["Ft-all", "H2H", 3].tolist() == [3, 3, 3] and frame.loc["Ft-all", "V2V", 0].tolist() == [0, 0, 0]
    assert found.overfitting("Ft-all", "", "H2H").estimate == 2 and found.overfitting("Ft-all", "", "V2V").estimate == 0
    assert found.overfitting("Ft-all", "2;2;8+WL", "V2V").estimate == 0
    assert found.by_direction("Ft-all", "H2H").shape == (3, 3, 6), "seeds, epochs, all directions of three languages"
    assert "Ft-all 0 (3.00)" in curves.reading(found).text and "Ft-all 3 (0.00)" in curves.reading(found).text
    assert set(curves.panels(curves.frame(found))) == {"H2H", "V2V"}


# Differences -----------------------------------------------------------------------------------------------------


def test_a_study_draws_its_texts(settings):
    """Texts that differ make the interval of a single row's mean wide; those of one row are of one text."""
    calm, wild = (made_up(settings, {"Pretrain": {}, "Ft-all": {}}, spread=spread) for spread in (0.0, 2.0))
    errors = [one.difference("Ft-all", "Pretrain", "V2V", "nll").error for one in (calm, wild)]
    assert errors[1] > 3 * errors[0]
    job = wild.rows["Ft-all"][1]
    wild.scores[job.id]["clusters"]["units"] = ["c0", "c1", "c9"]
    with pytest.raises(UsageError, match="scored on different texts"):
        wild.texts("Ft-all")


def test_scores_of_translations_by_sacrebleu(settings):
    import sacrebleu

    study = made_up(settings, {"Pretrain": {}, "Ft-all": {}}, words={"Pretrain": 2, "Ft-all": 5})
    some, named = study.directions("chrf"), directions.labels(study.classes)
    found = study.difference("Ft-all", "Pretrain", "AVG", "chrf")
    by_row = []
    for row in ("Ft-all", "Pretrain"):
        scores = study.scores[study.rows[row][0].id]
        single = {
            one: sacrebleu.corpus_chrf(texts, [TEXTS]).score
            for one, texts in zip(some, scores["hypotheses"], strict=True)
        }
        by_row.append(directions.averages(single, study.classes)["AVG"])
    assert found.estimate == pytest.approx(by_row[0] - by_row[1]) and found.low > 0
    inside = [one for one in some if named[one] == "H2H"]
    assert len(inside) == 2 and study.difference("Ft-all", "Pretrain", "H2H", "bleu").estimate > 0
    with pytest.raises(UsageError, match="no column 'X2X'; there are AVG, plain, H2H"):
        study.difference("Ft-all", "Pretrain", "X2X", "nll")


# Statements ------------------------------------------------------------------------------------------------------


def test_the_statements_are_what_is_in_print():
    found = statements.load()
    assert len({one.id for one in found}) == len(found) > 25
    for one in found:
        assert one.source.startswith("Cao et al. 2024") and one.threshold > 0 and one.unit
        assert (one.requires == "overfitting") == (one.id.startswith(("overfit", "epochs")) or "-overfit" in one.id)
        if one.test == "difference":
            table = papers.matrix(one.exhibit)
            printed = float(table.loc[one.row, one.scope]) - float(table.loc[one.baseline, one.scope])
            assert one.published == pytest.approx(printed, abs=0.005)
            assert one.direction == "equal" or np.sign(printed) == claims.SIGNS[one.direction]
        else:
            assert math.isnan(one.published) and one.direction in ("higher", "lower")


GAINS = {"Pretrain": {}, "Ft-all": {"H2H": -0.4, "V2V": 0.6}, "4;4;4+WL": {"H2H": -0.1, "V2V": 0.3}}
GAINS |= {"64;64;64+WL": {"H2H": 0.2, "V2V": 0.3}, "8;8;8+WL": {"V2V": 0.4}, "2;2;8+WL": {"H2H": 0.3, "V2V": 0.4}}


def test_verdicts_on_made_up_cells(settings):
    study = made_up(settings, GAINS, watched={"8;8;8+WL": -0.5})
    stated = statements.frame({"lslo-table1": study, "lslo-fig3": Curves(study)})
    nll = stated[stated["measure"] == "nll"].set_index("id")
    assert nll.loc["overfit-full-high", "verdict"] == SAME and nll.loc["overfit-full-high", "estimate"] < -0.3
    assert nll.loc["full-verylow", "verdict"] == SAME
    assert nll.loc["overfit-rank-high", "verdict"] == OPPOSITE, "the larger rank is better here"
    assert nll.loc["rank-verylow", "verdict"] == UNDECIDED, "no difference was made"
    assert nll.loc["small-ranks-high", "verdict"] == SAME
    assert nll.loc["small-ranks-verylow", "verdict"] == SAME, "level within the margin"
    assert nll.loc["prune-average", "note"] == "no row 2;2;8+WL+GPS(0.9) in this run"
    epochs = stated.set_index("id").loc[["epochs-high", "epochs-verylow"]]
    assert epochs["estimate"].tolist() == [2, 0] and set(epochs["verdict"]) == {SAME} and epochs["p"].isna().all()
    assert (stated["adjusted"].dropna() >= stated.loc[stated["adjusted"].notna(), "p"] - 1e-12).all()
    text = statements.reading(stated).text
    assert "By nats per token: " in text and "By chrF2" in text
    lines = statements.shown(stated, "nll").text.splitlines()
    (line,) = [one for one in lines if "Ft-all − Pretrain, H2H" in one]
    assert "<small>in print −2.47 spBLEU</small>" in line and "nats per token" in lines[0]


def test_what_each_direction_adds_sums_to_the_difference(settings):
    """In the mean of seeds and of pairs of classes, each weighted by its directions: 9 pairs, 2 directions each."""
    study = made_up(settings, {"Pretrain": {}, "Ft-all": {"V2V": 0.5}})
    named, parts = directions.labels(study.classes), study.parts("Ft-all", "Pretrain", "AVG", "chrf")
    assert len(parts) == 18 and (parts.abs().diff().dropna() <= 0).all()
    for row in ("Ft-all", "Pretrain"):
        scores = dict(zip(study.directions("chrf"), study.values(row, "chrf").mean(0), strict=True))
        sign = 1 if row == "Ft-all" else -1
        share = {one: study.counts[named[one]] / len(named) / 2 for one in scores}
        parts = parts - pd.Series({one: sign * scores[one] * share[one] for one in scores})
    assert np.allclose(parts, 0)
    parts = study.parts("Ft-all", "Pretrain", "V2V", "nll")
    assert len(parts) == study.counts["V2V"] and parts.sum() == pytest.approx(0.5, abs=0.02)


def test_verdicts_of_translations_say_on_what_they_rest(settings):
    good, poor = TEXTS[0].split(), 1
    study = made_up(settings, {"Pretrain": {}, "Ft-all": {}}, words={"Ft-all": len(good), "Pretrain": poor})
    stated = statements.frame({"lslo-table1": study})
    decided = stated[stated["measure"].isin(("chrf", "spbleu")) & stated["verdict"].isin((SAME, OPPOSITE))]
    text = statements.directions_reading(stated, {"lslo-table1": study}).text
    assert text.count("directions go this way") == len(decided) > 0
    stated["verdict"] = UNDECIDED
    assert statements.directions_reading(stated, {"lslo-table1": study}).text.startswith("No statement")


def test_a_row_that_did_not_train_decides_nothing(settings):
    study = made_up(settings, GAINS, watched={"Ft-all": 0.2})
    stated = statements.frame({"lslo-table1": study}).set_index(["id", "measure"])
    row = stated.loc["overfit-full-high", "nll"]
    assert row["verdict"] == UNDECIDED and row["note"] == "Ft-all did not train" and row["estimate"] < -0.3


def test_overfitting_is_not_decided_by_the_warm_up(settings):
    """A loss that rises at first and falls to the end was never overfitted; one that is level is not either."""
    falls, level = [4.0, 5.0, 3.0, 2.0], [4.0, 3.0, 3.0, 3.01]
    for h2h, verdict, estimate in (
        (falls, OPPOSITE, 0),
        (level, OPPOSITE, 0.01),
        ([4.0, 3.0, 3.2, 3.4], SAME, 0.4),
    ):
        study = made_up(settings, {"Pretrain": {}, "Ft-all": {}}, losses={"H2H": h2h, "V2V": h2h})
        stated = statements.frame({"lslo-fig3": Curves(study)}).set_index("id")
        assert stated.loc["epochs-high", "estimate"] == pytest.approx(estimate)
        assert stated.loc["epochs-high", "verdict"] == verdict
        assert stated.loc["epochs-verylow", "verdict"] == {SAME: OPPOSITE, OPPOSITE: SAME}[verdict]
    assert statements.decided_beyond(0.04, 0.2, 0.05, 1) == statements.decided_beyond(0.04, 0.2, 0.05, -1) == UNDECIDED
    first, second, *_ = statements.shown(stated).text.splitlines()[2:]
    assert "stated: higher" in first and "stated: lower" in second


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"apart": -1.0}, "does not know the first class better"), ({"passes": 0.4}, "Ft-all read its text 0.4 times")],
)
def test_overfitting_has_a_precondition(settings, changes, word):
    rows_of = {"Pretrain": {}, "Ft-all": {"H2H": -0.4, "V2V": 0.6}, "4;4;4+WL": {}}
    study = made_up(settings, rows_of, **changes)
    stated = statements.frame({"lslo-table1": study, "lslo-fig3": Curves(study)})
    needs = stated["id"].isin(["overfit-full-high", "epochs-high", "epochs-verylow"])
    assert set(stated[needs]["verdict"]) == {UNTESTABLE} and stated[needs]["note"].str.contains(word).all()
    assert stated[needs]["p"].isna().all(), "no test, and so none of those that are corrected for"
    assert stated[needs]["estimate"].notna().all()
    assert UNTESTABLE not in set(stated[~needs]["verdict"]) and UNTESTABLE in statements.reading(stated).text
    fine = statements.frame({"lslo-table1": made_up(settings, rows_of)})
    assert UNTESTABLE not in set(fine["verdict"]) and UNTESTABLE not in statements.reading(fine).text


def test_languages_are_compared_by_the_nats_of_a_text_and_not_of_a_token(settings):
    study = made_up(settings, {"Pretrain": {}, "Ft-all": {}}, apart=-1.0, spread=0.1)
    assert study.separation().low > 0 and study.untestable([])
    named = directions.labels(study.classes)
    order = [named[one] for one in study.directions("nll")]
    scores = study.scores[study.rows["Pretrain"][0].id]
    kept = scores["clusters"]
    for i in [i for i, label in enumerate(order) if label == "V2V"]:  # twice as many tokens, each as likely as before
        scores["tokens_scored"][i] *= 2
        for name in ("sums", "counts"):
            kept[name][i] = " ".join(str(2 * float(value)) for value in kept[name][i].split())
    nats = {"H2H": [], "V2V": []}
    for label, line in zip(order, scores["clusters"]["sums"], strict=True):
        if label in nats:
            nats[label].append(sum(map(float, line.split())) / len(TEXTS))
    found = study.separation()
    assert found.estimate == pytest.approx(np.mean(nats["H2H"]) - np.mean(nats["V2V"]), abs=1e-3)
    assert found.low < found.estimate < found.high < 0 and not study.untestable([])
    assert "overfitting can be looked for" in tables.precondition_reading(study).text


@pytest.mark.parametrize(
    ("p", "family", "sure"),
    [(0.003, 14, False), (0.0005, 14, True), (0.03, 1, True), (0.049, 1, False), (0.2, 1, False)],
)
def test_chance_of_the_bootstrap_decides_nothing(p, family, sure):
    """Two standard errors of a share of 2,000 draws on top."""
    assert claims.decided_sign(1.0, p, min(1.0, family * p), 1) == (SAME if sure else UNDECIDED)
    assert claims.decided_sign(1.0, p, min(1.0, family * p), -1) == (OPPOSITE if sure else UNDECIDED)
    assert sure == (family * (p + 2 * math.sqrt(p * (1 - p) / 2000)) < 0.05)


def test_columns_of_one_training_are_not_compared(settings):
    study = made_up(settings, GAINS)
    assert "No two rows" in tables.coincidence_reading(study).text
    named = directions.labels(study.classes)
    for ours, theirs in zip(study.rows["2;2;8+WL"], study.rows["8;8;8+WL"], strict=True):
        for i, one in enumerate(study.directions("nll")):
            if named[one].endswith("2V"):
                study.scores[ours.id]["nll"][i] = study.scores[theirs.id]["nll"][i]
    stated = statements.frame({"lslo-table1": study}).set_index(["id", "measure"])
    assert stated.loc["small-ranks-verylow", "nll"]["verdict"] == UNDECIDED
    assert stated.loc["small-ranks-verylow", "nll"]["note"] == "the same numbers by construction"
    assert not stated.loc["small-ranks-high", "nll"]["note"]
    assert "2;2;8+WL and 8;8;8+WL in H2V, M2V, V2V" in tables.coincidence_reading(study).text.replace(
        "8;8;8+WL and 2;2;8+WL", "2;2;8+WL and 8;8;8+WL"
    )


def test_rows_of_one_architecture_are_not_compared(settings):
    study = made_up(settings, GAINS)
    twins = {a.id: b.id for a, b in zip(study.rows["8;8;8+WL"], study.rows["2;2;8+WL"], strict=True)}
    stated = statements.frame({"lslo-table1": replace(study, twins=twins)}).set_index(["id", "measure"])
    row = stated.loc["small-ranks-high", "nll"]
    assert row["verdict"] == UNDECIDED and row["note"] == "the same architecture"
    told = tables.alike_reading(replace(study, twins=twins), {"8;8;8+WL": "2;2;8+WL", "4;4;4+WL": "2;2;8+WL"}).text
    assert told.startswith("The same architecture, and so one training: 8;8;8+WL and 2;2;8+WL.")
    assert "different architectures" in tables.alike_reading(study, {"8;8;8+WL": "2;2;8+WL"}).text


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(-0.01, 0.015, SAME), (-0.01, 0.03, UNDECIDED), (0.03, 0.05, OPPOSITE), (-1, -0.5, OPPOSITE)],
)
def test_level(low, high, word):
    assert claims.decided_level(low, high, 0.02) == word


def test_order_of_rows(settings):
    study = made_up(
        settings, {name: dict.fromkeys(("H2H", "V2V"), gain) for name, gain in zip(GAINS, range(6), strict=True)}
    )
    assert "Rank correlation of AVG" in tables.order_reading(study).text
    few = made_up(settings, {"Pretrain": {}, "Ft-all": {}})
    assert "Too few" in tables.order_reading(few).text
    assert isinstance(tables.against(study, "Pretrain")["AVG"], pd.DataFrame)
