"""The audit of the papers against recomputations by plain loops, rounding against brute force, verdicts by example."""

import csv
import itertools
import math
import random
import statistics

import pandas as pd
import pytest

from langsim import paper_audit, paper_audit_study, papers, paths, results, rounding
from langsim.errors import Failure, UsageError
from langsim.paper_audit import AGREES, DIFFERS, EXCEPTIONS, HOLDS, LOST, POSSIBLE, Line
from langsim.paper_cells import FORMULAS, cells
from langsim.rounding import Count, Interval

TARGETS = ("fa", "hi", "bn", "id", "ms")
TASKS = ("NER", "POS", "NLI", "PI", "QA")
LSLO = ("lslo-table1", "lslo-table2", "lslo-table6", "lslo-table7")
UNIT = 2 * 1024 * (12 * 5 + 12 * 8)  # parameters of a unit of rank, in the authors' code: A and B on 156 matrices


@pytest.fixture(scope="module")
def found():
    return paper_audit.frame()


@pytest.fixture(scope="module")
def judged(found):
    return paper_audit.judged(found).set_index("id")


def table(name):
    """Row -> column -> value by the csv module alone; the keys are tuples where an axis has several columns."""
    rows = {}
    with open(paths.DATA / "papers" / f"{name}.csv", newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            axes = papers.TABLES[name]
            key = tuple(line[one] for one in (*axes.rows, *axes.columns))
            rows[key] = float(line["value"]) if line["value"] else None
    return rows


def reading(found, id, words):
    (row,) = found[(found["id"] == id) & (found["reading"] == words)].itertuples()
    return row


# The file


def test_every_formula_is_used_and_every_one_that_is_named_exists():
    named = {line.formula for line in paper_audit.lines()} - {""}
    assert named == set(FORMULAS)


def test_statements_are_told_once_and_name_their_source():
    by_id = {}
    for line in paper_audit.lines():
        by_id.setdefault(line.id, []).append(line)
        assert line.id.startswith(f"{line.paper}-") and line.source.split(", ")[1].startswith("arXiv 2")
        assert line.reading and line.statement
    for lines in by_id.values():
        shared = {(line.statement, line.printed, line.unit, line.kind, line.source) for line in lines}
        assert len(shared) == 1 and len({line.reading for line in lines}) == len(lines)
        assert all(line.formula for line in lines) or len(lines) == 1


def test_derived_cells_are_those_of_the_tables_and_all_of_them():
    listed = {line.id: line.printed for line in paper_audit.lines() if line.kind == "cell"}
    pf, seen, expected = cells("pf-table2"), set(), {"lslo-base": cells("lslo-table1")["Ft-all", "#Params"]}
    expected |= {f"pf-avg-{row}": value for (row, column), value in pf.items() if column == "Avg."}
    for name in LSLO:
        printed = cells(name)
        for method in dict.fromkeys(row for row, _ in printed):
            numbers = (name == "lslo-table2", *(value for (row, _), value in printed.items() if row == method))
            if numbers not in seen:  # rows that a later table repeats count once
                seen.add(numbers)
                expected[f"lslo-avg-{name[-1]}-{method}"] = printed[method, "AVG"]
                if ";" in method:
                    expected[f"lslo-params-{name[-1]}-{method}"] = printed[method, "#Params"]
    assert listed == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(",plain_mean,", ",plain_maen,", 1), r"formula: unknown 'plain_maen'.*'plain_mean'"),
        (lambda text: text.replace("id,paper,kind", "id,paper,sort", 1), "no column kind"),
        (lambda text: text.replace("\npf-over-lf,pf,", "\npf-over-lf,pg,", 1), "paper 'pg'"),
        (lambda text: text + "a,b\n", "expected 10 cells"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, monkeypatch, change, message):
    text = paper_audit.path().read_text(encoding="utf-8")
    (tmp_path / "claims").mkdir()
    monkeypatch.setattr(paths, "DATA", tmp_path)
    with pytest.raises(Failure, match=r"audit\.csv is missing"):
        paper_audit.lines()
    (tmp_path / "claims" / "audit.csv").write_text(change(text), encoding="utf-8")
    with pytest.raises(Failure, match=message) as raised:
        paper_audit.lines()
    assert "\n" not in str(raised.value)


