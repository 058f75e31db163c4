"""Fine-tuning that is killed, that two start at once, that diverges, or that is given what it can't take."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from tiny import save_names, save_tiny_m2m

from langsim import corpora, models, training
from langsim.corpora.base import Pair
from langsim.errors import Failure, UsageError
from langsim.training import fine_tune
from langsim.training_engine import Engine
from langsim.training_recipe import TrainingRecipe
from langsim.training_state import FINISHED, UNFINISHED

# Everything that draws random numbers is on.
VALUES = {"dropout": 0.2, "attention_dropout": 0.1, "layerdrop": 0.3, "precision": "fp32", "patience": None}
VALUES |= {"updates": 10, "validate_every": 4, "tokens_per_batch": 120, "batches_per_update": 2, "warmup": 3}
VALUES |= {"learning_rate": 5e-3, "seed": 4, "clip_norm": 1.0}


def recipe(**changes):
    return TrainingRecipe.of(**{**VALUES, **changes})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A corpus and a checkpoint on disk."""
    root = tmp_path_factory.mktemp("files")
    data = save_names(root / "names.tsv", ("en", "fa", "de"))
    words = [word for line in data.read_text().splitlines()[1:] for word in line.split("\t")[2:]]
    return data, save_tiny_m2m(root / "model", words)


@pytest.fixture(scope="module")
def texts(files):
    corpus = corpora.load("files", path=str(files[0]))
    pairs = {code: corpus.pairs(code, "en") for code in ("fa", "de")}
    return {"fa": pairs["fa"][:60], "de": pairs["de"][:25]}, {"fa": pairs["fa"][60:80]}


@pytest.fixture(scope="module")
def tiny(files):
    return models.load(str(files[1]))


@pytest.fixture(scope="module")
def whole(tiny, texts):
    """What an uninterrupted training gives."""
    return fine_tune(tiny, *texts, recipe())


def assert_same(one, other):
    assert one.curve == other.curve and one.best_update == other.best_update and one.tokens == other.tokens
    assert one.model.digest == other.model.digest and one.model.weights_sha256 == other.model.weights_sha256
    for (name, a), (_, b) in zip(one.model.model.named_parameters(), other.model.model.named_parameters(), strict=True):
        assert torch.equal(a, b), name


class Killed(BaseException):
    pass


def stop_at(monkeypatch, update):
    """The training ends as if killed in the middle of an update."""
    step = Engine.step

    def stopping(self, rate):
        if rate == recipe().rate(update):
            raise Killed
        return step(self, rate)

    monkeypatch.setattr(Engine, "step", stopping)


# Killed ----------------------------------------------------------------------------------------------------------

WORKER = """
import sys
from pathlib import Path
import torch
from langsim import corpora, models
from langsim.training import fine_tune
from langsim.training_recipe import TrainingRecipe

data, folder, out, values = sys.argv[1:]
torch.set_num_threads(1)
corpus = corpora.load("files", path=data)
pairs = {code: corpus.pairs(code, "en") for code in ("fa", "de")}
texts = {"fa": pairs["fa"][:60], "de": pairs["de"][:25]}, {"fa": pairs["fa"][60:80]}
made = TrainingRecipe.model_validate_json(values)
fine_tune(models.load(folder), *texts, made, folder=Path(out), save_every=0.0)
"""


def updates_in(path):
    """How far the state on disk is."""
    try:
        with safe_open(path, "pt") as handle:
            return json.loads(handle.metadata()["facts"])["progress"]["update"]
    except (OSError, RuntimeError, SafetensorError):  # it is being replaced
        return 0


