"""Computed sentences: words, numbers and p-values as a reader sees them."""

import math

import numpy as np
import pandas as pd
import pytest
from studies import association

from langsim import profiles, readings
from langsim.agreement import OPPOSITE, SAME, UNDECIDED, Association


@pytest.mark.parametrize(
    ("raw", "centred", "words"),
    [
        (association(0.5), association(0.4), "Both views agree with Figure 5"),
        (association(-0.5), association(-0.4), "Both views run against Figure 5"),
        (association(0.02), association(0.01), "neither confirm nor contradict Figure 5"),
        (
            association(0.02),
            association(0.5),
            "Only the centred view is decided; the two were not tested against each other",
        ),
        (
            association(0.5),
            association(0.02),
            "Only the raw view is decided; the two were not tested against each other",
        ),
        (association(-0.5), association(0.02), "Only the raw view is decided"),
        (association(0.5), association(-0.5), "contradict each other"),
    ],
)
def test_words_of_agreement_come_from_the_verdicts(raw, centred, words):
    text = readings.agreement(raw, centred, "Figure 5").text
    assert words in text
    assert f"**{raw.verdict}**" in text and f"**{centred.verdict}**" in text and "272 ordered pairs" in text


@pytest.mark.parametrize(
    ("ours", "published", "words"),
    [
        (association(0.3), association(0.2), f"Together, script not controlled for: **{SAME}**"),
        (association(-0.3), association(0.2), f"Together, script not controlled for: **{OPPOSITE}**"),
        (association(0.01), association(0.2), f"Together, script not controlled for: **{UNDECIDED}**"),
        (association(0.3), None, "**more similar**"),
        (association(-0.3), None, "**less similar**"),
        (association(math.nan), association(0.2), "can't be told"),
    ],
)
def test_words_of_kinship(ours, published, words):
    assert words in readings.kinship(ours, published).text


def test_kinship_says_what_it_does_not_control_for_and_why_p_and_interval_differ():
    both = readings.kinship(association(0.0024, low=-0.0003, high=0.0065, p=0.008)).text
    assert "not controlled for script" in both and "−0.0003 to 0.0065" in both and "p = 0.008" in both
    assert "**not safely more or less similar**" in both and "a test on *these* languages" in both
    for one in (association(0.3), association(0.1, low=-0.1, high=0.3, p=0.4)):
        assert "*these* languages" not in readings.kinship(one).text


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (-0.1, 0.3, "0.10 (95% interval −0.10 to 0.30"),
        (-0.004, 0.3, "0.100 (95% interval −0.004 to 0.300"),
        (0.00004, 0.3, "0.10000 (95% interval 0.00004 to 0.30000"),
        (0.0, 0.3, "0.10 (95% interval 0.00 to 0.30"),
    ],
)
def test_no_bound_reads_as_zero_that_is_none(low, high, told):
    assert readings.measured(association(0.1, low=low, high=high)).startswith(told)


def test_a_grid_is_a_markdown_table_and_a_folded_one_opens():
    table = pd.DataFrame({"raw": [1, "a"]}, ["x", "y"]).rename_axis(columns="what")
    assert readings.grid(table).text == "| what | raw |\n| --- | --- |\n| x | 1 |\n| y | a |"
    text = readings.folded("All", table, table).text
    assert text.startswith("<details><summary>All</summary>") and text.count("<table") == 2 and "what" not in text
    assert "overflow-x: auto" in text


def test_folded_matrices_show_their_numbers():
    matrix = pd.DataFrame([[1.0, 0.93456], [-0.00021, np.nan]], ["fa", "hi"], ["fa", "hi"])
    text = readings.folded_matrices({"Ours": matrix, "Tiny": matrix * 1e-4}).text
    assert "The numbers: Ours" in text and "<td>0.935</td>" in text and "<td>–</td>" in text
    assert "<td>0.000093</td>" in text and text.count("<details>") == 2


@pytest.mark.parametrize(
    ("value", "text"), [(0.0004, "p < 0.001"), (0.004, "p = 0.004"), (0.25, "p = 0.25"), (math.nan, "no p")]
)
def test_p_values_in_words(value, text):
    assert readings.p(value) == text


def test_numbers_in_words():
    assert [readings.number(v) for v in (-0.123, -0.001, math.nan)] == ["−0.12", "0.00", "–"]
    assert readings.measured(association(math.nan)) == "not defined here"
    assert "too few languages" in readings.measured(Association(0.5, 0.2, math.nan, math.nan, 3, 6, True))


def test_setting_says_what_was_changed():
    assert "as it is" in readings.setting(profiles.resolve("mini")).text
    changed = readings.setting(profiles.resolve("mini", k=0.3)).text
    assert "changed `k`" in changed and "K = 0.3" in changed
    assert "K =" not in readings.setting(profiles.resolve("mini", measure="kl")).text


def test_prose_is_markdown_for_a_notebook(tmp_path):
    from langsim.paths import ROOT

    text = readings.signed("model:x", ROOT / "a.csv", tmp_path / "b.csv")
    assert "`a.csv`" in text._repr_markdown_() and str(tmp_path) in str(text)
    assert readings.warnings([]) is None
    assert readings.warnings(["one\n two", "one\n two"]).text == "> **Note.** one two"
