"""From cells of part II to tables, curves and verdicts: against plain loops, on cells that were made up."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from langsim import papers, profiles
from langsim.agreement import OPPOSITE, SAME, UNDECIDED
from langsim.errors import UsageError
from langsim.lslo import curves, directions, intervals, rows, statements, tables
from langsim.lslo.curves import Curves
from langsim.lslo.study import Study
from langsim.lslo_settings import LSLoSettings

CODES = ["en", "fr", "es", "zh", "ja", "gl", "ne", "ky"]
TEXTS = ["one two three four five six", "seven eight nine ten eleven", "red green blue white black grey pink"]


@pytest.fixture(scope="module")
def settings():
    return profiles.resolve("mini", kind=LSLoSettings, languages=CODES, seeds=[0, 1, 2])


def made_up(settings, gains, *, noise=0.01, words=None, watched=None):
    """A study of Table 1 whose rows are better than the model as it came by `gains[row][pair of classes]` nats."""
    classes, rng = settings.classes_of(), np.random.default_rng(0)
    named = directions.labels(classes)
    everything, some = directions.everything(classes), directions.chosen(classes)
    level = {one: 4 + rng.normal(0, 0.3) for one in everything}
    found = {name: of for name, of in rows.rows(settings, "lslo-table1").items() if name in gains}
    scores = {}
    for name, jobs in found.items():
        for job in jobs:
            nll = [level[one] - gains[name].get(named[one], 0.0) + rng.normal(0, noise) for one in everything]
            end = (watched or {}).get(name, -0.5)
            curve = [
                {"epoch": e, "watched": {"AVG": 4 + end * e / 3 + rng.normal(0, 0.01), "H2H": 4.0 + e, "V2V": 4.0 - e}}
                for e in range(4)
            ]
            kept = (words or {}).get(name, 4)
            hypotheses = [[" ".join(text.split()[:kept]) for text in TEXTS] for _ in some]
            scores[job.id] = {
                "directions": ["-".join(one) for one in everything],
                "translated": ["-".join(one) for one in some],
                "nll": nll,
                **{measure: list(rng.uniform(0, 20, len(some))) for measure in ("bleu", "chrf", "spbleu")},
                "hypotheses": hypotheses,
                "parameters": 0 if name == "Pretrain" else 1000,
                "curve": [] if name == "Pretrain" else curve,
            }
    references = dict.fromkeys(some, TEXTS)
    units = {one: [f"u{i}" for i in range(len(TEXTS))] for one in some}
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
    assert "decide nothing: 2;2;8+WL." in text and "In 6 trainings" in text
    assert "less than 1 BLEU" in tables.instrument(study, "Pretrain").text


def test_own_ranks_leave_the_other_tables_out(settings):
    from langsim.lslo import study

    own = settings.model_copy(update={"ranks": ["2;2;8"]})
    nothing = study.study(own, "lslo-table6")
    assert not nothing.rows and tables.tidy(nothing).empty
    assert "rows of Table 1 alone" in tables.table(tables.tidy(nothing), "nll").text
    assert "rows of Table 1 alone" in tables.training_reading(nothing).text
    assert tables.write_result("lslo-table6", tables.tidy(nothing), signature="a:b", folder=None) == []
    stated = statements.frame({"lslo-table6": nothing})
    assert set(stated["verdict"]) == {UNDECIDED} and stated["note"].str.startswith("no row").all()
    assert statements.table(stated, "nll")["verdict"].str.contains("no row 2;2;8").all()


def test_epochs_against_plain_loops(settings):
    study = made_up(settings, {"Pretrain": {}, "Ft-all": {}, "2;2;8+WL": {}})
    found = Curves(study)
    assert found.rows == ["Ft-all", "2;2;8+WL"] and found.scopes == ["H2H", "V2V"]
    frame = curves.frame(found).set_index(["method", "scope", "epoch"])
    assert frame.loc["Ft-all", "H2H", 3].tolist() == [3, 3, 3] and frame.loc["Ft-all", "V2V", 0].tolist() == [0, 0, 0]
    assert found.late("Ft-all", "H2H").tolist() == [2, 2, 2] and found.rise("Ft-all", "2;2;8+WL", "V2V").estimate == 0
    assert "Ft-all 0 (3.00)" in curves.reading(found).text and "Ft-all 3 (0.00)" in curves.reading(found).text
    assert set(curves.panels(curves.frame(found))) == {"H2H", "V2V"}


# Intervals -------------------------------------------------------------------------------------------------------


def test_seeds_are_students(settings):
    values = [0.3, 0.5, 0.1]
    found, oracle = intervals.over_seeds(values), stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(oracle.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval()))
    alone = intervals.over_seeds([0.3])
    assert alone.estimate == 0.3 and math.isnan(alone.p) and math.isnan(alone.low)
    assert intervals.over_seeds([0.2, 0.2]).p == 0 and intervals.over_seeds([0.0, 0.0]).p == 1


def test_directions_by_a_slow_bootstrap():
    """Languages of each class drawn for both sides, seeds with them: the same spread by a loop of its own."""
    classes = {"a": "high", "b": "high", "c": "high", "d": "low", "e": "low", "f": "low"}
    named, rng = directions.labels(classes), np.random.default_rng(3)
    all_of_them = directions.everything(classes)
    sources, targets = ({code: rng.normal() for code in classes} for _ in range(2))
    ours = np.array([[sources[s] + targets[t] + rng.normal() for s, t in all_of_them] for _ in range(3)])
    theirs = np.array([[rng.normal() for _ in all_of_them] for _ in range(3)])
    scope = {"H2H": 0.25, "L2L": 0.75}
    found = intervals.over_directions(ours, theirs, all_of_them, classes, scope)
    plain = sum(
        weight * np.mean([(ours - theirs)[:, i].mean() for i, one in enumerate(all_of_them) if named[one] == name])
        for name, weight in scope.items()
    )
    assert found.estimate == pytest.approx(plain)
    drawn, slow = [], np.random.default_rng(99)
    members = [[code for code in classes if classes[code] == name] for name in ("high", "low")]
    while len(drawn) < 1500:
        picked = [[c for group in members for c in slow.choice(group, len(group))] for _ in range(2)]
        seeds, total = slow.choice(3, 3), 0.0
        for name, weight in scope.items():
            cells = [
                (ours[k, i] - theirs[k, i])
                for k in seeds
                for s in picked[0]
                for t in picked[1]
                if s != t and named[s, t] == name
                for i in [all_of_them.index((s, t))]
            ]
            total += weight * (np.mean(cells) if cells else math.nan)
        if math.isfinite(total):
            drawn.append(total)
    assert found.error == pytest.approx(np.std(drawn, ddof=1), rel=0.1)
    assert (found.low, found.high) == pytest.approx(
        tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.15 * found.error * 4
    )
    same = intervals.over_directions(ours, ours, all_of_them, classes, scope)
    assert (same.estimate, same.low, same.high, same.p) == (0, 0, 0, 1)
    with pytest.raises(UsageError, match="no direction L2X"):
        intervals.over_directions(ours, None, all_of_them, classes, {"L2X": 1})
    with pytest.raises(UsageError, match="one line a seed of 30 numbers"):
        intervals.over_directions(ours[:, :3], None, all_of_them, classes, scope)


def test_permutations_by_brute_force():
    rng = np.random.default_rng(0)
    mean = rng.normal(size=8)
    inside = [True, False, True, False, False, False, True, False]
    apart = mean[inside].mean() - mean[~np.array(inside)].mean()
    ways = [
        mean[list(chosen)].mean() - np.delete(mean, list(chosen)).mean()
        for chosen in itertools.combinations(range(8), 3)
    ]
    two_sided = min(1, 2 * min(np.mean(np.array(ways) >= apart - 1e-9), np.mean(np.array(ways) <= apart + 1e-9)))
    assert intervals.exchanged(inside)(mean) == pytest.approx(two_sided)
    signs = [np.mean(mean * s) for s in itertools.product((1, -1), repeat=8)]
    two_sided = min(1, 2 * min(np.mean(np.array(signs) >= mean.mean() - 1e-9), np.mean(signs <= mean.mean() + 1e-9)))
    assert intervals.flipped(mean) == pytest.approx(two_sided)
    assert math.isnan(intervals.exchanged([True] * 8)(mean)) and math.isnan(intervals.flipped(mean[:1]))


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
        if one.test == "difference":
            table = papers.matrix(one.exhibit)
            printed = float(table.loc[one.row, one.scope]) - float(table.loc[one.baseline, one.scope])
            assert one.published == pytest.approx(printed, abs=0.005)
            assert one.direction == "equal" or np.sign(printed) == statements.SIGNS[one.direction]
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
    assert epochs["estimate"].tolist() == [2, -2] and set(epochs["verdict"]) == {SAME}
    assert (stated["adjusted"].dropna() >= stated.loc[stated["adjusted"].notna(), "p"] - 1e-12).all()
    text = statements.reading(stated).text
    assert "By nats per token: " in text and "By chrF2" in text
    assert statements.table(stated, "nll").loc["Ft-all − Pretrain, H2H", "published"] == "-2.47"


def test_a_row_that_did_not_train_decides_nothing(settings):
    study = made_up(settings, GAINS, watched={"Ft-all": 0.2})
    stated = statements.frame({"lslo-table1": study}).set_index(["id", "measure"])
    row = stated.loc["overfit-full-high", "nll"]
    assert row["verdict"] == UNDECIDED and row["note"] == "Ft-all did not train" and row["estimate"] < -0.3


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(-0.01, 0.015, SAME), (-0.01, 0.03, UNDECIDED), (0.03, 0.05, OPPOSITE), (-1, -0.5, OPPOSITE)],
)
def test_level(low, high, word):
    assert statements.decided_level(low, high, 0.02) == word


def test_order_of_rows(settings):
    study = made_up(
        settings, {name: dict.fromkeys(("H2H", "V2V"), gain) for name, gain in zip(GAINS, range(6), strict=True)}
    )
    assert "Rank correlation of AVG" in tables.order_reading(study).text
    few = made_up(settings, {"Pretrain": {}, "Ft-all": {}})
    assert "Too few" in tables.order_reading(few).text
    assert isinstance(tables.against(study, "Pretrain")["AVG"], pd.DataFrame)
