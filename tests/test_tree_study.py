"""Trees beside the reference tree, and their p-values."""

import pytest
from studies import ROMANCE, TED

from langsim import comparison, readings, tree_study


def test_tree_study_on_slavic_and_on_other_languages(ted, romance):
    study = tree_study.study(comparison.with_published(ted))
    assert set(study.leaves) == set(TED[:6])
    assert next(iter(study.panels)) == "Reference" and len(study.table) == 4
    line = next(
        line for line in tree_study.reading(study).text.splitlines() if line.startswith("- Published (Figure 5):")
    )
    assert "has (sr hr), lacks (bg sr hr), (uk be)" in line
    other = tree_study.study(comparison.with_published(romance))
    assert sorted(other.leaves) == sorted(ROMANCE) and list(other.clusterings) == ["Ours", "Ours, centred"]


def test_p_values_of_trees_are_adjusted_for_all_of_them(ted):
    """Step down by hand: the smallest of m p-values counts m times, the next m - 1 times, and none is below another."""
    from langsim.trees import compare

    study = tree_study.study(comparison.with_published(ted))
    own = [compare(one.tree, study.reference).p_value for one in study.clusterings.values()]
    largest, expected = 0.0, {}
    for place, p in enumerate(sorted(own)):
        largest = max(largest, min(1.0, p * (len(own) - place)))
        expected[p] = largest
    assert list(study.table["p_value"]) == pytest.approx([expected[p] for p in own])
    assert list(study.table["p_value"]) != pytest.approx(own)
    words = f"({readings.p(study.table['p_value'].iloc[-1])}, Holm's)."
    assert tree_study.reading(study).text.splitlines()[-1].endswith(words)