def line(printed="1.0", formula="gain", of="pf-table2 | Overlap | LF | Avg."):
    return Line("pf-x", "pf", "text", "a statement", printed, "BLEU", "a reading", formula, of, "somewhere")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (line(of="pf-table2 | Overlap | LF"), r"gain can't be applied to 'pf-table2 \| Overlap \| LF'"),
        (line(of="pf-table22 | Overlap | LF | Avg."), "did you mean pf-table2"),
        (line(of="pf-table2 | Overlapp | LF | Avg."), "nothing in print in row 'Overlapp'"),
        (line(formula="parameters", of="lslo-table1 | 2;2;9 | slice"), "can't be applied"),
        (line(printed="about one"), "not a printed number: 'about one'"),
    ],
)
def test_what_can_not_be_computed_is_one_line(given, message):
    with pytest.raises(Failure, match=message) as raised:
        paper_audit.frame([given])
    assert "\n" not in str(raised.value)


# Numbers, by plain loops


def test_gains_of_the_first_paper(found):
    bleu = table("pf-table2")
    means = {m: sum(bleu[m, t] for t in TARGETS) / 5 for m in ("FT", "LF", "LF+FT", "KL", "MSE", "Overlap")}
    for base, id in (("LF", "pf-over-lf"), ("FT", "pf-over-ft"), ("LF+FT", "pf-over-lfft")):
        ours = reading(found, id, "Overlap, averages recomputed")
        assert ours.value == pytest.approx(means["Overlap"] - means[base])
        assert (ours.low, ours.high) == pytest.approx((ours.value - 0.1, ours.value + 0.1))
        three = reading(found, id, "mean of the three methods, recomputed")
        assert three.value == pytest.approx((means["KL"] + means["MSE"] + means["Overlap"]) / 3 - means[base])
        rounded = reading(found, id, "Overlap, printed averages")
        assert rounded.value == pytest.approx(bleu["Overlap", "Avg."] - bleu[base, "Avg."])


def test_averages_of_the_second_paper_direction_by_direction(found):
    groups = {"lslo-table2": "H" * 7 + "M" * 9 + "L" * 8 + "V" * 6}
    for name in LSLO:
        scores, languages = table(name), groups.get(name, "HHHHMMMMVVVV")
        pairs = [f"{a}2{b}" for (i, a), (j, b) in itertools.product(enumerate(languages), repeat=2) if i != j]
        for row in found[(found["formula"] == "direction_mean") & found["of"].str.startswith(name)].itertuples():
            method = row.of.split(" | ")[1]
            assert row.value == pytest.approx(statistics.fmean(scores[method, group] for group in pairs))
            plain = found[(found["of"] == row.of) & (found["formula"] == "plain_mean")].iloc[0]
            assert plain["value"] == pytest.approx(statistics.fmean(scores[method, g] for g in dict.fromkeys(pairs)))


def test_parameters_and_shares(found, judged):
    for row in found[found["formula"] == "parameters"].itertuples():
        name, method, span = row.of.split(" | ")
        if span == "full":
            continue
        sizes = (7, 9, 8, 6) if name == "lslo-table2" else (4, 4, 4)
        rank = sum(int(r) * n for r, n in zip(method.split("+")[0].split(";"), sizes, strict=True))
        fc_only = name == "lslo-table7"  # rows with a star are those of Table 1 and counted there
        assert row.value == pytest.approx(rank * (2 * 1024 * 24 * 2 if fc_only else UNIT) / 1e6)
        assert row.low == row.value == row.high
    assert judged.loc["lslo-share-12", "value"] == pytest.approx(100 * 15.3 / 615)
    assert judged.loc["lslo-share-high", "value"] == pytest.approx(100 * 4 * 2 * UNIT / 615e6)
    alone = reading(found, "lslo-share-low", "the very-low-resource class")
    assert alone.value == pytest.approx(100 * 4 * 8 * UNIT / 615e6) and alone.cut_off
    assert judged.loc["lslo-share-low", "value"] == pytest.approx(100 * 4 * 8 * UNIT / (615e6 + 15.3e6))
    pruned = reading(found, "lslo-share-high", "both classes together, 10% of LoRA left")
    assert pruned.value == pytest.approx(100 * 0.1 * 8 * 2 * UNIT / 615e6)


