"""The gradual pruning schedule (Eq. 6, Table 3): which share is pruned at which time of a training."""

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from langsim import papers
from langsim.errors import UsageError
from langsim.lslo.documents import reason
from langsim.suggest import unknown


class Schedule(BaseModel):
    """Nothing is pruned up to `start`, then more and more for `length`, then `ratio` to the end (Eq. 6).

    Times are in epochs as in the paper, whose epoch e is from 1 to T; `scaled` makes updates of them. The authors' code
    has 2 and 10 for the start and what is either a length (then it differs from the paper's 8) or the end.

    Attributes:
        ratio: P, what is pruned in the end.
        start: E, the last time without pruning.
        length: k, how long the pruning goes on.
        total: T, the end of the training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratio: float = Field(ge=0, le=1)
    start: float = Field(ge=0, allow_inf_nan=False)
    length: float = Field(gt=0, allow_inf_nan=False)
    total: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ends(self) -> "Schedule":
        if self.start + self.length > self.total:
            raise ValueError(f"start {self.start:g} and length {self.length:g} go beyond the end, {self.total:g}")
        return self

    @classmethod
    def of(cls, ratio: float, start: float, length: float, total: float) -> "Schedule":
        """A schedule.

        Raises:
            UsageError: a value that it can't have.
        """
        try:
            return cls(ratio=ratio, start=start, length=length, total=total)
        except ValidationError as error:
            raise UsageError(f"pruning schedule: {reason(error)}") from error

    def at(self, time: float) -> float:
        """The share that is pruned at a time from 0 to `total` (Eq. 6).

        Raises:
            UsageError: another time.
        """
        if not 0 <= time <= self.total:
            raise UsageError(f"pruning schedule: no time {time:g}, it goes from 0 to {self.total:g}")
        if time <= self.start:
            return 0.0
        if time <= self.start + self.length:
            return self.ratio - self.ratio * (1 - (time - self.start) / self.length) ** 3
        return self.ratio

    def scaled(self, total: float) -> "Schedule":
        """The same with another end and all times in proportion: of 15 epochs, say, one of 300 updates.

        Raises:
            UsageError: an end that is not positive.
        """
        if not total > 0:
            raise UsageError(f"pruning schedule: total {total:g} is not positive")
        # The share of a time, not the time times a factor: what fits into the old total has to fit into the new.
        start = total * (self.start / self.total)
        return Schedule.of(self.ratio, start, min(total * (self.length / self.total), total - start), total)


def published(experiment: str) -> list[Schedule]:
    """The schedules of Table 3: one for "ISE" and "LSP", one for each ratio of "LSLo".

    Raises:
        UsageError: another experiment.
    """
    table = papers.matrix("lslo-table3")
    if experiment not in table.index:
        raise UsageError(f"experiment of Table 3: {unknown(experiment, list(table.index))}")
    row = table.loc[experiment]
    start, length, total = (float(row[name]) for name in "EkT")
    return [Schedule.of(float(ratio), start, length, total) for ratio in row["P"].split()]
