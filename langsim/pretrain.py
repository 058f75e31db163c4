"""Train a shipped mini model from its recipe: many-to-many translation on PRETRAIN text, resumable, CPU or GPU."""

import json
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from tqdm import tqdm
from transformers import M2M100Config, M2M100ForConditionalGeneration
from transformers.utils import logging as transformers_logging

from langsim import pretraining
from langsim.corpora import Corpus
from langsim.errors import Failure
from langsim.examples import Examples, collate, grouped, held_out
from langsim.paths import atomic_write
from langsim.tokenizer import EOS, PAD, Tokenizer

SAVE_EVERY = 300  # seconds
# What training goes on from, the state with the optimizer first.
STATE = ("training.safetensors", "model.safetensors", "sentencepiece.model", "languages.json", "card.json")


def new_model(settings: dict, tokenizer: Tokenizer) -> M2M100ForConditionalGeneration:
    """An untrained model of the recipe's shape, from its seed."""
    torch.manual_seed(settings["training"]["seed"])
    config = M2M100Config(
        vocab_size=len(tokenizer),
        decoder_start_token_id=EOS,
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=0,
        **settings["model"],
    )
    return M2M100ForConditionalGeneration(config)


def smoothed_loss(log_p: torch.Tensor, observed: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Label-smoothed cross-entropy per token, in nats, of log p (N, V): one softmax, where torch's own takes two."""
    return -(1 - smoothing) * log_p.gather(1, observed.unsqueeze(1)).mean() - smoothing * log_p.mean()


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
        what was done so far: steps, target tokens, the loss curve (step, tokens, mean label-smoothed loss in nats per
        token), and the held-out loss each time it was taken (step, tokens, mean loss in nats per token).

    Raises:
        Failure: the loss is not finite, or the state in `out` is damaged or of another recipe.
    """
    transformers_logging.set_verbosity_error()
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(settings, text, out)
    pretraining.write_hashes(text, out)
    model = new_model(settings, tokenizer).to(device).train()
    training = settings["training"]
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=tuple(training["betas"]), eps=training["eps"], weight_decay=training["weight_decay"]
    )
    state = _resume(out, model, optimizer)
    checked = held_out(dev, tokenizer, **settings["held_out"], max_tokens=training["max_tokens"])
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
        state["tokens"] += int((batch["labels"] != -100).sum())
        if state["tokens"] >= (len(state["held_out"]) + 1) * every:
            _check(out, model, checked, training, state)
        if len(recent) == log_every:
            state["curve"].append([state["step"], state["tokens"], round(float(np.mean(recent)), 4)])
            progress.set_postfix(step=state["step"], loss=state["curve"][-1][2])
            recent = []
        progress.update()
    if state["step"] > begun:
        if state["held_out"][-1:] == [] or state["held_out"][-1][0] < state["step"]:
            _check(out, model, checked, training, state)
        _save(out, model, optimizer, state)
    progress.close()
    return state


def _batches(
    settings: dict, text: Corpus, tokenizer: Tokenizer, model: M2M100ForConditionalGeneration, state: dict
) -> Iterator[tuple[dict[str, torch.Tensor], float]]:
    """Batches and their learning rates, phase by phase, from where `state` stands to the end of the recipe."""
    training, start = settings["training"], 0
    for phase in settings["phase"]:
        if state["tokens"] < phase["until"]:
            set_dropout(model, phase["dropout"])
            sampling = {**settings["sampling"], **phase}
            seed = training["seed"] + state["step"]
            for batch in Examples(text, {**settings, "sampling": sampling}, tokenizer, seed).batches(
                training["tokens_per_batch"]
            ):
                if state["tokens"] >= phase["until"]:
                    break
                done = (state["tokens"] - start) / (phase["until"] - start)
                yield batch, learning_rate(state["step"], done, training)
        start = phase["until"]


def set_dropout(model: M2M100ForConditionalGeneration, share: float) -> None:
    """Drop this share of the outputs of embeddings, attention and feed-forward layers while training."""
    model.config.dropout = share
    for module in model.modules():
        if isinstance(getattr(module, "dropout", None), float) and not hasattr(module, "head_dim"):
            module.dropout = share  # in attention the name means that of the weights


def _tokenizer(settings: dict, text: Corpus, out: Path) -> Tokenizer:
    """The tokenizer in `out`, or one trained on the text and saved there."""
    if (out / "sentencepiece.model").exists():
        return Tokenizer.load(out)
    sentences = [string for code in sorted(text.texts) for string in text.texts[code].values()]
    tokenizer = Tokenizer.train(sentences, **settings["tokenizer"])
    tokenizer.save(out)
    return tokenizer


def _log_probabilities(
    model: M2M100ForConditionalGeneration, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (N, V) of all tokens at the N scored positions of a batch, and the observed tokens (N,)."""
    device = model.device
    ids, mask, labels = (batch[key].to(device) for key in ("input_ids", "attention_mask", "labels"))
    shifted = torch.cat([labels.new_full((len(labels), 1), EOS), labels[:, :-1]], dim=1)
    scored = labels != -100  # (B, T)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu"):
        hidden = model.model(ids, attention_mask=mask, decoder_input_ids=shifted.masked_fill(shifted == -100, PAD))
        logits = model.lm_head(hidden.last_hidden_state[scored])  # (N, V): padding is left out before the softmax
    return logits.float().log_softmax(-1), labels[scored]


def _step(
    model: M2M100ForConditionalGeneration,
    optimizer: torch.optim.Optimizer,
    batch: dict[str, torch.Tensor],
    rate: float,
    training: dict,
    state: dict,
) -> float:
    """One step of the optimizer at a learning rate; returns the loss in nats per target token."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = smoothed_loss(*_log_probabilities(model, batch), training["label_smoothing"])
    if not torch.isfinite(loss):
        raise Failure(f"the loss is {loss.item()} at step {state['step']}: lower learning_rate in the recipe")
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), training["clip"])
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item()


def _save(out: Path, model: M2M100ForConditionalGeneration, optimizer: torch.optim.Optimizer, state: dict) -> None:
    weights = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}
    moments = {}
    for index, parameter in enumerate(model.parameters()):
        for key in ("exp_avg", "exp_avg_sq"):
            moments[f"{key}.{index}"] = optimizer.state[parameter][key].detach().cpu().contiguous()
    with atomic_write(out / "training.safetensors") as temporary:
        save_file(weights | moments, temporary, metadata={"state": json.dumps(state)})


def _check(out: Path, model: M2M100ForConditionalGeneration, pairs: list, training: dict, state: dict) -> None:
    """Take the held-out loss; the model with the least so far is the one in `out`."""
    model.eval()
    total, count = 0.0, 0
    with torch.inference_mode():
        for group in grouped(pairs, training["tokens_per_batch"]):
            log_p, observed = _log_probabilities(model, collate(group))
            total -= float(log_p.gather(1, observed.unsqueeze(1)).sum())
            count += len(observed)
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


def _resume(out: Path, model: M2M100ForConditionalGeneration, optimizer: torch.optim.Optimizer) -> dict:
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
