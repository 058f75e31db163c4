"""How the learning rate of the small models' fine-tuning was chosen: a short sweep, recorded, on DEV alone.

Two targets, once alone and once with every other language; the rate with the least mean loss on the targets' DEV text
is the profile's. No test set and no published number has a say.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from langsim import cells, profiles, systems, tuning
from langsim.cells import Cell, Scores
from langsim.profiles import Tuning
from langsim.readings import Prose, prose
from langsim.systems import System, stages_of

KIND = "tuning-sweep"
VERSION = 1
RATES = (3e-4, 1e-3, 3e-3)
TARGETS = ("fa", "id")
SEED = 100  # of no row of the table


def grid(settings: Tuning) -> dict[str, tuple[float, System]]:
    """Cell id -> learning rate and system."""
    found = {}
    for rate in RATES:
        for target in TARGETS:
            for method in ("FT", systems.ALL):
                stages = stages_of(method, target, settings.languages, {})
                found[f"{rate:g}.{target}.{method}"] = rate, System(target, stages, SEED)
    return found


def plan(profile: str) -> Mapping[str, Mapping[str, str]]:
    """Every cell of the sweep; none for `paper`, whose rate is the paper's."""
    if profile == "paper":
        return {}
    settings = profiles.resolve(profile, kind=Tuning)
    inputs = tuning.cell_of(settings.model_copy(update={"learning_rate": 1.0}), System("fa")).inputs
    return dict.fromkeys(grid(settings), inputs)


@cells.procedure(KIND, version=VERSION, minutes=0.8, plan=plan, tolerances={"loss": 0.05})
def sweep_scores(cell: Cell) -> Scores:
    """The loss on DEV of one system at one rate, at its best."""
    settings = profiles.resolve(cell.profile, kind=Tuning)
    rate, system = grid(settings)[cell.id]
    found = tuning.scores(settings.model_copy(update={"learning_rate": rate}), system)
    return {"loss": found["loss"], "best_update": found["best_updates"][0]}


def table(profile: str) -> pd.DataFrame:
    """(rates, systems) mean loss on DEV in nats per token, and the mean over systems, which decides."""
    found = {cell.id: cells.read(cell)["loss"] for cell in cells.planned(KIND, profile)}
    rows: dict[str, dict[str, float]] = {}
    for id, loss in found.items():
        rate, target, method = id.rsplit(".", 2)
        rows.setdefault(rate, {})[f"{method}, {target}"] = loss
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame = frame.loc[sorted(frame.index, key=float)]
    return frame.assign(mean=frame.mean(axis=1)).rename_axis("learning rate")


def recorded(profile: str) -> pd.DataFrame | Prose:
    """The table for a page, or that there is none: `paper` takes the paper's rate."""
    planned = cells.planned(KIND, profile)
    if not planned or any(map(cells.problem, planned)):
        return prose(f"No sweep is recorded at `{profile}`: the rate was given.")
    return table(profile).round(3).rename_axis(index=None, columns="learning rate")


def best(profile: str) -> float:
    """The rate with the least mean loss."""
    frame = table(profile)
    return float(frame.index[int(np.argmin(frame["mean"]))])
