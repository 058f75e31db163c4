"""How the learning rates of part II were chosen at `mini`: a short sweep, recorded, on DEV alone.

LoRA of two sizes and full fine-tuning, at three rates each; the rate with the least mean loss on the watched text after
the last epoch (weights are kept as they are then) is the profile's. No test set and no published number has a say.
"""

from collections.abc import Mapping

import pandas as pd

from langsim import cells, profiles
from langsim.cells import Cell, Scores
from langsim.lslo import procedures, running
from langsim.lslo.experiment import Experiment, experiments
from langsim.lslo_settings import LSLoSettings
from langsim.readings import Prose, prose

KIND = "lslo-sweep"
VERSION = 1
SEED = 100  # of no row of a table
RATES = {"lslo": (1e-3, 3e-3, 1e-2), "everything": (1e-4, 3e-4, 1e-3)}
SWEPT = ("Ft-all", "8;8;8+WL", "2;2;8+WL")  # rows of Table 1, the architecture by the paper's rule


def grid() -> dict[str, tuple[float, Experiment]]:
    """Cell id -> learning rate and what is trained with it."""
    rows = {made.name: made for made in experiments("lslo-table1")}
    found = {}
    for name in SWEPT:
        short = name.removesuffix("+WL").replace(";", "-").lower()
        for rate in RATES[rows[name].trains]:
            found[f"{short}.{rate:g}"] = rate, rows[name].content
    return found


def plan(profile: str) -> Mapping[str, Mapping[str, str]]:
    """Every cell of the sweep; at `mini` alone."""
    if profile != "mini":
        return {}
    settings = _at(profiles.resolve(profile, kind=LSLoSettings), 1.0)  # its own rates are what is looked for
    return dict.fromkeys(grid(), procedures.inputs(settings))


@cells.procedure(KIND, version=VERSION, minutes=1.8, plan=plan, tolerances={"loss": 0.05})
def sweep_scores(cell: Cell) -> Scores:
    """The loss on the watched text before and after one training at one rate."""
    rate, made = grid()[cell.id]
    settings = _at(profiles.resolve(cell.profile, kind=LSLoSettings), rate)
    make, _ = running.maker(settings, made, settings.classes_of(), SEED, None)
    _, outcome = running.fit(settings, "languages", made.trains, SEED, make)
    return {"parent_loss": outcome.curve[0].watched["AVG"], "loss": outcome.curve[-1].watched["AVG"]}


def table(profile: str = "mini") -> pd.DataFrame:
    """One row a cell: trains, row ("8-8-8"), rate, loss."""
    found = []
    for cell in cells.planned(KIND, profile):
        rate, made = grid()[cell.id]
        row = {"trains": made.trains, "row": cell.id.split(".")[0], "rate": rate}
        found.append(row | {"loss": cells.read(cell)["loss"]})
    return pd.DataFrame(found).sort_values(["trains", "row", "rate"], ignore_index=True)


def recorded(profile: str = "mini") -> pd.DataFrame | Prose:
    """For a page: rates in rows, what is trained in columns, with the loss of each; or that there is none."""
    planned = [Cell(KIND, id, dict(inputs), VERSION, profile) for id, inputs in plan(profile).items()]
    if not planned or any(map(cells.problem, planned)):
        return prose(f"No sweep is recorded at `{profile}`: the rates were given.")
    found = table(profile)
    found["text"] = found["row"] + ": " + found["loss"].map("{:.3f}".format)
    wide = found.groupby(["trains", "rate"])["text"].agg(", ".join).unstack("trains").fillna("–")
    return wide.rename_axis(index="rate", columns=None).rename(index="{:g}".format)


def best(profile: str = "mini") -> dict[str, float]:
    """The rate with the least mean loss, for "lslo" and for "everything"."""
    means = table(profile).groupby(["trains", "rate"])["loss"].mean()
    return {trains: float(means[trains].idxmin()) for trains in RATES}


def _at(settings: LSLoSettings, rate: float) -> LSLoSettings:
    return settings.model_copy(update={"learning_rate": rate, "full_learning_rate": rate})
