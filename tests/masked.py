"""Small recipes and little text for the masked models."""

import math

from langsim import corpora, pretraining

NAMES = ("mini-xlmr", "mini-mbert", "mini-mt5")
CODES = ("en", "fa", "de", "ko")
SMALL = {
    "mini-xlmr": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
    "mini-mbert": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
    "mini-mt5": {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2},
}


def small(name, **training):
    """The shipped recipe with a small model, vocabulary and budget."""
    recipe = pretraining.recipe(name)
    recipe["model"] |= SMALL[name]
    recipe["tokenizer"] |= (
        {"vocab_size": 1200, "character_coverage": 0.99}
        if name != "mini-mbert"
        else {
            "vocab_size": 1200,
            "characters": 500,
        }
    )
    recipe["training"] |= {"tokens_per_batch": 300, "max_tokens": 40, "warmup": 5, "checks": 4} | training
    recipe["training"]["learning_rate"] = 5e-3
    recipe["held_out"] = {"items": 6}
    recipe["phase"] = [{"until": 6000}]
    return recipe


def part(pool, per_domain):
    corpus = corpora.load("catalogs")
    shared = [i for i in corpus.select(pool=pool) if all(i in corpus.texts[code] for code in CODES)]
    chosen = corpus.items.loc[shared].groupby("domain").head(per_domain)
    chosen = chosen[chosen["domain"] != "interface"]
    texts = {code: {item: corpus.texts[code][item] for item in chosen.index} for code in CODES}
    return corpora.Corpus("small", chosen[["domain", "unit", "pool"]], texts)


def share_is(count, n, share):
    return abs(count - n * share) < 4.5 * math.sqrt(n * share * (1 - share))
