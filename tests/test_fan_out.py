"""The same call on a Dask cluster: the same numbers, from other processes."""

import logging

import joblib
import numpy as np
import pytest
from tiny import save_names, save_tiny_m2m

from langsim import fisher, pipeline, profiles

CODES = ["fa", "hi", "de", "sv"]
distributed = pytest.importorskip("distributed")


@pytest.fixture
def settings(tmp_path):
    data = save_names(tmp_path / "names.tsv")
    model = save_tiny_m2m(tmp_path / "model", data.read_text().replace("\t", "\n").splitlines())
    return profiles.resolve(model=str(model), corpus="files", data=str(data), languages=CODES, max_items=60)


@pytest.fixture
def cluster():
    """Two workers, each a process of its own."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options, silence_logs=logging.CRITICAL) as made, distributed.Client(made) as client:
        yield client


@pytest.fixture
def spread(settings, cluster, tmp_path, monkeypatch):
    """The Fisher vectors that the cluster estimated; this process could not have."""

    def refused(*arguments, **options):
        raise AssertionError("estimated in the calling process")

    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "cluster"))
    with monkeypatch.context() as patch, joblib.parallel_config(backend="dask"):
        patch.setattr(fisher, "estimate", refused)
        return pipeline.fisher_vectors(settings)


def test_a_cluster_gives_the_same_numbers_bit_for_bit(spread, settings, tmp_path, monkeypatch):
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "alone"))
    alone = pipeline.fisher_vectors(settings, jobs=1)
    assert spread.signature == alone.signature and spread.keys == alone.keys
    assert spread.folder != alone.folder
    here = alone.open()
    for code, vector in spread.open().items():
        assert np.array_equal(vector.values, here[code].values), code
        assert vector.metadata == here[code].metadata and vector.layout == here[code].layout
    assert pipeline.compare(spread).matrix.equals(pipeline.compare(alone).matrix)


def test_threads_of_one_process_take_turns(settings, tmp_path, monkeypatch):
    """A Dask worker may have several threads, and they share one model, which an estimation changes for a while."""
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "alone"))
    alone = pipeline.fisher_vectors(settings, jobs=1).open()
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "threads"))
    with joblib.parallel_config(backend="threading", n_jobs=4):
        together = pipeline.fisher_vectors(settings).open()
    for code, vector in together.items():
        assert np.array_equal(vector.values, alone[code].values), code
        assert vector.metadata == alone[code].metadata
