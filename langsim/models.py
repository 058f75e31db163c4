"""Models by name: a shipped mini model, a local folder, or a hub id; and turning pairs into batches for them."""

import copy
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers import logging as transformers_logging

from langsim import languages, subwords
from langsim.corpora.base import Pair
from langsim.errors import Failure, UsageError
from langsim.paths import DATA, sha256_file
from langsim.suggest import unknown
from langsim.tokenizer import CODES, PIECES, Tokenizer

SHIPPED = DATA / "models"
# What a configuration or a saved tokenizer says of where it came from and what wrote it, and nothing about the model.
VOLATILE = {"_commit_hash", "_name_or_path", "dtype", "is_local", "local_files_only", "name_or_path", "torch_dtype"}
VOLATILE |= {"transformers_version"}
Batch = dict[str, torch.Tensor]
Encode = Callable[[str, str, str, str], tuple[list[int], list[int]]]  # source text, target text, their languages


@dataclass
class LoadedModel:
    """A model ready for Fisher estimation: fp32, evaluation mode, with its way of encoding a pair.

    Attributes:
        digest: hex sha256 of all that its numbers depend on: weights, configuration (dropout among it), tokenizer.
        weights_sha256: of the weights alone; for a shipped model that of its `model.safetensors`, as its card has it.
        decode: ids -> text, special tokens left out.
        first_token: language -> the token that a translation into it starts with (None where there is none).
        trained_on: registry codes that the model was trained on; None where nobody says.
        tokenizer: of any model in the layout of the hub: mask and other special tokens, words and offsets of subwords.
        truncated: how many encoded texts were longer than the model allows, and were cut.
    """

    name: str
    model: PreTrainedModel
    encode: Encode
    decode: Callable[[list[int]], str]
    first_token: Callable[[str], int | None]
    pad_id: int
    max_tokens: int
    digest: str
    weights_sha256: str = ""
    trained_on: frozenset[str] | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    truncated: int = field(default=0, compare=False)

    def untrained(self, codes: Sequence[str]) -> list[str]:
        """Those of `codes` that the model was not trained on (none where that is not known)."""
        return [] if self.trained_on is None else [code for code in codes if code not in self.trained_on]

    def batches(self, pairs: Sequence[Pair], source: str, target: str = "en", *, size: int = 16) -> Iterator[Batch]:
        """Padded batches in the order of `pairs`: input_ids, attention_mask (B, S); labels (B, T), -100 = not scored.

        Raises:
            UsageError: the model knows no token for a language, or has no decoder.
        """
        if not self.model.config.is_encoder_decoder:
            raise UsageError(f"the model '{self.name}' has no decoder to read pairs with: choose a translation model")
        for start in range(0, len(pairs), size):
            encoded = [self.encode(p.source_text, p.target_text, source, target) for p in pairs[start : start + size]]
            yield self.pad([(self._cut(s), self._cut(t)) for s, t in encoded])

    def pad(self, encoded: Sequence[tuple[list[int], list[int]]]) -> Batch:
        """One batch of encoded pairs."""
        width = [max(len(pair[side]) for pair in encoded) for side in (0, 1)]
        ids = torch.tensor([s + [self.pad_id] * (width[0] - len(s)) for s, _ in encoded])
        mask = torch.tensor([[1] * len(s) + [0] * (width[0] - len(s)) for s, _ in encoded])
        labels = torch.tensor([t + [-100] * (width[1] - len(t)) for _, t in encoded])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def _cut(self, ids: list[int]) -> list[int]:
        if len(ids) <= self.max_tokens:
            return ids
        self.truncated += 1
        return [*ids[: self.max_tokens - 1], ids[-1]]  # the end-of-sentence token stays


def shipped() -> list[str]:
    """Names of the models that come with the project."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/model.safetensors"))


def load(name: str, *, device: str = "cpu") -> LoadedModel:
    """Load a shipped model, a local folder, or a hub id (safetensors only, no remote code).

    Raises:
        UsageError: no such model, no GPU, or an architecture that is not supported.
        Failure: the weights are damaged.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    _check_device(device)
    folder = SHIPPED / name
    if "/" not in name and (folder / "model.safetensors").exists():
        return _load_shipped(name, folder, device)
    path = Path(name).expanduser()
    if name and path.is_dir():
        return _load_checkpoint(name, str(path), device)
    if "/" in name and not name.startswith((".", "/", "~")):
        return _load_checkpoint(name, name, device)
    raise UsageError(f"model: {unknown(name, shipped())}; or give a folder with a checkpoint, or a hub id")


