"""What a run will cost, before it starts: time, memory and disk, from the settings, the text and the weights' headers.

Orders of magnitude, meant to tell minutes from hours and a laptop from a server. A run that was finished here before
shows the time it took.
"""

import json
import math
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

from langsim import corpora, pipeline, runner
from langsim.corpora.base import Pair
from langsim.errors import LangsimError
from langsim.estimation import processes
from langsim.footprint import CHARACTERS_PER_TOKEN, PROCESS_BYTES, largest_batch, peak_bytes
from langsim.lslo_settings import LSLoSettings
from langsim.paths import DATA
from langsim.profiles import Settings, Tuning
from langsim.xsns.settings import XSNSSettings

COLUMNS = ("notebook", "state", "time", "memory", "disk", "output")

NOTEBOOK_SECONDS = 20.0  # a kernel, the imports, the text, the figures
FLOPS = {"cpu": 60e9, "cuda": 20e12}  # a second, of one thread or one GPU, on large matrices
MATRIX_SECONDS = {"cpu": 1e-3, "cuda": 2e-4}  # of a mini-batch for every weight matrix, however small that is
FLOPS_PER_TOKEN = 6  # and parameter: forward and backward
LONGEST_TEXT = 300  # characters, of a text that is not here
CONFIGURED = {"facebook/m2m100_418M": "M2M100"}  # checkpoints of the shapes that a class has by default


@dataclass(frozen=True)
class Work:
    """How often a notebook goes through the text for Fisher vectors, and how many vectors a language it keeps."""

    passes: int = 1
    vectors: int = 1


# The instrument checks: two halves of the text for each of three models (trained, random weights, shuffled sources).
# Across corpora: two texts for each of the three.
WORK = {
    "pseudo_families/01_fisher_distribution": Work(passes=1 + 1, vectors=1 + 2),
    "pseudo_families/02_similarity": Work(passes=1 + 3, vectors=1 + 2 * 3),
    "pseudo_families/03_families": Work(passes=1 + 3, vectors=1 + 2 * 3),
    "pseudo_families/04_translation": Work(passes=1 + 1 + 3, vectors=1 + 1 + 2 * 3),  # both estimators, and the checks
    "pseudo_families/06_across_corpora": Work(passes=3, vectors=2 * 3),
    "beyond/01_paper_audit": Work(passes=0, vectors=0),  # printed tables alone
}


@dataclass(frozen=True)
class Cost:
    """Seconds, and bytes of memory and disk; None where it can't be known before a download."""

    seconds: float | None
    memory: float | None
    disk: float | None


def estimate(settings: Settings, notebook: str = "") -> Cost:
    """The cost of the Fisher vectors of all languages, none of them cached, and of one notebook around them.

    `notebook` (`part/NN_name`) is looked up in `WORK`; one that isn't there estimates one vector a language.
    """
    work = WORK.get(notebook, Work())
    shapes, texts = shapes_of(settings.model), _texts(settings)
    if shapes is None:
        return Cost(None, None, None)
    disk = 4.0 * sum(map(prod, shapes)) * len(settings.languages) * work.vectors
    need = _memory(shapes, texts, settings)
    workers = processes(len(settings.languages), settings, need)
    # Where there are several processes, one more holds the model and waits.
    memory = need if workers == 1 else workers * need + PROCESS_BYTES + 4.0 * sum(map(prod, shapes))
    if texts is None:
        return Cost(None, memory, disk)
    return Cost(NOTEBOOK_SECONDS + work.passes * _seconds(shapes, texts, settings) / workers, memory, disk)


