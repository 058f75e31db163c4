"""What all pages of part III read: a task's gold scores, what predicts them, and whether the task can tell.

Languages that are sources and targets are one part (Tables 1 to 4), those that the settings have as targets only are
another (Figure 7).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from langsim.tasks.base import Task
from langsim.xsns import labelled, ranking_study
from langsim.xsns.ranking_study import OURS, Predictions, Validity
from langsim.xsns.settings import XSNSSettings

ENGLISH = "en"


@dataclass(frozen=True)
class Evidence:
    """One task with one model.

    Attributes:
        everyone: (T, S) gold scores in percent, a matrix a seed; all targets, also those that are targets only.
        predicted: name -> (T, S), a matrix a seed.
    """

    settings: XSNSSettings
    task: Task
    name: str
    model: str
    everyone: list[pd.DataFrame] = field(repr=False)
    predicted: Predictions = field(repr=False)

    @cached_property
    def only(self) -> list[str]:
        """The settings' targets that are no sources."""
        there = set(self.everyone[0].index)
        return [code for code in self.settings.targets_only(self.name) if code in there]

    @cached_property
    def pool(self) -> list[str]:
        """All other targets."""
        return [code for code in self.everyone[0].index if code not in self.only]

    @property
    def sources(self) -> list[str]:
        """The candidates."""
        return list(self.everyone[0].columns)

    @cached_property
    def gold(self) -> list[pd.DataFrame]:
        """Gold scores of the pool."""
        return [one.loc[self.pool] for one in self.everyone]

    @cached_property
    def predictions(self) -> Predictions:
        """Predictions for the pool."""
        return {name: [one.loc[self.pool] for one in seeds] for name, seeds in self.predicted.items()}

    @cached_property
    def mean(self) -> pd.DataFrame:
        """(T, S) gold scores of all targets, mean over seeds."""
        return sum(self.everyone) / len(self.everyone)

    @cached_property
    def validity(self) -> Validity:
        """Whether the task says anything, by its pool."""
        return ranking_study.validity(self.task, self.gold)

    @property
    def testable(self) -> bool:
        """Whether the task decides anything here."""
        return self.validity.testable

    def prediction(self, name: str = OURS) -> pd.DataFrame:
        """(T, S) a prediction for all targets, mean over seeds."""
        return sum(self.predicted[name]) / len(self.predicted[name])


def gather(
    settings: XSNSSettings, tasks: Sequence[str] = (), *, model: str = "", metric: str = ""
) -> dict[str, Evidence]:
    """Task -> its evidence, from cells.

    Args:
        tasks: default: all of the settings.
        model: default: the main one.
        metric: a measure of the tasks' cells; default: each task's own.

    Raises:
        Failure: a cell of the profile is missing or stale: the command that makes it.
    """
    found = {}
    for name in tasks or settings.tasks:
        task = labelled.load(settings, name)
        scores = ranking_study.gold(settings, name, model=model, metric=metric)
        predicted = ranking_study.predictions(settings, name, model=model)
        found[name] = Evidence(settings, task, name, model or settings.model, scores, predicted)
    return found


def testable(evidence: dict[str, Evidence]) -> dict[str, Evidence]:
    """Those that decide something."""
    return {name: one for name, one in evidence.items() if one.testable}
