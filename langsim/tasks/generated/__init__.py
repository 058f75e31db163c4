"""The five tasks of the `mini` profile: labels that are right by construction, from data that is installed.

`load("ner")`, and `pos`, `nli`, `pi`, `qa`. Every item is one meaning, told in all the languages: sizes are equal,
and an item's `unit` is the same in each.
"""

from collections.abc import Iterable

from langsim import languages as registry
from langsim.errors import UsageError
from langsim.suggest import unknown
from langsim.tasks.base import Task
from langsim.tasks.generated import answers, entities, formats, inference, paraphrase
from langsim.tasks.generated.recipe import Sizes, build

__all__ = ["TASKS", "Sizes", "load"]

TASKS = {"ner": entities, "pos": formats, "nli": inference, "pi": paraphrase, "qa": answers}


def load(name: str, languages: Iterable[str] = (), *, sizes: Sizes | None = None, seed: int = 0) -> Task:
    """A generated task in the given languages (default: those of the role `xsns-<name>-mini`).

    Languages without the data are in the task's `unavailable`, with the reason.

    Raises:
        UsageError: an unknown task or language, or no language with the data.
    """
    if name not in TASKS:
        raise UsageError(f"generated task: {unknown(name, TASKS)}")
    module = TASKS[name]
    codes = list(languages) or registry.role(f"xsns-{name}-mini")
    return build(module.recipe, module.unavailable_in, codes, sizes or Sizes(), seed)
