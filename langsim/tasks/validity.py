"""What needs no model: scores of trivial baselines, the floor that a task's scores are read against."""

from collections import Counter

import numpy as np
import pandas as pd

from langsim.tasks.base import Answer, Pair, Task, Tokens
from langsim.tasks.metrics import normalise_answer, score


def baselines(task: Task) -> pd.DataFrame:
    """One row a language: `majority` and `position`, in percent of the task's metric, fitted on the training split.

    tokens  majority: the most common tag everywhere; position: the most common tag of each place in the sentence.
    pair    majority: the most common label; position: the label that goes most often with this length of the second
            text in words (a cue that needs no understanding).
    answer  majority: the first words of the context, as many as an answer has in the median; position: the words from
            the median place of an answer on.

    A language without a training split is fitted on those of all others together.
    """
    rows = {}
    for code in task.languages:
        test = task.splits[code]["test"]
        sources = [code] if "train" in task.splits[code] else task.sources
        train = [one for source in sources for one in task.splits[source]["train"]]
        gold, guesses = _FITTED[task.kind](train or list(test), list(test))
        rows[code] = {name: score(task.metric, gold, guess) for name, guess in guesses.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("language")


def _tokens(train: list[Tokens], test: list[Tokens]) -> tuple[list, dict[str, list]]:
    overall = Counter(tag for one in train for tag in one.tags)
    places: dict[int, Counter] = {}
    for one in train:
        for place, tag in enumerate(one.tags):
            places.setdefault(place, Counter())[tag] += 1
    most = _most(overall)
    by_place = {place: _most(counts) for place, counts in places.items()}
    majority = [[most] * len(one.tags) for one in test]
    position = [[by_place.get(place, most) for place in range(len(one.tags))] for one in test]
    return [list(one.tags) for one in test], {"majority": majority, "position": position}


def _pairs(train: list[Pair], test: list[Pair]) -> tuple[list, dict[str, list]]:
    most = _most(Counter(one.label for one in train))
    lengths: dict[int, Counter] = {}
    for one in train:
        lengths.setdefault(_length(one), Counter())[one.label] += 1
    position = [_most(lengths[_length(one)]) if _length(one) in lengths else most for one in test]
    return [one.label for one in test], {"majority": [most] * len(test), "position": position}


def _answers(train: list[Answer], test: list[Answer]) -> tuple[list, dict[str, list]]:
    size = max(1, int(np.median([len(normalise_answer(one.answer)) for one in train])))
    place = int(np.median([len(normalise_answer(one.context[: one.start])) for one in train]))
    contexts = [normalise_answer(one.context) for one in test]
    majority = [" ".join(words[:size]) for words in contexts]
    position = [" ".join(words[place : place + size]) for words in contexts]
    return [one.answer for one in test], {"majority": majority, "position": position}


def _most(counts: Counter) -> str:
    """The most common, the first in the alphabet among equals."""
    return min(counts, key=lambda label: (-counts[label], label))


def _length(one: Pair) -> int:
    return len(normalise_answer(one.second or one.first))


_FITTED = {"tokens": _tokens, "pair": _pairs, "answer": _answers}
