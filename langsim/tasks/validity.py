"""What needs no model: scores of trivial baselines, the floor that a task's scores are read against."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier

from langsim.tasks.base import Answer, Pair, Task, Tokens
from langsim.tasks.generated import answers
from langsim.tasks.metrics import normalise_answer, score
from langsim.tasks.surface import features

DEPTH = 5  # of the tree on surface features
TREE_ITEMS = 5000  # examples that it is fitted on, at most


def baselines(task: Task) -> pd.DataFrame:
    """One row a language, a column a baseline, in percent of the task's metric; fitted on the training split.

    tokens  majority: the most common tag everywhere; position: the most common tag of each place in the sentence.
    pair    majority: the most common label; position: the label that goes most often with this length of the second
            text in words (a cue that needs no understanding); surface: a decision tree of depth `DEPTH` on what
            `surface.features` sees of both texts (lengths, shared numbers, first numbers and differences).
    answer  majority: the first words of the context, as many as an answer has in the median; position: the words from
            the median place of an answer on; drawn field (generated lists of fields alone): what the value of a
            field drawn at random is expected to score.

    A language without a training split is fitted on those of all others together.
    """
    rows = {}
    for code in task.languages:
        test = task.splits[code]["test"]
        sources = [code] if "train" in task.splits[code] else task.sources
        train = [one for source in sources for one in task.splits[source]["train"]]
        gold, guesses = _FITTED[task.kind](train or list(test), list(test))
        rows[code] = {name: score(task.metric, gold, guess) for name, guess in guesses.items()}
        if task.name == answers.NAME:
            rows[code]["drawn field"] = drawn_field(test, task.metric)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("language")


def drawn_field(examples: Sequence[Answer], metric: str) -> float:
    """Expected score of the value of a field drawn at random, of generated lists of fields, in percent."""
    pairs = [(one.answer, value) for one in examples for value in answers.values(one.context)]  # all as many fields
    return score(metric, *zip(*pairs, strict=True))


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
    tree = DecisionTreeClassifier(max_depth=DEPTH, random_state=0)
    tree.fit([features(one) for one in train[:TREE_ITEMS]], [one.label for one in train[:TREE_ITEMS]])
    surface = [str(label) for label in tree.predict([features(one) for one in test])]
    guesses = {"majority": [most] * len(test), "position": position, "surface": surface}
    return [one.label for one in test], guesses


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
