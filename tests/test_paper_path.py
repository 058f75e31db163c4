"""The whole way of the page on translation as the profile `paper` goes it, on files laid out as on the hub: only the
weights are small and random. And what happens to it when it is killed, started twice, or asked for what can't be."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from paper_path import CODES, ROWS, save_model, save_ted, settings_of

from langsim import (
    costs,
    k_search,
    paths,
    profiles,
    systems,
    training_costs,
    translation_claims,
    translation_study,
    tuning,
)
from langsim.errors import Failure, UsageError
from langsim.profiles import Tuning
from langsim.training_engine import Engine
from langsim.training_state import FINISHED, UNFINISHED

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint and the talks, as they lie on the hub."""
    folder = tmp_path_factory.mktemp("hub")
    return save_model(folder / "m2m100"), save_ted(folder / "ted_multi")


@pytest.fixture(scope="module")
def studied(files, own_cache):
    """What an undisturbed run finds."""
    return translation_study.study(settings_of(*files), jobs=1)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# The whole way ---------------------------------------------------------------------------------------------------


def test_the_settings_are_those_of_the_profile_but_for_size(files):
    found = profiles.overrides(settings_of(*files))
    small = {"model", "data", "languages", "targets", "device", "precision", "engine", "updates", "warmup", "draws"}
    small |= {"learning_rate", "tokens_per_batch", "batches_per_update", "beam_size", "seeds"}
    assert set(found) <= small
    assert profiles.resolve("paper", kind=Tuning).engine == "transformers"  # the other one has no GPU


@pytest.mark.parametrize("engine", ["ctranslate2", "transformers"])
def test_from_the_files_of_the_hub_to_the_table_and_the_statements(files, studied, cache, engine):
    found = studied
    if engine == "transformers":
        found = translation_study.study(settings_of(*files, engine=engine), jobs=1)
        for id, scores in found.scores.items():  # the same training; what is translated may differ
            assert scores["curves"] == studied.scores[id]["curves"]
    table = translation_study.tidy(found)
    assert set(table["method"]) == {*systems.METHODS, *systems.CONTROLS} and set(table["target"]) == {"fa", "Avg."}
    assert table["value"].notna().all()
    assert list(translation_study.table(table, "bleu").columns) == ["Avg.", "fa"]
    claims = translation_claims.frame(found)
    assert len(claims) == 2 * 8 and claims["difference"].notna().all()
    gains = translation_study.singles(found).loc["fa"]
    assert set(gains.dropna().index) == set(CODES) - {"en", "fa"} and list(gains.index) == list(
        found.settings.languages
    )
    assert len(k_search.frame(found)) == 2 * 6
    trained = [scores for id, scores in found.scores.items() if id != "fa.vanilla"]
    assert all(scores["loss"] < scores["parent_loss"] for scores in trained)
    assert any(any(scores["hypotheses"]) for scores in trained)
    assert all(len(scores["hypotheses"]) == ROWS["test"] for scores in trained)
    assert f"model:m2m100@{tuning.model_digest(found.settings)[:12]}|corpus:ted@" in translation_study.signature(found)


def test_the_tokenizer_is_that_of_m2m100(files):
    from langsim import models

    loaded = models.load(str(files[0]))
    source, target = loaded.encode("ایران", "Iran", "fa", "en")
    tokenizer = models.AutoTokenizer.from_pretrained(files[0])
    assert type(tokenizer).__name__ == "M2M100Tokenizer"
    assert (source[0], target[0]) == (tokenizer.get_lang_id("fa"), tokenizer.get_lang_id("en"))
    assert source[-1] == target[-1] == tokenizer.eos_token_id and loaded.first_token("en") == target[0]
    assert len({loaded.first_token(code) for code in CODES}) == len(CODES)
    assert loaded.model.config.vocab_size == max(tokenizer.lang_token_to_id.values()) + 1 + 8
    assert loaded.decode(target) == "Iran"


# Killed ----------------------------------------------------------------------------------------------------------

