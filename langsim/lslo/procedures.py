"""The cells of part II: rows of the tables, weight learning, estimations of subspaces; planned, made and read.

Every row of LSLo hangs on the cells of weight learning, from which each layer takes the side with the larger weight in
the mean over seeds: SRC and TGT change that in the encoder alone. The sweep of learning rates comes before all, and is
registered by its import here: so kinds stand in the order in which `langsim reproduce` can make them.
"""

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from langsim import cells, profiles, results
from langsim.cells import Cell, Scores
from langsim.lslo import rows, running, signing, sweep
from langsim.lslo.experiment import experiments
from langsim.lslo.running import ESTIMATES
from langsim.lslo.signing import VERSION, inputs
from langsim.lslo.weight_learning import Learned
from langsim.lslo_settings import LSLoSettings
from langsim.paths import cache_dir

ROWS, WEIGHTS, SWEEP = "lslo", "lslo-weights", sweep.KIND
KINDS = (SWEEP, WEIGHTS, ROWS, *ESTIMATES)  # in the order in which they are made
# Another machine adds up in another order and may choose other words, now and then. Three to four times what two
# trainings (pruned LoRAs, everything) moved when made again with more threads; of losses more than ten times. Weight
# learning (1e-5) and estimates (5 weights of a matrix; 0.0002 of a mean share) were made again with other kernels.
TOLERANCES = {"nll": 0.005, "bleu": 2.0, "chrf": 2.0, "spbleu": 2.0, "pruned_share": 0.01}
TOLERANCES |= {"means.nll": 0.002, "means.bleu": 0.5, "means.chrf": 1.0, "means.spbleu": 1.0}
TOLERANCES |= dict.fromkeys(("hypotheses", "curve", "clusters"), math.inf)
TOLERANCES_WEIGHTS = {"encoder": 0.001, "decoder": 0.001, "curve": math.inf}
TOLERANCES_ESTIMATES = {"pruned": 20, "score": 20, "share": 0.02, "means": 0.001, "curve": math.inf}


# What signs them ----------------------------------------------------------------------------------------------------


def weights_cells(settings: LSLoSettings) -> dict[int, Cell]:
    """Seed -> cell of a weight learning."""
    signed, size = inputs(settings, scored=False), len(settings.languages)
    return {seed: _cell(settings, WEIGHTS, f"lang{size}.s{seed}", signed) for seed in settings.weight_seeds}


def row_cells(settings: LSLoSettings, learned: Learned) -> dict[str, Cell]:
    """Id of a job -> its cell; jobs of one architecture have one cell, whatever strategy made it."""
    found, signed_of, known = {}, {}, rows.jobs(settings)
    for id in known:
        job = known[rows.twin(known[id], learned, known)]
        made = job.experiment
        if (job.which, made.trains) not in signed_of:  # each reads the whole text
            signed_of[job.which, made.trains] = inputs(settings, job.which, made.trains)
        signed = signed_of[job.which, made.trains] | {"experiment": signing.of_experiment(made)}
        if made.trains == "lslo":
            signed["architecture"] = results.digest_of(made.sides(learned))[:12]
        found[id] = _cell(settings, ROWS, job.id, signed)
    return found


def estimate_cells(settings: LSLoSettings, learned: Learned, kind: str) -> dict[int, Cell]:
    """Seed -> cell of an estimation of subspaces, of `kind` "lslo-ise" or "lslo-lsp". A profile with ranks of its own
    has the main rows alone: there an estimation is made when it is asked for."""
    (made,) = experiments(ESTIMATES[kind])
    signed = inputs(settings, scored=False) | {"experiment": signing.of_experiment(made)}
    signed["architecture"] = results.digest_of(made.sides(learned))[:12]
    size, planned = len(settings.languages), not settings.ranks
    return {seed: _cell(settings, kind, f"lang{size}.s{seed}", signed, planned) for seed in settings.seeds}


def _cell(settings: LSLoSettings, kind: str, id: str, signed: Mapping[str, str], planned: bool = True) -> Cell:
    """The profile's own where the run is the profile as it is, or where there is a good one; else one in the cache."""
    own = Cell(kind, id, signed, VERSION, settings.profile)
    if (planned and not profiles.overrides(settings)) or not cells.problem(own):
        return own
    return replace(own, folder=cache_dir() / "cells" / kind / results.digest_of(dict(signed))[:16])


# What they hold -----------------------------------------------------------------------------------------------------


def mean(found: list[Learned]) -> Learned:
    """The mean weights of several weight learnings of the same model."""
    stacks = {stack: np.mean([getattr(one, stack) for one in found], axis=0) for stack in ("encoder", "decoder")}
    return found[0].model_copy(update={name: tuple(map(tuple, pairs.tolist())) for name, pairs in stacks.items()})


def weights(settings: LSLoSettings, jobs: int | None = None) -> dict[int, Learned]:
    """Seed -> what weight learning found; of a profile as it is read, else computed where it is not there.

    Raises:
        Failure: a cell of the profile is missing or stale: the command that makes it.
    """
    found = obtain(settings, {str(seed): cell for seed, cell in weights_cells(settings).items()}, jobs=jobs)
    return {int(seed): Learned.model_validate(scores["learned"]) for seed, scores in found.items()}


def learned_of(settings: LSLoSettings, jobs: int | None = None) -> Learned:
    """The mean over seeds of what `weights` gives."""
    return mean(list(weights(settings, jobs).values()))


def twins(settings: LSLoSettings, jobs: int | None = None) -> dict[str, str]:
    """Id of a job -> id of the one whose cell it has (`rows.twin`), of those that have another's."""
    learned, known = learned_of(settings, jobs), rows.jobs(settings)
    found = {id: rows.twin(job, learned, known) for id, job in known.items()}
    return {id: other for id, other in found.items() if other != id}


