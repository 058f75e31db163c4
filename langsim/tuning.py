"""One fine-tuned system, from its languages to its scores: a cell of Table 2 (section 3.2)."""

import json
import math
import shutil
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from langsim import cells, models, profiles, results, systems
from langsim.cells import Cell, Scores
from langsim.corpora.base import Corpus, Pair
from langsim.errors import UsageError
from langsim.paths import cache_dir
from langsim.profiles import Settings, Tuning
from langsim.systems import System

KIND = "tuned"
VERSION = 1
# Another machine may choose other words; they are kept so that anyone can score them anew.
TOLERANCES = {"parent_loss": 0.01, "loss": 0.05, "bleu": 2.0, "chrf": 2.0, "spbleu": 2.0}
TOLERANCES |= dict.fromkeys(("hypotheses", "best_updates", "curves"), math.inf)
# What of the settings decides a system's scores; the rest decides which systems there are.
DECIDES = ("target_language", "adaptation", "recipe", "max_items", "updates", "patience", "validate_every")
DECIDES += ("learning_rate", "warmup", "label_smoothing", "dropout", "tokens_per_batch", "batches_per_update")
DECIDES += ("precision", "beam_size", "engine")
_TEXT = ("profile", "corpus", "data", "languages", "target_language", "max_items", "seed")  # what a corpus depends on


def corpus_of(settings: Settings) -> Corpus:
    """The corpus of the settings, kept for the next call."""
    return _corpus(settings.model_dump_json(include=set(_TEXT)))


@lru_cache(maxsize=1)
def _corpus(text: str) -> Corpus:
    from langsim.pipeline import load_corpus

    given = json.loads(text)
    return load_corpus(profiles.resolve(given.pop("profile"), **given))


def pairs(settings: Tuning, code: str, pool: str) -> list[Pair]:
    """The pairs of one language that a system is trained on (FINETUNE), chosen on (DEV) or scored on (TEST).

    Raises:
        UsageError: there are none, or the corpus has no such pool.
    """
    corpus, into = corpus_of(settings), settings.target_language
    there = set(corpus.items["pool"])
    if pool not in there:
        raise UsageError(
            f"corpus '{corpus.name}' has no text in the pool {pool}, only in {', '.join(sorted(there)) or 'none'}; "
            "systems are trained on FINETUNE, chosen on DEV and scored on TEST: give it more text, or a column pool"
        )
    found = corpus.pairs(code, into, domain=settings.adaptation, pool=pool)
    if found:
        return found
    where = f" of domain '{settings.adaptation}'" if settings.adaptation else ""
    raise UsageError(
        f"corpus '{corpus.name}' has no {code}-{into} text{where} in the pool {pool}; leave {code} out, or choose "
        "another domain with adaptation"
    )


def check(settings: Tuning) -> None:
    """To be called before anything expensive: whatever the systems of the settings will be, they can be made.

    Raises:
        UsageError: a language without text in a pool that it is read from, or arithmetic that the device hasn't.
    """
    for code in settings.languages:
        pairs(settings, code, "FINETUNE")
        if settings.recipe == "authors_code" or code in settings.targets:
            pairs(settings, code, "DEV")
        if code in settings.targets:
            pairs(settings, code, "TEST")
    if settings.precision == "fp16" and settings.device == "cpu":
        raise UsageError("precision fp16 needs a GPU; on a CPU use fp32 or bf16")


def too_long(settings: Tuning) -> int:
    """How many pairs, of those that systems are trained on or scored on, are cut to what the model can read."""
    from langsim.estimation import model_of

    loaded, into = model_of(settings), settings.target_language
    read = [(code, "FINETUNE") for code in settings.languages]
    read += [(code, pool) for code in settings.targets for pool in ("DEV", "TEST")]
    count = 0
    for code, pool in read:
        for pair in pairs(settings, code, pool):
            # A character is at most four tokens: its bytes. Most texts need no tokenizer to see that they fit.
            if 4 * max(len(pair.source_text), len(pair.target_text)) + 2 > loaded.max_tokens:
                encoded = loaded.encode(pair.source_text, pair.target_text, code, into)
                count += max(map(len, encoded)) > loaded.max_tokens
    return count


def cell_of(settings: Tuning, system: System) -> Cell:
    """The cell of a system: the profile's own where the run is the profile as it is, or where there is a good one (of
    a run with other targets, say, that needs some of the same systems); else one in the cache."""
    deciding = {name: getattr(settings, name) for name in DECIDES}
    inputs = {
        "model": results.named(settings.model, model_digest(settings)),
        "corpus": results.named(settings.corpus, corpus_of(settings).digest),
        "settings": results.digest_of(deciding)[:12],
    }
    own = Cell(KIND, system.id, inputs, VERSION, settings.profile)
    if not profiles.overrides(settings) or not cells.problem(own):
        return own
    return replace(own, folder=cache_dir() / "cells" / KIND / results.digest_of(inputs)[:16])


def measures_of(settings: Tuning) -> list[Any]:
    """What translations are scored by (`langsim.scoring.Measure`); pieces are a shipped model's, else mini-m2m's."""
    from langsim import scoring

    pieces = settings.model if settings.model in models.shipped() else "mini-m2m"
    return scoring.measures(settings.recipe, target=settings.target_language, pieces=pieces)