WORKER = """
import functools, os, signal, sys
import torch
from langsim import systems, training, translation, translation_study, tuning
from langsim.training_engine import Engine

folder, model, data, what, number, sign, *ids = sys.argv[1:]
sys.path.insert(0, folder)
from paper_path import settings_of

torch.set_num_threads(1)
real = {"fine_tune": training.fine_tune, "step": Engine.step, "translate": translation.ENGINES["ctranslate2"]}
calls = dict.fromkeys(real, 0)

def reached(name, of):
    calls[name] += 1
    if what == name and calls[name] == of:
        os.kill(os.getpid(), getattr(signal, sign))

def fine_tune(*arguments, **options):
    calls["fine_tune"] += 1
    calls["step"] = 0
    return real["fine_tune"](*arguments, **options, save_every=0.0)

def step(self, rate):
    if calls["fine_tune"] == int(number):
        reached("step", 2)  # before the second update of that training
    return real["step"](self, rate)

def translate(*arguments):
    for rows in real["translate"](*arguments):
        reached("translate", int(number))
        yield rows

training.fine_tune, Engine.step, translation.ENGINES["ctranslate2"] = fine_tune, step, translate
if ids:
    tuning.obtain(settings_of(model, data), map(systems.parse, ids), jobs=1)
else:
    translation_study.study(settings_of(model, data), jobs=1)
"""