def test_readings_of_the_ndcg_gain(found):
    ndcg = table("xsns-table2")
    ours = [ndcg[task, "X-SNS", "NDCG@3"] for task in TASKS]
    best = [max(ndcg[task, method, "NDCG@3"] for method in ("L2V", "LEX", "SuE", "EMB")) for task in TASKS]
    emb = [ndcg[task, "EMB", "NDCG@3"] for task in TASKS]
    expected = {
        "points over the best baseline of each task": (sum(ours) - sum(best)) / 5,
        "percent over the best baseline, mean of the tasks": statistics.fmean(
            100 * (a / b - 1) for a, b in zip(ours, best, strict=True)
        ),
        "percent, mean over tasks against that of the best baselines": 100 * (sum(ours) / sum(best) - 1),
        "points over EMB": (sum(ours) - sum(emb)) / 5,
        "percent over EMB, mean over tasks": 100 * (sum(ours) / sum(emb) - 1),
    }
    own = found[found["id"] == "xsns-ndcg"].set_index("reading")
    assert own["value"].to_dict() == pytest.approx(expected)
    assert own.index[own["verdict"] == AGREES].tolist() == [own.index[2]] == own.index[own["chosen"]].tolist()


# Statements about several cells, by plain loops


def exceptions(found, id, words):
    row = reading(found, id, words)
    return int(row.cases), [text.split(":")[0] for text in row.listed.split("; ")] if row.listed else []


def test_exceptions_of_the_first_paper(found):
    bleu = table("pf-table2")
    lost = [f"{m}, {t}" for m in ("KL", "MSE", "Overlap") for t in TARGETS if bleu[m, t] <= bleu["LF", t]]
    assert exceptions(found, "pf-uplift", "with every target") == (15, lost)
    assert "KL, hi" in lost and "Overlap, hi" in lost and len(lost) == 4
    level = [f"LF+FT, {t}" for t in TARGETS if bleu["LF+FT", t] == bleu["LF", t]]
    assert exceptions(found, "pf-lfft", "its score is another than LF's, with every target") == (5, level)


def test_exceptions_of_the_third_paper(found):
    scores, lost = table("xsns-table2"), []
    metrics = ("Pearson", "Spearman", "Top 1", "NDCG@3")
    for task, metric in itertools.product(TASKS, metrics):
        if max(("L2V", "LEX", "SuE", "EMB", "X-SNS"), key=lambda method: scores[task, method, metric]) != "X-SNS":
            lost.append(f"X-SNS, {task} {metric}")
    assert exceptions(found, "xsns-consistent", "higher than every baseline, each task and metric") == (20, lost)
    assert len(lost) == 3
    size, wrong, cases = {task: scores[task, "L2V", "languages"] for task in TASKS}, {1: 0, 9: 0}, 0
    for name in ("xsns-table1", "xsns-table2", "xsns-table3", "xsns-table4"):
        for key, value in table(name).items():
            if "Top 1" in key and value is not None:
                cases += 1
                of = next((part for part in key if part in size), "NER")
                for runs in wrong:
                    shares = [round(100 * hits / (runs * size[of]), 2) for hits in range(int(runs * size[of]) + 1)]
                    wrong[runs] += min(abs(share - value) for share in shares) > 1e-6
    words = "a whole number of targets times 9 combinations of seeds: evaluated first, then averaged"
    first = reading(found, "xsns-seeds", "every Top 1 is a whole number of targets")
    assert (int(first.cases), int(first.exceptions)) == (cases, wrong[1])
    assert int(reading(found, "xsns-seeds", words).exceptions) == wrong[9] == 0


