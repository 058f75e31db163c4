"""Ship a trained mini model: copy what belongs to it, and write down what it is (card.json, README.md)."""

import json
import shutil
from pathlib import Path

from safetensors import safe_open

from langsim import __version__, cells, gate, languages, maskedcard, objectives, pretraining
from langsim.corpora import Corpus
from langsim.corpora import load as load_corpus
from langsim.errors import Failure
from langsim.paths import DATA, atomic_write, sha256_file
from langsim.results import digest_of

SHIPPED_FILES = ("model.safetensors", "config.json")  # and those of its tokenizer
LARGEST = 12_000_000  # bytes of model.safetensors


def ship(name: str, trained: Path) -> Path:
    """Copy a trained model from `trained` to `data/models/<name>` and write its card.

    Raises:
        Failure: something is missing, or the weights are larger than 12 MB.
    """
    folder, settings = pretraining.MODELS / name, pretraining.recipe(name)
    files = (*SHIPPED_FILES, *objectives.of(settings).files)
    for file in files:
        if not (trained / file).exists():
            raise Failure(f"{trained / file} is missing: train first (langsim pretrain {name})")
    if (trained / "model.safetensors").stat().st_size > LARGEST:
        raise Failure(f"{trained / 'model.safetensors'} is larger than 12 MB: make the model smaller in its recipe")
    for file in files:
        with atomic_write(folder / file) as temporary:
            shutil.copyfile(trained / file, temporary)
    with safe_open(trained / "training.safetensors", "pt") as handle:
        state = json.loads(handle.metadata()["state"])
    text = pretraining.training_text(settings)
    pretraining.write_hashes(text, folder)
    card = describe(name, settings, text, state)
    with atomic_write(folder / "card.json") as temporary:
        temporary.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def describe(name: str, settings: dict, text: Corpus, state: dict) -> dict:
    """The card as data: languages with class, segments and tokens of training text; digests; the loss curve."""
    folder = pretraining.MODELS / name
    objective = objectives.of(settings)
    tokenizer = objective.load_tokenizer(folder)
    domain = text.items["domain"]
    rows = {}
    for member in languages.role_members(settings["role"]):
        own = text.texts[member.code]
        counts = domain.loc[list(own)].value_counts()
        rows[member.code] = {
            "class": member.resource_class,
            "segments": {key: int(counts.get(key, 0)) for key in ("news", "software", "names")},
            "tokens": sum(len(objective.pieces(tokenizer, string)) for string in own.values()),
        }
    return {
        "name": name,
        "langsim": __version__,
        "weights": sha256_file(folder / "model.safetensors"),
        "recipe": digest_of(settings),
        "text": {
            "pretrain": text.digest,
            "catalogs": load_corpus("catalogs").digest,
            "ntrex": load_corpus("ntrex").digest,
            "splits": sha256_file(DATA / "splits.tsv"),
            "hashes": len(pretraining.read_hashes(folder)),
        },
        "languages": rows,
        "training": state,
    }


def readme(name: str) -> str:
    """The card as a page, with the held-out scores of its cells.

    Raises:
        Failure: the cells are missing or stale.
    """
    folder = pretraining.MODELS / name
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    if objectives.of(pretraining.recipe(name)) is not objectives.of({}):
        return maskedcard.readme(name, card)
    scores = {cell.id.split(".")[1].removesuffix("-en"): cells.read(cell) for cell in cells.planned("held-out")}
    beaten = sum(score["chrf"] > score["copy_chrf"] for score in scores.values())
    recipe = pretraining.recipe(name)
    training, shape, budget = card["training"], recipe["model"], recipe["phase"][-1]["until"]
    best = min(training["held_out"], key=lambda check: check[2])
    size = (folder / "model.safetensors").stat().st_size / 1e6
    lines = [
        f"# {name}",
        "",
        "A small many-to-many translation model (`M2M100ForConditionalGeneration`), trained by this project as the",
        "measuring instrument of the `mini` profile. It is far too small, and trained on far too little text, to",
        "translate with; its Fisher vectors are what it is for.",
        "",
        f"- **Shape**: {shape['encoder_layers']} + {shape['decoder_layers']} layers, d = {shape['d_model']}, "
        f"ffn = {shape['encoder_ffn_dim']}; {size:.1f} MB in fp16, SentencePiece with byte fallback, a token for every "
        "language of the registry.",
        f"- **Weights**: sha256 `{card['weights'][:16]}...`; recipe in `recipe.toml`.",
        f"- **Training**: {training['step']:,} steps, {training['tokens'] / 1e6:.1f} million target tokens, of "
        f"a budget of {budget / 1e6:.1f} million; each phase's was written down before it began. The weights are "
        f"those of step {best[0]:,}, which had the least loss on held-out text of the training domains (DEV pool).",
        "- **Text**: the PRETRAIN pool of `data/splits.tsv`: messages of Wagtail, Sphinx, django-allauth, Django REST",
        "  framework, Deluge and Plone, Unicode CLDR names, and the PRETRAIN documents of NTREX-128 (CC-BY-SA 4.0).",
        "  No message of Django itself, the adaptation domain, is among it, in any language.",
        f"- **Leaks**: `pretrain.hashes` holds {card['text']['hashes']:,} 64-bit hashes of its training segments.",
        "- **Licence of the weights**: CC-BY-SA 4.0, as the news text.",
        "",
        "## Is it good enough?",
        "",
        "Asked of the 17 languages of the first paper; no published number and no language family has a say.",
        gate.verdict(name).sentence,
        "",
        "## Loss while training",
        "",
        "Nats per target token: label-smoothed on training text (segmented anew each time), plain on held-out text.",
        "",
        "| step | million target tokens | training | held-out |",
        "|---:|---:|---:|---:|",
    ]
    for at, tokens, loss in training["held_out"]:
        smoothed = min(training["curve"], key=lambda point: abs(point[0] - at))[2]
        lines.append(f"| {at:,} | {tokens / 1e6:.2f} | {smoothed:.2f} | {loss:.2f} |")
    lines += [
        "",
        "## Languages, and translation into English of held-out text",
        "",
        "Held-out text: Django messages and CLDR names of the DEV pool. `nll` is nats per target token; `unigram` and",
        "`copying` are the same of two baselines: tokens drawn by their frequency in the training text, and, with the",
        "probability that suits this very text best, copied from the source instead. `copied` is the chrF of the",
        f"untranslated source, which the model beats in {beaten} of {len(scores)} languages. Beam 5; "
        f"`{next(iter(scores.values()))['bleu_signature']}`, `{next(iter(scores.values()))['chrf_signature']}`.",
        "",
        "| language | class | news | software | names | tokens | items | nll | unigram | copying | BLEU | chrF "
        "| copied |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for code, row in card["languages"].items():
        n = row["segments"]
        left = f"| {code} | {row['class']} | {n['news']} | {n['software']} | {n['names']} | {row['tokens']:,} "
        if code == "en":
            lines.append(f"{left}| | | | | | | |")
            continue
        s = scores[code]
        lines.append(
            f"{left}| {s['items']} | {s['nll']:.2f} | {s['unigram_nll']:.2f} | {s['copy_nll']:.2f} "
            f"| {s['bleu']:.1f} | {s['chrf']:.1f} | {s['copy_chrf']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def write_readme(name: str) -> Path:
    """Write README.md beside the weights."""
    path = pretraining.MODELS / name / "README.md"
    with atomic_write(path) as temporary:
        temporary.write_text(readme(name), encoding="utf-8")
    return path
