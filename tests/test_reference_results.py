"""The committed numbers of the profile mini: a fresh computation stays within tolerance, a perturbed one does not."""

import pandas as pd
import pytest

from langsim import comparison, family_study, papers, pipeline, profiles, results
from langsim.papers import published
from langsim.results import Difference

REFERENCE = results.reference_dir("mini")


@pytest.fixture(scope="module")
def matrix():
    """Live: from the text, through the shipped model, to the similarities (Fisher vectors from the cache, if there)."""
    return pipeline.similarities(profiles.resolve("mini"))


def differences(exhibit: str, frame: pd.DataFrame, signature: str, folder) -> list[Difference]:
    saved = results.read_result(REFERENCE / f"{exhibit}.csv")
    path = results.write_result(exhibit, frame, signature=signature, folder=folder, tolerances=saved.tolerances)
    fresh = results.read_result(path)
    assert results.signature_changes(fresh.signature, saved.signature) == []
    return results.compare(fresh.frame, saved.frame, saved.tolerances, exhibit=exhibit)


def test_figure_5_is_what_a_fresh_run_gives(matrix, tmp_path):
    ours = comparison.with_published(matrix)
    assert differences("pf-fig5", ours.frame(), matrix.signature, tmp_path) == []


@pytest.mark.parametrize("column", ["value", "centred", "published"])
def test_a_perturbed_figure_5_is_noticed(matrix, tmp_path, column):
    frame = comparison.with_published(matrix).frame()
    tolerance = results.read_result(REFERENCE / "pf-fig5.csv").tolerances.get(column, results.FLOAT_TOLERANCE)
    frame.loc[frame[column].first_valid_index(), column] += 2 * tolerance + 1e-6
    assert [column in found.where for found in differences("pf-fig5", frame, matrix.signature, tmp_path)] == [True]


def test_tolerances_are_too_narrow_for_another_measure_of_the_same_size(matrix):
    """Jaccard and Overlap of one run are alike; the tolerance still tells them apart in nearly every cell."""
    saved = results.read_result(REFERENCE / "pf-fig5.csv")
    overlap, jaccard = matrix.all.matrix("overlap").stack(), matrix.all.matrix("jaccard").stack()
    assert ((overlap - jaccard).abs() > saved.tolerances["value"]).mean() > 0.9


def test_families_of_table_1_are_what_a_fresh_run_gives(matrix):
    """A family may lose or win a member where two steps are equal but for rounding; not more."""
    saved = results.read_result(REFERENCE / "pf-table1.csv").frame
    fresh = family_study.tidy(family_study.rows(matrix), matrix.settings.languages)
    assert list(fresh["target"]) == list(saved["target"]) and list(fresh["measure"]) == list(saved["measure"])
    changed = [
        set(str(new).split()) ^ set(str(old).split())
        for new, old in zip(fresh["members"], saved["members"], strict=True)
    ]
    assert max(map(len, changed)) <= 2
    assert sum(map(bool, changed)) <= len(changed) // 5


def test_published_values_in_the_results_are_the_printed_ones():
    saved = results.read_result(REFERENCE / "pf-fig5.csv").frame.pivot(
        index="target", columns="auxiliary", values="published"
    )
    printed = papers.matrix("pf-fig5")
    pd.testing.assert_frame_equal(
        saved.loc[printed.index, printed.columns].astype(float), printed.astype(float), check_names=False
    )
    assert len(published("pf-fig5")) == printed.size
