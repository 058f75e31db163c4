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

from langsim import languages, pretraining
from langsim.corpora import Corpus
from langsim.errors import Failure, UsageError
from langsim.paths import atomic_write
from langsim.tokenizer import EOS, PAD, Tokenizer

CHUNK = 8192  # examples that are drawn and sorted by length together
DRAWS = 10_000  # draws in a row that give no example, before the text is held to have none
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


class Examples:
    """Draws training examples: a direction, two languages, a domain, an item."""

    def __init__(self, text: Corpus, settings: dict, tokenizer: Tokenizer, seed: int) -> None:
        self.sampling, self.tokenizer = settings["sampling"], tokenizer
        self.max_tokens = settings["training"]["max_tokens"]
        self.rng = np.random.default_rng(seed)
        members = [m for m in languages.role_members(settings["role"]) if m.code != "en" and text.texts.get(m.code)]
        weights = {m.code: self.sampling["language"][m.resource_class] for m in members}
        if len(weights) < 2:
            raise UsageError("training needs text in at least two languages beside English")
        self.codes = list(weights)
        self.weights = np.array(list(weights.values())) / sum(weights.values())
        self.ids = {
            code: {item: tokenizer.encode(string, code) for item, string in texts.items()}
            for code, texts in text.texts.items()
        }
        domain = text.items["domain"]
        self.items: dict[str, dict[str, set[str]]] = {}
        for code, texts in text.texts.items():
            self.items[code] = {}
            for item in texts:
                self.items[code].setdefault(domain[item], set()).add(item)
        self._common: dict[tuple[str, str], dict[str, list[str]]] = {}

    def common(self, source: str, target: str) -> dict[str, list[str]]:
        """Items that both languages have, by domain."""
        key = (source, target) if source < target else (target, source)
        if key not in self._common:
            a, b = self.items[key[0]], self.items[key[1]]
            shared = {domain: sorted(a[domain] & b[domain]) for domain in a.keys() & b.keys()}
            self._common[key] = {domain: items for domain, items in sorted(shared.items()) if items}
        return self._common[key]

    def draw(self) -> tuple[list[int], list[int]]:
        """Ids of one source and one target.

        Raises:
            Failure: the languages share no text that is short enough.
        """
        for _ in range(DRAWS):
            one, other = self.rng.choice(len(self.codes), size=2, replace=False, p=self.weights)
            u = self.rng.random()
            source, target = self.codes[one], self.codes[other]
            if u < self.sampling["into_english"]:
                target = "en"
            elif u < self.sampling["into_english"] + self.sampling["from_english"]:
                source = "en"
            domains = self.common(source, target)
            if not domains:
                continue
            weights = np.array([self.sampling["domain"][domain] for domain in domains])
            domain = list(domains)[self.rng.choice(len(domains), p=weights / weights.sum())]
            item = domains[domain][self.rng.integers(len(domains[domain]))]
            source_ids, target_ids = self.ids[source][item], self.ids[target][item]
            if max(len(source_ids), len(target_ids)) <= self.max_tokens:
                return source_ids, target_ids
        raise Failure(f"no example in {DRAWS} draws: the languages share no text of at most {self.max_tokens} tokens")

    def batches(self, tokens: int) -> Iterator[dict[str, torch.Tensor]]:
        """Endless batches of like lengths, at most `tokens` target positions each, padding counted."""
        while True:
            drawn = sorted((self.draw() for _ in range(CHUNK)), key=lambda pair: (len(pair[1]) // 4, len(pair[0])))
            groups, start = [], 0
            for end in range(1, len(drawn) + 1):
                widest = max(max(len(s), len(t)) for s, t in drawn[start : end + 1])
                if end == len(drawn) or widest * (end + 1 - start) > tokens:
                    groups.append(drawn[start:end])
                    start = end
            for i in self.rng.permutation(len(groups)):
                yield collate(groups[i])


def collate(pairs: list[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
    """Padded tensors of a batch; labels hold -100 where nothing is scored."""
    width = [max(len(pair[side]) for pair in pairs) for side in (0, 1)]
    source = torch.tensor([s + [PAD] * (width[0] - len(s)) for s, _ in pairs])
    labels = torch.tensor([t + [-100] * (width[1] - len(t)) for _, t in pairs])
    return {"input_ids": source, "attention_mask": source.ne(PAD).long(), "labels": labels}


def smoothed_loss(logits: torch.Tensor, observed: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Label-smoothed cross-entropy per token of logits (N, V), in nats, with one softmax (torch's own takes two)."""
    log_p = logits.log_softmax(-1)  # (N, V)
    return -(1 - smoothing) * log_p.gather(1, observed.unsqueeze(1)).mean() - smoothing * log_p.mean()


def learning_rate(step: int, tokens: int, settings: dict) -> float:
    """Linear warm-up, inverse square root, and over the last part of the token budget a linear way down to zero."""
    peak, warmup = settings["learning_rate"], settings["warmup"]
    left = max(0.0, 1 - tokens / settings["budget"])
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
    return run(settings, text, minutes=minutes, out=out, device=device, log_every=log_every)


def run(
    settings: dict,
    text: Corpus,
    *,
    out: Path,
    minutes: float = math.inf,
    steps: float = math.inf,
    device: str = "cpu",
    log_every: int = 50,
) -> dict:
    """Train a recipe on a text for some minutes or steps, or to the end of the recipe's budget, whichever comes first,
    and save model and state in `out`.

    Returns:
        what was done so far: steps, target tokens, and the loss curve (step, tokens, mean loss in nats per token).

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
    examples = Examples(text, settings, tokenizer, seed=training["seed"] + state["step"])
    started, saved, recent, last = time.monotonic(), time.monotonic(), [], state["step"] + steps
    begun = state["step"]
    progress = tqdm(desc=out.name, unit="step", mininterval=30, disable=None)
    for batch in examples.batches(training["tokens_per_batch"]):
        now = time.monotonic()
        if now - started > minutes * 60 or state["step"] >= last or state["tokens"] >= training["budget"]:
            break
        if now - saved > SAVE_EVERY:
            _save(out, model, optimizer, state)
            saved = now
        recent.append(_step(model, optimizer, batch, training, state))
        state["step"] += 1
        state["tokens"] += int((batch["labels"] != -100).sum())
        if len(recent) == log_every:
            state["curve"].append([state["step"], state["tokens"], round(float(np.mean(recent)), 4)])
            progress.set_postfix(step=state["step"], loss=state["curve"][-1][2])
            recent = []
        progress.update()
    if state["step"] > begun:
        _save(out, model, optimizer, state)
    progress.close()
    return state


def _tokenizer(settings: dict, text: Corpus, out: Path) -> Tokenizer:
    """The tokenizer in `out`, or one trained on the text and saved there."""
    if (out / "sentencepiece.model").exists():
        return Tokenizer.load(out)
    sentences = [string for code in sorted(text.texts) for string in text.texts[code].values()]
    tokenizer = Tokenizer.train(sentences, **settings["tokenizer"])
    tokenizer.save(out)
    return tokenizer


def _step(
    model: M2M100ForConditionalGeneration,
    optimizer: torch.optim.Optimizer,
    batch: dict[str, torch.Tensor],
    training: dict,
    state: dict,
) -> float:
    """One step of the optimizer; returns the loss in nats per target token."""
    device = model.device
    ids, mask, labels = (batch[key].to(device) for key in ("input_ids", "attention_mask", "labels"))
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(state["step"], state["tokens"], training)
    shifted = torch.cat([labels.new_full((len(labels), 1), EOS), labels[:, :-1]], dim=1)
    scored = labels != -100  # (B, T)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu"):
        hidden = model.model(ids, attention_mask=mask, decoder_input_ids=shifted.masked_fill(shifted == -100, PAD))
        logits = model.lm_head(hidden.last_hidden_state[scored])  # (N, V): padding is left out before the softmax
    loss = smoothed_loss(logits.float(), labels[scored], training["label_smoothing"])
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
    model.config.save_pretrained(out)
    with atomic_write(out / "model.safetensors") as temporary:
        save_file({name: p.half() for name, p in weights.items()}, temporary, metadata={"format": "pt"})


def _resume(out: Path, model: M2M100ForConditionalGeneration, optimizer: torch.optim.Optimizer) -> dict:
    """State of an earlier run: with its optimizer where that was kept, else from the shipped weights alone."""
    full, shipped = out / "training.safetensors", out / "model.safetensors"
    source = full if full.exists() else shipped
    if not source.exists():
        return {"step": 0, "tokens": 0, "curve": []}
    try:
        tensors = load_file(source)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(tensors[name])
        if source is shipped:
            card = out / "card.json"
            return json.loads(card.read_text())["training"] if card.exists() else {"step": 0, "tokens": 0, "curve": []}
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
