"""Your own labelled data: a folder with one file for each split and language.

    train.de.conll       words and tags: a word a line, an empty line after each sentence; the first column is the
                         word, the last the tag, parted by a tab or by spaces
    train.de.conllu      CoNLL-U: FORM and UPOS; comments, ranges (1-2) and empty nodes (1.1) are skipped
    train.de.tsv         text, label; or text, text, label; no header
    train.de.jsonl       {"question": ..., "context": ..., "answer": ..., "start": 12}, where `start` may be left out
                         if the answer stands in the context once; or SQuAD's "answers": {"text": [...],
                         "answer_start": [...]}, whose first answer is taken
    labels.txt           the whole label set, a label a line, where some language lacks some of it

Splits are `train`, `validation` (or `dev`) and `test`; a language that is only a target needs `test` alone. The first
malformed line stops the reading with its file and line: a label that slipped by a column would make numbers that
look right.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from langsim import languages
from langsim.errors import UsageError
from langsim.suggest import unknown
from langsim.tasks.base import SPLITS, Answer, Example, Pair, Task, Tokens
from langsim.tasks.ud import UPOS

LABELS = "labels.txt"
_SPLITS = {**{split: split for split in SPLITS}, "dev": "validation", "valid": "validation"}


def load(path: str | Path, *, labels: Sequence[str] = (), metric: str = "", name: str = "") -> Task:
    """The task in a folder.

    Args:
        labels: the whole label set. Without it, that of `labels.txt`; for CoNLL-U all universal parts of speech;
            else all languages have to have the same labels.
        metric: default `entity_f1` for tags of the form B-X/I-X/O, `token_f1` for others, `accuracy` for labels,
            `squad_f1` for answers.
        name: default the folder's name.

    Raises:
        UsageError: nothing readable, files of several kinds, an unknown language, or a malformed line.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder}")
    files = [file for file in sorted(folder.iterdir()) if file.suffix in _READERS and not file.name.startswith(".")]
    if not files:
        raise UsageError(f"{folder} has no file named <split>.<language>.<{'|'.join(s[1:] for s in _READERS)}>")
    kinds = {_READERS[file.suffix][0]: file.name for file in files}
    if len(kinds) > 1:
        raise UsageError(f"{folder} has files of several kinds ({', '.join(kinds.values())}); make a folder of each")
    splits: dict[str, dict[str, tuple[Example, ...]]] = {}
    for file in files:
        split, code = _named(file)
        if split in splits.setdefault(code, {}):
            raise UsageError(f"{file}: a second file for the {split} split of '{code}'; keep one")
        splits[code][split] = _read(file)
    kind = next(iter(kinds))
    everything = tuple(labels) or _label_set(folder, files, splits)
    return Task(name or folder.name, kind, metric or _metric(kind, splits), splits, everything)


