"""The card of a shipped masked model as a page: what it is, how it was trained, and what it knows of held-out text."""

from typing import Any

from langsim import cells, corruption, masked_evaluation, pretraining

_KINDS = {
    "masked-lm": "masked language model, {} of the tokens chosen anew each time (80% masked, 10% replaced, 10% left)",
    "span-corruption": "encoder-decoder that restores hidden spans ({} of the tokens, 3 a span on average)",
}


def readme(name: str, card: dict[str, Any]) -> str:
    """The page, with the held-out losses of the model's cell.

    Raises:
        Failure: the cell is missing or stale.
    """
    recipe, folder = pretraining.recipe(name), pretraining.MODELS / name
    (cell,) = [cell for cell in cells.planned(masked_evaluation.KIND) if cell.id == name]
    scores, training = cells.read(cell), card["training"]
    best = min(training["held_out"], key=lambda check: check[2])
    size = (folder / "model.safetensors").stat().st_size / 1e6
    hidden = f"{recipe['sampling'].get('hidden', corruption.RATE):.0%}"
    shape = ", ".join(f"`{key}` {value}" for key, value in recipe["model"].items())
    budget = recipe["phase"][-1]["until"]
    tokenizer = ", ".join(f"{key} {value}" for key, value in recipe["tokenizer"].items())
    lines = [
        f"# {name}",
        "",
        f"A small {_KINDS[recipe['objective']].format(hidden)}:",
        f"`{recipe['architecture']}`, trained by this project on plain text, one language a row, as the measuring",
        "instrument of the `mini` profile. No translation pairs and no labels are in its text.",
        "",
        f"- **Shape**: {shape}; {size:.1f} MB in fp16. Tokenizer: {tokenizer}.",
        f"- **Weights**: sha256 `{card['weights'][:16]}...`; recipe in `recipe.toml`.",
        f"- **Training**: {training['step']:,} steps, {training['tokens'] / 1e6:.1f} million tokens of text, of a",
        f"  budget of {budget / 1e6:.1f} million. The weights are those of step {best[0]:,}, which had the least",
        "  loss on held-out text of the training domains (DEV pool).",
        "- **Text**: the PRETRAIN pool of `data/splits.tsv`: messages of Wagtail, Sphinx, django-allauth, Django REST",
        "  framework, Deluge and Plone, Unicode CLDR names, and the PRETRAIN documents of NTREX-128 (CC-BY-SA 4.0).",
        "  No message of Django itself, and nothing of the pool reserved for tasks, is among it, in any language.",
        f"- **Leaks**: `pretrain.hashes` holds {card['text']['hashes']:,} 64-bit hashes of its training segments.",
        "- **Licence of the weights**: CC-BY-SA 4.0, as the news text.",
        "",
        "## Is it good enough?",
        "",
        "Asked of the languages of the tasks at `mini`; no published number and no language family has a say.",
        masked_evaluation.judge(scores).sentence,
        "",
        "## Loss while training",
        "",
        f"Nats per hidden token; of spans, sentinels and the end count too. In training {hidden} are hidden, in what",
        f"is held out {corruption.RATE:.0%}.",
        "",
        "| step | million tokens of text | training | held-out |",
        "|---:|---:|---:|---:|",
    ]
    for at, tokens, loss in training["held_out"]:
        trained = min(training["curve"], key=lambda point: abs(point[0] - at))[2] if training["curve"] else loss
        lines.append(f"| {at:,} | {tokens / 1e6:.2f} | {trained:.2f} | {loss:.2f} |")
    lines += [
        "",
        "## Languages, and the loss on held-out text",
        "",
        "Held-out text: Django messages and CLDR names of the DEV pool. `nll` is nats per hidden token, with every",
        "chosen token masked (sentinels and ends are not scored); `unigram` is the same of tokens drawn by frequency,",
        "in the mixture of the language's own and all languages' frequencies that suits this very text best.",
        "",
        "| language | class | news | software | names | tokens | texts | scored | nll | unigram |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for code, row in card["languages"].items():
        n, s = row["segments"], scores.get(code)
        left = f"| {code} | {row['class']} | {n['news']} | {n['software']} | {n['names']} | {row['tokens']:,} "
        right = f"| {s['texts']} | {s['tokens']:,} | {s['nll']:.2f} | {s['unigram_nll']:.2f} |" if s else "| | | | |"
        lines.append(left + right)
    return "\n".join(lines) + "\n"