def test_exceptions_of_the_second_paper(found):
    seventh = table("lslo-table7")
    pairs = (("2;2;32+WL+GPS(0.9)", "2;2;8+WL+GPS(0.9)*"), ("2;2;64+WL+GPS(0.9)", "2;2;16+WL+GPS(0.9)*"))
    groups = [f"{a}2{b}" for a in "HMV" for b in "HMV"]
    lost = [f"{fc}, {group}" for fc, full in pairs for group in groups if seventh[fc, group] <= seventh[full, group]]
    rows = found[found["id"] == "lslo-fc"]
    assert exceptions(found, "lslo-fc", rows["reading"].iloc[0]) == (18, lost) and len(lost) == 4
    first = table("lslo-table1")
    ranks = [f"{r};{r};{r}+WL" for r in (4, 8, 16, 64)]
    falls = [
        f"{small}, {group}"
        for small, large in itertools.pairwise(ranks)
        for group in groups
        if "V" in group and first[small, group] >= first[large, group]
    ]
    words = "every group with V rises from rank 4 to 8, 16, 64"
    assert exceptions(found, "lslo-rank-low", words) == (15, falls)


def test_lost_cells_are_left_out_and_counted(found):
    row = reading(found, "xsns-mer", "each task")
    rmse = table("xsns-table3")
    both = [t for t in TASKS if None not in (rmse["X-SNS + MER", t, "RMSE"], rmse["X-SNS + OLS", t, "RMSE"])]
    assert (int(row.cases), int(row.lost)) == (len(both), 5 - len(both)) == (2, 3)


# Rounding


def perturbed(monkeypatch, generator, corner=None):
    """Every printed number moved at random within its rounding, or to where `corner` says; ids of tables stay."""

    def moved(text):
        half, value = rounding.half_unit(text), float(text)
        shift = generator.uniform(-half, half) if corner is None else half * next(corner)
        return rounding.exact(value + shift)

    from langsim import paper_cells

    monkeypatch.setattr(paper_cells, "printed", moved)


NUMERIC = (
    ("gain_of_plain_means", ("pf-table2", "KL, MSE, Overlap", "LF")),
    ("direction_mean", ("lslo-table7", "2;2;32+WL+GPS(0.9)")),
    ("gain_of_direction_means", ("lslo-table2", "2;2;8;8+WL+GPS(0.9)", "Ft-all")),
    ("largest_gain", ("lslo-table1, lslo-table2", "Ft-all", "AVG")),
    ("percent_over_best", ("xsns-table2", "X-SNS", "L2V, LEX, SuE, EMB", "* NDCG@3")),
    ("mean_percent_over_best", ("xsns-table2", "X-SNS", "L2V, LEX, SuE, EMB", "* NDCG@3")),
    ("percent_of_all", ("lslo-table2", "2;2;8;8+WL+GPS(0.9)", "Ft-all")),
    ("class_percent_of_all", ("lslo-table1", "2;2;8+WL+GPS(0.9)", "Ft-all", "Very-Low")),
    ("parameters_in_proportion", ("lslo-table1", "64;64;64+WL", "4;4;4+WL")),
)


@pytest.mark.parametrize(("name", "arguments"), NUMERIC, ids=[name for name, _ in NUMERIC])
def test_rounding_permits_what_perturbed_inputs_give_and_no_more(name, arguments, monkeypatch):
    ours, generator = FORMULAS[name](*arguments), random.Random(0)
    values, calls = [], itertools.count()
    for _ in range(30):
        perturbed(monkeypatch, generator)
        values.append(FORMULAS[name](*arguments).value)
    assert ours.low <= min(values) and max(values) <= ours.high and len(set(values)) > 1
    # The ends: every input moved to whichever side raises the result (climbing one input after the other).
    counted = []
    perturbed(monkeypatch, generator, (counted.append(next(calls)) or 0.0 for _ in itertools.count()))
    assert FORMULAS[name](*arguments).value == pytest.approx(ours.value)
    size = len(counted)
    for sign, end in ((1, ours.high), (-1, ours.low)):
        corner = [0.0] * size
        for place in range(size):
            tried = {}
            for side in (-1.0, 1.0):
                perturbed(monkeypatch, generator, iter([*corner[:place], side, *corner[place + 1 :]]))
                tried[side] = FORMULAS[name](*arguments).value
            corner[place] = max(tried, key=lambda side: sign * tried[side])
        perturbed(monkeypatch, generator, iter(corner))
        assert FORMULAS[name](*arguments).value == pytest.approx(end, rel=1e-9)


