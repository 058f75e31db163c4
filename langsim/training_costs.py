"""What fine-tuning and translating every system of Table 2 will cost, before it starts; the weights need not be here.

Operations are counted, not measured: 6 a parameter and position in training (2 forward, 4 backward), 2 a parameter,
position and beam in translation. A position is one of the source and one of the target: encoder and decoder see one
each. Attention between positions, validation and the reading of text are left out; padding is counted. What a GPU makes
of its peak is an assumption (`TRAINING`, `DECODING`); of a CPU it is that of `costs`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from langsim import cells, costs, profiles, table2, tuning
from langsim.corpora import FROM_HUB
from langsim.costs import shown_size, shown_time
from langsim.errors import LangsimError
from langsim.footprint import CHARACTERS_PER_TOKEN, PARAMETER_BYTES, PROCESS_BYTES, ROW_BYTES
from langsim.paths import DATA
from langsim.profiles import Tuning
from langsim.systems import ALL, METHODS, RANDOM, System

Shapes = Sequence[tuple[int, ...]]

FORWARD, TRAIN = 2, 6  # operations a parameter and position
TRAINING = 0.3  # share of its peak that a GPU reaches in fine-tuning
DECODING = 0.01  # the same in beam search, which makes one token of each sentence at a time
SENTENCE = 30  # tokens, where the text is not here
# Numbers held for each parameter on the device: the parent, the copy in training, its gradient, Adam's two moments.
HELD = 5
# A saved state holds weights, best weights and two moments; the new one is written before the old one goes.
STATE = 4
CORPUS_SIZES = {"ted": "some hundred MB", "opus100": "up to some hundred MB a language"}
CORPUS_SIZES |= dict.fromkeys(("flores101", "flores200", "flores_plus"), "less than 1 MB a language")


@dataclass(frozen=True)
class Gpu:
    """By its maker: peak operations a second on dense matrices in 16 and in 32 bits, and bytes of memory."""

    name: str
    half: float
    single: float
    memory: float


GPUS = (
    Gpu("A100 80 GB", 312e12, 19.5e12, 80e9),
    Gpu("H100 80 GB", 989e12, 67e12, 80e9),
    Gpu("RTX 4090", 165e12, 83e12, 24e9),
)


@dataclass(frozen=True)
class Planned:
    """How many systems there are, how many of them are trained, and how many have no scores yet.

    `exact` where the pseudo families are known; else these are the most there can be, since methods may pick the same
    languages.
    """

    systems: int
    trained: int
    missing: int
    exact: bool


def planned(settings: Tuning) -> Planned:
    """The systems of the settings. Nothing is downloaded and nothing estimated for it."""
    known = _known(settings)
    if known is None:
        return most(settings)
    cell = tuning.cell_of(settings, known[0])  # the others have other ids and the same ingredients
    missing = [system for system in known if cells.problem(replace(cell, id=system.id))]
    return Planned(len(known), sum(bool(system.stages) for system in known), len(missing), True)


def most(settings: Tuning) -> Planned:
    """The most systems there can be, none of them computed: each row, control and question has systems of its own."""
    trained, targets = sum(parts(settings).values()), len(settings.targets)  # Vanilla is none of them
    return Planned(targets * (trained + 1), targets * trained, targets * (trained + 1), False)


def parts(settings: Tuning) -> dict[str, int]:
    """The most systems that are trained for each target: of each row, of each control, and for each question."""
    seeds = len(settings.seeds)
    rows = dict.fromkeys((*METHODS[1:], ALL), seeds)  # Vanilla is not trained
    rows[RANDOM] = settings.draws
    singles = len(settings.languages) - 1 if settings.singles == "all" else 0
    return {**rows, "the search for K": len(table2.KS), "single auxiliaries": singles}


def _known(settings: Tuning) -> list[System] | None:
    """The systems, where the profile's pseudo families are kept; None where they have yet to be estimated."""
    if profiles.overrides(settings) or not (DATA / "models" / settings.model).is_dir() or _from_hub(settings):
        return None
    try:
        cell = table2.families_cell(settings)
        return None if cells.problem(cell) else table2.plan_of(settings, cells.read(cell)).systems()
    except LangsimError:  # no text here
        return None


def operations(parameters: int, settings: Tuning) -> float:
    """Of training one system: all updates, each of full batches."""
    return TRAIN * parameters * settings.tokens_per_batch * settings.batches_per_update * settings.updates


