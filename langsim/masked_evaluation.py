"""How well the shipped masked models know text that they have never seen, and whether that is enough.

One cell a model: for each of its languages the loss per hidden token on held-out text, in nats, and what a token
unigram reaches on the very same tokens. The model is not helped: every chosen token is masked (none is left to be
copied), and of span corruption's targets neither sentinels nor the end are scored. The unigram is: it mixes the
language's own frequencies in all the PRETRAIN text of the catalogs, more than the model was given, with those of all
languages, in the proportion that suits the held-out text best.

The gate asks for a loss below the unigram's in every language of the tasks at `mini` (the roles `xsns-...-mini`). No
published number, no language family and no score on a task has a say. A model that fails is shipped all the same,
and every page that uses it says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from langsim import cells, corruption, languages, unigram
from langsim.corpora import load as load_corpus
from langsim.evaluation import DOMAINS, ITEMS, POOL
from langsim.fisher.objective import predict
from langsim.gate import WEAK
from langsim.models import SHIPPED, LoadedModel, card, shipped_digest
from langsim.models import load as load_model
from langsim.splits import text_hash

KIND = "held-out-text"
VERSION = 1
MODELS = ("mini-xlmr", "mini-mbert", "mini-mt5")
ROUNDS = 8  # masks of each text
SIZE = 64  # texts a batch
SETTINGS = f"domains:{'+'.join(DOMAINS)}|pool:{POOL}|items:{ITEMS}|rounds:{ROUNDS}"


@dataclass(frozen=True)
class Gate:
    """The verdict on one model: how many languages were asked, and in which its loss is not below a unigram's."""

    languages: int
    unigram: list[str]

    @property
    def passed(self) -> bool:
        return not self.unigram

    @property
    def sentence(self) -> str:
        """What was asked, and what came out."""
        but = f" (not in {', '.join(self.unigram)})" if self.unigram else ""
        text = (
            f"Loss per hidden token of held-out text below a token unigram's in "
            f"{self.languages - len(self.unigram)} of {self.languages} languages{but}."
        )
        return text if self.passed else f"**{WEAK.capitalize()}.** {text}"


def asked() -> list[str]:
    """The languages of the tasks at `mini`, sorted."""
    roles = [role for role in languages.roles() if role.startswith("xsns-") and role.endswith("-mini")]
    return sorted({code for role in roles for code in languages.role(role)})


def verdict(model: str) -> Gate | None:
    """The gate's verdict on a shipped masked model, from its cell; None for any other model.

    Raises:
        Failure: the cell is missing or stale.
    """
    found = {cell.id: cell for cell in cells.planned(KIND)}
    return judge(cells.read(found[model])) if model in found else None


def judge(scores: Mapping[str, Mapping[str, float]]) -> Gate:
    """The verdict on scores, language -> nll, unigram_nll."""
    codes = [code for code in asked() if code in scores]
    return Gate(len(codes), [code for code in codes if not scores[code]["nll"] < scores[code]["unigram_nll"]])


def plan(profile: str) -> Mapping[str, Mapping[str, str]]:
    """A cell for each of `MODELS` that is there."""
    there = [name for name in MODELS if (SHIPPED / name / "model.safetensors").exists()] if profile == "mini" else []
    corpus = f"catalogs@{load_corpus('catalogs').digest[:12]}" if there else ""
    return {
        name: {"model": f"{name}@{shipped_digest(name)[:12]}", "corpus": corpus, "settings": SETTINGS} for name in there
    }


@cells.procedure(KIND, version=VERSION, minutes=3, plan=plan, tolerances={"nll": 0.02, "unigram_nll": 1e-6})
def held_out_scores(cell: cells.Cell) -> dict[str, Any]:
    """language -> texts, tokens (scored ones), nll, unigram_nll; languages without held-out text are left out."""
    loaded, corpus = load_model(cell.id), load_corpus("catalogs")
    codes = [code for code in card(cell.id)["languages"] if corpus.texts.get(code)]
    p = {code: frequencies(loaded, corpus.text(code, pool="PRETRAIN")) for code in codes}
    pooled = np.mean(list(p.values()), axis=0)
    scores = {}
    for code in codes:
        texts = held_out(code)
        if texts:
            nll, tokens = hidden_loss(loaded, texts)
            unigram_nll = unigram.mixed_nll([tokens], p[code], pooled)
            scores[code] = {"texts": len(texts), "tokens": len(tokens), "nll": nll, "unigram_nll": unigram_nll}
    return scores


def held_out(code: str) -> list[str]:
    """The DEV text of the catalogs that a language is scored on, in an order that is the same in all languages."""
    corpus, found = load_corpus("catalogs"), []
    own = corpus.texts[code]
    for domain in DOMAINS:
        items = [item for item in corpus.select(domain=domain, pool=POOL) if item in own]
        found += [own[item] for item in sorted(items, key=text_hash)[:ITEMS]]
    return found


def frequencies(loaded: LoadedModel, texts: Sequence[str]) -> np.ndarray:
    """(V,) how often each token occurs in texts, special tokens apart."""
    ids = loaded.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    return unigram.frequencies(ids, len(loaded.tokenizer))


@torch.inference_mode()
def hidden_loss(loaded: LoadedModel, texts: Sequence[str], *, rounds: int = ROUNDS) -> tuple[float, list[int]]:
    """Mean loss in nats of the tokens that are hidden from the model in so many rounds, and these tokens.

    Raises:
        UsageError: the model has neither a mask token nor sentinels.
    """
    tokenizer, total, tokens = loaded.tokenizer, 0.0, []
    encoded = tokenizer(list(texts), truncation=True, max_length=loaded.max_tokens)["input_ids"]
    encoded = sorted((ids for ids in encoded if set(ids) - set(tokenizer.all_special_ids)), key=len)
    special = torch.tensor(tokenizer.all_special_ids)
    for number in range(rounds):
        rng = np.random.default_rng(number)
        for start in range(0, len(encoded), SIZE):
            some = encoded[start : start + SIZE]
            if loaded.model.config.is_encoder_decoder:
                batch = corruption.span_batch(some, tokenizer, rng)
            else:
                batch = corruption.masked_batch(some, tokenizer, rng, shares=(1.0, 0.0))
            prediction = predict(loaded.model, batch)
            scored = (prediction.labels != corruption.IGNORED) & ~torch.isin(prediction.labels, special)
            observed = prediction.labels[scored]
            log_p = prediction.logits[scored].log_softmax(-1)  # (N, V)
            total -= float(log_p.gather(1, observed[:, None]).sum())
            tokens += observed.tolist()
    return total / max(1, len(tokens)), tokens
