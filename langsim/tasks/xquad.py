"""Extractive answers from XQuAD: paragraphs and questions of SQuAD, translated by professionals, split by article.

The articles stand in the same order in every language and their questions have the same ids, so that an article is in
one split in all languages, and a question is one unit: sizes are equal, contents the same.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from langsim import languages, open_data
from langsim.errors import UsageError
from langsim.matching import rank
from langsim.tasks.base import Answer, Task
from langsim.tasks.treebanks import wanted

SHARES = {"train": 0.5, "validation": 0.1}  # of the articles; the rest is test
NOTES = ("Whole articles are in one split, the same in every language.",)


def load(codes: Sequence[str] = (), *, path: str | Path = "", seed: int = 0) -> Task:
    """The task from a folder with files `xquad.<code>.json` (default: the open corpus `xquad`).

    Raises:
        UsageError: the files are not there, malformed, or not of the same articles.
    """
    folder = Path(path) if path else open_data.folder("xquad")
    files = {file.name.split(".")[1]: file for file in sorted(folder.glob("xquad.*.json"))}
    files = {languages.get(code).code: file for code, file in files.items()}
    chosen, unavailable = wanted(codes, files, "XQuAD")
    read = {code: articles(files[code]) for code in chosen}
    if not read:
        raise UsageError(f"{folder} has no file of {', '.join(codes) or 'any language'}")
    ids = {code: [[one.unit for one in own] for own in found] for code, found in read.items()}
    first = next(iter(ids))
    for code, own in ids.items():
        if own != ids[first]:
            raise UsageError(f"{files[code]} has other articles or questions than {files[first].name}; get both again")
    places = split_of(len(ids[first]), seed)
    splits = {
        code: {
            split: tuple(one for place in chosen_places for one in found[place])
            for split, chosen_places in places.items()
        }
        for code, found in read.items()
    }
    return Task("xquad", "answer", "squad_f1", splits, (), unavailable, list(NOTES))


def split_of(n: int, seed: int) -> dict[str, list[int]]:
    """Split -> numbers of its articles, drawn by a hash."""
    order = sorted(range(n), key=lambda place: rank(f"xquad:{place}", seed))
    ends = [max(1, round(SHARES["train"] * n)), max(2, round(sum(SHARES.values()) * n))]
    parts = (order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :])
    return {split: sorted(part) for split, part in zip(("train", "validation", "test"), parts, strict=True)}


def articles(file: Path) -> list[list[Answer]]:
    """The questions of each article of a file in SQuAD's format.

    Raises:
        UsageError: it can't be read, or an answer does not stand where it says.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))["data"]
        return [
            [
                _answer(file, paragraph["context"], one)
                for paragraph in article["paragraphs"]
                for one in paragraph["qas"]
            ]
            for article in data
        ]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UsageError(f"{file} is no SQuAD file; get it again with `langsim data fetch xquad`") from error


def _answer(file: Path, context: str, one: dict) -> Answer:
    answer = one["answers"][0]
    made = Answer(one["question"], context, answer["text"], answer["answer_start"], one["id"])
    if problem := made.problem():
        raise UsageError(f"{file}, question {one['id']}: {problem}")
    return made
