"""The whole way from settings to families, on a real tiny model and the user's own files, against naive formulas."""

import json
import math
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from tiny import save_names, save_tiny_m2m

from langsim import fisher, models, paths, pipeline, profiles, results
from langsim.errors import Failure, UsageError
from langsim.store import FisherStore

CODES = ["fa", "hi", "de", "sv"]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Parameters for a tiny model and 60 territory names in four languages."""
    folder = tmp_path_factory.mktemp("given")
    data = save_names(folder / "names.tsv")
    model = save_tiny_m2m(folder / "model", data.read_text().replace("\t", "\n").splitlines())
    return {"model": str(model), "corpus": "files", "data": str(data), "languages": CODES, "max_items": 60}


@pytest.fixture
def settings(given, tmp_path, monkeypatch):
    """The same as settings, with an empty cache."""
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "cache"))
    return profiles.resolve(**given)


@pytest.fixture
def estimated(monkeypatch):
    """The languages that were really estimated, in order."""
    calls, real = [], fisher.estimate

    def counting(*arguments, key, **options):
        calls.append(key)
        return real(*arguments, key=key, **options)

    monkeypatch.setattr(fisher, "estimate", counting)
    return calls


def naive_overlap(settings):
    """Overlap by plain autograd and sorting: K of all layer weights, then the feed-forward ones of them."""
    loaded = models.load(settings.model)
    corpus = pipeline.load_corpus(settings)
    pairs = pipeline.match_text(settings, corpus).pairs
    inside = [n for n, p in loaded.model.named_parameters() if ".layers." in n and p.ndim == 2]
    weights = dict(loaded.model.named_parameters())
    masks = {}
    for code in settings.languages:
        total = {name: 0.0 for name in inside}
        for batch in loaded.batches(pairs[code], code, "en", size=settings.batch_size):
            loaded.model.zero_grad()
            loaded.model(**batch).loss.backward()
            for name in inside:
                total[name] = total[name] + weights[name].grad.double() ** 2
        flat = torch.cat([total[name].flatten() for name in inside]).numpy()
        kept = np.concatenate([np.full(weights[name].numel(), ".fc" in name) for name in inside])
        active = np.zeros(flat.size, bool)
        active[np.argsort(-flat, kind="stable")[: round(settings.k * flat.size)]] = True
        masks[code] = active & kept
    return {t: {a: (masks[t] & masks[a]).sum() / masks[t].sum() for a in CODES} for t in CODES}


def test_the_matrix_is_the_one_of_the_formulas(settings):
    matrix = pipeline.similarities(settings).matrix
    expected = naive_overlap(settings)
    for target in CODES:
        for auxiliary in CODES:  # one entry of a mask may fall the other way in float32
            assert matrix.loc[target, auxiliary] == pytest.approx(expected[target][auxiliary], abs=2e-3)
    off = matrix.to_numpy()[~np.eye(4, dtype=bool)]
    assert (off < 1).all() and np.ptp(off) > 0.01


def test_finished_languages_are_not_estimated_again(settings, estimated):
    first = pipeline.similarities(settings).matrix
    assert sorted(estimated) == sorted(CODES)
    again = pipeline.similarities(settings).matrix
    assert len(estimated) == 4 and again.equals(first)
    other = settings.model_copy(update={"languages": ["hi", "fa", "sv"], "targets": ["fa"], "k": 0.2})
    pipeline.similarities(other)  # the same items, so the same vectors
    assert len(estimated) == 4
    pipeline.fisher_vectors(settings.model_copy(update={"batch_size": 8}))
    assert len(estimated) == 8


def test_a_damaged_or_missing_vector_is_estimated_again(settings, estimated):
    vectors = pipeline.fisher_vectors(settings)
    first = {code: vector.values.copy() for code, vector in vectors.open().items()}
    store = FisherStore(vectors.folder)
    path = store.path(vectors.keys["hi"])
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    store.delete(vectors.keys["sv"])
    estimated.clear()
    again = pipeline.fisher_vectors(settings).open()
    assert sorted(estimated) == ["hi", "sv"]
    assert all(np.array_equal(again[code].values, first[code]) for code in CODES)


def test_an_interrupted_estimation_continues(settings, estimated, monkeypatch):
    real = fisher.estimate

    def interrupted(*arguments, key, **options):
        if len(estimated) == 2:
            raise KeyboardInterrupt
        return real(*arguments, key=key, **options)

    monkeypatch.setattr(fisher, "estimate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.fisher_vectors(settings)
    monkeypatch.setattr(fisher, "estimate", real)
    pipeline.fisher_vectors(settings)
    assert sorted(estimated) == sorted(CODES)


def test_two_processes_on_one_cache_agree(given, settings, tmp_path):
    models.load(given["model"])  # what takes long happens before the race
    command = [sys.executable, "-m", "langsim.cli", "similarity", "--json", "--languages", ",".join(CODES)]
    for name in ("model", "corpus", "data", "max_items"):
        command += [f"--{name.replace('_', '-')}", str(given[name])]
    pipe = subprocess.PIPE
    other = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=paths.ROOT)
    while other.poll() is None and not (tmp_path / "cache" / "fisher").exists():
        time.sleep(0.005)
    here = pipeline.similarities(settings)
    out, err = other.communicate()
    assert (other.returncode, err) == (0, "")
    assert json.loads(out) == here.as_json()
    assert not FisherStore(pipeline.fisher_vectors(settings).folder).verify()
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_workers_give_the_same_numbers(settings, tmp_path, monkeypatch):
    alone = pipeline.similarities(settings)
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "other"))
    together = pipeline.similarities(settings, jobs=2)
    assert together.matrix.equals(alone.matrix) and together.signature == alone.signature


def test_the_json_keeps_its_contract(settings):
    told = pipeline.similarities(settings).as_json()
    assert list(told) == ["measure", "signature", "matrix", "centred"]
    assert told["measure"] == "overlap"
    assert list(told["matrix"]) == CODES and list(told["matrix"]["fa"]) == CODES
    assert told["matrix"]["fa"]["fa"] == 1.0 and told["centred"]["fa"]["fa"] is None
    assert abs(sum(v for row in told["centred"].values() for v in row.values() if v is not None)) < 1e-9
    json.dumps(told, allow_nan=False)
    distances = pipeline.similarities(settings.model_copy(update={"measure": "mse"})).as_json()
    assert distances["measure"] == "mse (smaller = more similar)"
    assert distances["matrix"]["fa"]["fa"] == 0.0
    two = profiles.resolve(**{**settings.model_dump(), "languages": ["fa", "hi"], "targets": ["fa"]})
    assert pipeline.similarities(two).as_json()["centred"]["fa"]["hi"] is None


def test_a_family_tells_how_it_was_found(settings):
    told = pipeline.family(settings, "pes").as_json()
    assert list(told) == ["target", "measure", "members", "trace", "signature"]
    assert told["target"] == "fa" and told["measure"] == "overlap"
    row = pipeline.similarities(settings).matrix.loc["fa"].drop("fa").sort_values(ascending=False, kind="stable")
    assert told["members"] == list(row.index[: len(told["members"])]) and told["members"]
    assert told["trace"][0]["language"] == row.index[0]
    json.dumps(told, allow_nan=False)
    with pytest.raises(UsageError, match="target: 'gl' is not among the languages fa, hi, de, sv"):
        pipeline.family(settings, "gl")


def test_the_signature_follows_everything_that_decides_the_numbers(settings):
    parts = results.parse_signature(pipeline.similarities(settings).signature)
    assert parts["model"].startswith("model@") and len(parts["model"]) == len("model@") + 12
    assert parts["corpus"].startswith("files@")
    expected = {"fisher": "batch", "params": "ffn", "measure": "overlap", "k": "0.4", "seed": "0", "items": "60"}
    assert expected.items() <= parts.items()
    for change in ({"k": 0.3}, {"batch_size": 8}, {"measure": "jaccard"}, {"max_items": 50}, {"languages": CODES[:3]}):
        changed = settings.model_copy(update={"targets": ["fa"], **change})
        assert results.parse_signature(pipeline.similarities(changed).signature) != parts


def test_both_recipes_and_other_parameters_run(settings):
    theirs = settings.model_copy(update={"recipe": "authors_code"})
    matrix = pipeline.similarities(theirs)
    assert (matrix.matrix.to_numpy().round(5) == matrix.matrix.to_numpy()).all()
    vectors = pipeline.fisher_vectors(theirs)
    assert any("bias" in name for name in vectors.scope) and not any("bias" in name for name in vectors.keep)
    everything = pipeline.fisher_vectors(settings.model_copy(update={"params": "all"}))
    assert everything.scope == everything.keep and "model.shared.weight" in everything.keep
    pattern = pipeline.fisher_vectors(settings.model_copy(update={"params": r"re:encoder.*fc1\.weight"}))
    assert len(pattern.keep) == 2
    assert pipeline.similarities(settings.model_copy(update={"estimator": "per_example"})).matrix.notna().all(axis=None)


def test_numbers_do_not_depend_on_what_the_caller_set(settings, tmp_path, monkeypatch):
    first = pipeline.similarities(settings).matrix
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "other"))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(99)
    try:
        assert pipeline.similarities(settings).matrix.equals(first)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_a_reader_must_know_is_data(given, settings, tmp_path):
    text = (paths.Path(given["data"])).read_text().splitlines()
    long = ["zz1", "FINETUNE", *["word " * 200] * 5]
    (tmp_path / "bad.tsv").write_text("\n".join([*text[:50], "\t".join(long), "one column only"]) + "\n")
    odd = profiles.resolve(**{**settings.model_dump(), "data": str(tmp_path / "bad.tsv"), "max_items": 0})
    warnings = pipeline.fisher_vectors(odd).warnings
    assert any("Only 50 items" in line for line in warnings)  # fewer than an intersection should have
    assert any("could not be used; the first: bad.tsv:52" in line for line in warnings)
    assert any("were cut: fa 2, hi 2" in line for line in warnings)  # the source and the target


def test_a_broken_model_names_the_language(settings, given, tmp_path):
    from transformers import M2M100ForConditionalGeneration

    model = M2M100ForConditionalGeneration.from_pretrained(given["model"])
    with torch.no_grad():
        model.model.encoder.layers[0].fc1.weight[0, 0] = math.nan
    broken = tmp_path / "broken"
    tokenizer_files = [f for f in paths.Path(given["model"]).iterdir() if f.name != "model.safetensors"]
    broken.mkdir()
    for file in tokenizer_files:
        (broken / file.name).write_bytes(file.read_bytes())
    model.save_pretrained(broken)
    with pytest.raises(Failure, match="batch 1 of 'fa'"):
        pipeline.fisher_vectors(settings.model_copy(update={"model": str(broken)}))