def test_half_units_and_intervals():
    assert [rounding.half_unit(text) for text in ("615", "15.3", "-2.47", "9.30")] == [0.5, 0.05, 0.005, 0.005]
    below = rounding.printed("-2.47")
    assert (below.value, below.low, below.high) == pytest.approx((-2.47, -2.475, -2.465))
    far, near = Interval(3, 2, 4), Interval(2.5, 2.4, 4.6)
    assert rounding.largest([far, near]) == Interval(3, 2.4, 4.6)
    assert far - near == Interval(0.5, 2 - 4.6, 4 - 2.4)
    with pytest.raises(Failure, match="not a printed number: ''"):
        rounding.printed("")


# Verdicts


@pytest.mark.parametrize(
    ("value", "slack", "printed", "expected", "outside"),
    [
        (1.64, 0.1, "1.7", POSSIBLE, 0),
        (1.66, 0.0, "1.7", AGREES, 0),
        (1.65, 0.0, "1.7", AGREES, 0),  # half way: to either side
        (1.65, 0.0, "1.6", AGREES, 0),
        (1.6499, 0.0, "1.7", DIFFERS, 0.0001),
        (1.6499, 0.0001, "1.7", POSSIBLE, 0),  # its end touches
        (1.80, 0.02, "1.7", DIFFERS, -0.03),
        (-2.47, 0.01, "-2.47", AGREES, 0),
        (7.48, 0.0, "7", AGREES, 0),
        (2.48, 0.01, "2.25", DIFFERS, -0.215),
    ],
)
def test_verdicts_on_numbers(value, slack, printed, expected, outside):
    ours = Interval(value, value - slack, value + slack)
    assert paper_audit.verdict(ours, printed) == expected
    assert rounding.beyond(ours, printed) == pytest.approx(outside)


def test_verdicts_on_counts_and_on_what_is_not_in_print():
    assert paper_audit.verdict(Count(3), "all") == HOLDS
    assert paper_audit.verdict(Count(3, ("one",)), "all") == EXCEPTIONS
    assert paper_audit.verdict(None, "11") == LOST


@pytest.mark.parametrize(
    ("value", "printed", "expected"),
    [
        (14.156, "14.1", True),
        (14.14, "14.1", False),
        (7.86, "7.7", False),
        (-1.66, "-1.6", True),
        (14.2, "14.1", False),
    ],
)
def test_digits_that_are_cut_off(value, printed, expected):
    assert rounding.cut_off(rounding.exact(value), printed) is expected


def test_the_first_reading_that_agrees_decides_and_the_nearest_of_those_that_differ():
    def chosen(printed):
        readings = ("Overlap | LF", "Overlap | FT", "KL | Vanilla")  # 1.7, 1.1, 12.5, each by +-0.1
        lines = [line(printed=printed, of=f"pf-table2 | {of} | Avg.") for of in readings]
        table = paper_audit.frame(lines)
        return [(row.place, row.tried, row.verdict) for row in paper_audit.judged(table).itertuples()]

    assert chosen("1.1") == [(2, 3, AGREES)]
    assert chosen("1.2") == [(2, 3, POSSIBLE)]
    assert chosen("12.5") == [(3, 3, AGREES)]
    assert chosen("10.0") == [(3, 3, DIFFERS)]
    assert chosen("-4.0") == [(2, 3, DIFFERS)]


