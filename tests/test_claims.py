"""Statements and the rule that decides them."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from langsim import claims, papers, statement_grid
from langsim.agreement import OPPOSITE, SAME, UNDECIDED
from langsim.bootstrap import Difference
from langsim.errors import Failure, UsageError


def test_the_published_differences_are_those_of_table_2():
    table = papers.published("pf-table2").set_index(["method", "target"])["value"].astype(float)
    targets = ("fa", "hi", "bn", "id", "ms")
    for claim in claims.load("pf-table2"):
        scope = targets if claim.scope == "average" else (claim.scope,)
        difference = sum(table[claim.row, t] - table[claim.baseline, t] for t in scope) / len(scope)
        assert claim.published == pytest.approx(difference, abs=1e-9), claim.id


def test_a_best_row_is_the_best_in_print_and_its_rival_the_best_of_the_baselines():
    table = papers.published("pf-table2").set_index(["method", "target"])["value"].astype(float).unstack("target")
    for claim in claims.load("pf-table2"):
        if claim.scope != "average":
            column = table[claim.scope]
            assert column[claim.row] == column.max()
            assert column[claim.baseline] == column[["Vanilla", "FT", "LF", "LF+FT"]].max()


@pytest.mark.parametrize(
    ("published", "estimate", "low", "high", "p", "expected"),
    [
        (1.6, 2.0, 1.0, 3.0, 0.01, SAME),
        (1.6, -2.0, -3.0, -1.0, 0.01, OPPOSITE),
        (1.6, 2.0, 0.1, 3.0, 0.05, UNDECIDED),
        (1.6, 2.0, 0.1, 3.0, 0.045, UNDECIDED),  # 2,000 resamples can't tell it from 0.05
        (-1.6, -2.0, -3.0, -1.0, 0.01, SAME),
        (0.0, 0.1, -0.3, 0.4, 0.6, SAME),
        (0.0, 0.1, -0.6, 0.4, 0.6, UNDECIDED),
        (0.0, 1.1, 0.6, 1.6, 0.001, OPPOSITE),
        (0.0, -1.1, -1.6, -0.6, 0.001, OPPOSITE),
    ],
)
def test_verdicts(published, estimate, low, high, p, expected):
    found = Difference(estimate, low, high, 0.5, np.array([]), p=p, detectable=1.0)
    assert claims.verdict(published, found, p, "bleu") == expected


def test_power_and_missing_statements():
    assert claims.underpowered(1.6, "bleu") and not claims.underpowered(1.5, "bleu")
    assert claims.underpowered(1.2, "chrf") and not claims.underpowered(0.9, "chrf")
    with pytest.raises(UsageError, match="no statements about 'pf-table9'"):
        claims.load("pf-table9")


def test_statements_are_read_by_the_fields_of_their_kind(tmp_path):
    @dataclass(frozen=True)
    class Own(claims.Statement):
        requires: str

    file = tmp_path / "own.csv"
    head = "id,statement,test,exhibit,row,baseline,scope,direction,published,unit,threshold,requires,source"
    file.write_text(f"{head}\na,better,ranking,t,x,y,no,higher,,nll,0.05,size,Table 1\n")
    (found,) = claims.read(file, Own)
    assert (found.id, found.scope, found.threshold, found.requires) == ("a", "no", 0.05, "size")
    assert math.isnan(found.published) and claims.SIGNS[found.direction] == 1
    file.write_text(file.read_text().replace("requires", "wants"))
    with pytest.raises(Failure, match="no column requires"):
        claims.read(file, Own)
    assert claims.read(file)[0].source == "Table 1", "what a kind does not have is left alone"


def test_statements_are_shown_with_what_they_compare():
    better = ("it is better", "2;2;8*", "Ft-all", "AVG", "higher", 1.3, 0.1, -0.1, 0.3, 0.2, 0.31, True, "", UNDECIDED)
    worse = ("it is worse", "Ft-all", "", "H2H", "lower", math.nan, -1, -2, 0, 0.01, 0.02, False, "", SAME)
    names = "statement row baseline scope direction published estimate low high p adjusted underpowered note verdict"
    nothing = dict.fromkeys(("estimate", "low", "high", "p", "adjusted"), math.nan)
    missing = dict(zip(names.split(), better, strict=True)) | nothing | {"note": "no row 2;2;8"}
    stated = pd.concat([pd.DataFrame([better, worse], columns=names.split()), pd.DataFrame([missing])])
    text = statement_grid.shown(stated, digits=1, measure="chrF2", unit="spBLEU").text
    head, _, first, second, third = text.splitlines()
    assert head == "| statement, chrF2 | ours (95% interval) | verdict |"
    assert first.split(" | ") == [
        "| it is better<br><small>2;2;8\\* − Ft-all, AVG</small>",
        "0.1 (−0.1 to 0.3)<br><small>in print +1.30 spBLEU</small>",
        "undecided, underpowered<br><small>p = 0.31</small> |",
    ]
    assert "<small>Ft-all, H2H</small>" in second and "<small>stated: lower</small>" in second and SAME in second
    assert third.split(" | ")[1].startswith("–<br>") and third.endswith("| undecided: no row 2;2;8 |")
    assert statement_grid.shown(stated[:0], digits=1).text.startswith("No statement")