def _check_device(device: str) -> None:
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"device {device!r} is not a device; use cpu or cuda") from error
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {device!r}: no such GPU here; use device: cpu")


def randomised(loaded: LoadedModel, seed: int) -> LoadedModel:
    """The same architecture with freshly drawn weights: a null model."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = type(loaded.model)(copy.deepcopy(loaded.model.config))
    return replace(loaded, model=model.to(loaded.model.device).eval())


def card(name: str) -> dict:
    """The model card of a shipped model as data (`card.json`).

    Raises:
        Failure: it is missing or damaged.
    """
    path = SHIPPED / name / "card.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Failure(f"{path} is missing or damaged; restore it with `git checkout {path}`") from error


def shipped_digest(name: str) -> str:
    """`load(name).digest` of a shipped model, read off its files without loading it.

    Raises:
        UsageError: no such model is shipped.
        Failure: one of its files is missing or damaged.
    """
    if name not in shipped():
        raise UsageError(f"model: {unknown(name, shipped())}")
    folder = SHIPPED / name
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        own = (PIECES, CODES) if (folder / PIECES).exists() else subwords.FILES
        tokenizer = _files_digest(*(folder / file for file in own))
        return _digest(sha256_file(folder / "model.safetensors"), config, tokenizer)
    except (OSError, ValueError) as error:
        raise Failure(f"a file in {folder} is missing or damaged; restore them with `git checkout {folder}`") from error


def _load_shipped(name: str, folder: Path, device: str) -> LoadedModel:
    hub = (folder / subwords.FILES[0]).exists()  # else the layout of the translation model
    tokenizer, described = None if hub else Tokenizer.load(folder), card(name)
    weights = sha256_file(folder / "model.safetensors")
    if weights != described.get("weights", weights):
        raise Failure(f"the weights in {folder} are not those of its card; restore them with `git checkout {folder}`")
    trained_on = frozenset(described["languages"])
    if tokenizer is None:
        loaded = _load_checkpoint(name, str(folder), device)
        return replace(loaded, digest=shipped_digest(name), weights_sha256=weights, trained_on=trained_on)
    model = _weights(AutoModelForSeq2SeqLM, str(folder), device)

    def encode(source: str, target: str, source_language: str, target_language: str) -> tuple[list[int], list[int]]:
        return tokenizer.encode(source, source_language), tokenizer.encode(target, target_language)

    return LoadedModel(
        name=name,
        model=model,
        encode=encode,
        decode=tokenizer.decode,
        first_token=tokenizer.lang_id,
        pad_id=tokenizer.pad_token_id,
        max_tokens=model.config.max_position_embeddings - 2,
        digest=shipped_digest(name),
        weights_sha256=weights,
        trained_on=trained_on,
    )


def _load_checkpoint(name: str, where: str, device: str) -> LoadedModel:
    config = _part(AutoConfig, name, where)
    tokenizer = _part(AutoTokenizer, name, where)
    if 2 * len(tokenizer) < getattr(config, "vocab_size", 0):  # transformers makes an empty one where files are missing
        raise UsageError(
            f"cannot load the model {name!r}: its tokenizer knows {len(tokenizer)} of {config.vocab_size} tokens; "
            "files are missing"
        )
    if tokenizer.pad_token_id is None:
        raise UsageError(f"cannot use the model {name!r}: its tokenizer has no padding token")
    described = _tokenizer_digest(tokenizer)  # before `encode` sets languages in it
    seq2seq = config.is_encoder_decoder
    model = _weights(AutoModelForSeq2SeqLM if seq2seq else AutoModelForMaskedLM, where, device)
    token = {code: _language_token(tokenizer, code) for code in (lang.code for lang in languages.all_languages())}
    marked = any(token.values())
    weights = weights_digest(model)

    def encode(source: str, target: str, source_language: str, target_language: str) -> tuple[list[int], list[int]]:
        if marked:
            for code in (source_language, target_language):
                if not token[languages.get(code).code]:
                    raise UsageError(f"the model {name!r} has no token for the language {code!r}; leave it out")
            tokenizer.src_lang = token[languages.get(source_language).code]
            tokenizer.tgt_lang = token[languages.get(target_language).code]
        return tokenizer(source)["input_ids"], tokenizer(text_target=target)["input_ids"]

    def decode(ids: list[int]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=True)

    def first_token(code: str) -> int | None:
        if not marked:
            return None
        encode("", "", code, code)  # the tokenizer itself knows which id its language token has
        return tokenizer(text_target="")["input_ids"][0]

    limit = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 512
    return LoadedModel(
        name=name,
        model=model,
        encode=encode,
        decode=decode,
        first_token=first_token,
        pad_id=tokenizer.pad_token_id,
        max_tokens=limit - 2,
        digest=_digest(weights, json.loads(model.config.to_json_string()), described),
        weights_sha256=weights,
        trained_on=frozenset(code for code in token if token[code]) if marked else None,
        tokenizer=tokenizer,
    )


def _part(auto: type, name: str, where: str) -> Any:
    """Configuration or tokenizer of a checkpoint."""
    try:
        return auto.from_pretrained(where, trust_remote_code=False)
    except Exception as error:  # damaged files end in whatever the reader stumbles over, bare Exception included
        reason = _first_line(error)
        if "tiktoken" in reason:  # what transformers says of SentencePiece files when protobuf is not there
            reason = "its tokenizer is a SentencePiece file, which takes `pip install protobuf` to read"
        raise UsageError(f"cannot load the model {name!r}: {reason}") from error


def _weights(auto: type, where: str, device: str) -> PreTrainedModel:
    options = {"trust_remote_code": False, "use_safetensors": True, "dtype": torch.float32}
    try:
        model, found = auto.from_pretrained(where, output_loading_info=True, **options)
    except (SafetensorError, RuntimeError) as error:
        raise Failure(f"the weights in {where} are damaged: {_first_line(error)}; fetch them again") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot load the model {where!r}: {_first_line(error)}") from error
    missing = sorted(found["missing_keys"])
    if missing and all(re.search(r"\blm_head\b|\bcls\.", name) for name in missing):
        raise UsageError(
            f"the model in {where} has no language-modelling head (it lacks {missing[0]}): choose a checkpoint with "
            "the head of its pre-training"
        )
    if missing:  # transformers would fill them with random numbers
        raise Failure(f"the weights in {where} lack {len(missing)} tensors of the model, such as {missing[0]}")
    return model.to(device).eval()


def _language_token(tokenizer: object, code: str) -> str:
    """What the tokenizer calls a language, or an empty string: M2M (`fa`), NLLB (`pes_Arab`), mBART (`fa_IR`)."""
    entry = languages.get(code)
    known = set(getattr(tokenizer, "lang_code_to_id", None) or ()) | set(
        getattr(tokenizer, "lang_code_to_token", None) or ()
    )
    known |= {token.strip("_") for token in getattr(tokenizer, "all_special_tokens", ())}
    if entry.m2m in known or entry.flores in known:
        return entry.m2m if entry.m2m in known else entry.flores
    if entry.variety_of or not entry.iso639_1:  # zh_CN is no token of traditional Chinese
        return ""
    regional = [token for token in sorted(known) if token.startswith(f"{entry.iso639_1}_") and token[3:].isupper()]
    return regional[0] if regional else ""


def _digest(weights: str, config: Mapping[str, Any], tokenizer: str) -> str:
    """Hex sha256 of a model: digests of weights and tokenizer, and the configuration without what is volatile."""
    parts = {"weights": weights, "config": _lasting(config), "tokenizer": tokenizer}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _lasting(value: Any) -> Any:
    """JSON data without the entries named in `VOLATILE`, at any depth."""
    if isinstance(value, Mapping):
        return {key: _lasting(entry) for key, entry in value.items() if key not in VOLATILE}
    return [_lasting(entry) for entry in value] if isinstance(value, list) else value


def _files_digest(*files: Path) -> str:
    """Hex sha256 of files' names and bytes; of a tokenizer's configuration without what is volatile."""
    total = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        if file.name == "tokenizer_config.json":
            content = json.dumps(_lasting(json.loads(content)), sort_keys=True).encode()
        total.update(f"{file.name}:{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def _tokenizer_digest(tokenizer: Any) -> str:
    """Hex sha256 of a checkpoint's tokenizer as it saves itself, whatever files it came in."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return _files_digest(*sorted(path for path in Path(folder).rglob("*") if path.is_file()))


def weights_digest(model: PreTrainedModel) -> str:
    """Hex sha256 of the weights by name, whatever files they came in."""
    total = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        total.update(name.encode())
        total.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