def test_a_killed_training_goes_on_to_the_same_result(files, tiny, texts, tmp_path):
    made, out = recipe(updates=40, validate_every=7), tmp_path / "run"
    command = [sys.executable, "-c", WORKER, *map(str, files), str(out), made.model_dump_json()]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        until = time.monotonic() + 120
        while updates_in(out / UNFINISHED) < 9 and time.monotonic() < until and process.poll() is None:
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    reached = updates_in(out / UNFINISHED)
    assert 9 <= reached < 40 and not (out / FINISHED).exists()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert_same(fine_tune(tiny, *texts, made, folder=out), fine_tune(tiny, *texts, made))
    finally:
        torch.set_num_threads(before)
    assert {path.name for path in out.iterdir()} - {".lock"} == {FINISHED}


@pytest.mark.parametrize("saved", [None, 1, 3, 4, 6])
def test_updates_after_the_last_state_are_done_again(tiny, texts, whole, tmp_path, monkeypatch, saved):
    """The state is of before, at and after a validation, or there is none."""
    keep = training._Training._save

    def save(self, best):
        if self.progress.update == saved:
            keep(self, best)

    with monkeypatch.context() as patched:
        patched.setattr(training._Training, "_save", save)
        stop_at(patched, 7)
        with pytest.raises(Killed):
            fine_tune(tiny, *texts, recipe(), folder=tmp_path, save_every=0.0)
    assert updates_in(tmp_path / UNFINISHED) == (saved or 0)
    torch.manual_seed(77)
    assert_same(fine_tune(tiny, *texts, recipe(), folder=tmp_path), whole)


def test_a_finished_training_is_not_done_again(tiny, texts, whole, tmp_path, monkeypatch):
    assert_same(fine_tune(tiny, *texts, recipe(), folder=tmp_path, save_every=0.0), whole)
    stop_at(monkeypatch, 1)
    assert_same(fine_tune(tiny, *texts, recipe(), folder=tmp_path), whole)
    with pytest.raises(Killed):
        fine_tune(tiny, *texts, recipe())


def test_patience_counts_over_a_kill(tiny, texts, tmp_path, monkeypatch):
    made = recipe(updates=200, validate_every=1, patience=3, learning_rate=3e-2)
    expected = fine_tune(tiny, *texts, made)
    assert 4 <= expected.updates < 200
    step, calls = Engine.step, []

    def stopping(self, rate):
        calls.append(rate)
        if len(calls) == expected.updates:
            raise Killed
        return step(self, rate)

    with monkeypatch.context() as patched:
        patched.setattr(Engine, "step", stopping)
        with pytest.raises(Killed):
            fine_tune(tiny, *texts, made, folder=tmp_path, save_every=0.0)
    assert_same(fine_tune(tiny, *texts, made, folder=tmp_path), expected)


# A folder that can't be used -------------------------------------------------------------------------------------


@pytest.fixture
def begun(tiny, texts, tmp_path, monkeypatch):
    """A folder with a training that was stopped."""
    with monkeypatch.context() as patched:
        stop_at(patched, 5)
        with pytest.raises(Killed):
            fine_tune(tiny, *texts, recipe(), folder=tmp_path, save_every=0.0)
    return tmp_path


def test_a_state_of_something_else_is_not_gone_on_from(begun, tiny, texts):
    data, dev = texts
    calls = {
        "recipe": (tiny, data, dev, recipe(seed=5)),
        "model": (models.randomised(tiny, 3), data, dev, recipe()),
        "training text": (tiny, {"fa": data["fa"]}, dev, recipe()),
        "DEV text": (tiny, data, {"fa": dev["fa"][1:]}, recipe()),
        "recipe and DEV text": (tiny, data, {"fa": dev["fa"][1:]}, recipe(seed=5)),
    }
    for file in (UNFINISHED, FINISHED):
        for what, arguments in calls.items():
            with pytest.raises(Failure, match=f"{file} is of another {what}: delete it, or train in another"):
                fine_tune(*arguments, folder=begun)
        fine_tune(tiny, data, dev, recipe(), folder=begun)


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign", "no facts"])
@pytest.mark.parametrize("file", [UNFINISHED, FINISHED])
def test_a_damaged_state_is_said_in_one_line(begun, tiny, texts, file, damage):
    path = begun / file
    content = (begun / UNFINISHED).read_bytes()
    path.write_bytes({"cut": content[:3000], "empty": b"", "foreign": b"{}" * 50, "no facts": b""}[damage])
    if damage == "no facts":
        save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(Failure, match=f"{file} is damaged: delete it, and the training begins anew") as caught:
        fine_tune(tiny, *texts, recipe(), folder=begun)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", [UNFINISHED, FINISHED])