def model_digest(settings: Settings) -> str:
    """Digest of the settings' model; of a shipped one without loading it."""
    from langsim.estimation import model_of

    if settings.model not in models.shipped():
        return model_of(settings).digest
    folder = models.SHIPPED / settings.model
    return _shipped_digest(folder, max(file.stat().st_mtime_ns for file in folder.iterdir()))


@lru_cache(maxsize=4)
def _shipped_digest(folder: Path, changed: int) -> str:
    """Read once, not for each of hundreds of systems, unless a file has changed."""
    return models.shipped_digest(folder.name)


def scores(settings: Tuning, system: System) -> Scores:
    """Fine-tune a system in its stages, translate DEV and TEST, score.

    The weights with the least loss on DEV are kept: on the target's own (`paper`), or on that of all languages of the
    stage (`authors_code`).

    Killed, the next call goes on from the last state of the training, and keeps the stages that are done.

    Returns:
        parent_loss, loss: nats per token on the target's DEV text, before and after. best_updates, curves: for each
        stage. dev, test: bleu, chrf, spbleu and their signatures. hypotheses: of the TEST pairs, in their order.

    Raises:
        UsageError: languages, text or an engine that can't be.
        Failure: another process computes the system; what `fine_tune` raises.
    """
    from langsim.training_state import locked

    cell = cell_of(settings, system)
    folder = cache_dir() / "tuning" / results.digest_of({**cell.signed, "system": system.id})[:16]
    with locked(folder):
        found = _scores(settings, system, folder)
        shutil.rmtree(folder, ignore_errors=True)  # the cell is kept, not the weights
    return found


def _scores(settings: Tuning, system: System, folder: Path) -> Scores:
    from langsim import scoring, training, translation
    from langsim.estimation import model_of
    from langsim.sampling import check_pairs

    parent = tuned = model_of(settings)
    target, into = system.target, settings.target_language
    best_updates, curves = [], []
    for number, stage in enumerate(system.stages):
        codes = check_pairs(target, stage.auxiliaries, into=into)
        watched = codes if settings.recipe == "authors_code" else codes[:1]
        outcome = training.fine_tune(
            tuned,
            {code: pairs(settings, code, "FINETUNE") for code in codes},
            {code: pairs(settings, code, "DEV") for code in watched},
            recipe_of(settings, system, stage),
            target=into,
            folder=folder / str(number),
        )
        tuned = outcome.model
        best_updates.append(outcome.best_update)
        curves.append(outcome.curve)
    measures = measures_of(settings)
    found: Scores = {"best_updates": best_updates, "curves": curves}
    dev, test = pairs(settings, target, "DEV"), pairs(settings, target, "TEST")
    found["parent_loss"] = translation.mean_nll(parent, dev, target, into)[0]
    found["loss"] = translation.mean_nll(tuned, dev, target, into)[0]
    for pool, chosen in (("dev", dev), ("test", test)):
        hypotheses = translation.translate(
            tuned, chosen, target, into, beam_size=settings.beam_size, engine=settings.engine
        )
        found[pool] = scoring.scores(hypotheses, [pair.target_text for pair in chosen], measures)
    return {**found, "hypotheses": hypotheses}


def recipe_of(settings: Tuning, system: System, stage: systems.Stage) -> Any:
    """How one stage of a system is trained (`langsim.training_recipe.TrainingRecipe`)."""
    from langsim.training_recipe import TrainingRecipe

    return TrainingRecipe.of(
        sampling=stage.sampling,
        tokens_per_batch=settings.tokens_per_batch,
        batches_per_update=settings.batches_per_update,
        updates=max(1, settings.updates // len(system.stages)),
        patience=settings.patience or None,
        validate_every=settings.validate_every or None,
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        label_smoothing=settings.label_smoothing,
        dropout=settings.dropout,
        attention_dropout=None,
        layerdrop=None,
        precision=settings.precision,
        seed=system.seed,
    )


def obtain(settings: Tuning, wanted: Iterable[System], *, jobs: int | None = None) -> dict[str, Scores]:
    """System id -> scores: read where they are there; else computed and kept in the cache, unless the run is a profile
    as it is.

    Raises:
        UsageError: an engine that can't translate with the model.
        Failure: a cell of the profile is missing or stale: the command that makes it. Another process computes one.
    """
    from joblib import Parallel, delayed
    from tqdm import tqdm

    from langsim import ctranslate
    from langsim.estimation import model_of

    planned = {system.id: (system, cell_of(settings, system)) for system in wanted}
    todo = {id: system for id, (system, cell) in planned.items() if cell.folder and cells.problem(cell)}
    if todo and settings.engine == "ctranslate2":  # before hours of training
        ctranslate.require(model_of(settings))
    work = (delayed(_scored)(settings, system) for system in todo.values())
    done = Parallel(n_jobs=jobs or jobs_of(settings, len(todo)), return_as="generator_unordered")(work)
    for id, found in tqdm(done, total=len(todo), desc="systems", mininterval=1, disable=None if todo else True):
        cells.write(planned[id][1], found)
    return {id: cells.read(cell) for id, (_, cell) in planned.items()}


def jobs_of(settings: Settings, count: int) -> int:
    """How many of so many systems are trained at a time."""
    import joblib

    on_cpu = settings.device.startswith("cpu")
    return max(1, min(count, joblib.cpu_count() // settings.threads)) if on_cpu else 1


def _scored(settings: Tuning, system: System) -> tuple[str, Scores]:
    import torch

    torch.set_num_threads(settings.threads)
    return system.id, scores(settings, system)
