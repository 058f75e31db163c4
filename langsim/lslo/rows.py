"""Which trainings the tables of part II take: rows of different tables that are one experiment are trained once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from langsim.errors import Failure
from langsim.lslo.experiment import ClassPruning, Experiment, experiments
from langsim.lslo.schedule import Schedule, published
from langsim.lslo.weight_learning import Learned
from langsim.lslo_settings import PRUNED, LSLoSettings, parse_ranks

TABLES = {  # exhibit -> which languages of the settings it is on
    "lslo-table1": "languages",
    "lslo-table6": "languages",
    "lslo-table7": "languages",
    "lslo-table2": "more_languages",
    "lslo-init": "languages",
}


@dataclass(frozen=True)
class Job:
    """One training with one seed.

    Attributes:
        experiment: what is trained, without a name.
        which: "languages" or "more_languages" of the settings.
        codes: how many they are, for the id.
    """

    experiment: Experiment
    which: str
    codes: int
    seed: int

    @property
    def id(self) -> str:
        """`lang12.pretrain`, `lang12.everything.s0`, `lang12.2-2-8.WL.all.gps0.9.s2`."""
        made = self.experiment
        parts = [f"lang{self.codes}"]
        if made.trains == "lslo":
            parts += ["-".join(map(str, made.ranks.values())), made.indexing, made.modules]
            parts += [f"gps{made.pruning.schedule.ratio:g}"] if made.pruning else []
            parts += [made.init] if made.init else []
        else:
            parts.append({"nothing": "pretrain", "everything": "everything"}[made.trains])
        return ".".join(parts if made.trains == "nothing" else [*parts, f"s{self.seed}"])


def rows(settings: LSLoSettings, exhibit: str) -> dict[str, list[Job]]:
    """Row of a table -> its jobs, one a seed: all seeds of the settings where a claim rests on the experiment (in any
    table), else the first. Where the settings give ranks, these are the rows, after the model as it came and full
    fine-tuning, and all have all seeds.

    Raises:
        UsageError: no such table.
    """
    experiments(exhibit)  # an unknown name ends here
    which = TABLES[exhibit]
    classes = settings.classes_of(which)
    found = {}
    for experiment in _experiments(settings, exhibit):
        claimed = bool(settings.ranks) or any(
            other.claim and other.content == experiment.content
            for table, languages in TABLES.items()
            if languages == which
            for other in experiments(table)
        )
        seeds = settings.seeds if claimed else settings.seeds[:1]
        seeds = [0] if experiment.trains == "nothing" else seeds
        found[experiment.name] = [Job(experiment.content, which, len(classes), seed) for seed in seeds]
    return found


def _experiments(settings: LSLoSettings, exhibit: str) -> list[Experiment]:
    printed = experiments(exhibit)
    if not settings.ranks:
        return printed
    order = list(dict.fromkeys(settings.classes_of().values()))
    return [*printed[:2], *(_own(row, order) for row in settings.ranks)]


def _own(row: str, classes: Sequence[str]) -> Experiment:
    """A row of the settings' ranks, named as the paper names its rows."""
    ranks, ratio = parse_ranks(row)
    name = ";".join(map(str, ranks)) + "+WL" + (f"+GPS({ratio:g})" if ratio else "")
    made = Experiment.of(name=name, trains="lslo", ranks=dict(zip(classes, ranks, strict=True)))
    if not ratio:
        return made
    times = published("LSLo")[0]
    schedule = Schedule.of(ratio, times.start, times.length, times.total)
    pruned = tuple(name for name in PRUNED if name in made.ranks)
    pruning = ClassPruning(classes=pruned, scope="tensor", matrices="A and B", schedule=schedule)
    return made.model_copy(update={"pruning": pruning})


def twin(job: Job, learned: Learned, known: Collection[str]) -> str:
    """Id of the job with the learned architecture that a job of SRC or TGT is, where weight learning found just that;
    else its own id.

    Args:
        known: ids of jobs that there are.
    """
    made = job.experiment
    if made.trains != "lslo" or made.indexing == "WL":
        return job.id
    other = replace(job, experiment=made.model_copy(update={"indexing": "WL"}))
    same = other.experiment.sides(learned) == made.sides(learned)
    return other.id if same and other.id in known else job.id


def jobs(settings: LSLoSettings) -> dict[str, Job]:
    """Every job of the settings by its id; with ranks given, those of Table 1's languages alone.

    Raises:
        Failure: two that differ have one id.
    """
    found: dict[str, Job] = {}
    for exhibit in TABLES:
        if settings.ranks and exhibit != "lslo-table1":
            continue
        for row in rows(settings, exhibit).values():
            for job in row:
                if found.setdefault(job.id, job) != job:
                    raise Failure(f"data/lslo/experiments.csv: two experiments are called {job.id}")
    return found
