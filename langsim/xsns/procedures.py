"""The cells of part III: gold transfer, sub-networks, baselines; planned, made and read.

Their ids can be read: `mini-xlmr.ner.de.s0` (a source and a seed), `mini-xlmr.ner.de+fr+it.s0`,
`mini-xlmr.ner.task-lm.s0`, `mini-xlmr.ner.task-lm.random-weights.s0`, `mini-xlmr.ner`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from itertools import combinations
from pathlib import Path

from langsim import cells, models, profiles, results
from langsim.cells import Cell, Scores
from langsim.errors import Failure
from langsim.models import LoadedModel
from langsim.paths import cache_dir
from langsim.xsns import labelled, measuring, texts, transfer
from langsim.xsns.encoding import Encoder
from langsim.xsns.settings import KINDS, XSNSSettings

VERSION = 2
TRANSFER, SUBNETWORKS, BASELINES = "xsns-transfer", "xsns-subnetworks", "xsns-baselines"
MIXTURES = "xsns-mixtures"  # gold transfer from several sources
# What decides the numbers of each kind of cells, beside the text, the model and what the id says.
_READ = ("max_length", "window", "stride", "answer_length")
DECIDING = {
    TRANSFER: (*_READ, "patience", "warmup", "weight_decay", "clip_norm", "dropout", "batch_size"),
    SUBNETWORKS: (*_READ, "recipe", "fisher_batch_size", "text_grid", "p", "p_grid"),
    BASELINES: ("max_length", "text_items", "seeds"),
}
DECIDING[MIXTURES] = DECIDING[TRANSFER]
GENERAL = ("corpus", "domain", "pool", "general_task")
MEASURES = ("entity_f1", "token_f1", "accuracy", "sentence_accuracy", "squad_f1", "squad_em")
# Another machine rounds otherwise, and a training then takes another way: by how many points a score may differ when a
# cell is made again. Tiny cells made with 1 and with 2 threads (`repeated`) differed by 0 (entities) and 1.5 points
# (paraphrases, a model at chance); this is some three times that. To be stated anew from the real cells.
REPEATED = 5.0
MINUTES = {TRANSFER: 0.5, SUBNETWORKS: 1.0, BASELINES: 0.3, MIXTURES: 1.5}  # of a cell at mini, on one core
TOLERANCES = dict.fromkeys(MEASURES, REPEATED)
TOLERANCES |= {"validation": 2 * REPEATED, "loss": 1.0} | dict.fromkeys(("curve", "epochs", "best_epoch"), math.inf)
TOLERANCES_SUBNETWORKS = {"jaccard": 0.02, "nats": 0.02, "mass": math.inf, "unknown": 0.001}
TOLERANCES_BASELINES = {"matrix": 0.01}


@dataclass(frozen=True)
class Job:
    """One cell's work: `what` is a source and `seed` of a training, a kind of sub-network and a seed, or empty."""

    model: str
    task: str
    what: str = ""
    seed: int = 0
    null: str = ""

    @property
    def id(self) -> str:
        """Of its cell."""
        parts = [Path(self.model).name, self.task, self.what, self.null, f"s{self.seed}" if self.what else ""]
        return ".".join(part for part in parts if part)


def job_of(settings: XSNSSettings, id: str) -> Job:
    """The work of a cell, read from its id: planning all cells to find one would take longer than many of them.

    Raises:
        Failure: no model and task of the settings begin it.
    """
    for task in settings.tasks:
        for model in settings.models_of(task):
            if id == Job(model, task).id:
                return Job(model, task)
            if id.startswith(f"{Job(model, task).id}."):
                what, *null, seed = id.removeprefix(f"{Job(model, task).id}.").split(".")
                return Job(model, task, what, int(seed.removeprefix("s")), "".join(null))
    raise Failure(f"cell {id} is of no model and task of profile {settings.profile}")


def jobs(settings: XSNSSettings, kind: str) -> list[Job]:
    """Every cell of a kind that the settings have."""
    return _JOBS[kind](settings)


def _transfer_jobs(settings: XSNSSettings) -> list[Job]:
    found = []
    for task in settings.tasks:
        sources = labelled.sources(settings, task, labelled.load(settings, task))
        for model in settings.models_of(task):
            found += [Job(model, task, source, seed) for source in sources for seed in settings.training_seeds]
    return found


