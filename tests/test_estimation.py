"""How many processes share the work, and that they do the same."""

from types import SimpleNamespace

import joblib
import numpy as np
import psutil
import pytest
from tiny import save_names, save_tiny_m2m

from langsim import estimation, groups, matching, pipeline, profiles
from langsim.estimation import Text, estimate_missing
from langsim.store import FisherStore


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("estimation")
    names = folder / "names.tsv"
    save_names(names)
    model = save_tiny_m2m(folder / "tiny", names.read_text(encoding="utf-8").splitlines())
    return profiles.resolve(
        "mini", model=str(model), corpus="files", data=str(names), languages=["fa", "hi", "de", "sv"], max_items=30
    )


@pytest.fixture(scope="module")
def texts(settings):
    pairs = pipeline.match_text(settings, pipeline.load_corpus(settings)).pairs
    return [Text(code, found, code, matching.digest(found)) for code, found in pairs.items()]


@pytest.mark.parametrize(
    ("cores", "gigabytes", "texts", "threads", "jobs"),
    [
        (8, 100, 17, 1, 4),  # a process is worth its start when it has four vectors to estimate
        (2, 100, 17, 1, 2),
        (8, 100, 3, 1, 1),
        (8, 100, 40, 4, 2),  # threads share the cores too
        (8, 3.5, 40, 1, 3),  # a gigabyte a process
        (8, 0.1, 40, 1, 1),  # never none
    ],
)
def test_processes_fit_into_cores_and_memory(monkeypatch, settings, cores, gigabytes, texts, threads, jobs):
    monkeypatch.setattr(joblib, "cpu_count", lambda: cores)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=gigabytes * 1e9))
    assert estimation.processes(texts, settings.model_copy(update={"threads": threads}), need=1e9) == jobs


def test_what_joblib_was_told_comes_first_and_a_gpu_is_not_shared(settings, texts):
    with joblib.parallel_config(n_jobs=3):
        assert estimation._jobs(texts, settings) is None
    assert estimation.processes(40, settings.model_copy(update={"device": "cuda"}), need=1e9) == 1


@pytest.mark.parametrize("seed", [None, 5])
def test_processes_give_the_same_numbers(settings, texts, tmp_path, seed):
    for jobs in (1, 2):
        estimate_missing(texts, tmp_path / str(jobs), settings, "layers", weights_seed=seed, jobs=jobs)
    one, two = (FisherStore(tmp_path / str(jobs)) for jobs in (1, 2))
    assert sorted(one.keys()) == sorted(two.keys()) == sorted(text.key for text in texts)
    for key in (text.key for text in texts):
        assert np.array_equal(one.get(key).values, two.get(key).values)
        assert one.get(key).metadata == two.get(key).metadata


def test_threads_that_share_the_model_give_the_same_numbers(settings, texts, tmp_path):
    estimate_missing(texts, tmp_path / "one", settings, "layers", jobs=1)
    with joblib.parallel_config(backend="threading", n_jobs=4):
        estimate_missing(texts, tmp_path / "threads", settings, "layers")
    one, threads = (FisherStore(tmp_path / name) for name in ("one", "threads"))
    for text in texts:
        assert np.array_equal(one.get(text.key).values, threads.get(text.key).values)
        assert one.get(text.key).metadata == threads.get(text.key).metadata


def test_weights_are_drawn_from_the_seed(settings):
    trained, drawn, again = (estimation.model_of(settings, seed).model for seed in (None, 5, 5))
    name = groups.select(trained, "ffn")[0]
    weights = [model.get_parameter(name).detach() for model in (trained, drawn, again)]
    assert not weights[0].equal(weights[1]) and weights[1].equal(weights[2])


def test_a_text_with_another_signature_is_estimated_again(settings, texts, tmp_path):
    estimate_missing(texts[:2], tmp_path, settings, "layers")
    store = FisherStore(tmp_path)
    written = [store.path(text.key).stat().st_mtime_ns for text in texts[:2]]
    changed = [texts[0], Text(texts[1].language, texts[1].pairs, texts[1].key, "other")]
    estimate_missing(changed, tmp_path, settings, "layers")
    again = [store.path(text.key).stat().st_mtime_ns for text in texts[:2]]
    assert again[0] == written[0] and again[1] > written[1]
