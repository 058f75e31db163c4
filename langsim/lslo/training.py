"""Train an LSLo, a weight learning, or a whole model on many directions at once (section 5 of the second paper).

A fixed number of updates in epochs; before an epoch its share of the weights is pruned (Eq. 6), after it whatever is
watched is measured (Figure 3); the last weights are what comes out, as in the authors' code. Loss, batches, precision
and state on disk are those of `langsim.training`, whose loop this is not: there a held-out text chooses the weights.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from tqdm import tqdm

from langsim import training_state
from langsim.corpora.base import Pair
from langsim.errors import UsageError
from langsim.lslo.directions import Model, base, called
from langsim.lslo.layer import LoRALinear
from langsim.lslo.model import LSLo, Routed
from langsim.lslo.pruning import Pruning
from langsim.lslo.schedule import Schedule
from langsim.models import LoadedModel, weights_digest
from langsim.token_batches import BatchStream, Direction, EncodedPairs, encode_directions
from langsim.training_engine import Engine
from langsim.training_loss import scored_logits, summed_loss
from langsim.training_recipe import TrainingRecipe
from langsim.training_updates import Progress, Updates

Watch = Callable[[Model], Mapping[str, float]]


@dataclass(frozen=True)
class Gradually:
    """What is pruned before each epoch: by `schedule`, whose times are stretched to the number of epochs."""

    pruning: Pruning
    schedule: Schedule

    def ratio(self, epoch: int, epochs: int) -> float:
        """The share that is pruned in an epoch, from 1 to `epochs`."""
        return self.schedule.scaled(epochs).at(epoch)


class Epoch(NamedTuple):
    """What is known of an epoch at its end.

    Attributes:
        epoch: from 1; 0 is the model before training.
        updates, tokens: so far, target tokens read.
        ratio: share of the weights that was pruned during it.
        train_loss: mean label-smoothed loss, nats per target token; None of epoch 0.
        watched: what `watch` found, by name.
    """

    epoch: int
    updates: int
    tokens: int
    ratio: float
    train_loss: float | None
    watched: dict[str, float]


@dataclass(frozen=True)
class Trained:
    """What a training was.

    Attributes:
        curve: every epoch, that before training first.
        updates, tokens: how many were done, and how many target tokens they read.
        truncated: texts that were longer than the model allows, and were cut.
        skipped: updates whose gradient overflowed in fp16 and was left out.
        text: target tokens of the training text, each pair once.
    """

    curve: list[Epoch]
    updates: int
    tokens: int
    truncated: int
    skipped: int
    text: int

    @property
    def passes(self) -> float:
        """How often the text was read."""
        return self.tokens / self.text


def train(
    loaded: LoadedModel,
    model: Model,
    data: Mapping[Direction, Sequence[Pair]],
    recipe: TrainingRecipe,
    *,
    epochs: int = 15,
    gradually: Gradually | None = None,
    watch: Watch | None = None,
    folder: Path | None = None,
    device: str | None = None,
    save_every: float = 300.0,
) -> Trained:
    """Train all parameters of a model that are not frozen; the model itself is changed, in evaluation mode afterwards.

    Equal arguments give equal weights, bit by bit on one machine with one number of threads. An epoch is
    `recipe.updates / epochs` updates; `updates_of` gives the number with which it reads all text once.

    Args:
        loaded: the parent that `model` is a copy of (`langsim.training.with_dropout`), or stands on.
        data: direction -> pairs.
        recipe: its `patience` and `validate_every` have to be off (None): nothing is validated.
        gradually: pruning of an LSLo.
        watch: called with the model before training and after every epoch.
        folder: keeps the state, from which a later call goes on to the same result; one that is finished is read. It
            holds what is trained and not the base.
        device: None for that of the parent.
        save_every: seconds between two states in `folder`.

    Raises:
        UsageError: a direction without text or within one language, a language without token or LoRA; epochs, pruning
            or a recipe that can't be; nothing to train.
        Failure: the loss diverges; `folder` is in use, or holds another training.
    """
    with training_state.held(folder):
        return _Training(loaded, model, data, recipe, epochs, gradually, watch, folder, device).run(save_every)


def updates_of(pairs: EncodedPairs, recipe: TrainingRecipe, epochs: int) -> int:
    """So many updates that each epoch reads all text once (as often as the sampling rule has it)."""
    stream = BatchStream(pairs, recipe.rule, recipe.mixing, recipe.tokens_per_batch, recipe.seed)
    return epochs * max(1, round(len(stream.epoch(0)) / recipe.batches_per_update))


class _Training:
    """One call of `train`."""

    def __init__(
        self,
        loaded: LoadedModel,
        model: Model,
        data: Mapping[Direction, Sequence[Pair]],
        recipe: TrainingRecipe,
        epochs: int,
        gradually: Gradually | None,
        watch: Watch | None,
        folder: Path | None,
        device: str | None,
    ) -> None:
        _check(model, recipe, epochs, gradually)
        self.loaded, self.model, self.recipe, self.epochs = loaded, model, recipe, epochs
        self.gradually, self.watch = gradually, watch
        self.folder = None if folder is None else Path(folder)
        self.engine = Engine(recipe, device or str(loaded.model.device))
        self.pairs = encode_directions(loaded, data, "training")
        if isinstance(model, Routed):
            for code in dict.fromkeys(code for direction in self.pairs.sizes for code in direction):
                model.routing.check(code, "language of the training text")
        self.made_from = {
            "recipe": f"{recipe.digest} {epochs}",
            "pruning": repr(gradually),
            "model": f"{loaded.digest} {weights_digest(loaded.model)} {_beginning(model)}",
            "training text": self.pairs.digest,
            "number of processes": self.engine.processes,
            "kind of device": self.engine.device.type,
        }
        self.progress = Progress()

    def run(self, save_every: float) -> Trained:
        """Train, from the beginning or from where it stopped."""
        self.model.to(self.engine.device)
        if not self._read(training_state.FINISHED):
            with self.engine.seeded(self.recipe.seed):
                self._train(save_every)
            if self.folder is not None and self.engine.first:
                self._write(training_state.FINISHED, {}, {})
                (self.folder / training_state.UNFINISHED).unlink(missing_ok=True)
        self.model.eval()
        done = self.progress
        text = int(self.pairs.target.lengths.sum())
        return Trained(done.curve, done.update, done.tokens, self.pairs.truncated, done.skipped, text)

    def _train(self, save_every: float) -> None:
        recipe, engine = self.recipe, self.engine
        self.called = engine.prepare(self.model, recipe)
        unfinished = None if self.folder is None else self.folder / training_state.UNFINISHED
        vocabulary = base(self.model).config.vocab_size
        self._updates = Updates(engine, recipe, self.pairs, self._summed_loss, vocabulary, unfinished)
        self._read(training_state.UNFINISHED)
        progress = self.progress
        if not progress.curve:
            self._note(0, 0.0)
        stream = BatchStream(self.pairs, recipe.rule, recipe.mixing, recipe.tokens_per_batch, recipe.seed)
        chosen = stream.updates(recipe.batches_per_update, progress.epoch, progress.index)
        saved, pruned_for = time.monotonic(), 0
        shown = {"desc": "training", "mininterval": 1, "leave": False, "disable": None if engine.first else True}
        with tqdm(total=recipe.updates, initial=progress.update, **shown) as bar:
            while progress.update < recipe.updates:
                epoch = 1 + progress.update * self.epochs // recipe.updates
                ratio = self.gradually.ratio(epoch, self.epochs) if self.gradually else 0.0
                if self.gradually and epoch > pruned_for:  # again in the epoch that a state is from: no change
                    self.gradually.pruning.apply(self.model, ratio)
                    pruned_for = epoch
                batches, progress.epoch, progress.index = next(chosen)
                self._updates.take(self.called, batches, progress)
                if 1 + progress.update * self.epochs // recipe.updates > epoch:
                    self._note(epoch, ratio)
                if self.folder is not None and engine.any(time.monotonic() - saved >= save_every):
                    self._save()
                    saved = time.monotonic()
                bar.update()

    def _summed_loss(self, indexes: np.ndarray) -> Tensor:
        """Label-smoothed loss of a batch, summed over its target tokens."""
        batch = {name: t.to(self.engine.device) for name, t in self.pairs.batch(self.loaded, indexes).items()}
        call = called(self.called, self.pairs.groups(indexes), routed=isinstance(self.model, Routed))
        with self.engine.autocast():
            logits, observed = scored_logits(call, base(self.model), batch)
        return summed_loss(logits, observed, self.recipe.label_smoothing)

    def _note(self, epoch: int, ratio: float) -> None:
        """The end of an epoch."""
        progress = self.progress
        self.model.eval()
        found = {} if self.watch is None else {name: float(value) for name, value in self.watch(self.model).items()}
        progress.curve.append(Epoch(epoch, progress.update, progress.tokens, ratio, progress.recent(), found))

    # State -------------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        tensors, facts = self.engine.state(self.model)
        if self.engine.first:
            self._write(training_state.UNFINISHED, tensors, facts)

    def _write(self, file: str, tensors: training_state.Weights, facts: dict[str, Any]) -> None:
        trained = {f"model.{name}": p.detach().to("cpu", copy=True).contiguous() for name, p in trainable(self.model)}
        masked = {f"mask.{name}": mask.to("cpu", torch.bool) for name, mask in masks(self.model).items()}
        facts = {**facts, "made_from": self.made_from, "progress": asdict(self.progress)}
        training_state.write(self.folder / file, trained | masked | tensors, facts)

    def _read(self, file: str) -> bool:
        """Go on from a file of the folder; False where there is none."""
        found = training_state.read(self.folder / file, self.made_from) if self.folder is not None else None
        if found is None:
            return False
        tensors, facts = found
        with training_state.damage_told(self.folder / file):
            saved = facts["progress"]
            self.progress = Progress(**{**saved, "curve": [Epoch(*point) for point in saved["curve"]]})
            set_masks(self.model, {n.removeprefix("mask."): t for n, t in tensors.items() if n.startswith("mask.")})
            with torch.no_grad():
                for name, parameter in trainable(self.model):
                    parameter.copy_(tensors[f"model.{name}"])
            if file == training_state.UNFINISHED:
                self.engine.set_state(self.model, tensors, facts)
        return True


def trainable(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """What is trained, by names that pruning does not change."""
    return [(name.removesuffix("_orig"), p) for name, p in model.named_parameters() if p.requires_grad]


def masks(model: nn.Module) -> dict[str, Tensor]:
    """The masks of pruned matrices by the matrix's name: 0 where it is pruned."""
    layers = ((name, layer) for name, layer in model.named_modules() if isinstance(layer, LoRALinear))
    return {
        f"{name}.{part}": getattr(layer, f"{part}_mask")
        for name, layer in layers
        for part in ("lora_A", "lora_B")
        if hasattr(layer, f"{part}_mask")
    }