def _label_set(folder: Path, files: Sequence[Path], splits: dict) -> tuple[str, ...]:
    """What `labels.txt` lists; else the universal parts of speech of CoNLL-U, if no other is used; else nothing."""
    listed = folder / LABELS
    if not listed.is_file():
        used = {label for own in splits.values() for found in own.values() for one in found for label in one.labels()}
        return UPOS if used <= set(UPOS) and all(file.suffix == ".conllu" for file in files) else ()
    found = [line.strip() for line in listed.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if not found or len(set(found)) < len(found):
        raise UsageError(f"{listed}: {'a label is listed twice' if found else 'no label in it'}; write each in a line")
    return tuple(found)


def _named(file: Path) -> tuple[str, str]:
    parts = file.name.split(".")
    if len(parts) != 3:
        raise UsageError(f"{file}: name it <split>.<language>{file.suffix}, as in train.de{file.suffix}")
    if parts[0] not in _SPLITS:
        raise UsageError(f"{file}: split: {unknown(parts[0], _SPLITS)}")
    try:
        return _SPLITS[parts[0]], languages.get(parts[1]).code
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error


def _read(file: Path) -> tuple[Example, ...]:
    try:
        lines = file.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 (byte {error.start}): convert it first") from error
    found = []
    for number, one in _READERS[file.suffix][1](file, [line.rstrip("\r") for line in lines]):
        if one.problem():
            raise UsageError(f"{file}:{number}: {one.problem()}")
        found.append(one)
    if not found:
        raise UsageError(f"{file} is empty: no example in it")
    return tuple(found)


def _conll(file: Path, lines: list[str]) -> Iterator[tuple[int, Tokens]]:
    def columns(number: int, line: str) -> tuple[str, str]:
        parts = line.split("\t") if "\t" in line else line.split()
        if len(parts) < 2 or not parts[0] or not parts[-1]:
            raise UsageError(f"{file}:{number}: expected a word and a tag, got {line!r}")
        return parts[0], parts[-1]

    return _sentences(file, lines, columns, skip=lambda line: line.startswith("-DOCSTART-"))


def _conllu(file: Path, lines: list[str]) -> Iterator[tuple[int, Tokens]]:
    def columns(number: int, line: str) -> tuple[str, str]:
        parts = line.split("\t")
        if len(parts) != 10:
            raise UsageError(f"{file}:{number}: expected the 10 columns of CoNLL-U, got {len(parts)}")
        return parts[1], parts[3]

    def skip(line: str) -> bool:
        number = line.split("\t")[0]
        return line.startswith("#") or "-" in number or "." in number

    return _sentences(file, lines, columns, skip)


def _sentences(
    file: Path, lines: list[str], columns: Callable[[int, str], tuple[str, str]], skip: Callable[[str], bool]
) -> Iterator[tuple[int, Tokens]]:
    rows: list[tuple[str, str]] = []
    start = 1
    for number, line in enumerate([*lines, ""], start=1):
        if line.strip():
            if not skip(line):
                start = start if rows else number
                rows.append(columns(number, line))
        elif rows:
            words, tags = zip(*rows, strict=True)
            yield start, Tokens(words, tags, f"{file.name}:{start}")
            rows = []


def _tsv(file: Path, lines: list[str]) -> Iterator[tuple[int, Pair]]:
    width = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parts = line.split("\t")
        width = width or len(parts)
        if len(parts) not in (2, 3) or len(parts) != width:
            expected = str(width) if width in (2, 3) else "2 (text, label) or 3 (text, text, label)"
            raise UsageError(f"{file}:{number}: expected {expected} columns parted by tabs, got {len(parts)}")
        if not all(part.strip() for part in parts):
            raise UsageError(f"{file}:{number}: an empty column")
        yield number, Pair(parts[0], parts[1] if width == 3 else "", parts[-1].strip(), f"{file.name}:{number}")


def _jsonl(file: Path, lines: list[str]) -> Iterator[tuple[int, Answer]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{where}: not JSON ({error})") from error
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("question", "context")):
            raise UsageError(f"{where}: expected an object with the texts 'question' and 'context'")
        answer, start = _answer(where, row)
        unit = str(row.get("unit") or row.get("id") or f"{file.name}:{number}")
        yield number, Answer(row["question"], row["context"], answer, start, unit)


def _answer(where: str, row: dict[str, Any]) -> tuple[str, int]:
    answers = row.get("answers")
    if isinstance(answers, dict) and answers.get("text") and answers.get("answer_start"):
        answer, start = answers["text"][0], answers["answer_start"][0]
    else:
        answer, start = row.get("answer"), row.get("start")
    if not isinstance(answer, str) or not answer:
        raise UsageError(f"{where}: no 'answer' (a text), and no SQuAD 'answers'")
    if start is None:
        times = row["context"].count(answer)
        if times != 1:
            raise UsageError(f"{where}: the answer stands {times} times in the context; say where with 'start'")
        start = row["context"].index(answer)
    if not isinstance(start, int):
        raise UsageError(f"{where}: 'start' is {start!r}, not a number of characters")
    return answer, start


def _metric(kind: str, splits: dict[str, dict[str, tuple[Example, ...]]]) -> str:
    if kind != "tokens":
        return {"pair": "accuracy", "answer": "squad_f1"}[kind]
    tags = {tag for own in splits.values() for found in own.values() for one in found for tag in one.labels()}
    return "entity_f1" if all(tag == "O" or tag[:2] in ("B-", "I-") for tag in tags) else "token_f1"


_READERS: dict[str, tuple[str, Callable[[Path, list[str]], Iterator[tuple[int, Example]]]]] = {
    ".conll": ("tokens", _conll),
    ".conllu": ("tokens", _conllu),
    ".tsv": ("pair", _tsv),
    ".jsonl": ("answer", _jsonl),
}
