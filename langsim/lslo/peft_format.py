"""The LoRA of one language as a checkpoint in peft's format, there and back.

`peft.PeftModel.from_pretrained(base, folder)` then computes what the LSLo does with that language as source and target.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn.functional import pad
from torch.nn.utils import prune

from langsim.errors import Failure, UsageError
from langsim.lslo.documents import reason
from langsim.lslo.layer import LSLoLinear
from langsim.lslo.model import LSLo

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
# What an adapter may ask for that a LoRA of Eq. 3 is not.
BEYOND = ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform", "lora_bias")


def export_adapter(lslo: LSLo, language: str, folder: Path) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors` of a language, all modules.

    LoRA on a slice is written as LoRA on the whole, with zeros outside.

    Raises:
        UsageError: no such language, or its rank is 0.
    """
    rank = _rank(lslo, language)
    modules = [name for name, _ in lslo.layers()]
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_2_SEQ_LM",
        "base_model_name_or_path": lslo.model.config.name_or_path or None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,  # peft's scale is alpha / r
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": modules,
    }
    found = {}
    for name, layer in lslo.layers():
        a, b = (tensor.detach() for tensor in layer.adapter(language))
        a, b = pad(a, (0, layer.in_features - a.shape[1])), pad(b, (0, layer.out_features - b.shape[1]))
        found[f"{PREFIX}{name}.lora_A.weight"] = a.contiguous().clone()
        found[f"{PREFIX}{name}.lora_B.weight"] = b.T.contiguous()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(found, folder / TENSORS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


@torch.no_grad()
def import_adapter(lslo: LSLo, language: str, folder: Path) -> None:
    """Make a LoRA checkpoint of peft the LoRA of a language. Its scale goes into B.

    Raises:
        UsageError: no such language or files; a rank, modules or sizes other than the language has here; something
            that is no plain LoRA; an LSLo under pruning.
        Failure: the files are damaged.
    """
    folder, rank = Path(folder), _rank(lslo, language)
    config, found = _read(folder)
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none":
        raise UsageError(f"the adapter at '{folder}' is no LoRA without bias")
    if asked := [name for name in BEYOND if config.get(name)]:
        raise UsageError(f"the adapter at '{folder}' is no plain LoRA: it has {asked[0]}")
    if config["r"] != rank:
        raise UsageError(f"the adapter at '{folder}' has rank {config['r']}, but '{language}' has {rank} here")
    layers = dict(lslo.layers())
    wanted = {f"{PREFIX}{name}.lora_{part}.weight" for name in layers for part in "AB"}
    if different := sorted(wanted ^ found.keys()):
        which = "lacks" if different[0] in wanted else "has in excess"
        raise UsageError(f"the adapter at '{folder}' {which} '{different[0]}'")
    scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
    if any(prune.is_pruned(layer) for layer in layers.values()):
        raise UsageError("an adapter can't be imported into masked matrices: call pruning.make_permanent first")
    # All is checked before anything changes.
    checked = {name: _checked(name, layer, found, rank, folder) for name, layer in layers.items()}
    for name, layer in layers.items():
        for own, new, factor in zip(layer.adapter(language), checked[name], (1.0, scale), strict=True):
            own.copy_(new.to(own) * factor)


def _checked(
    name: str, layer: LSLoLinear, found: dict[str, torch.Tensor], rank: int, folder: Path
) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = found[f"{PREFIX}{name}.lora_A.weight"], found[f"{PREFIX}{name}.lora_B.weight"].T
    for tensor, width in ((a, layer.in_features), (b, layer.out_features)):
        if tensor.shape != (rank, width):
            raise UsageError(f"the adapter at '{folder}' is for a model of another size: see '{name}'")
    inputs, outputs = layer.widths
    if a[:, inputs:].any() or b[:, outputs:].any():
        raise UsageError(f"the adapter at '{folder}' reaches beyond the slice in '{name}': wrap with span='full'")
    return a[:, :inputs], b[:, :outputs]


def _rank(lslo: LSLo, language: str) -> int:
    lslo.routing.check(language)
    if not (rank := lslo.settings.ranks[language]):
        raise UsageError(f"language '{language}' has rank 0: there is no LoRA of it")
    return rank


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    for name in (CONFIG, TENSORS):
        if not (folder / name).is_file():
            raise UsageError(f"no adapter in peft's format at '{folder}': it has no {name}")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        found = load_file(folder / TENSORS)
    except (SafetensorError, ValueError) as error:
        raise Failure(f"the adapter at '{folder}' is damaged: {reason(error)}") from error
    if not isinstance(config, dict) or not {"r", "lora_alpha"} <= config.keys():
        raise Failure(f"'{folder / CONFIG}' lacks r or lora_alpha")
    return config, found
