"""How well a shipped model translates text that it has never seen: one cell a language, shown on its model card."""

from collections.abc import Mapping

import numpy as np

from langsim import cells, languages, unigram
from langsim.corpora import load as load_corpus
from langsim.corpora.base import Pair
from langsim.errors import Failure
from langsim.models import SHIPPED, card, shipped_digest
from langsim.models import load as load_model
from langsim.splits import text_hash
from langsim.translation import mean_nll, scores, translate

KIND = "held-out"
VERSION = 2
MODEL = "mini-m2m"
DOMAINS, POOL, ITEMS = ("interface", "names"), "DEV", 60
SETTINGS = f"domains:{'+'.join(DOMAINS)}|pool:{POOL}|items:{ITEMS}|beam:5"


def held_out(language: str) -> list[Pair]:
    """The DEV pairs into English that a language is scored on: `ITEMS` of each domain, where it has so many.

    Drawn in one random order of items for all languages, so that most of them are scored on the same items.
    """
    corpus = load_corpus("catalogs")
    found = []
    for domain in DOMAINS:
        pairs = corpus.pairs(language, domain=domain, pool=POOL)
        found += sorted(pairs, key=lambda pair: text_hash(pair.id))[:ITEMS]
    return found


def plan(profile: str) -> Mapping[str, Mapping[str, str]]:
    """Every cell of the profile: one for each language that the model was trained on."""
    if profile != "mini" or not (SHIPPED / MODEL / "model.safetensors").exists():
        return {}
    inputs = {
        "model": f"{MODEL}@{shipped_digest(MODEL)[:12]}",
        "corpus": f"catalogs@{load_corpus('catalogs').digest[:12]}",
        "settings": SETTINGS,
    }
    return {f"{MODEL}.{code}-en": inputs for code in card(MODEL)["languages"] if code != "en"}


@cells.procedure(
    KIND,
    version=VERSION,
    minutes=0.3,
    plan=plan,
    tolerances={"nll": 0.01, "unigram_nll": 1e-6, "copy_nll": 1e-6, "bleu": 1.0, "chrf": 1.0, "copy_chrf": 0.01},
)
def held_out_scores(cell: cells.Cell) -> cells.Scores:
    """Likelihood and translation quality into English, and what a token unigram and copying the source reach."""
    code = languages.get(cell.id.split(".")[1].removesuffix("-en")).code
    pairs = held_out(code)
    if not pairs:
        raise Failure(f"no held-out text in '{code}'")
    loaded = load_model(MODEL)
    references = [pair.target_text for pair in pairs]
    nll, tokens = mean_nll(loaded, pairs, code)
    found = scores(translate(loaded, pairs, code), references)
    copied = scores([pair.source_text for pair in pairs], references)
    sources, targets = zip(*(loaded.encode(p.source_text, p.target_text, code, "en") for p in pairs), strict=True)
    p = english_frequencies()
    return {
        "items": len(pairs),
        "tokens": tokens,
        "nll": nll,
        "unigram_nll": unigram.unigram_nll(targets, p),
        "copy_nll": unigram.copy_nll(sources, targets, p),
        **found,
        "copy_chrf": copied["chrf"],
    }


def english_frequencies() -> np.ndarray:
    """(V,) how often each token occurs in the English PRETRAIN text of the catalogs, of the domains that the model is
    trained on."""
    loaded, corpus = load_model(MODEL), load_corpus("catalogs")
    english = [corpus.texts["en"][item] for item in corpus.select(pool="PRETRAIN") if item in corpus.texts["en"]]
    ids = [loaded.encode(text, text, "en", "en")[1] for text in english]
    return unigram.frequencies(ids, loaded.model.config.vocab_size)