def started(files, cache, what, number, sign, wanted=()):
    """A process that computes the study, or some of its systems, and sends itself a signal on the way."""
    tests = str(Path(__file__).parent)
    command = [sys.executable, "-c", WORKER, tests, *map(str, files), what, str(number), sign]
    command += [system.id for system in wanted]
    environment = {**os.environ, "LANGSIM_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, cwd=paths.ROOT, stderr=subprocess.PIPE, text=True)


def kept(cache):
    """Finished cells: name -> when it was written and what is in it."""
    found = sorted((cache / "cells" / "tuned").rglob("*.json"))
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def states(cache):
    return sorted(path.relative_to(cache / "tuning").parts[1:] for path in (cache / "tuning").rglob("*.safetensors"))


def continued(cache, monkeypatch, call):
    """What the call gives that comes after a killed one, and how many updates it did."""
    before, steps, real = kept(cache), [], Engine.step
    monkeypatch.setattr(Engine, "step", lambda self, rate: steps.append(rate) or real(self, rate))
    found, after = call(), kept(cache)
    assert {name: after[name] for name in before} == before, "a finished system was computed again"
    assert not list((cache / "tuning").iterdir())
    return found, len(steps)


def updates_of(system):
    return sum(max(1, 4 // len(system.stages)) for _ in system.stages)


def test_killed_in_the_second_stage_of_a_training(files, studied, cache, monkeypatch):
    plan = studied.plan.systems()
    at = next(i for i, system in enumerate(plan) if len(system.stages) == 2)
    process = started(files, cache, "step", at + 2, "SIGKILL")  # each system before it is one training
    assert process.wait(timeout=300) == -signal.SIGKILL, process.stderr.read()
    assert set(kept(cache)) == {f"{system.id}.json" for system in plan[:at]}
    assert states(cache) == [("0", FINISHED), ("1", UNFINISHED)]
    found, steps = continued(cache, monkeypatch, lambda: translation_study.study(settings_of(*files), jobs=1))
    assert found.scores == studied.scores
    pd.testing.assert_frame_equal(translation_study.tidy(found), translation_study.tidy(studied))
    assert steps == 1 + sum(map(updates_of, plan[at + 1 :])), "one of the two updates of its second stage was left"


def test_killed_in_the_middle_of_a_translation(files, studied, cache, monkeypatch):
    plan = studied.plan.systems()[:4]
    process = started(files, cache, "translate", 2 * 3, "SIGKILL", plan)  # DEV and TEST of each: the third one's TEST
    assert process.wait(timeout=300) == -signal.SIGKILL, process.stderr.read()
    assert set(kept(cache)) == {f"{system.id}.json" for system in plan[:2]}
    assert states(cache) == [("0", FINISHED)]
    found, steps = continued(cache, monkeypatch, lambda: tuning.obtain(settings_of(*files), plan, jobs=1))
    assert found == {system.id: studied.scores[system.id] for system in plan}
    assert steps == updates_of(plan[3]), "what was trained is not trained again"


def test_two_processes_do_not_compute_the_same_system(files, studied, cache):
    plan = studied.plan.systems()[:4]
    process = started(files, cache, "step", 3, "SIGSTOP", plan)
    try:
        until = time.monotonic() + 300
        while os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG) == (0, 0) and time.monotonic() < until:
            time.sleep(0.05)
        assert len(kept(cache)) == 2
        with pytest.raises(Failure, match=r"another process is training in .*; wait until it has finished") as caught:
            tuning.obtain(settings_of(*files), plan, jobs=1)
        assert "\n" not in str(caught.value)
    finally:
        process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=300) == 0, process.stderr.read()
    expected = {system.id: studied.scores[system.id] for system in plan}
    assert tuning.obtain(settings_of(*files), plan, jobs=1) == expected


# What can't be ---------------------------------------------------------------------------------------------------


def told(files, **changes):
    """The one line that a study ends with."""
    with pytest.raises(UsageError) as caught:
        translation_study.study(settings_of(*files, **changes), jobs=1)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def without(folder, data, code, split):
    """The talks without one language in one split."""
    import pyarrow.parquet as parquet

    for file in data.rglob("*.parquet"):
        table, place = parquet.read_table(file), folder / file.relative_to(data)
        rows = table.to_pylist()
        for row in rows if split in file.parts else ():
            pairs = zip(row["translations"]["language"], row["translations"]["translation"], strict=True)
            there = [(language, text) for language, text in pairs if language != code]
            row["translations"] = dict(zip(("language", "translation"), zip(*there, strict=True), strict=True))
        place.parent.mkdir(parents=True)
        parquet.write_table(type(table).from_pylist(rows, schema=table.schema), place)
    return folder


def test_bad_input_is_one_line_before_anything_is_trained(files, cache, tmp_path, monkeypatch):
    def expensive(*given, **options):
        raise AssertionError("too late")

    model, data = files
    monkeypatch.setattr(translation_study.table2, "estimate_families", expensive)
    assert told(files, languages=["fa", "hi", "tr"], targets=["tr"]).startswith("corpus 'ted' has no text in 'tr'; it")
    no_test = without(tmp_path / "no_test", data, "fa", "test")
    assert "corpus 'ted' has no fa-en text in the pool TEST; leave fa out" in told((model, no_test))
    no_dev = without(tmp_path / "no_dev", data, "fa", "validation")
    assert "corpus 'ted' has no fa-en text in the pool DEV; leave fa out" in told((model, no_dev))
    no_auxiliary = without(tmp_path / "no_train", data, "hi", "train")
    assert "corpus 'ted' has no hi-en text in the pool FINETUNE; leave hi out" in told((model, no_auxiliary))
    assert told(files, target_language="de").startswith("corpus 'ted' has no text in 'de'; it has")
    assert "'fa' is the language translated into; leave it out" in told(files, target_language="fa")
    assert "unknown language 'xx'" in told(files, target_language="xx")
    assert "precision fp16 needs a GPU" in told(files, precision="fp16")


def test_an_engine_that_can_not_be_used_is_said_before_training(files, cache, monkeypatch):
    from langsim import ctranslate, training

    monkeypatch.setattr(training, "fine_tune", None)
    monkeypatch.setattr(ctranslate, "obstacle", lambda loaded: "the model is on the device 'cuda:0'")
    assert told(files).endswith("is on the device 'cuda:0'; use 'transformers'")


def test_an_auxiliary_that_is_the_target_is_refused(files, cache):
    with pytest.raises(UsageError, match="auxiliary 'fa' is the target language itself; leave it out"):
        tuning.obtain(settings_of(*files), [systems.System("fa", (systems.stage(["fa", "hi"]),), 0)], jobs=1)


def test_sentences_that_are_too_long_are_cut_and_said(files, studied, cache, tmp_path):
    from langsim.estimation import model_of

    loaded, settings = model_of(studied.settings), studied.settings
    read = [(code, pool) for code in CODES[1:] for pool in ("FINETUNE", "DEV", "TEST")]
    expected = sum(
        any(len(ids) > loaded.max_tokens for ids in loaded.encode(pair.source_text, pair.target_text, code, "en"))
        for code, pool in read
        if pool == "FINETUNE" or code == "fa"
        for pair in tuning.pairs(settings, code, pool)
    )
    assert tuning.too_long(settings) == expected == 0
    assert "were cut" not in str(translation_study.setting(studied))
    longer = save_ted(tmp_path / "long", repeat={"fa": 9})
    settings = settings_of(files[0], longer)
    count = tuning.too_long(settings)
    assert 0 < count <= sum(ROWS.values())
    scores = tuning.obtain(settings, [systems.System("fa", (systems.Stage(),), 0)], jobs=1)
    assert len(scores["fa.alone.s0"]["hypotheses"]) == ROWS["test"]


# The dry run -----------------------------------------------------------------------------------------------------


def test_the_dry_run_knows_the_files(files, cache):
    settings = settings_of(*files)
    said = "\n".join(training_costs.lines(settings))
    assert "download: nothing" in said and "at most 4 updates a system" in said
    assert costs.shapes_of(settings.model) is not None