def test_a_planted_number_differs_and_is_told(found):
    planted = [
        Line(**{**vars(one), "printed": "2.7"}) if one.id == "pf-over-lf" else one for one in paper_audit.lines()[:9]
    ]
    table = paper_audit.frame(planted)
    assert paper_audit.judged(table).set_index("id")["verdict"].to_dict() == {
        "pf-over-lf": DIFFERS,
        "pf-over-ft": AGREES,
        "pf-over-lfft": AGREES,
    }
    told = str(paper_audit_study.reading(table, "pf"))
    assert "1 differs" in told and "(2.7 in print, 1.700 recomputed)" in told
    assert "**differs** by 1.000, 0.850 of it more than rounding permits" in str(paper_audit_study.table(table, "pf"))
    assert "differs" not in str(paper_audit_study.reading(found, "pf"))


# The page


def test_what_the_papers_tables_do_not_bear_out(judged):
    differ = judged.index[judged["verdict"] == DIFFERS].tolist()
    assert differ == [
        "lslo-up-to",
        "lslo-params-1-4;4;4+WL",
        "lslo-params-7-2;2;16+WL+GPS(0.9)",
        "lslo-avg-7-2;2;32+WL+GPS(0.9)",
        "lslo-params-7-2;2;32+WL+GPS(0.9)",
    ]
    assert judged.index[judged["verdict"] == POSSIBLE].tolist() == ["lslo-gain-64"]


def test_every_statement_is_on_the_page_once(found, judged):
    for paper in paper_audit.PAPERS:
        own = judged[(judged["paper"] == paper) & ((judged["kind"] == "text") | (judged["verdict"] != AGREES))]
        rows = str(paper_audit_study.table(found, paper)).splitlines()
        assert rows[0].count("|") == 4 and len(rows) == 2 + len(own)  # three columns fit a phone
        assert all(row.replace(r"\|", "").count("|") == 4 for row in rows)
    folded = paper_audit_study.cells_table(found, "lslo").text
    assert folded.count("<tr") == 1 + len(judged[(judged["paper"] == "lslo") & (judged["kind"] == "cell")])
    shown = str(paper_audit_study.summary(found)).splitlines()[2:]
    numbers = [int(cell) for row in shown for cell in row.strip("| ").split("|")[1:]]
    assert sum(numbers) == len(judged)


def test_sentences_follow_the_numbers(found):
    told = str(paper_audit_study.averages_reading(found))
    assert "23 of 24 rows agree" in told and "agrees in 0 rows" in told and "0.11 to 0.48" in told
    changed = found.copy()
    weighted = changed["formula"] == "direction_mean"
    changed.loc[weighted, "verdict"] = DIFFERS
    assert "0 of 24 rows agree" in str(paper_audit_study.averages_reading(changed))
    assert "alone gives 2, the model with its LoRA 2" in str(paper_audit_study.shares_reading(found))
    same = found.assign(verdict=AGREES)
    assert "go back to one base" in str(paper_audit_study.shares_reading(same))


def test_the_result_can_be_saved_and_compared(found, tmp_path, monkeypatch):
    signature = paper_audit.signature()
    saved = results.read_result(results.write_result("paper-audit", found, signature=signature, folder=tmp_path))
    again = results.read_result(
        results.write_result("again", paper_audit.frame(), signature=signature, folder=tmp_path)
    )
    assert results.compare(again.frame, saved.frame, saved.tolerances) == []
    assert results.stale(signature) == ""
    (tmp_path / "other.csv").write_text("x", encoding="utf-8")
    monkeypatch.setattr(paper_audit, "path", lambda: tmp_path / "other.csv")
    assert paper_audit.signature() != signature


def test_unknown_tables_are_told():
    with pytest.raises(UsageError, match="did you mean lslo-table1"):
        cells("lslo-table11")
    assert math.isnan(paper_audit.frame([line(formula="", of="")])["value"].iloc[0])
    assert isinstance(paper_audit.frame([line()]), pd.DataFrame)