def _subnetwork_jobs(settings: XSNSSettings) -> list[Job]:
    """Every kind of Table 1 of the main model, its nulls, and the default kind of the other models, seed by seed."""
    found, first = [], settings.kinds[0]
    for task in settings.tasks:
        kinds = [kind for kind in settings.kinds if not _same_text(settings, task, kind)]
        found += [Job(settings.model, task, kind, seed) for kind in kinds for seed in settings.seeds]
        found += [Job(settings.model, task, first, seed, null) for null in measuring.NULLS for seed in settings.seeds]
        others = settings.models_of(task)[1:]
        found += [Job(model, task, first, seed) for model in others for seed in settings.seeds]
    return found


def _same_text(settings: XSNSSettings, task: str, kind: str) -> bool:
    """General text that is the task's own (T = W, as the paper's NER): no cell of its own."""
    return KINDS[kind][0] == "general" and settings.general_task == task


def _baseline_jobs(settings: XSNSSettings) -> list[Job]:
    return [Job(model, task) for task in settings.tasks for model in settings.models_of(task)]


def _mixture_jobs(settings: XSNSSettings) -> list[Job]:
    from langsim.xsns import mixtures  # which reads the cells of the other kinds

    return mixtures.jobs(settings)


_JOBS: dict[str, Callable[[XSNSSettings], list[Job]]] = {
    TRANSFER: _transfer_jobs,
    SUBNETWORKS: _subnetwork_jobs,
    BASELINES: _baseline_jobs,
    MIXTURES: _mixture_jobs,
}


# What signs them ----------------------------------------------------------------------------------------------------


def cell_of(settings: XSNSSettings, kind: str, job: Job) -> Cell:
    """The profile's own where the run is the profile as it is, or where there is a good one; else one in the cache."""
    own = Cell(kind, job.id, inputs(settings, kind, job), VERSION, settings.profile)
    if not profiles.overrides(settings) or not cells.problem(own):
        return own
    return replace(own, folder=cache_dir() / "cells" / kind / results.digest_of(dict(own.inputs))[:16])


def inputs(settings: XSNSSettings, kind: str, job: Job) -> dict[str, str]:
    """What signs a cell."""
    task = labelled.load(settings, job.task)
    deciding = {name: getattr(settings, name) for name in DECIDING[kind]}
    general = kind == SUBNETWORKS and KINDS[job.what][0] == "general"
    if kind == SUBNETWORKS:
        deciding["text_items"] = settings.items_of(job.what)
    if kind in (TRANSFER, MIXTURES):
        recipe = transfer.Recipe.of(settings, task.kind)
        deciding |= {"epochs": recipe.epochs, "learning_rate": recipe.learning_rate}
    if general:
        deciding |= {name: getattr(settings, name) for name in GENERAL}
    found = {
        "model": results.named(Path(job.model).name, _model_digest(job.model, settings.device)),
        "task": results.named(task.name, task.digest),
        "languages": results.digest_of(settings.targets_only(job.task))[:12],
        "settings": results.digest_of(deciding)[:12],
    }
    if general:
        found["corpus"] = results.named(settings.corpus, texts.corpus_of(settings).digest)
    return found


@cache
def _model_digest(name: str, device: str) -> str:
    return models.shipped_digest(name) if name in models.shipped() else model_of(name, device).digest


@lru_cache(maxsize=2)
def model_of(name: str, device: str) -> LoadedModel:
    """A model by name, kept for the next call."""
    return models.load(name, device=device)


# What they hold -----------------------------------------------------------------------------------------------------


def obtain(
    settings: XSNSSettings, kind: str, wanted: Sequence[Job], *, at_once: int | None = None
) -> dict[Job, Scores]:
    """Scores of cells: read where they are there; else computed and kept in the cache, unless the run is a profile as
    it is. Each is written as soon as it is done, so that an interrupted call continues; two processes that fill the
    same table write the same numbers.

    Args:
        at_once: processes; None: what an enclosing `joblib.parallel_config` says, else one.

    Raises:
        UsageError: text, labels or a model that can't be.
        Failure: a cell of the profile is missing or stale: the command that makes it.
    """
    from joblib import Parallel, delayed
    from tqdm import tqdm

    planned = {job: cell_of(settings, kind, job) for job in wanted}
    todo = {job: cell for job, cell in planned.items() if cell.folder and cells.problem(cell)}
    work = (delayed(_worked)(settings, kind, job) for job in todo)
    done = Parallel(n_jobs=at_once, return_as="generator_unordered")(work)
    for job, found in tqdm(done, total=len(todo), desc=kind, mininterval=1, disable=None if todo else True):
        cells.write(planned[job], found)
    return {job: cells.read(cell) for job, cell in planned.items()}