def gpu_seconds(parameters: int, settings: Tuning, gpu: Gpu) -> float:
    """Of training one system on one GPU."""
    peak = gpu.single if settings.precision == "fp32" else gpu.half
    return operations(parameters, settings) / (TRAINING * peak)


def cpu_seconds(shapes: Shapes, settings: Tuning) -> float:
    """Of training one system in one process on a CPU."""
    batches = settings.updates * settings.batches_per_update
    matrices = sum(len(shape) == 2 for shape in shapes)
    rate = costs.FLOPS["cpu"] * settings.threads
    return batches * matrices * costs.MATRIX_SECONDS["cpu"] + operations(_count(shapes), settings) / rate


def decoding_seconds(parameters: int, tokens: float, settings: Tuning, gpu: Gpu | None = None) -> float:
    """Of translating so many tokens on a GPU, in fp32 weights; without one by one thread of a CPU."""
    rate = costs.FLOPS["cpu"] * settings.threads if gpu is None else DECODING * gpu.half
    return FORWARD * parameters * tokens * settings.beam_size / rate


def device_bytes(shapes: Shapes, settings: Tuning) -> float:
    """Peak memory of training on the device, give or take a factor of two: weights, gradients, moments, and what a
    batch leaves behind for the backward pass (see `footprint`); in 16 bits a copy of the weights comes on top."""
    rows = sum(shape[0] for shape in shapes if len(shape) == 2)
    held = HELD * PARAMETER_BYTES + (0 if settings.precision == "fp32" else 2)
    return held * _count(shapes) + ROW_BYTES * rows * settings.tokens_per_batch


def host_bytes(shapes: Shapes) -> float:
    """Memory beside a GPU: the best weights so far, and a state on its way to the disk, as tensors and as bytes."""
    return PROCESS_BYTES + (1 + 2 * STATE) * PARAMETER_BYTES * _count(shapes)


def disk_bytes(shapes: Shapes) -> float:
    """While one system is trained: two states, and the weights of a finished stage. Afterwards nothing is left."""
    return (2 * STATE + 1) * PARAMETER_BYTES * _count(shapes)


def added(cost: costs.Cost, settings: Tuning) -> costs.Cost:
    """The cost of a notebook with its systems on top, where it computes them itself: at most, and on a GPU the first of
    `GPUS`. The cells of a profile are made beforehand, by `langsim reproduce`."""
    shapes = costs.shapes_of(settings.model)
    if shapes is None or not profiles.overrides(settings):
        return cost
    on_gpu, systems_ = settings.device != "cpu", most(settings).trained
    each = gpu_seconds(_count(shapes), settings, GPUS[0]) if on_gpu else cpu_seconds(shapes, settings)
    jobs = tuning.jobs_of(settings, systems_)
    need = host_bytes(shapes) if on_gpu else PROCESS_BYTES + device_bytes(shapes, settings)
    return costs.Cost(
        None if cost.seconds is None else cost.seconds + systems_ * each / jobs,
        max(cost.memory or 0.0, jobs * need),
        (cost.disk or 0.0) + jobs * disk_bytes(shapes),
    )


def lines(settings: Tuning) -> list[str]:
    """What a dry run says of the systems: how many, what is downloaded, time, memory, disk, and what is assumed."""
    found = planned(settings)
    told = _systems_lines(settings, found)
    shapes = costs.shapes_of(settings.model)
    if not found.missing:
        return told
    told += [f"download: {line}" for line in _downloads(settings, shapes)]
    if shapes is None:
        return [*told, f"time and memory: unknown before {settings.model} is here"]
    told += _gpu_lines(shapes, settings, found) if settings.device != "cpu" else _cpu_lines(shapes, settings, found)
    return [*told, f"disk: {shown_size(disk_bytes(shapes))} while a system is trained, given back when it is scored"]


