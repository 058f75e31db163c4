"""Settings of part III (X-SNS); profiles give them in their section `xsns`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from langsim import pools
from langsim.errors import UsageError
from langsim.suggest import unknown

Name = Annotated[str, Field(min_length=1)]
Pool = Literal["FINETUNE", "DEV", "TEST"]
Estimator = Literal["per_example", "batch"]

# What Table 1 varies: where the text D comes from (the task's own, general), and p(y|x) (a random head of the task,
# the language model). The first is the paper's default.
KINDS = {"task-lm": ("task", "lm"), "general-lm": ("general", "lm"), "task-head": ("task", "head")}


class XSNSSettings(BaseModel):
    """Part III, resolved and valid: which tasks and languages, how models are fine-tuned, how sub-networks are made."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    profile: Name = Field(description="mini, open or paper")
    model: Name = Field(description="a shipped model, a local folder, or a hub id")
    other_models: list[Name] = Field(description="those of Table 4, compared on one task")
    compared_task: Name = Field(description="the task of Table 4")
    tasks: list[Name] = Field(min_length=1, description="ner, pos, nli, pi, qa; with tasks_from: files, your own names")
    tasks_from: Literal["generated", "open", "hub", "files"] = Field(description="where the labelled text comes from")
    tasks_path: str = Field("", description="the folder that tasks_from: files reads; a folder a task, if several")
    roles: Name = Field(description="the role or pool of a task's languages, {task} in it for the task's name")
    languages: list[Name] = Field([], description="codes instead, the same for every task")
    low_resource: list[Name] = Field(description="languages that are targets only")
    low_resource_tasks: list[Name] = Field(description="the tasks in which they are")
    train_items: int = Field(ge=0, description="training examples of a source; 0: all there are")
    validation_items: int = Field(ge=0, description="validation examples of a source; 0: all there are")
    test_items: int = Field(ge=0, description="test examples of a target; 0: all there are")
    equal_sizes: bool = Field(description="as many examples in every language as the smallest has")
    corpus: Name = Field(description="general text: catalogs, files, ntrex, ...")
    data: str = Field("", description="the folder or file that the corpus reads")
    domain: str = Field(description="one domain of the corpus; empty for all")
    pool: Pool = Field(description="which split of the general text")
    general_task: str = Field("", description="the task whose text is the general text, instead of the corpus")
    recipe: Literal["paper", "authors_code"] = Field(description="column of the table of switches")
    kinds: list[Literal["task-lm", "general-lm", "task-head"]] = Field(
        min_length=1, description="sub-networks: of which text, and by which output (Table 1)"
    )
    p: float = Field(gt=0, lt=1, description="share of the parameters that a sub-network keeps")
    p_grid: list[float] = Field(description="the shares of Figure 3")
    text_items: int = Field(ge=1, description="texts of a language, |D|, at most")
    text_items_others: int = Field(ge=1, description="the same of the kinds of sub-networks after the first")
    text_grid: list[int] = Field(description="the sizes of Figure 6")
    fisher_batch_size: int = Field(ge=1, description="texts in a mini-batch; decides numbers in authors_code only")
    seeds: list[int] = Field(min_length=1, description="of sub-networks: texts, masks and random heads")
    training_seeds: list[int] = Field(min_length=1, description="of gold transfer: every source is fine-tuned for each")
    epochs: int = Field(ge=1, description="at most")
    patience: int = Field(ge=0, description="epochs without a better validation score before training ends; 0: never")
    learning_rate: float = Field(gt=0, description="of AdamW, constant after warm-up")
    pair_epochs: int = Field(ge=1, description="the same for pairs of sentences")
    pair_learning_rate: float = Field(gt=0, description="the same for pairs of sentences")
    answer_epochs: int = Field(ge=1, description="the same for question answering")
    answer_learning_rate: float = Field(gt=0, description="the same for question answering")
    warmup: int = Field(ge=0, description="updates until the learning rate is reached")
    weight_decay: float = Field(ge=0, description="of all weights but biases and norms")
    clip_norm: float = Field(gt=0, description="the largest norm of an update's gradient")
    dropout: float = Field(ge=0, lt=1, description="while fine-tuning")
    batch_size: int = Field(ge=1, description="examples of an update")
    max_length: int = Field(ge=8, description="tokens of an example; longer ones are cut")
    window: int = Field(ge=8, description="tokens of question and context; longer contexts are read in several windows")
    stride: int = Field(ge=0, description="tokens that two windows share")
    answer_length: int = Field(ge=1, description="tokens of an answer, at most")
    mixed_tasks: list[Name] = Field(description="tasks that are also trained on several sources (Figure 4)")
    mixed_sources: int = Field(ge=2, description="how many sources together")
    mixed_seeds: list[int] = Field(min_length=1, description="of these trainings, as far as single sources have them")
    replicates: int = Field(ge=1, description="resamples of an interval")
    device: str = Field(pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu, cuda or cuda:N")
    threads: int = Field(ge=1, description="CPU threads of each worker (fixed, so that sums round the same)")

    @property
    def mixed(self) -> tuple[list[str], list[int]]:
        """Tasks and seeds of the trainings on several sources: those of the run among them, its first seed if none."""
        seeds = [seed for seed in self.mixed_seeds if seed in self.training_seeds]
        return [task for task in self.mixed_tasks if task in self.tasks], seeds or self.training_seeds[:1]

    @property
    def sides(self) -> list["XSNSSettings"]:
        """One text: this one's."""
        return [self]

    @property
    def estimator(self) -> Estimator:
        """The recipe's: the mean over examples (Section 3), or over mini-batches (the authors' code)."""
        return "per_example" if self.recipe == "paper" else "batch"

    @property
    def sub_network(self) -> dict[str, Any]:
        """How sub-networks are made of texts that are given, as `recommend.recommend` takes it."""
        return {
            "p": self.p,
            "recipe": self.recipe,
            "batch_size": self.fisher_batch_size,
            "max_length": self.max_length,
        }

    def items_of(self, kind: str) -> int:
        """|D| of a kind of sub-networks, at most: the first one is also read at every size of Figure 6."""
        return self.text_items if kind == self.kinds[0] else min(self.text_items, self.text_items_others)

    def models_of(self, task: str) -> list[str]:
        """The models that are fine-tuned on a task: the main one, and on the task of Table 4 the others."""
        return [self.model, *(self.other_models if task == self.compared_task else [])]

    def languages_of(self, task: str) -> list[str]:
        """Codes of the languages that are sources and targets of a task; none for files that say so themselves."""
        if self.tasks_from == "files" and not self.languages:
            return []
        return members(self.languages or [self.roles.format(task=task)])

    def targets_only(self, task: str) -> list[str]:
        """Codes of those that are targets only."""
        own = set(self.languages_of(task))
        given = members(self.low_resource) if task in self.low_resource_tasks else []
        return [code for code in given if code not in own]


def members(names: Sequence[str]) -> list[str]:
    """Codes, of codes and names of roles and pools.

    Raises:
        UsageError: an unknown one, or one language twice.
    """
    from langsim import languages

    known = {**dict.fromkeys(pools.roles(), pools.role), **dict.fromkeys(pools.pools(), pools.pool)}
    return languages.resolve([code for name in names for code in (known[name](name) if name in known else [name])])


def problems(values: dict[str, Any], wrong: Mapping[str, str]) -> list[str]:
    """What does not fit together; languages are codes by now."""
    from langsim.tasks.generated import TASKS

    found = []
    if "tasks" not in wrong and values["tasks_from"] != "files":
        found += [f"tasks: {unknown(name, TASKS)}" for name in values["tasks"] if name not in TASKS]
    path = values.get("tasks_path", "")
    if values["tasks_from"] == "files" and not path:
        found.append("tasks_path: tasks_from: files reads a folder; name yours (train.de.conll, ...)")
    elif path and values["tasks_from"] != "files":
        found.append("tasks_path: only tasks_from: files reads a folder; add tasks_from: files")
    elif path and not Path(path).expanduser().is_dir():
        found.append(f"tasks_path: no folder {path!r}")
    elif path:
        values["tasks_path"] = str(Path(path).expanduser().absolute())
    if values.get("languages"):
        if len(values["languages"]) < 3:
            found.append(f"languages: a ranking needs a target and two candidates, got {len(values['languages'])}")
    elif values["tasks_from"] != "files":
        for task in values["tasks"]:
            try:
                members([values["roles"].format(task=task)])
            except (UsageError, LookupError, ValueError) as error:
                found.append(f"roles: {error}")
    names = [("compared_task", values["compared_task"])]
    names += [("general_task", values["general_task"])] if values.get("general_task") else []
    for field, name in [*names, *(("low_resource_tasks", name) for name in values["low_resource_tasks"])]:
        if name not in (TASKS if values["tasks_from"] != "files" else {**TASKS, **dict.fromkeys(values["tasks"])}):
            found.append(f"{field}: {unknown(name, TASKS)}")
    try:
        members(values["low_resource"])
    except UsageError as error:
        found.append(f"low_resource: {error}")
    for name in ("p_grid", "text_grid"):
        if any(value <= 0 for value in values[name]) or (
            name == "p_grid" and any(value >= 1 for value in values[name])
        ):
            found.append(f"{name}: a value is out of range; shares lie between 0 and 1, sizes are at least 1")
    if values["stride"] >= values["window"] // 2:
        found.append(f"stride: {values['stride']} tokens are half a window of {values['window']} or more; use less")
    return found
