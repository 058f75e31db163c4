"""Fine-tune any sequence-to-sequence model on a set of language pairs (Part I, sections 2.3 and 3.1)."""

import copy
import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedModel

from langsim import languages, training_state
from langsim.corpora.base import Pair
from langsim.errors import Failure, UsageError
from langsim.models import Batch, LoadedModel, weights_digest
from langsim.sampling import SamplingRule
from langsim.token_batches import BatchStream, EncodedPairs, encode
from langsim.training_engine import Engine
from langsim.training_loss import scored_logits, summed_loss
from langsim.training_recipe import TrainingRecipe
from langsim.training_updates import Progress, Updates

DROPOUT = {  # field of a recipe -> what configurations call it
    "dropout": ("dropout", "dropout_rate"),
    "attention_dropout": ("attention_dropout",),
    "layerdrop": ("encoder_layerdrop", "decoder_layerdrop"),
}


class Point(NamedTuple):
    """One validation: after how many updates and target tokens; label-smoothed losses in nats per target token.

    `train_loss` is the mean since the validation before (None at update 0, the parent).
    """

    update: int
    tokens: int
    train_loss: float | None
    dev_loss: float


@dataclass(frozen=True)
class Tuned:
    """What came out of a fine-tuning.

    Attributes:
        model: with the weights of `best_update`; its digest follows from parent, text and recipe.
        updates: how many were done.
        tokens: target tokens read, end of sentence and language token counted.
        curve: every validation, that of the parent first.
        best_update: the one with the least loss on DEV; 0 is the parent.
        truncated: texts, of training and DEV, that were longer than the model allows, and were cut.
        skipped: updates whose gradient overflowed in fp16 and was left out.
    """

    model: LoadedModel
    updates: int
    tokens: int
    curve: list[Point]
    best_update: int
    truncated: int
    skipped: int

    @property
    def parent_dev_loss(self) -> float:
        """Of the model before training, in nats per target token."""
        return self.curve[0].dev_loss

    @property
    def best_dev_loss(self) -> float:
        """Of the model returned, in nats per target token."""
        return min(point.dev_loss for point in self.curve)


def fine_tune(
    loaded: LoadedModel,
    data: Mapping[str, Sequence[Pair]],
    dev: Mapping[str, Sequence[Pair]],
    recipe: TrainingRecipe,
    *,
    target: str = "en",
    folder: Path | None = None,
    device: str | None = None,
    save_every: float = 300.0,
) -> Tuned:
    """Train a copy of a model on pairs of several source languages into one target language.

    Adam, linear warm-up and inverse square root; label-smoothed cross-entropy, divided by the target tokens of the
    update. What is returned is the weights with the least label-smoothed loss on all of `dev` together (the authors'
    choice), and the parent is a candidate. Equal arguments give equal weights, bit by bit on one machine with one
    number of threads (`torch.set_num_threads`), whatever random numbers were drawn before.

    Args:
        loaded: the parent; it is not changed.
        data, dev: source language -> pairs.
        folder: keeps the state, from which a later call goes on to the same result; one that is finished is read.
        device: None for that of the model.
        save_every: seconds between two states in `folder`.

    Raises:
        UsageError: a language without text or without a token in the model, a direction or device that can't be.
        Failure: the loss diverges; `folder` is in use, or holds the training of another recipe, text or model.
    """
    with training_state.held(folder):
        return _Training(loaded, data, dev, recipe, target, folder, device).run(save_every)


