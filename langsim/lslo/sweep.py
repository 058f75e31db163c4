"""How the learning rates of part II were chosen at `mini`: a short sweep, recorded, on DEV alone.

LoRA of two sizes and full fine-tuning, at several rates each; the rate with the least mean loss on the watched text
after the last epoch (weights are kept as they are then) is the profile's. No test set and no published number has a
say.

A best rate at an edge of its grid says that a better one may lie beyond. The rule for that was written before any
sweep: once all cells of a grid are there and its best rate is at an edge, the grid has one more rate beyond that edge,
`FACTOR` times further; at most `EXTENSIONS` times. So `langsim reproduce --only lslo-sweep` is given until it computes
nothing more.
"""

from collections.abc import Mapping

import pandas as pd

from langsim import cells, profiles
from langsim.cells import Cell, Scores
from langsim.lslo import running, signing
from langsim.lslo.experiment import Experiment, experiments
from langsim.lslo_settings import LSLoSettings
from langsim.readings import Prose, prose

KIND = "lslo-sweep"
VERSION = 2
SEED = 100  # of no row of a table
RATES = {"lslo": (1e-3, 3e-3, 1e-2), "everything": (1e-4, 3e-4, 1e-3, 3e-3)}
SWEPT = ("Ft-all", "8;8;8+WL", "2;2;8+WL")  # rows of Table 1, the architecture by the paper's rule
FACTOR, EXTENSIONS = 3, 2


def swept() -> dict[str, Experiment]:
    """Short name -> what is trained."""
    rows = {made.name: made for made in experiments("lslo-table1")}
    return {name.removesuffix("+WL").replace(";", "-").lower(): rows[name].content for name in SWEPT}


def grid(profile: str = "mini") -> dict[str, tuple[float, Experiment]]:
    """Cell id -> learning rate and what is trained with it, as far as the grids of a profile go by now."""
    found = {trains: rates(profile, trains) for trains in RATES}
    return {f"{short}.{rate:g}": (rate, made) for short, made in swept().items() for rate in found[made.trains]}


def rates(profile: str, trains: str) -> list[float]:
    """The grid of what trains so, in order, with what the rule has added to it."""
    signed = {short: _signed(profile, made) for short, made in swept().items() if made.trains == trains}
    found = sorted(RATES[trains])
    for _ in range(EXTENSIONS):
        planned = {rate: [_cell(profile, f"{one}.{rate:g}", signed[one]) for one in signed] for rate in found}
        if any(cells.problem(cell) for own in planned.values() for cell in own):
            break
        means = {rate: sum(cells.read(cell)["loss"] for cell in own) / len(own) for rate, own in planned.items()}
        best = min(means, key=means.__getitem__)
        if best not in (found[0], found[-1]):
            break
        further = best / FACTOR if best == found[0] else best * FACTOR
        found = sorted([*found, float(f"{further:.3g}")])
    return found


def plan(profile: str) -> Mapping[str, Mapping[str, str]]:
    """Every cell of the sweep; at `mini` alone."""
    if profile != "mini":
        return {}
    signed = {short: _signed(profile, made) for short, made in swept().items()}
    return {id: signed[id.partition(".")[0]] for id in grid(profile)}


def _signed(profile: str, made: Experiment) -> dict[str, str]:
    """All but the rate, which the id says: also what the row is, and the version of what trains it."""
    settings = _at(profiles.resolve(profile, kind=LSLoSettings), 1.0)  # its own rates are what is looked for
    signed = signing.inputs(settings, trains=made.trains, scored=False)
    return signed | {"experiment": signing.of_experiment(made), "training": str(signing.VERSION)}


def _cell(profile: str, id: str, signed: Mapping[str, str]) -> Cell:
    return Cell(KIND, id, dict(signed), VERSION, profile)


@cells.procedure(KIND, version=VERSION, minutes=2, plan=plan, tolerances={"loss": 0.005})
def sweep_scores(cell: Cell) -> Scores:
    """The loss on the watched text before and after one training at one rate."""
    short, _, rate = cell.id.partition(".")
    made = swept()[short]
    settings = _at(profiles.resolve(cell.profile, kind=LSLoSettings), float(rate))
    with running.threads(settings):
        make, _ = running.maker(settings, made, settings.classes_of(), SEED, None)
        _, outcome = running.fit(settings, "languages", made.trains, SEED, make)
    return {"parent_loss": outcome.curve[0].watched["AVG"], "loss": outcome.curve[-1].watched["AVG"]}


def table(profile: str = "mini") -> pd.DataFrame:
    """One row a cell: trains, row ("8-8-8"), rate, loss."""
    found, known = [], grid(profile)
    for id, signed in plan(profile).items():
        rate, made = known[id]
        loss = cells.read(_cell(profile, id, signed))["loss"]
        found.append({"trains": made.trains, "row": id.partition(".")[0], "rate": rate, "loss": loss})
    return pd.DataFrame(found).sort_values(["trains", "row", "rate"], ignore_index=True)


def is_recorded(profile: str = "mini") -> bool:
    """Whether all cells of the sweep are there, those by which the rule extends a grid among them."""
    planned = [_cell(profile, id, signed) for id, signed in plan(profile).items()]
    return bool(planned) and not any(map(cells.problem, planned))


def recorded(profile: str = "mini") -> pd.DataFrame | Prose:
    """For a page: rates in rows, what is trained in columns, with the loss of each; or that there is none."""
    if not is_recorded(profile):
        return prose(f"No sweep is recorded at `{profile}`: the rates were given.")
    found = table(profile)
    found["text"] = found["row"] + ": " + found["loss"].map("{:.3f}".format)
    wide = found.groupby(["trains", "rate"])["text"].agg(", ".join).unstack("trains").fillna("–")
    return wide.rename_axis(index="rate", columns=None).rename(index="{:g}".format)


def best(profile: str = "mini") -> dict[str, float]:
    """The rate with the least mean loss, for "lslo" and for "everything"."""
    means = table(profile).groupby(["trains", "rate"])["loss"].mean()
    return {trains: float(means[trains].idxmin()) for trains in RATES}


def interior(profile: str = "mini") -> dict[str, bool]:
    """Whether the best rate has a worse one on either side, for "lslo" and for "everything"."""
    return {trains: min(found := rates(profile, trains)) < rate < max(found) for trains, rate in best(profile).items()}


def _at(settings: LSLoSettings, rate: float) -> LSLoSettings:
    return settings.model_copy(update={"learning_rate": rate, "full_learning_rate": rate})
