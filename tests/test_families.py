"""Algorithm A.2 against the paper's own matrix, a second implementation, and worked examples."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langsim import languages, papers
from langsim.errors import UsageError
from langsim.families import Family, agreement, families_of, select, traditional

TED17 = ["bg", "sr", "hr", "uk", "sk", "be", "fa", "hi", "bn", "id", "ms", "kk", "tr", "de", "sv", "ja", "ko"]


def second_paper(scores, larger):
    """A.2 once more, from the paper's words: a list L with the target first, indices as printed."""
    names = list(scores)
    sign = -1 if larger else 1
    order = sorted(range(len(names)), key=lambda i: (sign * scores[names[i]], i))
    L = [1.0 if larger else 0.0] + [scores[names[i]] for i in order]
    gap = abs(L[1] - L[0])
    chosen, i = [1], 2
    while i < len(L):
        step = abs(L[i - 1] - L[i])
        if step > gap:
            break
        chosen.append(i)
        gap = gap / 2 if step == gap else step
        i += 1
    return [names[order[i - 1]] for i in chosen]


def second_code(scores, larger):
    """The authors' two scripts, restated: `best` is the index of the last one taken, and starts at 1."""
    names = list(scores)
    sign = -1 if larger else 1
    order = sorted(range(len(names)), key=lambda i: (sign * scores[names[i]], i))
    values = [scores[names[i]] for i in order]
    if len(values) == 1:
        return names
    best = 1
    gap, begin = (1 - values[0], 1) if larger else (values[1] - values[0], 2)
    for i in range(begin, min(10, len(values))):
        step = abs(values[i - 1] - values[i])
        if step == gap:
            best, gap = i, gap / 2
        elif step < gap:
            best, gap = i, step
        else:
            break
    return [names[i] for i in order[: best + 1]]


# two decimals make ties and equal gaps common; the raw floats make them rare
grid = st.integers(0, 100).map(lambda n: n / 100) | st.sampled_from([0.25, 0.5, 0.75, 0.875])
rows = st.lists(grid | st.floats(0, 1), min_size=1, max_size=18)


@pytest.mark.parametrize("variant,oracle", [("paper", second_paper), ("authors_code", second_code)])
@pytest.mark.parametrize("larger", [True, False])
@settings(max_examples=300, deadline=None)
@given(values=rows)
def test_a_second_implementation_agrees(variant, oracle, larger, values):
    scores = {f"l{i}": value for i, value in enumerate(values)}
    assert list(select(scores, larger, variant).members) == oracle(scores, larger)


def test_the_example_of_the_text():
    family = select({"a": 0.9, "b": 0.85, "c": 0.84, "d": 0.7}, True, target="t", measure="overlap")
    assert family == Family("t", ("a", "b", "c"), "overlap", "paper", family.trace)
    assert [step["language"] for step in family.trace] == ["a", "b", "c", "d"]
    assert [step["index"] for step in family.trace] == [1, 2, 3, 4]
    assert [step["decision"] for step in family.trace] == ["first", "smaller", "smaller", "larger"]
    assert [step["gap_after"] for step in family.trace] == pytest.approx([0.1, 0.05, 0.01, 0.01])
    assert family.trace[3]["gap_before"] == family.trace[2]["gap_after"]
    assert family.trace[3]["difference"] == pytest.approx(0.14)


def test_an_equal_difference_halves_the_gap():
    scores = {"a": 0.75, "b": 0.5, "c": 0.375, "d": 0.3125, "e": 0.28125, "f": 0.25}  # exact in binary
    steps = select(scores, True).trace
    assert [step["decision"] for step in steps] == ["first", "equal", "equal", "equal", "equal", "larger"]
    assert [step["gap_after"] for step in steps] == [0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.015625]


def test_ties_keep_the_order_they_came_in():
    scores = {"z": 0.5, "a": 0.9, "m": 0.5, "b": 0.9}
    assert select(scores, True).members == ("a", "b", "z", "m")[:2]
    assert [step["language"] for step in select({"z": 0.2, "a": 0.2, "m": 0.2}, False).trace] == ["z", "a", "m"]


def test_distances_start_at_the_target_itself():
    scores = {"a": 3.0, "b": 5.0, "c": 6.0, "d": 10.0}
    assert select(scores, False).members == ("a", "b", "c")  # Gap = 3, then 2, then 1, then 4 > 1
    assert select(scores, False, "authors_code").members == ("a", "b", "c")  # Gap = 2, then 1
    assert select({"a": 3.0, "b": 9.0, "c": 10.0}, False).members == ("a",)
    assert select({"a": 3.0, "b": 9.0, "c": 10.0}, False, "authors_code").members == ("a", "b", "c")


