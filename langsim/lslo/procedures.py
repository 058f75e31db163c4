"""The cells of part II: rows of the tables, weight learning, estimations of subspaces; planned, made and read.

Rows whose architecture is that of weight learning hang on its cells: each layer takes the side with the larger weight
in the mean over seeds.
"""

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from langsim import cells, models, profiles, results
from langsim.cells import Cell, Scores
from langsim.lslo import directions, rows, running
from langsim.lslo.running import ESTIMATES
from langsim.lslo.weight_learning import Learned
from langsim.lslo_settings import LSLoSettings
from langsim.paths import cache_dir

VERSION = 2  # since 2 the language token is not scored
ROWS, WEIGHTS = "lslo", "lslo-weights"
# What of the settings decides no scores, or is signed by its content.
ELSEWHERE = {"profile", "model", "corpus", "data", "languages", "more_languages", "classes", "ranks", "seeds"}
ELSEWHERE |= {"learning_rate", "full_learning_rate", "device", "threads"}
# Another machine may choose other words, or another of two weights of nearly the same size.
TOLERANCES = {"nll": 0.05, "bleu": 8.0, "chrf": 5.0, "spbleu": 8.0, "pruned_share": 0.01}
TOLERANCES |= dict.fromkeys(("hypotheses", "curve"), math.inf)
TOLERANCES_WEIGHTS = {"encoder": 0.02, "decoder": 0.02, "curve": math.inf}
TOLERANCES_ESTIMATES = {"pruned": 64, "score": 64, "share": 0.1, "curve": math.inf}


# What signs them ----------------------------------------------------------------------------------------------------


def inputs(settings: LSLoSettings, which: str = "languages", trains: str = "lslo") -> dict[str, str]:
    """What signs the cells of what trains so, but for the experiment itself."""
    classes = settings.classes_of(which)
    rate = settings.full_learning_rate if trains == "everything" else settings.learning_rate
    deciding = settings.model_dump(exclude=ELSEWHERE)
    deciding |= {"rate": rate, "classes": list(classes.items()), "directions": directions.chosen(classes)}
    shipped = settings.model in models.shipped()
    digest = models.shipped_digest(settings.model) if shipped else running.model_of(settings).digest
    return {
        "model": results.named(settings.model, digest),
        "corpus": results.named(settings.corpus, running.corpus_of(settings).digest),
        "settings": results.digest_of(deciding)[:12],
    }


def weights_cells(settings: LSLoSettings) -> dict[int, Cell]:
    """Seed -> cell of a weight learning."""
    signed = inputs(settings)
    return {seed: _cell(settings, WEIGHTS, f"lang{len(settings.languages)}.s{seed}", signed) for seed in settings.seeds}


def row_cells(settings: LSLoSettings, learned: Learned) -> dict[str, Cell]:
    """Id of a job -> its cell."""
    found = {}
    for id, job in rows.jobs(settings).items():
        made = job.experiment
        signed = inputs(settings, job.which, made.trains)
        signed["experiment"] = results.digest_of(made.model_dump(mode="json"))[:12]
        if made.trains == "lslo" and made.indexing == "WL":
            signed["architecture"] = _digest(learned)
        found[id] = _cell(settings, ROWS, id, signed)
    return found


def estimate_cells(settings: LSLoSettings, learned: Learned, kind: str) -> dict[int, Cell]:
    """Seed -> cell of an estimation of subspaces, of `kind` "lslo-ise" or "lslo-lsp"."""
    signed = inputs(settings) | {"architecture": _digest(learned)}
    return {seed: _cell(settings, kind, f"lang{len(settings.languages)}.s{seed}", signed) for seed in settings.seeds}


def _cell(settings: LSLoSettings, kind: str, id: str, signed: Mapping[str, str]) -> Cell:
    """The profile's own where the run is the profile as it is, or where there is a good one; else one in the cache."""
    own = Cell(kind, id, signed, VERSION, settings.profile)
    if not profiles.overrides(settings) or not cells.problem(own):
        return own
    return replace(own, folder=cache_dir() / "cells" / kind / results.digest_of(dict(signed))[:16])


def _digest(learned: Learned) -> str:
    """Of the sides alone: other weights with the same choice make the same architecture."""
    return results.digest_of([learned.sides("encoder"), learned.sides("decoder")])[:12]


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

    todo = {name: cell for name, cell in planned.items() if cell.folder and cells.problem(cell)}
    if todo:
        running.check(settings)  # before hours of training
    work = (delayed(_worked)(settings, name, cell) for name, cell in todo.items())
    done = Parallel(n_jobs=jobs or jobs_of(settings, len(todo)), return_as="generator_unordered")(work)
    for name, found in tqdm(done, total=len(todo), desc="trainings", mininterval=1, disable=None if todo else True):
        cells.write(planned[name], found)
    return {name: cells.read(cell) for name, cell in planned.items()}


def _worked(settings: LSLoSettings, name: str, cell: Cell) -> tuple[str, Scores]:
    import torch

    torch.set_num_threads(settings.threads)
    return name, compute(settings, cell)


def compute(settings: LSLoSettings, cell: Cell) -> Scores:
    """Make the scores of a cell anew; killed, the next call goes on from the last state of the training."""
    from langsim.training_state import locked

    folder = cache_dir() / "lslo" / results.digest_of({**cell.signed, "kind": cell.kind, "id": cell.id})[:16]
    with locked(folder):
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
    return {id: cell.inputs for id, cell in row_cells(settings, learned_of(settings)).items()}


def estimates_plan(kind: str, profile: str) -> dict[str, Mapping[str, str]]:
    """One cell a seed.

    Raises:
        Failure: as `rows_plan`.
    """
    settings = _settings(profile)
    return {cell.id: cell.inputs for cell in estimate_cells(settings, learned_of(settings), kind).values()}


@cells.procedure(WEIGHTS, version=VERSION, minutes=2.2, plan=weights_plan, tolerances=TOLERANCES_WEIGHTS)
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