def test_a_state_without_a_tensor_is_damaged(begun, tiny, texts, file):
    path = begun / UNFINISHED
    with safe_open(path, "pt") as handle:
        metadata = handle.metadata()
    tensors = load_file(path)
    tensors.pop("model.model.shared.weight")
    save_file(tensors, begun / file, metadata=metadata)
    with pytest.raises(Failure, match="is damaged: delete it"):
        fine_tune(tiny, *texts, recipe(), folder=begun)


def test_only_one_process_trains_in_a_folder(begun, tiny, texts, whole):
    with FileLock(begun / ".lock"), pytest.raises(Failure, match=r"another process is training in .*; wait until it"):
        fine_tune(tiny, *texts, recipe(), folder=begun)
    assert_same(fine_tune(tiny, *texts, recipe(), folder=begun), whole)


def test_a_folder_that_can_not_be_written(tiny, texts, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure, match=r"cannot write .*file/run: "):
        fine_tune(tiny, *texts, recipe(), folder=tmp_path / "file" / "run")


# Divergence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1e30, 30.0])
def test_a_training_that_diverges_stops_and_can_be_tried_again(tiny, texts, tmp_path, rate):
    wild = recipe(learning_rate=rate, warmup=1, clip_norm=None)
    with pytest.raises(Failure, match=r"the training loss is \S+ nats a token at update \d+ ") as caught:
        fine_tune(tiny, *texts, wild, folder=tmp_path, save_every=0.0)
    assert "lower learning_rate" in str(caught.value) and "\n" not in str(caught.value)
    assert fine_tune(tiny, *texts, recipe(updates=2), folder=tmp_path).updates == 2


def test_a_step_that_overflows_is_left_out_and_counted(tiny, texts, monkeypatch):
    """As `GradScaler` does it in fp16, which takes a GPU: here the engine says so at the third update."""
    step, calls = Engine.step, []

    def skipping(self, rate):
        calls.append(rate)
        if len(calls) == 3:
            self.optimizer.zero_grad(set_to_none=True)
            return False
        return step(self, rate)

    monkeypatch.setattr(Engine, "step", skipping)
    tuned = fine_tune(tiny, *texts, recipe())
    assert tuned.skipped == 1 and tuned.updates == 10
    assert all(math.isfinite(point.train_loss) for point in tuned.curve[1:])


def test_the_scaler_of_fp16_is_obeyed(tiny, texts):
    """On a CPU, where `accelerate` makes none by itself."""
    batch = next(tiny.batches(texts[0]["fa"][:5], "fa"))
    plain = training.with_dropout(tiny.model, recipe())
    start = [p.detach().clone() for p in plain.parameters()]
    steps = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=1024.0)):
        model = training.with_dropout(tiny.model, recipe())
        engine = Engine(recipe(), "cpu")
        engine.accelerator.scaler = scaler
        engine.accelerator.native_amp = scaler is not None  # with it, clipping unscales before
        engine.accelerator.state._mixed_precision = "fp16" if scaler else "no"
        called = engine.prepare(model, recipe())
        loss = engine.gradients(called, [batch], lambda batch, model=model: model(**batch).loss)
        assert loss == pytest.approx(tiny.model(**batch).loss.item())
        if scaler:  # an overflow first
            kept = [p.grad.clone() for p in model.parameters()]
            next(iter(model.parameters())).grad.fill_(float("inf"))
            assert not engine.step(1e-3) and scaler.get_scale() == 512.0
            assert all(torch.equal(p, q) for p, q in zip(model.parameters(), start, strict=True))
            for parameter, gradient in zip(model.parameters(), kept, strict=True):
                parameter.grad = gradient / 2  # scaled by 512 now
        assert engine.step(1e-3)
        steps.append([p.detach() - q for p, q in zip(model.parameters(), start, strict=True)])
    for one, other in zip(*steps, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)
    assert any(step.abs().max() > 1e-4 for step in steps[0])


