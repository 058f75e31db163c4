"""Which learning rate suits the masked models' recipes: a short pilot each, on DEV text alone.

Each model is trained for `STEPS` steps from its recipe at four rates, the last part of them on the way down to zero as
in the recipe. No task, no language family and no published number has a say. So short a pilot, most of it warm-up, is
kind to high rates: a first round of pilots, of recipes that hid 15% of the tokens, had 4e-3 as the best, and what was
then trained for 7,000 steps at it knew little more than how frequent each token is. A training that fails (its loss is
no number) has no loss, and is no candidate.
"""

import copy
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from langsim import cells, pretrain, pretraining, results
from langsim.cells import Cell, Scores
from langsim.corpora import Corpus
from langsim.errors import Failure
from langsim.masked_evaluation import MODELS
from langsim.readings import Prose, prose

KIND = "masked-sweep"
VERSION = 2
RATES = (5e-4, 1e-3, 2e-3, 4e-3)
STEPS = 600
CHECKS = 6


def pilot(recipe: Mapping[str, Any], rate: float, steps: int = STEPS) -> dict[str, Any]:
    """The recipe with another learning rate, and one phase of so many steps."""
    short = copy.deepcopy(dict(recipe))
    short["training"] |= {"learning_rate": rate, "checks": CHECKS}
    short["phase"] = [{**short["phase"][0], "until": steps * short["training"]["tokens_per_batch"]}]
    return short


def plan(profile: str) -> Mapping[str, Mapping[str, str]]:
    """A cell for each model and rate; what the recipe says of its rate and its end does not sign them."""
    if profile != "mini":
        return {}
    found = {}
    for name in MODELS:
        signed = results.digest_of(pilot(pretraining.recipe(name), 1.0))[:12]
        found |= {f"{name}.{rate:g}": {"recipe": f"{name}@{signed}", "rate": f"{rate:g}"} for rate in RATES}
    return found


@cells.procedure(KIND, version=VERSION, minutes=6, plan=plan, tolerances={"loss": 0.02, "held_out": 0.05})
def sweep_scores(cell: Cell) -> Scores:
    """Held-out loss after each part of a pilot, and the least, in nats a hidden token."""
    name, rate = cell.id.split(".", 1)
    recipe = pilot(pretraining.recipe(name), float(rate))
    return scores(recipe, pretraining.training_text(recipe), pretraining.dev_text(recipe))


def scores(recipe: dict[str, Any], text: Corpus, dev: Corpus) -> Scores:
    """`loss` (None: the training failed), `held_out` after each check, `steps`."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            state = pretrain.run(recipe, text, dev, out=Path(folder))
        except Failure as failure:
            return {"loss": None, "held_out": [], "steps": 0, "failed": str(failure)}
    held_out = [entry[2] for entry in state["held_out"]]
    if not all(map(math.isfinite, held_out)):
        return {"loss": None, "held_out": [], "steps": state["step"], "failed": "the held-out loss is no number"}
    return {"loss": min(held_out), "held_out": held_out, "steps": state["step"], "failed": ""}


def table() -> pd.DataFrame:
    """(models, rates) least held-out loss in nats a hidden token; NaN where the training failed."""
    rows: dict[str, dict[float, float]] = {}
    for cell in cells.planned(KIND):
        name, rate = cell.id.split(".", 1)
        rows.setdefault(name, {})[float(rate)] = cells.read(cell)["loss"]
    frame = pd.DataFrame.from_dict(rows, orient="index", dtype=float).rename_axis("model")
    return frame[sorted(frame)].rename_axis(columns="learning rate")


def best() -> dict[str, float]:
    """Model -> the rate with the least loss."""
    return {str(name): float(rate) for name, rate in table().idxmin(axis=1).items()}


def recorded() -> pd.DataFrame | Prose:
    """The table for a page, or that there is none."""
    if any(map(cells.problem, cells.planned(KIND))):
        return prose("No pilot of the masked models is recorded.")
    return table().round(3)
