"""The tasks of the `open` profile: parts of speech (Universal Dependencies), entities (Universal NER), answers (XQuAD).

From the folder that `LANGSIM_DATA` names, or where `langsim data fetch ud uner xquad` puts them.
"""

from collections.abc import Iterable

from langsim.errors import UsageError
from langsim.suggest import unknown
from langsim.tasks import ud, uner, xquad
from langsim.tasks.base import Task

TASKS = {"pos": ud.load, "ner": uner.load, "qa": xquad.load}


def load(name: str, languages: Iterable[str] = ()) -> Task:
    """A task in the given languages (default: all there are); those without data are in `Task.unavailable`.

    Raises:
        UsageError: no such task, the corpus is not there, a malformed line.
    """
    if name not in TASKS:
        raise UsageError(f"open task: {unknown(name, TASKS)}")
    return TASKS[name](list(languages))
