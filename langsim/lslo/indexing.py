"""Figure 1: by which language each layer wants to be indexed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from langsim import papers
from langsim.bootstrap import Difference
from langsim.errors import UsageError
from langsim.lslo import intervals, procedures, running
from langsim.lslo.weight_learning import SIDES, STACKS, Learned
from langsim.lslo_settings import LSLoSettings
from langsim.readings import Prose, number, prose


@dataclass(frozen=True)
class Weights:
    """What weight learning found: seed -> weights of every layer."""

    found: Mapping[int, Learned]

    def target(self, stack: str) -> np.ndarray:
        """(K, layers) weight of the target language, one line a seed, the lowest layer first."""
        return np.array([[target for _, target in getattr(one, stack)] for one in self.found.values()])

    def contrast(self, scope: str) -> Difference:
        """What the statements are about, over seeds: "encoder: top minus bottom"; "encoder: bottom", "encoder: top" and
        "decoder" (its mean) minus one half.

        Raises:
            UsageError: another one.
        """
        encoder = self.target("encoder")
        known = {
            "encoder: top minus bottom": encoder[:, -1] - encoder[:, 0],
            "encoder: bottom": encoder[:, 0] - 0.5,
            "encoder: top": encoder[:, -1] - 0.5,
            "decoder": self.target("decoder").mean(1) - 0.5,
        }
        if scope not in known:
            raise UsageError(f"no scope {scope!r} of learned weights; there are {', '.join(known)}")
        return intervals.over_seeds(known[scope])


def weights(settings: LSLoSettings, *, jobs: int | None = None) -> Weights:
    """Read or compute it.

    Raises:
        Failure: a cell of the profile is missing or stale.
    """
    return Weights(procedures.weights(settings, jobs))


def frame(found: Weights) -> pd.DataFrame:
    """One row a stack, layer (from 1), side and seed: weight."""
    lines = [
        {"stack": row.stack, "layer": row.layer + 1, "side": row.side, "seed": seed, "weight": row.weight}
        for seed, learned in found.found.items()
        for row in learned.frame().itertuples()
    ]
    return pd.DataFrame(lines)


def panels(weighed: pd.DataFrame) -> Mapping[str, pd.DataFrame]:
    """Stack to what `charts.dots` takes: means with the least and the greatest of the seeds, the top layer on top."""
    shown = {}
    for stack in STACKS:
        part = weighed[weighed["stack"] == stack]
        lines = []
        for layer in sorted(part["layer"].unique(), reverse=True):
            for side in SIDES:
                values = part[(part["layer"] == layer) & (part["side"] == side)]["weight"]
                line = {"row": f"layer {layer}", "series": side, "value": values.mean()}
                lines.append(line | {"low": values.min(), "high": values.max()})
        shown[stack.capitalize()] = pd.DataFrame(lines)
    return shown


def reach(settings: LSLoSettings) -> float | None:
    """About how far a weight gets from one half at the rate and in the updates of the settings where every update
    pushes the same way: a layer's two logits move apart. None where the number of updates follows from the text."""
    if not settings.updates:
        return None
    return 1 / (1 + math.exp(-2 * moved(settings))) - 0.5


def moved(settings: LSLoSettings) -> float:
    """The sum of the learning rates of all updates: about how far a logit moves where all push the same way. (An update
    of Adam moves a parameter by about the rate; no more in a steady state, somewhat more at the beginning.)"""
    recipe = running.recipe_of(settings, "lslo", 0, settings.updates)
    return sum(recipe.rate(update) for update in range(1, settings.updates + 1))


def reach_reading(settings: LSLoSettings) -> Prose:
    """The same in words."""
    far = reach(settings)
    if far is None:
        return prose("")
    return prose(
        f"At this learning rate {settings.updates} updates that all push the same way move a logit by about "
        f"{number(moved(settings))} (an update of Adam moves a parameter by about the learning rate; this is the sum), "
        f"and so a weight from 0.5 to about {number(0.5 + far)}: a weight near one half is no sign that a layer is "
        "indifferent, and one at that end only says which way it was pushed."
    )


def reading(found: Weights) -> Prose:
    """Which side each layer takes, how sure the seeds are, and what is in print."""
    whole = procedures.mean(list(found.found.values()))
    told, split = [], 0
    for stack in STACKS:
        sides = whole.sides(stack)
        told.append(f"{stack}: {', '.join(sides)} (from layer 1 up)")
        split += int(sum(len(set(column > 0.5)) > 1 for column in found.target(stack).T))
    furthest = max(float(np.abs(found.target(stack) - 0.5).max()) for stack in STACKS)
    printed = [f"{row.stack} {row.layers} {row.value}" for row in papers.published("lslo-fig1").itertuples()]
    return prose(
        f"By the mean over the seeds ({len(found.found)}), the layers take: {'; '.join(told)}.",
        f"In {split} of the layers the seeds disagree." if split else "In every layer all seeds agree.",
        f"No weight is further than {number(furthest, 3)} from one half: the softmax pair starts at equal weights, and "
        "this training is short.",
        f"In print (layers of 12): {'; '.join(printed)}.",
        ""
        if len(set(whole.sides("encoder"))) > 1
        else "So no layer of the encoder turns from one side to the other here.",
    )
