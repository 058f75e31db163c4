"""Train a shipped mini model from its recipe, by its objective, on PRETRAIN text: resumable, CPU or GPU."""

import json
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from tqdm import tqdm
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from langsim import objectives, pretraining, subwords
from langsim.corpora import Corpus
from langsim.errors import Failure
from langsim.paths import atomic_write
from langsim.tokenizer import CODES, PIECES
from langsim.training_loss import scored_logits, summed_loss

SAVE_EVERY = 300  # seconds
# What training goes on from, the state with the optimizer first.
STATE = ("training.safetensors", "model.safetensors", PIECES, CODES, *subwords.FILES, "card.json")


def new_model(settings: dict, tokenizer: Any) -> PreTrainedModel:
    """An untrained model of the recipe's shape, from its seed."""
    return objectives.of(settings).new_model(settings, tokenizer)


def learning_rate(step: int, done: float, settings: dict) -> float:
    """Linear warm-up, inverse square root, and over the last part of a phase a linear way down to zero.

    Args:
        done: share of the phase that is done.
    """
    peak, warmup, left = settings["learning_rate"], settings["warmup"], max(0.0, 1 - done)
    return peak * min((step + 1) / warmup, math.sqrt(warmup / (step + 1)), 1.0) * min(1.0, left / settings["decay"])


def train(
    name: str, *, minutes: float, out: Path, device: str = "cpu", log_every: int = 50, fresh: bool = False
) -> dict:
    """Train a shipped model from its recipe for some minutes; see `run`.

    Goes on from the last state in `out`, else from the weights that ship with the project; `fresh` starts anew.

    Raises:
        UsageError: no such recipe, or no NTREX-128.
        Failure: the loss is not finite, or the state in `out` is damaged or of another recipe.
    """
    settings = pretraining.recipe(name)
    text = pretraining.training_text(settings)
    out.mkdir(parents=True, exist_ok=True)
    for file in STATE if fresh else ():
        (out / file).unlink(missing_ok=True)
    if not fresh and not any((out / file).exists() for file in STATE):
        for file in STATE:
            if (pretraining.MODELS / name / file).exists():
                shutil.copyfile(pretraining.MODELS / name / file, out / file)
    dev = pretraining.dev_text(settings)
    return run(settings, text, dev, minutes=minutes, out=out, device=device, log_every=log_every)


def run(
    settings: dict,
    text: Corpus,
    dev: Corpus,
    *,
    out: Path,
    minutes: float = math.inf,
    steps: float = math.inf,
    device: str = "cpu",
    log_every: int = 50,
) -> dict:
    """Train a recipe on a text for some minutes or steps, or to the end of the recipe, whichever comes first,
    and save in `out` the state, and as the model the weights with the least loss on the held-out text `dev` so far.

    Returns:
        what was done so far: steps, tokens as the objective counts them, the loss curve (step, tokens, mean
        label-smoothed loss in nats per scored token), and the held-out loss each time it was taken (step, tokens, mean
        loss in nats per scored token).

    Raises:
        Failure: the loss is not finite, or the state in `out` is damaged or of another recipe.
    """
    transformers_logging.set_verbosity_error()
    out.mkdir(parents=True, exist_ok=True)
    objective = objectives.of(settings)
    tokenizer = _tokenizer(settings, text, out)
    pretraining.write_hashes(text, out)
    model = new_model(settings, tokenizer).to(device).train()
    training = settings["training"]
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=tuple(training["betas"]), eps=training["eps"], weight_decay=training["weight_decay"]
    )
    state = _resume(out, model, optimizer)
    checked = objective.held_out(dev, settings, tokenizer)
    every = settings["phase"][-1]["until"] / training["checks"]
    started, saved, recent = time.monotonic(), time.monotonic(), []
    begun = state["step"]
    progress = tqdm(desc=out.name, unit="step", mininterval=30, disable=None)
    for batch, rate in _batches(settings, text, tokenizer, model, state):
        now = time.monotonic()
        if now - started > minutes * 60 or state["step"] >= begun + steps:
            break
        if now - saved > SAVE_EVERY:
            _save(out, model, optimizer, state)
            saved = now
        recent.append(_step(model, optimizer, batch, rate, training, state))
        state["step"] += 1
        state["tokens"] += objective.count(batch)
        if state["tokens"] >= (len(state["held_out"]) + 1) * every:
            _check(out, model, checked, state)
        if len(recent) == log_every:
            state["curve"].append([state["step"], state["tokens"], round(float(np.mean(recent)), 4)])
            progress.set_postfix(step=state["step"], loss=state["curve"][-1][2])
            recent = []
        progress.update()
    if state["step"] > begun:
        if state["held_out"][-1:] == [] or state["held_out"][-1][0] < state["step"]:
            _check(out, model, checked, state)
        _save(out, model, optimizer, state)
    progress.close()
    return state


