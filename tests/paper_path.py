"""The paper's path made small: M2M100 with its own tokenizer class and TED, both laid out as on the hub."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import babel
import datasets
import torch
from tiny import save_tiny_m2m
from transformers import AutoConfig, M2M100ForConditionalGeneration, M2M100Tokenizer

from langsim import profiles
from langsim.profiles import Tuning

CODES = ("en", "fa", "hi", "bn", "id")
ROWS = {"train": 40, "validation": 6, "test": 10}  # split -> sentences
FEW = {"updates": 4, "warmup": 2, "learning_rate": 1e-2, "tokens_per_batch": 256, "batches_per_update": 2}
FEW |= {"beam_size": 2, "seeds": [0], "draws": 1}


def save_ted(folder: Path, codes: tuple[str, ...] = CODES, *, repeat: Mapping[str, int] = MappingProxyType({})) -> Path:
    """Names of the world's territories in the schema of `neulab/ted_multi`, five to a talk, one parquet file a split.

    Args:
        repeat: language -> how often each name is said.
    """
    names = {code: babel.Locale.parse(code).territories for code in codes}
    shared = sorted(set.intersection(*(set(table) for table in names.values())))
    told = datasets.TranslationVariableLanguages(languages=list(codes))
    features = datasets.Features({"translations": told, "talk_name": datasets.Value("string")})
    datasets.disable_progress_bars()
    start = 0
    for split, count in ROWS.items():
        keys = shared[start : start + count]
        start += count
        rows = [{code: " ".join([names[code][key]] * repeat.get(code, 1)) for code in codes} for key in keys]
        table = {"translations": rows, "talk_name": [f"{split}_{n // 5}" for n in range(count)]}
        file = folder / "plain_text" / split / "0000.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict(table, features=features).to_parquet(file)
    return folder


def save_model(folder: Path) -> Path:
    """A randomly initialised M2M100 whose tokenizer has read the names, with the files that m2m100_418M has on the hub:
    eight made-up words at the end of the vocabulary, layers that are dropped, a search that stops early, and special
    tokens as transformers 4 wrote them."""
    words = [name for code in CODES for name in babel.Locale.parse(code).territories.values()]
    save_tiny_m2m(folder, words)
    config = AutoConfig.from_pretrained(folder)
    config.update({"vocab_size": config.vocab_size + 8, "attention_dropout": 0.1})
    config.update({"encoder_layerdrop": 0.05, "decoder_layerdrop": 0.05})
    torch.manual_seed(0)
    M2M100ForConditionalGeneration(config).save_pretrained(folder)
    _edit(folder / "config.json", early_stopping=True, max_length=200, num_beams=5)
    _edit(folder / "generation_config.json", early_stopping=True, max_length=200, num_beams=5)
    codes = M2M100Tokenizer.from_pretrained(folder).lang_code_to_token.values()
    marks = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    (folder / "special_tokens_map.json").write_text(json.dumps({**marks, "additional_special_tokens": [*codes]}))
    described = {
        "tokenizer_class": "M2M100Tokenizer",
        "src_lang": None,
        "tgt_lang": None,
        "num_madeup_words": 8,
        **marks,
    }
    described |= {"language_codes": "m2m100", "additional_special_tokens": [*codes], "sp_model_kwargs": {}}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    for extra in folder.glob("*.vocab"):
        extra.unlink()
    return folder


def _edit(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def settings_of(model: Path, data: Path, **changes) -> Tuning:
    """The profile `paper` on a CPU, with few updates."""
    given = {"model": str(model), "corpus": "ted", "data": str(data), "languages": list(CODES[1:]), "targets": ["fa"]}
    given |= {"device": "cpu", "precision": "fp32", "engine": "ctranslate2", **FEW}
    return profiles.resolve("paper", kind=Tuning, **{**given, **changes})