def set_masks(model: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Prune by masks that `masks` gave, a model that is not pruned yet."""
    for name, mask in found.items():
        module, _, part = name.rpartition(".")
        layer = model.get_submodule(module)
        prune.custom_from_mask(layer, part, mask.to(getattr(layer, part)))


def _beginning(model: Model) -> str:
    """Digest of what decides a training beside the parent: what is trained, as it is now, and how it is used."""
    used = model.settings.model_dump_json() if isinstance(model, LSLo) else type(model).__name__
    total = hashlib.sha256(json.dumps(used).encode())
    for name, parameter in trainable(model):
        total.update(f"{name} {tuple(parameter.shape)}\n".encode())
        total.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def _check(model: Model, recipe: TrainingRecipe, epochs: int, gradually: Gradually | None) -> None:
    """
    Raises:
        UsageError: epochs, a recipe or a pruning that can't be; nothing to train, or no translation model.
    """
    if not base(model).config.is_encoder_decoder:
        raise UsageError("the model has no decoder to train: choose a translation model")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError("there is nothing to train: every parameter of the model is frozen")
    if recipe.patience is not None or recipe.validate_every is not None:
        raise UsageError("nothing is validated in this training: set patience and validate_every to None")
    if not 1 <= epochs <= recipe.updates:
        raise UsageError(f"epochs={epochs}: it has to be from 1 to the number of updates, {recipe.updates}")
    if gradually and not isinstance(model, LSLo):
        raise UsageError(f"a {type(model).__name__} can't be pruned: only an LSLo")
    if gradually:
        gradually.pruning.groups(model)  # an unknown language