def _systems_lines(settings: Tuning, found: Planned) -> list[str]:
    least = "" if found.exact else "at most "
    told = f"{least}{found.systems}, {least}{found.trained} of them trained ({len(settings.targets)} targets)"
    missing = f"{found.missing} to compute" if found.missing else "all of them read from the profile's cells"
    lines_ = [f"systems: {told}; {missing if found.exact else 'what is kept from an earlier run is not done again'}"]
    if not found.missing:
        return lines_
    batches = f"{settings.batches_per_update} x {settings.tokens_per_batch:,} positions"
    ends = f"at most {settings.updates:,} updates" if settings.patience else f"{settings.updates:,} updates"
    why = f"; ends after {settings.patience} validations without a better loss" if settings.patience else ""
    lines_.append(f"training: {ends} a system, of {batches} in {settings.precision}{why}")
    if not profiles.overrides(settings):
        kinds = [tuning.KIND] if found.exact else [table2.FAMILIES, tuning.KIND]
        commands = (f"langsim reproduce --profile {settings.profile} --only {kind}" for kind in kinds)
        lines_.append(f"before the notebook: {', then '.join(commands)}")
    return lines_


def _downloads(settings: Tuning, shapes: Shapes | None) -> list[str]:
    found = []
    if not Path(settings.model).expanduser().is_dir() and not costs.is_here(settings.model):
        size = "size unknown" if shapes is None else f"about {shown_size(PARAMETER_BYTES * _count(shapes))}"
        found.append(f"{settings.model} from the hub, {size}")
    if _from_hub(settings):
        size = CORPUS_SIZES.get(settings.corpus, "size unknown")
        found.append(f"corpus {settings.corpus} from the hub unless it is here, {size}")
    return found or ["nothing"]


def _gpu_lines(shapes: Shapes, settings: Tuning, found: Planned) -> list[str]:
    parameters, need = _count(shapes), device_bytes(shapes, settings)
    bound = _bound(settings, found)
    told = []
    for gpu in GPUS:
        each = gpu_seconds(parameters, settings, gpu)
        thousand, together = 1000 * each / settings.updates, min(found.missing, found.trained) * each
        text = decoding_seconds(parameters, 1000 * SENTENCE, settings, gpu)
        room = "" if need < gpu.memory else f"; its {shown_size(gpu.memory)} are too little for these batches"
        told.append(
            f"time on one {gpu.name}: {shown_time(thousand)} for 1,000 updates, {bound}{shown_time(each)} a system, "
            f"{bound}{shown_time(together)} together; {shown_time(text)} to translate 1,000 sentences{room}"
        )
    told.append(
        f"assumed: {TRAIN} operations a parameter ({parameters / 1e6:.0f} million) and position at {TRAINING:.0%} of "
        f"the GPU's peak; in translation {FORWARD} at {DECODING:.0%}, {SENTENCE} tokens a sentence"
    )
    return [*told, f"memory: about {shown_size(need)} of the GPU, {shown_size(host_bytes(shapes))} beside it"]


def _cpu_lines(shapes: Shapes, settings: Tuning, found: Planned) -> list[str]:
    each = cpu_seconds(shapes, settings)
    sentences = _translated(settings)
    if sentences is not None:
        each += decoding_seconds(_count(shapes), sentences, settings)
    bound = _bound(settings, found)
    trained, need = min(found.missing, found.trained), PROCESS_BYTES + device_bytes(shapes, settings)
    jobs = tuning.jobs_of(settings, trained)
    together = shown_time(math.ceil(trained / jobs) * each)
    return [
        f"time: {bound}{shown_time(each)} a system, {bound}{together} together, {jobs} at a time",
        f"assumed: {TRAIN} operations a parameter ({_count(shapes) / 1e6:.1f} million) and position, "
        f"{costs.FLOPS['cpu'] / 1e9:.0f} billion a second and thread",
        f"memory: about {shown_size(jobs * need)}",
    ]


def _bound(settings: Tuning, found: Planned) -> str:
    return "at most " if settings.patience or not found.exact else ""


def _translated(settings: Tuning) -> float | None:
    """Tokens of a target's DEV and TEST text, averaged over the targets; None where the text is not here."""
    if _from_hub(settings):
        return None
    try:
        found = [tuning.pairs(settings, code, pool) for code in settings.targets for pool in ("DEV", "TEST")]
    except LangsimError:
        return None
    characters = sum(len(pair.target_text) for pairs in found for pair in pairs)
    return characters / CHARACTERS_PER_TOKEN / len(settings.targets)


def _from_hub(settings: Tuning) -> bool:
    return settings.corpus in FROM_HUB and not settings.data


def _count(shapes: Shapes) -> int:
    return sum(map(prod, shapes))
