"""What the printed Figure 5 can tell: the linear program against random search, A.2 against the printed families."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from langsim import papers, printed
from langsim.families import select

FIGURE5 = papers.matrix("pf-fig5").astype(float)
OVERLAP = printed.printed_families("overlap")


def test_printed_families_are_table_1():
    assert OVERLAP["ms"] == ("id", "bg", "sv", "de", "uk") and list(OVERLAP) == ["fa", "hi", "bn", "id", "ms"]
    assert printed.printed_families("KL")["hi"] == ("bg", "de")
    assert printed.printed_families("jaccard") == {}


def test_rows_as_targets_give_persian_hindi_and_bengali():
    found = printed.variants(FIGURE5, OVERLAP)
    right = {
        way: set(part.loc[part["matches"], "target"]) for way, part in found.groupby(["orientation", "arithmetic"])
    }
    assert right["row = target", "floating point"] == {"fa", "hi", "bn"}
    assert all(len(targets) < 5 for targets in right.values())
    extra = found.set_index(["orientation", "arithmetic", "target"])["members"]["row = target"]["floating point"]
    assert set(extra["id"]) - set(OVERLAP["id"]) == {"de"}
    assert set(extra["ms"]) - set(OVERLAP["ms"]) == {"sr", "sk", "ko"}
    assert "those of fa, hi and bn" in printed.variants_reading(FIGURE5, OVERLAP).text


def test_exact_arithmetic_differs_from_floating_point_where_steps_are_equal():
    found = printed.variants(FIGURE5, OVERLAP).set_index(["orientation", "arithmetic", "target"])["members"]
    assert set(found["row = target", "exact", "hi"]) - set(found["row = target", "floating point", "hi"]) == {"tr"}


def test_only_rows_can_be_targets():
    table = printed.possible_table(FIGURE5, OVERLAP)
    assert (table.loc["row = target"] == "yes").all()
    assert set(table.columns[table.loc["column = target"] == "no"]) == {"hi", "ms"}
    assert "hi and ms" in printed.possible_reading(FIGURE5, OVERLAP).text


@pytest.mark.parametrize("seed", range(15))
def test_a_family_that_came_from_a_row_is_possible_for_its_rounded_row(seed):
    rng = np.random.default_rng(seed)
    row = pd.Series(rng.uniform(0.6, 0.95, 6), list("abcdef"))
    members = select(row, True, target="t").members
    assert printed.possible(row.round(2), members, "t")


@pytest.mark.parametrize("seed", range(6))
def test_the_linear_program_against_random_search(seed):
    """A family found by drawing unrounded rows is possible, and one that is possible is found by drawing enough."""
    rng = np.random.default_rng(seed)
    row = pd.Series(rng.choice([0.80, 0.81, 0.82], 4), list("abcd"))
    drawn = row.to_numpy() + rng.uniform(-0.005, 0.005, (4000, 4))
    seen = {frozenset(select(dict(zip(row.index, one, strict=True)), True, target="t").members) for one in drawn}
    for size in range(1, 5):
        for members in map(frozenset, combinations("abcd", size)):
            assert printed.possible(row, sorted(members), "t") >= (members in seen)
            if not printed.possible(row, sorted(members), "t"):
                assert members not in seen
    assert len(seen) > 1


def test_a_member_far_below_an_outsider_is_impossible():
    row = pd.Series({"a": 0.9, "b": 0.8, "c": 0.7})
    assert not printed.possible(row, ["c"], "t")
    steep = pd.Series({"a": 0.9, "b": 0.89, "c": 0.7})  # a step of 0.10, then one of 0.01: b must be in
    assert printed.possible(steep, ["a", "b"], "t") and not printed.possible(steep, ["a"], "t")


def test_chance_jaccard_is_the_mean_over_all_sets():
    pool, fixed = range(6), {0, 1}
    mean = np.mean([len(fixed & set(c)) / len(fixed | set(c)) for c in combinations(pool, 3)])
    assert printed.chance_jaccard(6, 3, 2) == pytest.approx(mean)
    assert printed.chance_jaccard(6, 0, 2) == 0 and printed.chance_jaccard(6, 6, 6) == 1