def _worked(settings: XSNSSettings, kind: str, job: Job) -> tuple[Job, Scores]:
    return job, compute(settings, kind, job)


def compute(settings: XSNSSettings, kind: str, job: Job) -> Scores:
    """Make the scores of a cell anew."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        loaded = model_of(job.model, settings.device)
        if kind in (TRANSFER, MIXTURES):
            return _transfer_scores(settings, loaded, job)
        if kind == SUBNETWORKS:
            return measuring.subnetwork_scores(settings, loaded, job.task, job.what, job.seed, job.null)
        return measuring.baseline_scores(settings, loaded, job.task)
    finally:
        torch.set_num_threads(before)


def repeated(settings: XSNSSettings, job: Job, threads: Sequence[int] = (1, 2)) -> dict[str, float]:
    """Measure -> by how many points a score of a cell of gold transfer differs at most between targets, when it is made
    with so many threads: another order of the same sums, as on another machine. What `REPEATED` is stated from."""
    made = [
        compute(settings.model_copy(update={"threads": n}), MIXTURES if "+" in job.what else TRANSFER, job)["targets"]
        for n in threads
    ]
    names = next(iter(made[0].values()))
    return {
        name: max(abs(one[code][name] - other[code][name]) for one, other in combinations(made, 2) for code in one)
        for name in names
    }


def _transfer_scores(settings: XSNSSettings, loaded: LoadedModel, job: Job) -> Scores:
    """A source may be several, joined by `+`."""
    task = labelled.load(settings, job.task)
    encoder = Encoder.of(loaded, task, **{name: getattr(settings, name) for name in _READ})
    recipe = transfer.Recipe.of(settings, task.kind)
    return transfer.gold_scores(
        loaded, task, job.what.split("+"), task.languages, recipe, seed=job.seed, encoder=encoder
    )


# Cells of profiles ---------------------------------------------------------------------------------------------------


def _settings(profile: str) -> XSNSSettings:
    return profiles.resolve(profile, kind=XSNSSettings)


def plan(kind: str, profile: str) -> dict[str, Mapping[str, str]]:
    """Every cell of a kind that a profile has."""
    settings = _settings(profile)
    return {job.id: inputs(settings, kind, job) for job in jobs(settings, kind)}


def _computed(cell: Cell) -> Scores:
    settings = _settings(cell.profile)
    return compute(settings, cell.kind, job_of(settings, cell.id))


@cells.procedure(
    TRANSFER, version=VERSION, minutes=MINUTES[TRANSFER], plan=partial(plan, TRANSFER), tolerances=TOLERANCES
)
def transfer_cell_scores(cell: Cell) -> Scores:
    """One source of a task, fine-tuned with one seed, scored in every target."""
    return _computed(cell)


@cells.procedure(
    SUBNETWORKS,
    version=VERSION,
    minutes=MINUTES[SUBNETWORKS],
    plan=partial(plan, SUBNETWORKS),
    tolerances=TOLERANCES_SUBNETWORKS,
)
def subnetwork_cell_scores(cell: Cell) -> Scores:
    """Sub-networks of all languages of a task, of one kind and seed, compared at every share and size."""
    return _computed(cell)


@cells.procedure(
    BASELINES,
    version=VERSION,
    minutes=MINUTES[BASELINES],
    plan=partial(plan, BASELINES),
    tolerances=TOLERANCES_BASELINES,
)
def baseline_cell_scores(cell: Cell) -> Scores:
    """All baselines of one task with one model."""
    return _computed(cell)


@cells.procedure(
    MIXTURES, version=VERSION, minutes=MINUTES[MIXTURES], plan=partial(plan, MIXTURES), tolerances=TOLERANCES
)
def mixture_cell_scores(cell: Cell) -> Scores:
    """Several sources of a task together, fine-tuned with one seed, scored in every target."""
    return _computed(cell)
