"""The labelled tasks of part III by their names in the settings, with the sizes and languages that these ask for."""

from functools import lru_cache
from importlib import import_module
from pathlib import Path

from langsim.errors import UsageError
from langsim.tasks.base import SPLITS, Task
from langsim.xsns.settings import XSNSSettings

FEWEST = 3  # languages: a target and two candidates


def load(settings: XSNSSettings, name: str) -> Task:
    """A task of the settings.

    Languages without its data are in `Task.unavailable`, with the reason.

    Raises:
        UsageError: no such task, unreadable files, label sets that differ, an empty split, too few languages.
    """
    own, others = settings.languages_of(name), settings.targets_only(name)
    sizes = (settings.train_items, settings.validation_items, settings.test_items)
    path = _folder(settings, name) if settings.tasks_from == "files" else ""
    return _load(settings.tasks_from, path, name, (tuple(own), tuple(others)), sizes, settings.equal_sizes)


def sources(settings: XSNSSettings, name: str, task: Task) -> list[str]:
    """The languages that are candidates: with training text, and no targets only."""
    without = set(settings.targets_only(name))
    found = [code for code in task.sources if code not in without]
    if len(found) < FEWEST - 1:
        raise UsageError(f"task '{task.name}' can be trained in {len(found)} languages; a ranking needs two at least")
    return found


def _folder(settings: XSNSSettings, name: str) -> str:
    """The folder itself where it is of one task, else that of the task in it."""
    folder = Path(settings.tasks_path) / name
    return str(folder if folder.is_dir() or len(settings.tasks) > 1 else settings.tasks_path)


@lru_cache(maxsize=8)
def _load(
    kind: str, path: str, name: str, languages: tuple[tuple[str, ...], ...], sizes: tuple[int, ...], equal: bool
) -> Task:
    codes, others = languages
    if kind == "generated":
        from langsim.tasks import generated

        if 0 in sizes:
            raise UsageError(
                "train_items, validation_items, test_items: generated tasks have as many as you say, not 0"
            )
        task = generated.load(name, [*codes, *others], sizes=generated.Sizes(*sizes))
    elif kind == "files":
        from langsim.tasks import files

        task = files.load(path, name=name)
        task = task.only([*codes, *others]) if codes else task
    else:
        task = import_module(f"langsim.tasks.{kind}").load(name, [*codes, *others])
    task = task.equal_sizes() if equal and kind != "generated" else task
    task = at_most(task, dict(zip(SPLITS, sizes, strict=True)))
    if len(task.languages) < FEWEST:
        why = "; ".join(f"{code}: {reason}" for code, reason in list(task.unavailable.items())[:3])
        raise UsageError(
            f"task '{task.name}' has data in {len(task.languages)} languages ({', '.join(task.languages)}); "
            f"a ranking needs {FEWEST}{f' ({why})' if why else ''}"
        )
    return task


def at_most(task: Task, sizes: dict[str, int]) -> Task:
    """The task with so many examples of a split at most (0: all), in every language the first ones.

    The first ones are the same units where a task is multi-parallel, as `Task.equal_sizes` leaves them.
    """
    kept = {
        code: {split: examples[: sizes[split] or None] for split, examples in own.items()}
        for code, own in task.splits.items()
    }
    return Task(task.name, task.kind, task.metric, kept, task.labels, task.unavailable, task.notes)
