"""Figure 3: how good high-resource and very-low-resource directions are after every epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from langsim.bootstrap import Difference
from langsim.lslo import directions, intervals
from langsim.lslo.directions import Direction
from langsim.lslo.study import Study
from langsim.readings import Prose, number, prose

SHOWN = ("Ft-all", "64;64;64+WL", "8;8;8+WL", "4;4;4+WL", "2;2;8+WL", "2;2;8+WL+GPS(0.9)")


@dataclass(frozen=True)
class Curves:
    """The curves of a table's trained rows.

    What is watched is nats per token on the held-out text, on all directions within the first and within the last
    class, and on those that are translated elsewhere; the paper's figure has spBLEU.
    """

    study: Study

    @cached_property
    def scopes(self) -> list[str]:
        """The first and the last pair of classes: H2H and V2V."""
        named = list(self.study.counts)
        return list(dict.fromkeys((named[0], named[-1])))

    @cached_property
    def rows(self) -> list[str]:
        """`SHOWN` where the rows are the paper's, else those that train (six at most, which can be told apart)."""
        trained = [row for row in self.study.rows if len(self.study.gains(row))]
        return list(SHOWN) if set(SHOWN) <= set(trained) else trained[:6]

    def of(self, row: str, scope: str) -> np.ndarray:
        """(K, E + 1) nats per token before training and after every epoch, one line a seed."""
        curves = [self.study.scores[job.id]["curve"] for job in self.study.rows[row]]
        return np.array([[point["watched"][scope] for point in curve] for curve in curves])

    def directions(self, scope: str) -> list[Direction]:
        """Those of a pair of classes whose losses the curves have."""
        kept = next(iter(self.study.scores[job.id]["curve"] for job in self.study.rows[self.rows[0]]))[0]["watched"]
        named = directions.labels(self.study.classes)
        return [one for one, name in named.items() if name == scope and "-".join(one) in kept]

    def by_direction(self, row: str, scope: str) -> np.ndarray:
        """(K, E, D) nats per token after every epoch, the model before training left out, of `directions`."""
        curves = [self.study.scores[job.id]["curve"] for job in self.study.rows[row]]
        names = ["-".join(one) for one in self.directions(scope)]
        return np.array([[[point["watched"][name] for name in names] for point in curve[1:]] for curve in curves])

    def overfitting(self, row: str, baseline: str, scope: str) -> Difference:
        """How far the last epoch is above the best one, or how much further than a baseline's, in nats per token,
        over languages and seeds (`intervals.over_epochs`). The best is looked for from the first epoch on: what the
        warm-up does is in none of it."""
        ours, theirs = self.by_direction(row, scope), self.by_direction(baseline, scope) if baseline else None
        return intervals.over_epochs(ours, theirs, self.directions(scope), self.study.classes)


def frame(found: Curves) -> pd.DataFrame:
    """One row a method, pair of classes and epoch (0: before training): value, low and high (the least and the greatest
    of the seeds), in nats per token beyond the model before training."""
    lines = []
    for row in found.rows:
        for scope in found.scopes:
            beyond = found.of(row, scope)
            beyond = beyond - beyond[:, :1]
            for epoch, values in enumerate(beyond.T):
                ends = {"low": float(values.min()), "high": float(values.max())}
                lines.append({"method": row, "scope": scope, "epoch": epoch, "value": float(values.mean()), **ends})
    return pd.DataFrame(lines)


def panels(curves: pd.DataFrame) -> Mapping[str, pd.DataFrame]:
    """Pair of classes to what `charts.curves` takes."""
    named = curves.rename(columns={"method": "series", "epoch": "x"})
    return {str(scope): part for scope, part in named.groupby("scope", sort=False)}


def reading(found: Curves) -> Prose:
    """After which epoch each of the rows was best, in both pairs of classes."""
    return prose(*(_best(found, scope, found.rows) for scope in found.scopes))


def _best(found: Curves, scope: str, rows: Sequence[str]) -> str:
    told = []
    for row in rows:
        mean = found.of(row, scope).mean(0)
        best = int(mean.argmin())
        told.append(f"{row} {best} ({number(float(mean[-1] - mean[best]))})")
    epochs = found.of(rows[0], scope).shape[1] - 1
    return (
        f"In {scope} the loss was least after epoch (of {epochs}; 0 is before training; in brackets how far the end is "
        f"above it, in nats per token): {', '.join(told)}."
    )
