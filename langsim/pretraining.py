"""The text that a shipped model is trained on: chosen by roles and pools, and hashed so that leaks can be found."""

import hashlib
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd

from langsim import languages
from langsim.corpora import Corpus, load
from langsim.errors import Failure, UsageError
from langsim.paths import DATA, atomic_write
from langsim.splits import segment_hash, text_hash

MODELS = DATA / "models"


def recipe(name: str) -> dict:
    """The recipe of a shipped model, `data/models/<name>/recipe.toml`.

    Raises:
        UsageError: there is no such model.
    """
    path = MODELS / name / "recipe.toml"
    if not path.exists():
        known = ", ".join(sorted(file.parent.name for file in MODELS.glob("*/recipe.toml")))
        raise UsageError(f"no recipe for '{name}'; recipes: {known}")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def training_text(settings: dict) -> Corpus:
    """PRETRAIN text of catalogs and NTREX in the languages and amounts of a recipe.

    Each language gets, per domain, the first n of its items in one fixed order, so languages of one class have as
    much text and mostly the same items. A text that also stands in a held-out pool in its language is left out, so
    the pools are disjoint on both sides, not on the English side alone.

    Raises:
        UsageError: NTREX-128 is neither in `LANGSIM_DATA` nor fetched.
    """
    members = languages.role_members(settings["role"])
    sources = [load("catalogs"), load("ntrex")]
    texts: dict[str, dict[str, str]] = {}
    for member in members:
        amounts = settings["text"][member.resource_class]
        held_out = {text_hash(text) for source in sources for text in held_out_text(source, member.code)}
        texts[member.code] = {}
        for source in sources:
            for domain, amount in amounts.items():
                if domain not in source.domains:
                    continue
                own = source.texts.get(member.code, {})
                items = sorted((i for i in source.select(domain=domain, pool="PRETRAIN") if i in own), key=_order)
                usable = [item for item in items if text_hash(own[item]) not in held_out]
                texts[member.code] |= {item: own[item] for item in usable[:amount]}
    items = pd.concat([source.items[["domain", "unit", "pool"]] for source in sources])
    return Corpus(settings["role"], items[items["pool"] == "PRETRAIN"], texts)


def dev_text(settings: dict) -> Corpus:
    """DEV text of catalogs and NTREX in the languages and domains of a recipe: what the best weights are chosen on.

    Items stand in one fixed order of chance. The domain of adaptation is not in it: nothing that a later result is
    scored on has a say.

    Raises:
        UsageError: NTREX-128 is neither in `LANGSIM_DATA` nor fetched.
    """
    sources = [load("catalogs"), load("ntrex")]
    items = pd.concat([source.items[["domain", "unit", "pool"]] for source in sources])
    amounts = settings["text"]["high"]
    items = items[(items["pool"] == "DEV") & items["domain"].isin(amounts)]
    items = items.loc[sorted(items.index, key=_order)]
    texts = {
        member.code: {
            item: source.texts[member.code][item]
            for source in sources
            for item in items.index
            if item in source.texts.get(member.code, {})
        }
        for member in languages.role_members(settings["role"])
    }
    return Corpus(settings["role"], items, texts)


def held_out_text(corpus: Corpus, language: str) -> list[str]:
    """Every text of one language that no model may have been trained on."""
    own = corpus.texts.get(language, {})
    pool = corpus.items["pool"].to_dict()
    return [text for item, text in own.items() if pool[item] != "PRETRAIN"]


def segment_hashes(corpus: Corpus) -> np.ndarray:
    """Sorted 64-bit hashes of every segment of every language, for the leak test (`splits.leaks`)."""
    hashes = {segment_hash(code, text) for code, texts in corpus.texts.items() for text in texts.values()}
    return np.array(sorted(hashes), dtype=np.uint64)


def write_hashes(corpus: Corpus, model: Path) -> None:
    """Write the PRETRAIN hashes into a model's folder."""
    with atomic_write(model / "pretrain.hashes") as temporary:
        segment_hashes(corpus).astype("<u8").tofile(temporary)


def read_hashes(model: Path) -> np.ndarray:
    """The PRETRAIN hashes that ship with a model, sorted uint64.

    Raises:
        Failure: the file is missing or damaged.
    """
    path = model / "pretrain.hashes"
    if not path.exists() or path.stat().st_size % 8:
        raise Failure(f"{path} is missing or damaged; restore it with `git checkout {path}`")
    hashes = np.fromfile(path, dtype="<u8").astype(np.uint64)
    if (hashes[1:] <= hashes[:-1]).any():
        raise Failure(f"{path} is damaged (not sorted); restore it with `git checkout {path}`")
    return hashes


def _order(item: str) -> str:
    return hashlib.blake2b(item.encode(), digest_size=8).hexdigest()