def test_fp16_that_overflows_at_any_scale_stops(tiny):
    engine = Engine(recipe(), "cpu")
    engine.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1e-4)
    model = training.with_dropout(tiny.model, recipe())
    engine.prepare(model, recipe())
    with pytest.raises(Failure, match="fp16 overflows at any scale: use precision bf16 or fp32"):
        engine.gradients(model, [0], lambda _: sum(p.sum() for p in model.parameters()) * float("inf"))
        engine.step(1e-3)


# Input -----------------------------------------------------------------------------------------------------------


def test_bad_input_is_one_line_each(tiny, texts):
    data, dev = texts
    unknown = {"tlh": data["fa"]}
    for arguments, message in [
        (({}, dev, recipe()), "there is no training text: give pairs of at least one language"),
        (({**data, "hi": []}, dev, recipe()), "there is no training text of 'hi': leave it out, or give it pairs"),
        ((data, {}, recipe()), "there is no DEV text: give pairs"),
        ((data, {"fa": []}, recipe()), "there is no DEV text of 'fa'"),
        (({"eng": data["fa"]}, dev, recipe()), "wrong direction: training text of eng-en is not a translation"),
        (({"en": data["fa"]}, dev, recipe()), "wrong direction: training text of en-en is not a translation"),
        ((unknown, dev, recipe()), "tlh"),
        (({"chr": data["fa"]}, dev, recipe()), "chr"),
        ((data, dev, recipe(precision="fp16")), "precision fp16 needs a GPU; on a CPU use fp32 or bf16"),
    ]:
        with pytest.raises(UsageError, match=message) as caught:
            fine_tune(tiny, *arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="device 'cuda:9': no such GPU here"):
        fine_tune(tiny, data, dev, recipe(), device="cuda:9")
    with pytest.raises(UsageError, match="no token for the language 'ckb'"):
        fine_tune(tiny, data, dev, recipe(), target="ckb")


def test_a_model_without_a_decoder_is_told(tiny, texts):
    from transformers import BertConfig, BertForMaskedLM

    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    encoder = replace(tiny, model=BertForMaskedLM(BertConfig(vocab_size=20, **shape)), name="bert")
    with pytest.raises(UsageError, match="the model 'bert' has no decoder to train: choose a translation model"):
        fine_tune(encoder, *texts, recipe())


def test_long_sentences_are_cut_and_counted(tiny, texts):
    data, dev = texts
    long = Pair("x", "فارسی " * 60, "Persian " * 90, "text", "x")
    short = Pair("y", "فارسی", "Persian " * 90, "text", "y")
    tuned = fine_tune(tiny, {**data, "fa": [*data["fa"], long]}, {"fa": [*dev["fa"], short]}, recipe(updates=1))
    assert tuned.truncated == 3
    assert fine_tune(tiny, *texts, recipe(updates=1)).truncated == 0
    assert tiny.truncated == 0


def test_batches_that_processes_can_not_share(tiny, monkeypatch):
    from langsim import training_engine

    class Three:
        device, process_index, num_processes = torch.device("cpu"), 0, 3

        def __init__(self, **_):
            pass

    monkeypatch.setattr(training_engine, "Accelerator", Three)
    with pytest.raises(UsageError, match="3 processes cannot share 4 batches an update evenly: set batches_per_upd"):
        Engine(recipe(batches_per_update=4), "cpu")
