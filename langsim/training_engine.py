"""Where a training runs: device, precision and processes, all through `accelerate`.

One process on a CPU in fp32 is the plain case: nothing is wrapped, nothing waits for anyone.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from torch import nn

from langsim import training_state
from langsim.errors import Failure, UsageError
from langsim.models import _check_device
from langsim.training_recipe import TrainingRecipe

SMALLEST_SCALE = 1e-4  # of fp16 losses, as in fairseq; below it nothing is left of a gradient


class Engine:
    """One process's part of a training: prepares a model, and turns losses into steps.

    Raises:
        UsageError: no such device, fp16 without a GPU, or batches of an update that the processes can't share evenly.
    """

    def __init__(self, recipe: TrainingRecipe, device: str) -> None:
        _check_device(device)
        on_cpu = torch.device(device).type == "cpu"
        if on_cpu and recipe.precision == "fp16":
            raise UsageError("precision fp16 needs a GPU; on a CPU use fp32 or bf16")
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1
        if not several:
            AcceleratorState._reset_state(True)  # it would insist on what the last training of this process used
        # Layers that are dropped get no gradient, which several processes have to expect.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision={"fp32": "no"}.get(recipe.precision, recipe.precision),
            device_placement=False,
            kwargs_handlers=[unused],
        )
        self.device = self.accelerator.device if several else torch.device(device)
        self.rank, self.processes = self.accelerator.process_index, self.accelerator.num_processes
        self.clip_norm = recipe.clip_norm
        if recipe.batches_per_update % self.processes:
            raise UsageError(
                f"{self.processes} processes cannot share {recipe.batches_per_update} batches an update evenly: "
                "set batches_per_update to a multiple"
            )

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def prepare(self, model: nn.Module, recipe: TrainingRecipe) -> nn.Module:
        """What is called in place of the model, which stays as it is; and the optimizer of all that is not frozen."""
        fused = self.device.type == "cpu" and self.accelerator.scaler is None  # a fused one hides the steps it skips
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        adam = torch.optim.Adam(trained, lr=0.0, betas=recipe.betas, eps=recipe.eps, fused=fused)
        self.adam = adam
        self.optimizer = self.accelerator.prepare_optimizer(adam, device_placement=False)
        return self.accelerator.prepare_model(model, device_placement=False) if self.processes > 1 else model

    def autocast(self) -> AbstractContextManager:
        """For forward passes and losses."""
        return self.accelerator.autocast() if self.accelerator.mixed_precision != "no" else nullcontext()

    def gradients(self, called: nn.Module, batches: Sequence[Any], loss_of: Callable[[Any], torch.Tensor]) -> float:
        """Add up the gradients of the losses of this process's batches; the sum of the losses over all processes.

        Gradients of several processes are averaged in the last backward pass, so each is scaled up before.
        """
        total = torch.zeros((), device=self.device)
        for i, batch in enumerate(batches):
            waits = self.accelerator.no_sync(called) if i + 1 < len(batches) and self.processes > 1 else nullcontext()
            with waits:
                loss = loss_of(batch)
                self.accelerator.backward(loss * self.processes if self.processes > 1 else loss)
            total += loss.detach()
        return self.sum(total).item()

    def step(self, rate: float) -> bool:
        """Clip, step, clear; False where the gradients overflowed in fp16 and the step was left out.

        Raises:
            Failure: fp16 overflows however small the losses are scaled.
        """
        for group in self.adam.param_groups:
            group["lr"] = rate
        if self.clip_norm is not None:
            parameters = [p for group in self.adam.param_groups for p in group["params"]]
            self.accelerator.clip_grad_norm_(parameters, self.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.accelerator.scaler is not None and self.accelerator.scaler.get_scale() < SMALLEST_SCALE:
            raise Failure("fp16 overflows at any scale: use precision bf16 or fp32")
        return not self.optimizer.step_was_skipped

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all processes."""
        return self.accelerator.reduce(tensor, "sum") if self.processes > 1 else tensor

    def any(self, flag: bool) -> bool:
        """Whether it holds in the first process, which decides by the clock."""
        if self.processes == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag and self.first), device=self.device)))

    def random_state(self) -> dict[str, torch.Tensor]:
        """The generators' states of every process, by name."""
        states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        if self.processes > 1:
            gathered = {name: self.accelerator.gather(state[None].to(self.device)) for name, state in states.items()}
            return {
                f"random.{name}.{rank}": row.cpu() for name, rows in gathered.items() for rank, row in enumerate(rows)
            }
        return {f"random.{name}.0": state for name, state in states.items()}

    def set_random_state(self, states: dict[str, torch.Tensor]) -> None:
        """Set this process's generators."""
        torch.set_rng_state(states[f"random.cpu.{self.rank}"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(states[f"random.cuda.{self.rank}"], self.device)

    def state(self, model: nn.Module) -> tuple[training_state.Weights, dict[str, Any]]:
        """What a training goes on from beside its weights: tensors and facts; of the first process, which writes."""
        random = self.random_state()  # takes every process
        if not self.first:
            return {}, {}
        scaler = self.accelerator.scaler
        return training_state.moments(model, self.adam) | random, {"scaler": scaler and scaler.state_dict()}

    def set_state(self, model: nn.Module, tensors: training_state.Weights, facts: dict[str, Any]) -> None:
        """The reverse."""
        training_state.set_moments(model, self.adam, tensors)
        self.set_random_state(tensors)
        if facts["scaler"]:
            self.accelerator.scaler.load_state_dict(facts["scaler"])

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Random numbers from a seed of this process's own; the caller's are put back afterwards."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed * 1000 + self.rank)
            yield