def test_authors_code_takes_two_to_ten():
    lone = select({"a": 0.99, "b": 0.5, "c": 0.49}, True, "authors_code")
    assert lone.members == ("a", "b") and lone.trace[-1]["decision"] == "minimum"
    assert select({"a": 0.99, "b": 0.5, "c": 0.49}, True).members == ("a",)
    flat = {f"l{i}": 0.5 for i in range(16)}
    assert len(select(flat, True).members) == 16
    assert len(select(flat, True, "authors_code").members) == 10
    assert len(select(flat, False, "authors_code").members) == 10
    assert select({"a": 2.0}, False, "authors_code").members == ("a",)


def test_the_target_in_its_own_row_is_ignored_and_self_score_moves_the_first_gap():
    row = pd.Series({"t": 1.0, "a": 0.6, "b": 0.5})
    assert select(row, True, target="t").members == ("a", "b")
    assert select(row, True, target="t", self_score=0.65).members == ("a",)


def test_printed_figure_5_gives_what_table_1_prints():
    """Row = target, the authors' float arithmetic on two decimals: three rows come out exactly."""
    matrix = papers.matrix("pf-fig5").astype(float)
    assert list(matrix.index) == list(matrix.columns) == TED17
    table = papers.matrix("pf-table1").loc["Overlap"]
    printed = {target: set(cell.split()) for target, cell in table.items()}
    for variant in ("paper", "authors_code"):
        ours = families_of(matrix, True, variant, targets=["fa", "hi", "bn", "id", "ms"], measure="overlap")
        found = {target: set(family.members) for target, family in ours.items()}
        for target in ("fa", "hi", "bn"):
            assert found[target] == printed[target]
        assert found["id"] == printed["id"] | {"de"}
        assert found["ms"] == printed["ms"] | {"sr", "sk", "ko"}


def test_column_as_target_does_not_give_table_1():
    matrix = papers.matrix("pf-fig5").astype(float).T
    printed = papers.matrix("pf-table1").loc["Overlap"]
    found = families_of(matrix, True, targets=["hi", "ms"])
    assert all(set(found[target].members) != set(printed[target].split()) for target in found)


def test_families_of_all_rows():
    matrix = papers.matrix("pf-fig5").astype(float)
    families = families_of(matrix, True)
    assert list(families) == TED17
    assert all(name not in family.members for name, family in families.items())
    with pytest.raises(UsageError, match="no row 'xx'"):
        families_of(matrix, True, targets=["xx"])


def test_misuse():
    with pytest.raises(UsageError, match="no auxiliary language for fa"):
        select({"fa": 1.0}, True, target="fa")
    with pytest.raises(UsageError, match="'hi' is nan"):
        select({"hi": np.nan, "bn": 0.5}, True)
    with pytest.raises(UsageError, match="no variant 'code'"):
        select({"hi": 1.0}, True, "code")


def test_traditional_families_are_those_of_figure_1():
    assert traditional("fa", TED17) == ("hi", "bn")
    assert traditional("bg", TED17) == ("sr", "hr", "uk", "sk", "be")
    assert traditional("ja", TED17) == ()
    assert traditional("pes", ["hi", "de", "fa"]) == ("hi",)
    with pytest.raises(UsageError):
        traditional("xx", TED17)


def test_agreement_of_partitions():
    a = {"bg": "slavic", "sr": "slavic", "de": "germanic", "sv": "germanic"}
    renamed = {"bg": "1", "sr": "1", "de": "2", "sv": "2"}
    crossed = {"bg": "1", "sr": "2", "de": "1", "sv": "2"}
    assert agreement(a, renamed).adjusted_rand == 1.0 and agreement(a, renamed).mean_jaccard == 1.0
    # by hand: no pair is together in both; expected index 2 * 2 / 6, maximum 2: (0 - 2/3) / (2 - 2/3)
    assert agreement(a, crossed).adjusted_rand == pytest.approx(-0.5)
    assert agreement(a, crossed).mean_jaccard == 0


def test_agreement_of_overlapping_families():
    ours = families_of(papers.matrix("pf-fig5").astype(float), True, targets=["fa", "ja"])
    known = {code: traditional(code, TED17) for code in TED17}
    result = agreement(ours, known)
    assert result.adjusted_rand is None
    assert result.jaccard.to_dict() == {"fa": 0.0, "ja": 0.0}  # tr ko id, against hi bn; Korean is a family alone
    assert agreement({"ja": []}, {"ja": ["ja"]}).jaccard["ja"] == 1.0, "alone in both"
    names = {code: languages.get(code).family for code in TED17}
    assert agreement(names, known).mean_jaccard == 1.0, "a partition by name and by lists is the same assignment"
    with pytest.raises(UsageError, match="share no language"):
        agreement({"fa": "x"}, {"hi": "x"})
