"""One description of an experiment of the second paper, which all rows of Tables 1, 2, 6, 7 and both estimations share.

The rows are data: `data/lslo/experiments.csv`. Ranks and pruning are by resource class, so that a row fits any set of
languages whose classes are known: the paper's, those at `mini`, a reader's own.
"""

from collections.abc import Mapping
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from transformers import PreTrainedModel

from langsim import paths
from langsim.errors import Failure, UsageError
from langsim.lslo.architecture import Architecture, Side, strategy
from langsim.lslo.documents import reason
from langsim.lslo.model import LSLo, wrap
from langsim.lslo.projections import FEED_FORWARD, KINDS
from langsim.lslo.pruning import Matrices, Pruning, Scope
from langsim.lslo.schedule import Schedule
from langsim.lslo.weight_learning import STACKS, Learned
from langsim.suggest import unknown
from langsim.tables import read_table

PATH = paths.DATA / "lslo" / "experiments.csv"
COLUMNS = ("exhibit", "name", "trains", "ranks", "indexing", "modules", "pruned", "scope", "matrices")
COLUMNS += ("ratio", "start", "length", "total", "init", "claim", "note")
MODULES = {"all": KINDS, "fc": FEED_FORWARD}


class ClassPruning(BaseModel):
    """Gradual pruning of the LoRAs of some resource classes.

    Attributes:
        classes: of the languages that are pruned.
        scope, matrices: as of `Pruning`.
        schedule: when how much.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...] = Field(min_length=1)
    scope: Scope
    matrices: Matrices
    schedule: Schedule


class Experiment(BaseModel):
    """What is trained, and how it is made.

    Attributes:
        name: as printed.
        trains: "nothing" (the model as it came), "everything" (full fine-tuning) or "lslo".
        ranks: resource class -> rank of the LoRAs of its languages.
        indexing: strategy of section 6.1: "WL", "SRC" or "TGT".
        modules: "all", or "fc", the feed-forward projections only.
        pruning: None for none.
        init: of the A matrices; "" for what the settings say.
        claim: what the paper says that rests on this row; such rows are trained with several seeds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    trains: Literal["nothing", "everything", "lslo"]
    ranks: dict[str, int] = {}
    indexing: Literal["WL", "SRC", "TGT"] = "WL"
    modules: Literal["all", "fc"] = "all"
    pruning: ClassPruning | None = None
    init: Literal["", "gaussian", "kaiming"] = ""
    claim: str = ""

    @model_validator(mode="after")
    def _fits(self) -> "Experiment":
        if (self.trains == "lslo") != bool(self.ranks):
            raise ValueError("ranks are for what trains lslo, and there they have to be")
        if self.pruning and (unranked := set(self.pruning.classes) - self.ranks.keys()):
            raise ValueError(f"class '{min(unranked)}' is pruned, but has no rank")
        return self

    @property
    def content(self) -> "Experiment":
        """Without what it is called and what rests on it: rows of equal content are one experiment."""
        return self.model_copy(update={"name": "", "claim": ""})

    @classmethod
    def of(cls, **values: object) -> "Experiment":
        """An experiment.

        Raises:
            UsageError: an unknown name or a value that it can't have.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UsageError(f"experiment: {reason(error)}") from error

    def ranks_of(self, classes: Mapping[str, str]) -> dict[str, int]:
        """Language -> rank.

        Args:
            classes: language -> resource class.

        Raises:
            UsageError: a class without a rank.
        """
        for language, name in classes.items():
            if name not in self.ranks:
                raise UsageError(f"experiment '{self.name}': class of '{language}': {unknown(name, self.ranks)}")
        return {language: self.ranks[name] for language, name in classes.items()}

    def architecture(self, model: PreTrainedModel, learned: Learned | None = None) -> Architecture:
        """Which projections have LoRA, by which side.

        Args:
            learned: what weight learning found; None for what it found in the paper.

        Raises:
            UsageError: it trains no LSLo, or as `Learned.architecture`.
        """
        if self.trains != "lslo":
            raise UsageError(f"experiment '{self.name}' has no LSLo: it trains {self.trains}")
        kinds = MODULES[self.modules]
        if learned is not None:
            return self._indexed(learned).architecture(model, kinds)
        return strategy(model, self.indexing, kinds)

    def sides(self, learned: Learned) -> dict[str, tuple[Side, ...]]:
        """Stack -> side of every layer, the lowest first. SRC and TGT are about the encoder (Appendix C): the decoder
        is what weight learning found under all strategies."""
        found = self._indexed(learned)
        return {stack: found.sides(stack) for stack in STACKS}

    def _indexed(self, learned: Learned) -> Learned:
        if self.indexing == "WL":
            return learned
        pair = (1.0, 0.0) if self.indexing == "SRC" else (0.0, 1.0)
        return learned.model_copy(update={"encoder": (pair,) * len(learned.encoder)})

    def lslo(
        self,
        model: PreTrainedModel,
        classes: Mapping[str, str],
        learned: Learned | None = None,
        *,
        span: str = "full",
        init: str = "gaussian",
        seed: int = 0,
    ) -> LSLo:
        """The LSLo to train, on a base which is changed, as by `langsim.lslo.wrap`.

        Raises:
            UsageError: as `ranks_of`, `architecture` and `wrap`.
        """
        ranks, plan = self.ranks_of(classes), self.architecture(model, learned)
        return wrap(model, list(ranks), ranks, plan, span=span, init=self.init or init, seed=seed)

    def pruning_of(self, classes: Mapping[str, str]) -> Pruning | None:
        """What is pruned of these languages; None for nothing. `pruning.schedule` says when.

        Raises:
            UsageError: no language is of a class that is pruned.
        """
        if self.pruning is None:
            return None
        chosen = tuple(language for language, name in classes.items() if name in self.pruning.classes)
        if not chosen:
            wanted = " or ".join(self.pruning.classes)
            raise UsageError(f"experiment '{self.name}' prunes languages of class {wanted}, but there are none")
        return Pruning(scope=self.pruning.scope, matrices=self.pruning.matrices, languages=chosen)


def experiments(exhibit: str) -> list[Experiment]:
    """The rows of a published table in printed order ("lslo-table1", 2, 6, 7), the one of an estimation ("lslo-fig2":
    intrinsic subspaces, "lslo-fig4": language-specific pruning), or those of "lslo-init", which is in no print: two
    rows of Table 1 with the other initial values.

    Raises:
        UsageError: no such exhibit.
    """
    found = _rows()
    if exhibit not in found:
        raise UsageError(f"exhibit with experiments: {unknown(exhibit, found)}")
    return list(found[exhibit])


@cache
def _rows() -> dict[str, tuple[Experiment, ...]]:
    found: dict[str, tuple[Experiment, ...]] = {}
    for number, row in enumerate(read_table(PATH, COLUMNS), start=2):
        try:
            experiment = _experiment(row)
        except (UsageError, ValueError) as error:
            raise Failure(f"{PATH}, line {number}: {reason(error)}") from error
        found[row["exhibit"]] = (*found.get(row["exhibit"], ()), experiment)
    return found


def _experiment(row: dict[str, str]) -> Experiment:
    given = {name: row[name] for name in ("name", "trains", "indexing", "modules", "init", "claim") if row[name]}
    ranks = (part.split("=") for part in row["ranks"].split())
    given["ranks"] = {name: int(rank) for name, rank in ranks}
    if row["pruned"]:
        schedule = Schedule.of(*(float(row[name]) for name in ("ratio", "start", "length", "total")))
        given["pruning"] = {"classes": tuple(row["pruned"].split()), "schedule": schedule}
        given["pruning"] |= {name: row[name] for name in ("scope", "matrices")}
    return Experiment.of(**given)
