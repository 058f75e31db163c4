"""The committed numbers of the profile mini: a fresh computation stays within tolerance, a perturbed one does not."""

import numpy as np
import pandas as pd
import pytest

from langsim import comparison, family_study, gate, instrument, papers, pipeline, profiles, results
from langsim.instrument import RANDOM, SHUFFLED, TOKENS, TRAINED
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


@pytest.fixture(scope="module")
def checks():
    """Live: the halves of the text through the model and its nulls."""
    return instrument.checks(pipeline.fisher_vectors(profiles.resolve("mini")))


def test_the_halves_and_their_nulls_are_what_a_fresh_run_gives(checks, matrix, tmp_path):
    families = comparison.with_published(matrix).families
    frame = instrument.frame(checks, "overlap", families)
    assert differences("pf-fig5-halves", frame, instrument.signature(matrix), tmp_path) == []
    first = frame.index[frame["target"] != frame["auxiliary"]][0]
    limits = results.read_result(REFERENCE / "pf-fig5-halves.csv").tolerances
    for column in ("value", "centred", "shuffled_source", "random_weights", "token_counts"):
        changed = frame.copy()
        changed.loc[first, column] += 3 * limits[column]
        (found,) = differences("pf-fig5-halves", changed, instrument.signature(matrix), tmp_path)
        assert column in found.where


@pytest.mark.parametrize("profile", ["mini", "open"])
def test_the_nulls_are_in_the_committed_results(profile):
    """The trained model finds as many languages again as the gate's cell says, and the nulls are there to be read."""
    folder = results.reference_dir(profile)
    for exhibit in ("pf-fig5-halves", "pf-fig6"):
        saved = instrument.read(results.read_result(folder / f"{exhibit}.csv").frame)
        assert [check.name for check in saved] == [TRAINED, SHUFFLED, RANDOM, TOKENS]
        assert all(np.isfinite(check.cross.to_numpy()).all() and check.cross.shape == (17, 17) for check in saved)
    if profile == "mini":
        halves = instrument.read(results.read_result(folder / "pf-fig5-halves.csv").frame)[0]
        assert halves.hits(centred=True) == gate.verdict("mini-m2m").found


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


@pytest.mark.parametrize("exhibit", ["pf-table2", "pf-table2-gains", "pf-table2-claims", "pf-k"])
def test_what_is_computed_from_committed_cells_has_no_tolerance_of_its_own(exhibit):
    """No model runs for these numbers, so another machine finds the same ones."""
    assert results.read_result(REFERENCE / f"{exhibit}.csv").tolerances == {}
