"""The tasks of the `paper` profile: XTREME's, from parquet datasets of the Hugging Face hub (`langsim.corpora.hub`).

NER is PAN-X (WikiANN), POS XTREME's UD treebanks, NLI XNLI with its translated training text, PI PAWS-X, QA
TyDiQA-GoldP, whose training split is cut 80:20 into training and validation and whose validation split is the test
(Appendix A of the third paper). The paper's POS is a variation of UD 2.8; XTREME's is UD 2.5: other numbers.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from langsim import languages as registry
from langsim.corpora import hub
from langsim.errors import LangsimError, UsageError
from langsim.matching import rank
from langsim.suggest import unknown
from langsim.tasks.base import Answer, Example, Pair, Task, Tokens

XTREME = "google/xtreme"
# Names of the numbered labels, in the order of the datasets.
NER = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
POS = ("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN")
POS += ("NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X")
NLI = ("entailment", "neutral", "contradiction")
PI = ("different", "same")
VALIDATION = 0.2  # share of TyDiQA's training split

Row = Mapping[str, Any]
Own = dict[str, tuple[Example, ...]]


def load(name: str, codes: Iterable[str] = (), *, path: str | Path = "") -> Task:
    """A task in the given languages; those that the dataset lacks are in `Task.unavailable`, with the reason.

    Args:
        path: a local copy in the hub's layout, a folder a configuration (`PAN-X.de`, ...).

    Raises:
        UsageError: no such task, no language, damaged files or labels that are out of range.
    """
    if name not in _TASKS:
        raise UsageError(f"hub task: {unknown(name, _TASKS)}")
    wanted = registry.resolve(list(codes))
    if not wanted:
        raise UsageError(f"hub task '{name}': name its languages")
    read, kind, metric, labels = _TASKS[name]
    splits, unavailable = {}, {}
    for code in wanted:
        try:
            splits[code] = read(code, str(path))
        except LangsimError as error:
            unavailable[code] = str(error)
        else:
            if "test" not in splits[code]:
                unavailable[code] = "no test split"
                del splits[code]
    return Task(f"hub-{name}", kind, metric, splits, labels, unavailable, [])


def _rows(repository: str, config: str, columns: tuple[str, ...], path: str) -> dict[str, Iterable[Row]]:
    return hub.splits(repository, columns, path=path, config=config, names=("train", "validation", "test"))


def _ner(code: str, path: str) -> Own:
    return _tagged(f"PAN-X.{_short(code)}", "ner_tags", NER, path)


def _pos(code: str, path: str) -> Own:
    return _tagged(f"udpos.{registry.get(code).name}", "pos_tags", POS, path)


def _tagged(config: str, column: str, labels: tuple[str, ...], path: str) -> Own:
    def made(split: str, i: int, row: Row) -> Tokens | None:
        words = tuple(row["tokens"])
        return Tokens(words, tuple(_named(config, t, labels) for t in row[column]), f"{split}:{i}") if words else None

    return _own(_rows(XTREME, config, ("tokens", column), path), made)


def _nli(code: str, path: str) -> Own:
    config = _short(code)

    def made(split: str, i: int, row: Row) -> Pair:
        # The same number is the same pair of sentences in every language.
        return Pair(row["premise"], row["hypothesis"], _named(config, row["label"], NLI), f"{split}:{i}")

    return _own(_rows("facebook/xnli", config, ("premise", "hypothesis", "label"), path), made)


def _pi(code: str, path: str) -> Own:
    config = f"PAWS-X.{_short(code)}"

    def made(split: str, i: int, row: Row) -> Pair | None:
        first, second = row["sentence1"].strip(), row["sentence2"].strip()
        label = _named(config, int(row["label"]), PI)
        return Pair(first, second, label, f"{split}:{i}") if first and second else None  # some translations are empty

    return _own(_rows(XTREME, config, ("sentence1", "sentence2", "label"), path), made)


def _qa(code: str, path: str) -> Own:
    """All languages are in one dataset, told by the ids: `finnish-...`."""
    name = registry.get(code).name.casefold()

    def made(split: str, i: int, row: Row) -> Answer | None:
        answers = row["answers"]
        if not row["id"].startswith(f"{name}-") or not answers["text"]:
            return None
        return Answer(row["question"], row["context"], answers["text"][0], int(answers["answer_start"][0]), row["id"])

    found = _own(_rows(XTREME, "tydiqa", ("id", "question", "context", "answers"), path), made)
    if not found:
        raise UsageError(f"TyDiQA-GoldP has no question in {registry.get(code).name}")
    order = sorted(found["train"], key=lambda one: rank(one.unit, 0))
    cut = round(VALIDATION * len(order))
    return {"train": tuple(order[cut:]), "validation": tuple(order[:cut]), "test": found["validation"]}


def _own(rows: Mapping[str, Iterable[Row]], made: Callable[[str, int, Row], Example | None]) -> Own:
    found = {
        split: tuple(one for i, row in enumerate(own) if (one := made(split, i, row)) is not None)
        for split, own in rows.items()
    }
    return {split: own for split, own in found.items() if own}


def _named(where: str, number: int, labels: tuple[str, ...]) -> str:
    if not 0 <= number < len(labels):
        raise UsageError(
            f"{where}: label {json.dumps(number)} is out of 0 to {len(labels) - 1}: is it another dataset?"
        )
    return labels[number]


def _short(code: str) -> str:
    return registry.get(code).iso639_1 or code


_TASKS: dict[str, tuple[Callable[[str, str], Own], str, str, tuple[str, ...]]] = {
    "ner": (_ner, "tokens", "entity_f1", NER),
    "pos": (_pos, "tokens", "token_f1", POS),
    "nli": (_nli, "pair", "accuracy", NLI),
    "pi": (_pi, "pair", "accuracy", PI),
    "qa": (_qa, "answer", "squad_f1", ()),
}
