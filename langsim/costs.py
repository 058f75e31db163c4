"""What a run will cost, before it starts: time, memory and disk, from the settings, the text and the weights' headers.

Orders of magnitude, meant to tell minutes from hours and a laptop from a server. A run that was finished here before
shows the time it took.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from langsim import pipeline, runner
from langsim.errors import LangsimError
from langsim.estimation import BYTES_PER_PARAMETER, PROCESS_BYTES
from langsim.paths import DATA
from langsim.profiles import Settings

COLUMNS = ("notebook", "state", "time", "memory", "disk", "output")

NOTEBOOK_SECONDS = 20.0  # a kernel, the imports, the text, the figures
FLOPS = {"cpu": 10e9, "cuda": 10e12}  # a second, of one thread or one GPU, on matrices of this kind
FLOPS_PER_TOKEN = 6  # and parameter: forward and backward
CHARACTERS_PER_TOKEN = 3.0


@dataclass(frozen=True)
class Work:
    """How often a notebook goes through the text for Fisher vectors, and how many vectors a language it keeps."""

    passes: int = 1
    vectors: int = 1


# The instrument checks: two halves of the text for each of three models (trained, random weights, shuffled sources).
WORK = {"pseudo_families/02_similarity": Work(passes=1 + 3, vectors=1 + 2 * 3)}


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
    parameters = parameters_of(settings.model)
    tokens = tokens_of(settings)
    if parameters is None:
        return Cost(None, None, None)
    memory = PROCESS_BYTES + BYTES_PER_PARAMETER * parameters
    disk = 4.0 * parameters * len(settings.languages) * work.vectors
    if tokens is None:
        return Cost(None, memory, disk)
    device = settings.device.partition(":")[0]
    rate = FLOPS[device] * (settings.threads if device == "cpu" else 1)
    return Cost(NOTEBOOK_SECONDS + work.passes * FLOPS_PER_TOKEN * parameters * tokens / rate, memory, disk)


def parameters_of(model: str) -> int | None:
    """Number of parameters, read off the headers of the weights' files; None where they are not on this machine."""
    folder = DATA / "models" / model
    folder = folder if folder.is_dir() else Path(model).expanduser()
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else _downloaded(model)
    total = 0
    for file in files:
        with open(file, "rb") as stream:
            header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
        spans = [entry for name, entry in header.items() if name != "__metadata__"]
        total += sum(_product(entry["shape"]) for entry in spans)
    return total or None


def tokens_of(settings: Settings) -> int | None:
    """Tokens of all pairs that would be read, both sides; None where the text can't be had yet."""
    try:
        matched = pipeline.match_text(settings, pipeline.load_corpus(settings))
    except LangsimError:
        return None
    characters = sum(len(p.source_text) + len(p.target_text) for pairs in matched.pairs.values() for p in pairs)
    return round(characters / CHARACTERS_PER_TOKEN)


def row(item: runner.Run) -> list[str]:
    """One line of `langsim run --dry-run`."""
    cost = estimate(item.settings, item.name)
    why = runner.unfinished(item, runner.dependencies(item))
    measured = runner.seconds_of(item)
    time = f"{_time(measured)} (measured)" if measured is not None else _time(cost.seconds)
    state = f"to run ({why})" if why else "finished"
    return [item.name, state, time, _size(cost.memory), _size(cost.disk), runner.shown(item.output)]


def _downloaded(model: str) -> list[Path]:
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(model, "model.safetensors")
    except ValueError:  # not a hub id
        return []
    return [Path(found)] if isinstance(found, str) else []


def _product(shape: list[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(size: float | None) -> str:
    if size is None:
        return "unknown"
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