class _Training:
    """One call of `fine_tune`."""

    def __init__(
        self,
        loaded: LoadedModel,
        data: Mapping[str, Sequence[Pair]],
        dev: Mapping[str, Sequence[Pair]],
        recipe: TrainingRecipe,
        target: str,
        folder: Path | None,
        device: str | None,
    ) -> None:
        if not loaded.model.config.is_encoder_decoder:
            raise UsageError(f"the model '{loaded.name}' has no decoder to train: choose a translation model")
        self.recipe, self.folder, self.parent = recipe, None if folder is None else Path(folder), loaded
        self.engine = Engine(recipe, device or str(loaded.model.device))
        self.loaded = replace(loaded, truncated=0)  # counts its own cuts
        into = languages.get(target).code
        self.pairs = encode(self.loaded, data, into, "training")
        self.dev = encode(self.loaded, dev, into, "DEV")
        self.made_from = {
            "recipe": recipe.digest,
            "model": f"{loaded.digest} {weights_digest(loaded.model)}",
            "training text": f"{into} {self.pairs.digest}",
            "DEV text": self.dev.digest,
            "number of processes": self.engine.processes,
            "kind of device": self.engine.device.type,
        }
        self.progress = Progress()

    def run(self, save_every: float) -> Tuned:
        """Train, from the beginning or from where it stopped, and keep what came out."""
        model = with_dropout(self.loaded.model, self.recipe)
        done = self._read(training_state.FINISHED)
        if done is not None:
            with training_state.damage_told(self.folder / training_state.FINISHED):
                return self._tuned(model, done[0])
        with self.engine.seeded(self.recipe.seed):
            best = self._train(model.to(self.engine.device), save_every)
        if self.folder is not None and self.engine.first:
            training_state.write(self.folder / training_state.FINISHED, best, self._facts())
            (self.folder / training_state.UNFINISHED).unlink(missing_ok=True)
        return self._tuned(model, best)

    def _train(self, model: PreTrainedModel, save_every: float) -> training_state.Weights:
        """All updates; the best weights."""
        recipe, engine, progress = self.recipe, self.engine, self.progress
        self.model, self.called = model, engine.prepare(model, recipe)
        self._checks = _dev_batches(self.dev, self.loaded, recipe.tokens_per_batch)
        unfinished = None if self.folder is None else self.folder / training_state.UNFINISHED
        self._updates = Updates(
            engine, recipe, self.pairs, self._summed_loss_of_pairs, model.config.vocab_size, unfinished
        )
        best = self._resume()
        if best is None:
            best = self._validate({})
        progress = self.progress
        stream = BatchStream(self.pairs, recipe.rule, recipe.mixing, recipe.tokens_per_batch, recipe.seed)
        chosen = stream.updates(recipe.batches_per_update, progress.epoch, progress.index)
        saved = time.monotonic()
        shown = {"desc": "fine-tuning", "mininterval": 1, "leave": False, "disable": None if engine.first else True}
        with tqdm(total=recipe.updates, initial=progress.update, **shown) as bar:
            while not self._finished():
                batches, epoch, index = next(chosen)
                new_epoch = epoch > progress.epoch
                self._updates.take(self.called, batches, progress)
                progress.epoch, progress.index = epoch, index
                every = recipe.validate_every
                if (new_epoch if every is None else progress.update % every == 0) or progress.update == recipe.updates:
                    best = self._validate(best)
                if self.folder is not None and engine.any(time.monotonic() - saved >= save_every):
                    self._save(best)
                    saved = time.monotonic()
                bar.update()
        return best

    def _finished(self) -> bool:
        progress, recipe = self.progress, self.recipe
        validations_since = sum(point.update > progress.best_update for point in progress.curve)
        return progress.update >= recipe.updates or (
            recipe.patience is not None and validations_since >= recipe.patience
        )

    def _summed_loss_of_pairs(self, indexes: np.ndarray) -> torch.Tensor:
        return self._summed_loss(self.pairs.batch(self.loaded, indexes))

    def _summed_loss(self, batch: Batch) -> torch.Tensor:
        """Label-smoothed loss of a batch, summed over its target tokens."""
        batch = {name: tensor.to(self.engine.device) for name, tensor in batch.items()}
        with self.engine.autocast():
            logits, observed = scored_logits(self.called, self.model, batch)
        return summed_loss(logits, observed, self.recipe.label_smoothing)

    @torch.inference_mode()
    def _validate(self, best: training_state.Weights) -> training_state.Weights:
        """Take the loss on DEV; the weights with the least so far."""
        progress, engine = self.progress, self.engine
        self.called.eval()
        total = torch.zeros((), dtype=torch.float64, device=engine.device)
        for batch in self._checks[engine.rank :: engine.processes]:
            total += self._summed_loss(batch)
        loss = engine.sum(total).item() / int(self.dev.target.starts[-1])
        if not math.isfinite(loss):
            raise Failure(f"the loss on DEV is {loss} at update {progress.update}: lower learning_rate or use fp32")
        least = min((point.dev_loss for point in progress.curve), default=math.inf)
        progress.curve.append(Point(progress.update, progress.tokens, progress.recent(), loss))
        if loss < least:
            progress.best_update = progress.update
            return training_state.weights(self.model)
        return best

    # State and result --------------------------------------------------------------------------------------------

    def _save(self, best: training_state.Weights) -> None:
        tensors, facts = self.engine.state(self.model)
        if not self.engine.first:
            return
        tensors |= {f"model.{name}": value for name, value in training_state.weights(self.model).items()}
        tensors |= {f"best.{name}": value for name, value in best.items()}
        training_state.write(self.folder / training_state.UNFINISHED, tensors, self._facts() | facts)

    def _resume(self) -> training_state.Weights | None:
        """Go on from a state in the folder: the best weights so far; None where there is none."""
        found = self._read(training_state.UNFINISHED)
        if found is None:
            return None
        tensors, facts = found
        with training_state.damage_told(self.folder / training_state.UNFINISHED):
            training_state.set_weights(self.model, tensors, "model.")
            self.engine.set_state(self.model, tensors, facts)
        return {name.removeprefix("best."): value for name, value in tensors.items() if name.startswith("best.")}

    def _facts(self) -> dict[str, Any]:
        return {"made_from": self.made_from, "progress": asdict(self.progress)}

    def _read(self, file: str) -> tuple[training_state.Weights, dict[str, Any]] | None:
        """A file of the folder, and the progress in it."""
        if self.folder is None:
            return None
        found = training_state.read(self.folder / file, self.made_from)
        if found is not None:
            saved = found[1]["progress"]
            self.progress = Progress(**{**saved, "curve": [Point(*point) for point in saved["curve"]]})
        return found

    def _tuned(self, model: PreTrainedModel, best: training_state.Weights) -> Tuned:
        model = self.engine.accelerator.unwrap_model(model, keep_fp32_wrapper=False).eval()
        training_state.set_weights(model, best)
        digest = hashlib.sha256(json.dumps(["fine-tuned", self.made_from], sort_keys=True).encode()).hexdigest()
        known, parent, progress = self.parent.trained_on, self.parent, self.progress
        tuned = replace(
            parent,
            name=f"{parent.name} tuned on {','.join(self.pairs.sizes)}",
            model=model,
            digest=digest,
            weights_sha256=weights_digest(model),
            trained_on=None if known is None else known | set(self.pairs.sizes),
            truncated=0,
        )
        cut = self.pairs.truncated + self.dev.truncated
        done = (progress.update, progress.tokens, progress.curve, progress.best_update)
        return Tuned(tuned, *done, truncated=cut, skipped=progress.skipped)