def _batches(
    settings: dict, text: Corpus, tokenizer: Any, model: PreTrainedModel, state: dict
) -> Iterator[tuple[dict[str, torch.Tensor], float]]:
    """Batches and their learning rates, phase by phase, from where `state` stands to the end of the recipe."""
    objective, training, start = objectives.of(settings), settings["training"], 0
    for phase in settings["phase"]:
        if state["tokens"] < phase["until"]:
            objective.prepare(model, phase)
            sampling = {**settings["sampling"], **phase}
            for batch in objective.batches(text, {**settings, "sampling": sampling}, tokenizer, state["step"]):
                if state["tokens"] >= phase["until"]:
                    break
                done = (state["tokens"] - start) / (phase["until"] - start)
                yield batch, learning_rate(state["step"], done, training)
        start = phase["until"]


def _tokenizer(settings: dict, text: Corpus, out: Path) -> Any:
    """The tokenizer in `out`, or one trained on the text and saved there."""
    objective = objectives.of(settings)
    if (out / objective.files[0]).exists():
        return objective.load_tokenizer(out)
    sentences = [string for code in sorted(text.texts) for string in text.texts[code].values()]
    return objective.train_tokenizer(sentences, settings, out)


def _summed_loss(model: PreTrainedModel, batch: dict[str, torch.Tensor], smoothing: float) -> tuple[torch.Tensor, int]:
    """Label-smoothed cross-entropy of a batch in nats, summed over its scored tokens, and how many they are."""
    batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
    with torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type != "cpu"):
        logits, observed = scored_logits(model, model, batch)
    return summed_loss(logits, observed, smoothing), len(observed)


def _step(
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    batch: dict[str, torch.Tensor],
    rate: float,
    training: dict,
    state: dict,
) -> float:
    """One step of the optimizer at a learning rate; returns the loss in nats per scored token."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    total, count = _summed_loss(model, batch, training["label_smoothing"])
    loss = total / count
    if not torch.isfinite(loss):
        raise Failure(f"the loss is {loss.item()} at step {state['step']}: lower learning_rate in the recipe")
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), training["clip"])
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item()


def _save(out: Path, model: PreTrainedModel, optimizer: torch.optim.Optimizer, state: dict) -> None:
    weights = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}
    moments = {}
    for index, parameter in enumerate(model.parameters()):
        for key in ("exp_avg", "exp_avg_sq"):
            moments[f"{key}.{index}"] = optimizer.state[parameter][key].detach().cpu().contiguous()
    with atomic_write(out / "training.safetensors") as temporary:
        save_file(weights | moments, temporary, metadata={"state": json.dumps(state)})


def _check(out: Path, model: PreTrainedModel, batches: list, state: dict) -> None:
    """Take the held-out loss; the model with the least so far is the one in `out`."""
    model.eval()
    total, count = 0.0, 0
    with torch.inference_mode():
        for batch in batches:
            loss, tokens = _summed_loss(model, batch, 0.0)
            total, count = total + float(loss), count + tokens
    model.train()
    loss = round(total / count, 4)
    if loss < min((entry[2] for entry in state["held_out"]), default=math.inf):
        model.config.save_pretrained(out)
        with atomic_write(out / "model.safetensors") as temporary:
            weights = {name: p.detach().cpu().half().contiguous() for name, p in model.named_parameters()}
            save_file(weights, temporary, metadata={"format": "pt"})
    state["held_out"].append([state["step"], state["tokens"], loss])


def _beginning() -> dict:
    return {"step": 0, "tokens": 0, "curve": [], "held_out": []}


def _resume(out: Path, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> dict:
    """State of an earlier run: with its optimizer where that was kept, else from the shipped weights alone."""
    full, shipped = out / "training.safetensors", out / "model.safetensors"
    source = full if full.exists() else shipped
    if not source.exists():
        return _beginning()
    try:
        tensors = load_file(source)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(tensors[name])
        if source is shipped:
            card = out / "card.json"
            return json.loads(card.read_text())["training"] if card.exists() else _beginning()
        with safe_open(full, "pt") as handle:
            state = json.loads(handle.metadata()["state"])
        for index, parameter in enumerate(model.parameters()):
            optimizer.state[parameter] = {
                "step": torch.tensor(float(state["step"])),
                "exp_avg": tensors[f"exp_avg.{index}"].to(parameter.device),
                "exp_avg_sq": tensors[f"exp_avg_sq.{index}"].to(parameter.device),
            }
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise Failure(f"{source} is damaged or of another recipe: start anew with --fresh") from error
    return state
