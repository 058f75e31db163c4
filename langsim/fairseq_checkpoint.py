"""A fairseq checkpoint of a translation model as `M2M100ForConditionalGeneration`, in the layout of the hub.

For `flores101_mm100_615M` and `_175M`, the base models of the LSLo paper: a `.pt` file with its `dict.txt` and
`sentencepiece.bpe.model`. The architecture is the same in both libraries (pre-norm Transformer, sinusoidal positions
from 2, ReLU, embeddings scaled by sqrt(d) and shared by encoder, decoder and output), and so are the parameters' names
but for a prefix; what is built otherwise is refused.
"""

import argparse
import json
import pickle
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers import GenerationConfig, M2M100Config, M2M100ForConditionalGeneration

from langsim import fairseq_vocabulary
from langsim.errors import Failure, UsageError

# What an M2M100 model is, in fairseq's names; a name that the checkpoint lacks has fairseq's default.
WANTED = {
    "encoder_normalize_before": (True, False),
    "decoder_normalize_before": (True, False),
    "share_all_embeddings": (True, False),
    "activation_fn": ("relu", "relu"),
    "encoder_learned_pos": (False, False),
    "decoder_learned_pos": (False, False),
    "no_token_positional_embeddings": (False, False),
    "layernorm_embedding": (False, False),
    "no_decoder_final_norm": (False, False),
    "no_cross_attention": (False, False),
    "cross_self_attention": (False, False),
    "adaptive_softmax_cutoff": (None, None),
    "adaptive_input": (False, False),
}
DEFAULTS = {"max_source_positions": 1024, "max_target_positions": 1024, "no_scale_embedding": False}
DEFAULTS |= {"dropout": 0.1, "attention_dropout": 0.0, "activation_dropout": 0.0}
DEFAULTS |= {"encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0}
SHAPE = ("encoder_embed_dim", "decoder_embed_dim", "encoder_layers", "decoder_layers", "encoder_ffn_embed_dim")
SHAPE += ("decoder_ffn_embed_dim", "encoder_attention_heads", "decoder_attention_heads")
_SIDES = ("encoder", "decoder")
_PER_SIDE = {"layers": "layers", "ffn_dim": "ffn_embed_dim", "attention_heads": "attention_heads"}
EMBEDDING = "encoder.embed_tokens.weight"
SAME = ("decoder.embed_tokens.weight", "decoder.output_projection.weight")  # the embedding again
TIED = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")
_NO_WEIGHTS = re.compile(r"(encoder|decoder)\.(version|embed_positions\._float_tensor)")
_NAMED = re.compile(r"GLOBAL (\S+) (?:was not|whose)|(?:unrecognized function|unsupported class|but got) (.+)")


@dataclass(frozen=True)
class Converted:
    """What a conversion made.

    Attributes:
        folder: where it is.
        parameters: how many there are, the shared embedding counted once.
        languages: fairseq's code of a language -> what its token is called.
        tried, unlike: how many names of countries the tokenizer was tried on, in the model's languages, and which of
            them it cuts otherwise than SentencePiece and the dictionary do.
    """

    folder: Path
    parameters: int
    languages: dict[str, str]
    tried: int
    unlike: list[str]


def convert(source: str | Path, out: str | Path) -> Converted:
    """Write the checkpoint `source` (a `.pt` file, or a folder with one) to the new folder `out`.

    `out` gets config.json, model.safetensors (float32), generation_config.json, the tokenizer, and
    `fairseq_languages.json`, which says what each language's token is called.

    Raises:
        UsageError: no checkpoint, dictionary or pieces there; an architecture that is not M2M100's; parameters that
            are missing, too many or of another shape; more in the file than tensors and plain values; `out` exists.
        Failure: a damaged file, or a full disk.
    """
    out, path = Path(out).expanduser(), _checkpoint(Path(source).expanduser())
    if out.exists():
        raise UsageError(f"{out} exists: name a new folder for the converted model")
    vocabulary = fairseq_vocabulary.read(path.with_name(fairseq_vocabulary.DICTIONARY))
    pieces = path.with_name(fairseq_vocabulary.PIECES)
    tokenizer, texts = fairseq_vocabulary.tokenizer(vocabulary, pieces), fairseq_vocabulary.sample(vocabulary)
    state = load(path)
    config = _config(_settings(state, path), len(vocabulary.tokens), path)
    tensors = _tensors(state["model"], config, path)
    _check_room(out, tensors)
    search = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    generation = GenerationConfig(**search, num_beams=5, early_stopping=True, max_length=200)

    def write(folder: Path) -> None:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        for part in (config, generation, tokenizer):
            part.save_pretrained(folder)
        names = json.dumps(vocabulary.names, indent=2) + "\n"
        (folder / "fairseq_languages.json").write_text(names, encoding="utf-8")

    _write_whole(out, write)
    parameters = sum(tensor.numel() for tensor in tensors.values())
    unlike = fairseq_vocabulary.unlike(tokenizer, vocabulary, pieces, texts)
    return Converted(out, parameters, vocabulary.names, len(texts), unlike)


def load(path: Path) -> dict[str, Any]:
    """What a fairseq checkpoint file holds.

    The one place where this project reads a pickle: fairseq has no other format. Its weights-only reader builds
    tensors, plain values and `argparse.Namespace` (the training's options, data without methods), calls nothing, and
    stops at the first name beyond that list.

    Raises:
        UsageError: something else in it, or it is no fairseq checkpoint.
        Failure: the file is damaged.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        match = _NAMED.search(str(error))
        if not match:
            raise Failure(f"{path} is damaged, or no file of torch's: fetch it again") from error
        name = next(filter(None, match.groups()))
        raise UsageError(
            f"{path} is refused: it wants {name} built, and only tensors, plain values and argparse.Namespace are "
            "read from a checkpoint; have it saved again without"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise Failure(f"{path} is damaged, or no file of torch's: fetch it again") from error
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise UsageError(f"{path} has no 'model' with parameters by name: it is no checkpoint of fairseq's")
    return state


def _checkpoint(source: Path) -> Path:
    if source.is_file():
        return source
    if not source.is_dir():
        raise UsageError(f"no such file or folder: {source}")
    found = sorted(source.glob("*.pt"))
    if len(found) != 1:
        there = f"{len(found)} .pt files" if found else "no .pt file"
        raise UsageError(f"{there} in {source}: name the checkpoint's file")
    return found[0]


def _settings(state: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The model's options: `args` of old checkpoints, `cfg.model` of newer ones."""
    found = state.get("args")
    if found is None and isinstance(state.get("cfg"), dict):
        found = state["cfg"].get("model")
    values = vars(found) if isinstance(found, argparse.Namespace) else found
    if not isinstance(values, dict):
        raise UsageError(f"{path} has neither 'args' nor 'cfg' with the model's options")
    return values


def _config(settings: Mapping[str, Any], vocab_size: int, path: Path) -> M2M100Config:
    """The configuration of the same architecture, with the training's dropout.

    Raises:
        UsageError: the architecture is not M2M100's; the line names every option that differs.
    """
    other = [
        f"{name} is {settings.get(name, default)!r}, not {wanted!r}"
        for name, (wanted, default) in WANTED.items()
        if (settings.get(name, default) or False) != (wanted or False)
    ]
    arch = str(settings.get("arch", "transformer"))
    if not arch.startswith("transformer"):
        other.insert(0, f"arch is {arch!r}, not a 'transformer'")
    other += [f"{name} is not given" for name in SHAPE if not isinstance(settings.get(name), int)]
    if not other and settings["encoder_embed_dim"] != settings["decoder_embed_dim"]:
        other.append("encoder_embed_dim and decoder_embed_dim differ")
    if not other and any(settings["encoder_embed_dim"] % settings[f"{side}_attention_heads"] for side in _SIDES):
        other.append("encoder_embed_dim is not a multiple of the attention heads")
    if other:
        raise UsageError(f"{path} is not built as M2M100 is: {', '.join(other)}")
    more = {name: settings.get(name, default) for name, default in DEFAULTS.items()}
    sides = {f"{side}_{new}": settings[f"{side}_{old}"] for side in _SIDES for new, old in _PER_SIDE.items()}
    return M2M100Config(
        architectures=["M2M100ForConditionalGeneration"],
        vocab_size=vocab_size,
        d_model=settings["encoder_embed_dim"],
        max_position_embeddings=min(more["max_source_positions"], more["max_target_positions"]),
        scale_embedding=not more["no_scale_embedding"],
        activation_function="relu",
        dtype="float32",
        **{name: more[name] for name in ("dropout", "attention_dropout", "activation_dropout")},
        **{f"{side}_layerdrop": more[f"{side}_layerdrop"] for side in _SIDES},
        **sides,
    )


def _tensors(given: Mapping[str, Any], config: M2M100Config, path: Path) -> dict[str, torch.Tensor]:
    """The parameters under transformers' names, in float32.

    Raises:
        UsageError: a parameter is missing, unknown, or of another shape, or the embeddings are not shared.
        Failure: a parameter is not a number.
    """
    with torch.device("meta"):
        model = M2M100ForConditionalGeneration(config)
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items() if name not in TIED}
    there = {name: tensor for name, tensor in given.items() if not _NO_WEIGHTS.fullmatch(name) and name not in SAME}
    found = {("model.shared.weight" if name == EMBEDDING else f"model.{name}"): t for name, t in there.items()}
    for said, names in (("lacks", wanted.keys() - found.keys()), ("has unknown", found.keys() - wanted.keys())):
        if names:
            first = min(names).removeprefix("model.").replace("shared.weight", EMBEDDING)
            raise UsageError(f"{path} {said} {len(names)} parameters of this architecture, such as {first}")
    for name, shape in wanted.items():
        if found[name].shape != shape:
            rows = f" ({fairseq_vocabulary.DICTIONARY} sets the rows)" if name == "model.shared.weight" else ""
            own = name.removeprefix("model.").replace("shared.weight", EMBEDDING)
            raise UsageError(f"{path}: {own} is {_x(found[name].shape)}, expected {_x(shape)}{rows}")
        if not torch.isfinite(found[name]).all():
            raise Failure(f"{path}: {name} holds values that are not numbers: fetch it again")
    for name in SAME:
        if name in given and not torch.equal(given[name], given[EMBEDDING]):
            raise UsageError(f"{path} is not built as M2M100 is: {name} is not the shared embedding")
    return {name: found[name].float().contiguous() for name in wanted}


def _check_room(out: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    needed = sum(4 * tensor.numel() for tensor in tensors.values()) + 100e6  # and the tokenizer
    parent = next(folder for folder in out.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise Failure(f"{out} takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: make room for it")


def _write_whole(out: Path, write: Callable[[Path], None]) -> None:
    """Call `write` with a folder beside `out`, which becomes `out` when it is whole, or is removed."""
    folder = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part"))
        write(folder)
        for made in (folder, *folder.iterdir()):  # private at first, as temporary files are
            made.chmod(0o755 if made is folder else 0o644)
        folder.rename(out)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise Failure(f"cannot write {out}: {reason}; make room for it, or name another folder") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _x(shape: torch.Size) -> str:
    return " x ".join(map(str, shape))