def with_dropout(model: PreTrainedModel, recipe: TrainingRecipe) -> PreTrainedModel:
    """A copy of a model in evaluation mode, with the recipe's dropout in place of its own.

    Raises:
        UsageError: the recipe sets a kind of dropout that the architecture hasn't.
    """
    changes = {}
    for name, known in DROPOUT.items():
        value = getattr(recipe, name)
        if value is not None:
            own = [option for option in known if hasattr(model.config, option)]
            if not own:
                raise UsageError(f"a {model.config.model_type} model has no {name}: set it to None in the recipe")
            changes |= dict.fromkeys(own, value)
    if all(getattr(model.config, option) == value for option, value in changes.items()):
        return copy.deepcopy(model).eval()
    config = copy.deepcopy(model.config)
    for option, value in changes.items():
        setattr(config, option, value)
    with torch.random.fork_rng(devices=[]):  # modules read their dropout when they are made
        made = type(model)(config)
    made.load_state_dict(model.state_dict())
    return made.to(model.device).eval()


def _dev_batches(pairs: EncodedPairs, loaded: LoadedModel, tokens: int) -> list[Batch]:
    """All of DEV as padded batches of like length, made once."""
    stream = BatchStream(pairs, SamplingRule.parse("proportional"), "mixed", tokens, 0)
    return [pairs.batch(loaded, indexes) for indexes in stream.epoch(0)]
