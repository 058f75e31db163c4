"""The state of a training on disk: what it goes on from after a kill, and what came out of it."""

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from langsim.errors import Failure
from langsim.paths import atomic_write

Weights = dict[str, Tensor]
UNFINISHED, FINISHED = "training.safetensors", "tuned.safetensors"


def held(folder: Path | None) -> AbstractContextManager[None]:
    """`locked` by the first process of a training; nothing to hold for the others, or without a folder."""
    first = os.environ.get("RANK", "0") == "0"
    return locked(Path(folder)) if folder is not None and first else nullcontext()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else trains in this folder meanwhile (the lock of a killed process is free).

    Raises:
        Failure: another process trains in it, or it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise Failure(f"another process is training in {folder}; wait until it has finished") from error
    except OSError as error:
        raise Failure(f"cannot write {folder}: {error.strerror}; free some space or choose another folder") from error


def weights(model: nn.Module) -> Weights:
    """Copies of all parameters in CPU memory."""
    return {name: p.detach().to("cpu", copy=True).contiguous() for name, p in model.named_parameters()}


def set_weights(model: nn.Module, values: Weights, prefix: str = "") -> None:
    """The reverse."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(values[prefix + name])


def moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> Weights:
    """The optimizer's tensors by parameter; there are none yet for one that never had a gradient (a dropped layer)."""
    found = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            found[f"optimizer.{key}.{name}"] = value.detach().to("cpu").contiguous()
    return found


def set_moments(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Weights) -> None:
    """The reverse. The counts of steps stay where the optimizer wants them, on the CPU unless it is a fused one."""
    for name, parameter in model.named_parameters():
        if f"optimizer.step.{name}" in tensors:
            optimizer.state[parameter] = {
                "step": tensors[f"optimizer.step.{name}"],
                "exp_avg": tensors[f"optimizer.exp_avg.{name}"].to(parameter.device),
                "exp_avg_sq": tensors[f"optimizer.exp_avg_sq.{name}"].to(parameter.device),
            }


def write(path: Path, tensors: Weights, facts: dict[str, Any]) -> None:
    """One file, whole or not at all.

    Raises:
        Failure: a full disk.
    """
    with atomic_write(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"facts": json.dumps(facts)})
        except SafetensorError as error:  # what it makes of a full disk
            raise Failure(f"cannot write {path}: {error}; free some space or choose another folder") from error


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """What goes wrong with the content of a file is its damage, in one line."""
    try:
        yield
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise Failure(f"{path} is damaged: delete it, and the training begins anew") from error


def read(path: Path, made_from: dict[str, Any]) -> tuple[Weights, dict[str, Any]] | None:
    """Tensors and facts of a file; None where there is none.

    Raises:
        Failure: it is damaged, or of a training from something else than `made_from`.
    """
    if not path.exists():
        return None
    with damage_told(path):
        with safe_open(path, "pt") as handle:
            facts = json.loads(handle.metadata()["facts"])
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        found = facts["made_from"]
    other = [name for name in made_from if found.get(name) != made_from[name]]
    if other:
        raise Failure(f"{path} is of another {' and '.join(other)}: delete it, or train in another folder")
    return tensors, facts