def row_scores(settings: LSLoSettings, only: set[str] | None = None, jobs: int | None = None) -> dict[str, Scores]:
    """Id of a job -> scores (`langsim.lslo.running.row_scores`), of all jobs of the settings or those of `only`."""
    planned = row_cells(settings, learned_of(settings, jobs))
    return obtain(settings, {id: cell for id, cell in planned.items() if only is None or id in only}, jobs=jobs)


def estimates(settings: LSLoSettings, kind: str, jobs: int | None = None) -> dict[int, pd.DataFrame]:
    """Seed -> scores of the matrices (`langsim.lslo.subspaces.scores`)."""
    planned = estimate_cells(settings, learned_of(settings, jobs), kind)
    found = obtain(settings, {str(seed): cell for seed, cell in planned.items()}, jobs=jobs)
    return {int(seed): pd.DataFrame(scores["frame"]) for seed, scores in found.items()}


def obtain(settings: LSLoSettings, planned: Mapping[str, Cell], *, jobs: int | None = None) -> dict[str, Scores]:
    """Scores of cells by name: read where they are there; else computed and kept in the cache, unless the run is a
    profile as it is.

    Raises:
        UsageError: languages, text, or an engine that can't be.
        Failure: a cell of the profile is missing or stale: the command that makes it. Another process computes one.
    """
    from joblib import Parallel, delayed
    from tqdm import tqdm

    from langsim.tuning import jobs_of

    todo = {cell.path: cell for cell in planned.values() if cell.folder and cells.problem(cell)}
    if todo:
        running.check(settings)  # before hours of training
    work = (delayed(_worked)(settings, cell) for cell in todo.values())
    done = Parallel(n_jobs=jobs or jobs_of(settings, len(todo)), return_as="generator_unordered")(work)
    for cell, found in tqdm(done, total=len(todo), desc="trainings", mininterval=1, disable=None if todo else True):
        cells.write(cell, found)
    return {name: cells.read(cell) for name, cell in planned.items()}


def _worked(settings: LSLoSettings, cell: Cell) -> tuple[Cell, Scores]:
    return cell, compute(settings, cell)


def compute(settings: LSLoSettings, cell: Cell) -> Scores:
    """Make the scores of a cell anew, on the settings' number of threads; killed, the next call goes on from the last
    state of the training."""
    from langsim.training_state import locked

    folder = cache_dir() / "lslo" / results.digest_of({**cell.signed, "kind": cell.kind, "id": cell.id})[:16]
    with locked(folder), running.threads(settings):
        found = _maker(settings, cell)(folder=folder / "training")
        shutil.rmtree(folder, ignore_errors=True)  # the cell is kept, not the weights
    return found


def _maker(settings: LSLoSettings, cell: Cell) -> Callable[..., Scores]:
    if cell.kind == WEIGHTS:
        return partial(running.weight_scores, settings, _seed(cell))
    if cell.kind in ESTIMATES:
        return partial(running.estimate_scores, settings, cell.kind, _seed(cell), learned_of(settings))
    job = rows.jobs(settings)[cell.id]
    learned = learned_of(settings) if "architecture" in cell.inputs else None
    return partial(running.row_scores, settings, job, learned)


def _seed(cell: Cell) -> int:
    return int(cell.id.rpartition(".s")[2])


# Cells of profiles ---------------------------------------------------------------------------------------------------


def _settings(profile: str) -> Any:
    return profiles.resolve(profile, kind=LSLoSettings)


def weights_plan(profile: str) -> dict[str, Mapping[str, str]]:
    """One cell a seed."""
    return {cell.id: cell.inputs for cell in weights_cells(_settings(profile)).values()}


def rows_plan(profile: str) -> dict[str, Mapping[str, str]]:
    """Every row of Tables 1, 2, 6 and 7, those that carry a claim with every seed.

    Raises:
        Failure: a cell of weight learning, which they hang on, is missing or stale.
    """
    settings = _settings(profile)
    return {cell.id: cell.inputs for cell in row_cells(settings, learned_of(settings)).values()}


def estimates_plan(kind: str, profile: str) -> dict[str, Mapping[str, str]]:
    """One cell a seed; none of a profile with ranks of its own.

    Raises:
        Failure: as `rows_plan`.
    """
    settings = _settings(profile)
    if settings.ranks:
        return {}
    return {cell.id: cell.inputs for cell in estimate_cells(settings, learned_of(settings), kind).values()}


@cells.procedure(WEIGHTS, version=VERSION, minutes=2.3, plan=weights_plan, tolerances=TOLERANCES_WEIGHTS)
def weights_cell_scores(cell: Cell) -> Scores:
    """One weight learning of the profile."""
    return compute(_settings(cell.profile), cell)


@cells.procedure(ROWS, version=VERSION, minutes=3.3, plan=rows_plan, tolerances=TOLERANCES)
def row_cell_scores(cell: Cell) -> Scores:
    """One row of the profile, with one seed."""
    return compute(_settings(cell.profile), cell)


@cells.procedure(
    "lslo-ise", version=VERSION, minutes=2, plan=partial(estimates_plan, "lslo-ise"), tolerances=TOLERANCES_ESTIMATES
)
def ise_cell_scores(cell: Cell) -> Scores:
    """One estimation of intrinsic subspaces of the profile."""
    return compute(_settings(cell.profile), cell)


@cells.procedure(
    "lslo-lsp", version=VERSION, minutes=2, plan=partial(estimates_plan, "lslo-lsp"), tolerances=TOLERANCES_ESTIMATES
)
def lsp_cell_scores(cell: Cell) -> Scores:
    """One language-specific pruning of the profile."""
    return compute(_settings(cell.profile), cell)
