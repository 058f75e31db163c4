"""LSLo in a folder: `lslo.json`, what it is, and `lslo.safetensors`, its A and B matrices. The base is not in it."""

from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from langsim.errors import Failure, UsageError
from langsim.lslo.documents import reason
from langsim.lslo.model import LSLo, Settings, wrap

SETTINGS, TENSORS = "lslo.json", "lslo.safetensors"


def save(lslo: LSLo, folder: Path) -> None:
    """Write `lslo.json` and `lslo.safetensors` (module.lora_A, module.lora_B: see `LSLoLinear`).

    Of a pruned one it has the zeros, but no masks: after `load`, `Pruning.apply` with the same ratio finds them again.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors(lslo).items()}, folder / TENSORS)
    (folder / SETTINGS).write_text(lslo.settings.model_dump_json(indent=1) + "\n", encoding="utf-8")


def load(folder: Path, model: PreTrainedModel) -> LSLo:
    """Wrap a base model by what `save` wrote. The base has to be the one that was trained with, or its equal: only its
    architecture is checked.

    Raises:
        UsageError: no such files, or they are for another architecture.
        Failure: they are damaged.
    """
    folder = Path(folder)
    for name in (SETTINGS, TENSORS):
        if not (folder / name).is_file():
            raise UsageError(f"no LSLo at '{folder}': it has no {name}")
    try:
        settings = Settings.model_validate_json((folder / SETTINGS).read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise Failure(f"'{folder / SETTINGS}' is damaged: {reason(error)}") from error
    try:
        found = load_file(folder / TENSORS)
    except SafetensorError as error:
        raise Failure(f"'{folder / TENSORS}' is damaged: {reason(error)}") from error
    if settings.model_type != model.config.model_type:
        raise UsageError(f"'{folder}' is for a '{settings.model_type}', the model is a '{model.config.model_type}'")
    rest = {"span": settings.span, "init": settings.init, "seed": settings.seed}
    lslo = wrap(model, list(settings.ranks), settings.ranks, settings.architecture, **rest)
    _fill(lslo, found, folder)
    return lslo


def tensors(lslo: LSLo) -> dict[str, torch.Tensor]:
    """The A and B matrices as they are used, so those of a pruned one with their zeros."""
    return {
        f"{name}.{part}": layer.used(part).detach() for name, layer in lslo.layers() for part in ("lora_A", "lora_B")
    }


@torch.no_grad()
def _fill(lslo: LSLo, found: dict[str, torch.Tensor], folder: Path) -> None:
    wanted = tensors(lslo)
    if different := sorted(wanted.keys() ^ found.keys()):
        which = "lacks" if different[0] in wanted else "has in excess"
        raise Failure(f"'{folder / TENSORS}' {which} '{different[0]}'")
    for name, tensor in wanted.items():
        if tensor.shape != found[name].shape:
            shapes = f"{tuple(found[name].shape)}, not {tuple(tensor.shape)}"
            raise UsageError(f"'{folder}' is for a model of another size: '{name}' is {shapes}")
        tensor.copy_(found[name])