def shapes_of(model: str) -> list[tuple[int, ...]] | None:
    """Shapes of all parameters, read off the headers of the weights' files, or known without them (`CONFIGURED`); None
    where neither is the case."""
    folder = DATA / "models" / model
    folder = folder if folder.is_dir() else Path(model).expanduser()
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else _downloaded(model)
    shapes = []
    for file in files:
        with open(file, "rb") as stream:
            header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
        shapes += [tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"]
    if not shapes and model in CONFIGURED:
        return _configured(CONFIGURED[model])
    return shapes or None


def is_here(model: str) -> bool:
    """Whether a model is shipped, a local folder, or has been downloaded."""
    return (DATA / "models" / model).is_dir() or Path(model).expanduser().is_dir() or bool(_downloaded(model))


def _configured(name: str) -> list[tuple[int, ...]]:
    """Shapes of the parameters of a class as transformers configures it, on a model without memory."""
    import torch
    import transformers

    with torch.device("meta"):
        model = getattr(transformers, f"{name}ForConditionalGeneration")(getattr(transformers, f"{name}Config")())
    return [tuple(parameter.shape) for parameter in model.parameters()]


def parameters_of(model: str) -> int | None:
    """Number of parameters; None where the weights are not on this machine."""
    shapes = shapes_of(model)
    return None if shapes is None else sum(map(prod, shapes))


def tokens_of(settings: Settings) -> int | None:
    """Tokens of all pairs that would be read, both sides; None where the text is not here."""
    texts = _texts(settings)
    return None if texts is None else _tokens(texts)


def _texts(settings: Settings) -> list[list[Pair]] | None:
    """The pairs of every vector that would be estimated; None where the text is not here."""
    if any(text.corpus in corpora.FROM_HUB and not text.data for text in settings.sides):
        return None
    try:
        matched = [pipeline.match_text(text, pipeline.load_corpus(text)) for text in settings.sides]
    except LangsimError:
        return None
    return [pairs for text in matched for pairs in text.pairs.values()]


def _memory(shapes: list[tuple[int, ...]], texts: list[list[Pair]] | None, settings: Settings) -> float:
    """Peak bytes of one process."""
    if texts is None:
        tokens = round(settings.batch_size * LONGEST_TEXT / CHARACTERS_PER_TOKEN)
    else:
        tokens = max(largest_batch(pairs, settings.batch_size) for pairs in texts)
    return peak_bytes(shapes, tokens)


def _seconds(shapes: list[tuple[int, ...]], texts: list[list[Pair]], settings: Settings) -> float:
    """One pass over all texts in one process."""
    device = settings.device.partition(":")[0]
    rate = FLOPS[device] * (settings.threads if device == "cpu" else 1)
    batches = sum(math.ceil(len(pairs) / settings.batch_size) for pairs in texts)
    matrices = sum(len(shape) == 2 for shape in shapes)
    flops = FLOPS_PER_TOKEN * sum(map(prod, shapes)) * _tokens(texts)
    return batches * matrices * MATRIX_SECONDS[device] + flops / rate


def _tokens(texts: list[list[Pair]]) -> int:
    characters = sum(len(pair.source_text) + len(pair.target_text) for pairs in texts for pair in pairs)
    return round(characters / CHARACTERS_PER_TOKEN)


def row(item: runner.Run) -> list[str]:
    """One line of `langsim run --dry-run`."""
    if isinstance(item.settings, LSLoSettings):
        from langsim.lslo import costs as lslo_costs

        cost = lslo_costs.estimate(item.settings, item.name)
    elif isinstance(item.settings, XSNSSettings):
        from langsim.xsns import costs as xsns_costs

        cost = xsns_costs.estimate(item.settings, item.name)
    else:
        cost = estimate(item.settings, item.name)
    if isinstance(item.settings, Tuning):
        from langsim import training_costs

        cost = training_costs.added(cost, item.settings)
    why = runner.unfinished(item, runner.dependencies(item))
    measured = runner.seconds_of(item)
    time = f"{shown_time(measured)} (measured)" if measured is not None else shown_time(cost.seconds)
    state = f"to run ({why})" if why else "finished"
    return [item.name, state, time, shown_size(cost.memory), shown_size(cost.disk), runner.shown(item.output)]


def details(item: runner.Run) -> list[str]:
    """What is to be said below the table of a dry run: of the systems that a notebook needs trained."""
    if not isinstance(item.settings, Tuning):
        return []
    from langsim import training_costs

    return training_costs.lines(item.settings)


def _downloaded(model: str) -> list[Path]:
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(model, "model.safetensors")
    except ValueError:  # not a hub id
        return []
    return [Path(found)] if isinstance(found, str) else []


def shown_time(seconds: float | None) -> str:
    """For reading: `40 s`, `12 min`, `3.5 h`, `1,200 h`."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours = seconds / 3600
    return f"{seconds / 60:.0f} min" if hours < 1.5 else f"{hours:.1f} h" if hours < 100 else f"{hours:,.0f} h"


def shown_size(size: float | None) -> str:
    """For reading: `300 MB`, `7.7 GB`."""
    if size is None:
        return "unknown"
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
