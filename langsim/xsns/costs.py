"""What a notebook of part III will cost, before it starts: how many cells it lacks, and how long they take.

The minutes of `procedures` are those of a cell at `mini` on one core. A run of its own is scaled from them: by the
number of parameters, by how many examples are read how often, and by how fast the device is. Orders of magnitude.
"""

from math import prod

from langsim import cells, costs, profiles
from langsim.costs import Cost
from langsim.errors import LangsimError
from langsim.footprint import PARAMETER_BYTES, PROCESS_BYTES
from langsim.xsns import mixtures, procedures
from langsim.xsns.procedures import BASELINES, MINUTES, MIXTURES, SUBNETWORKS, TRANSFER, Job
from langsim.xsns.settings import XSNSSettings

MODELS, SEVERAL = "xsns/06_models", "xsns/07_multiple_sources"
HELD = 5  # numbers a parameter: the parent, the copy, its gradient, Adam's two moments


def estimate(settings: XSNSSettings, notebook: str) -> Cost:
    """Seconds, memory and disk of a notebook (`part/NN_name`); unknown time where the data is not here."""
    shapes = costs.shapes_of(settings.model)
    if shapes is None:
        return Cost(None, None, None)
    memory = PROCESS_BYTES + HELD * PARAMETER_BYTES * sum(map(prod, shapes))
    try:
        todo = missing(settings, notebook)
    except (LangsimError, OSError):
        return Cost(None, memory, 0.0)
    size = _size(settings)
    seconds = sum(60 * MINUTES[kind] * size * _reading(settings, kind) * count for kind, count in todo.items())
    return Cost(costs.NOTEBOOK_SECONDS + seconds, memory, 0.0)


def missing(settings: XSNSSettings, notebook: str) -> dict[str, int]:
    """Kind -> how many of its cells a notebook lacks. Which trainings on several sources there will be is known when
    the other cells are there; until then they are counted as one a target and method."""
    found = {}
    for kind in (TRANSFER, SUBNETWORKS, BASELINES):
        wanted = [job for job in procedures.jobs(settings, kind) if _needed(settings, notebook, job)]
        found[kind] = sum(bool(cells.problem(procedures.cell_of(settings, kind, job))) for job in wanted)
    if notebook == SEVERAL:
        planned = mixtures.jobs(settings)
        lacking = sum(bool(cells.problem(procedures.cell_of(settings, MIXTURES, job))) for job in planned)
        found[MIXTURES] = lacking if planned else mixtures.at_most(settings)
    return found


def _needed(settings: XSNSSettings, notebook: str, job: Job) -> bool:
    if notebook == MODELS:
        return job.task == settings.compared_task
    tasks = settings.mixed[0] if notebook == SEVERAL else settings.tasks
    return job.model == settings.model and job.task in tasks


def _size(settings: XSNSSettings) -> float:
    """The model's parameters by those of `mini`, and the device's speed by that of one core."""
    mini = costs.parameters_of(profiles.defaults("mini", XSNSSettings)["model"])
    own = costs.parameters_of(settings.model)
    device = settings.device.partition(":")[0]
    return (own / mini if own and mini else 1.0) * costs.FLOPS["cpu"] / costs.FLOPS[device]


def _reading(settings: XSNSSettings, kind: str) -> float:
    """How much is read, by what `mini` reads; 0 examples are all there are, and count as at `mini`."""
    mini = profiles.defaults("mini", XSNSSettings)
    if kind in (TRANSFER, MIXTURES):
        return (settings.train_items or mini["train_items"]) * settings.epochs / (mini["train_items"] * mini["epochs"])
    return settings.text_items / mini["text_items"]
