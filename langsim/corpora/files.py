"""Your own text: TSV, JSONL, or two aligned text files per pair.

    my.tsv              a header of language codes (and, if you like, `item`, `domain`, `pool`), one item a line
    my.jsonl            one object a line: {"en": "...", "gl": "..."} or {"translation": {"en": "...", "gl": "..."}}
    news.gl-en.gl       two files of equal length, line by line (Moses and OPUS naming)
    news.gl-en.en

A file, or a folder of such files. A line that can't be used is counted and reported with its file and line.
The column that names an item is called `item`: `id` is Indonesian.
Without a `pool` column, pools are drawn by the English text (80% FINETUNE, 10% DEV, 10% TEST), so that the same
sentence is in the same pool in every language.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import regex

from langsim import languages, splits
from langsim.corpora.base import Corpus
from langsim.errors import UsageError
from langsim.suggest import unknown

SHARES = {"FINETUNE": 0.8, "DEV": 0.1, "TEST": 0.1}
_FIELDS = ("item", "domain", "pool")
_PAIR = regex.compile(r"(?P<stem>.+)\.(?P<a>[A-Za-z_-]+?)-(?P<b>[A-Za-z_]+(?:-[A-Z][a-z]{3})?)\.(?P<side>[A-Za-z_-]+)")
_NOT_TEXT = ("", ".md", ".txt", ".json")  # what lies beside data: a README, a licence, a description


@dataclass(frozen=True)
class Record:
    """One usable line: where it stands, its texts by language code, and those of `_FIELDS` that were given."""

    where: str
    texts: dict[str, str]
    fields: dict[str, str]


@dataclass
class Reading:
    """What could not be used while reading."""

    lines: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    repeated: int = 0

    def notes(self) -> dict[str, int]:
        counts = {
            "malformed lines": len(self.lines),
            "files not read": len(self.files),
            "repeated texts (the first translation is kept)": self.repeated,
        }
        return {reason: count for reason, count in counts.items() if count}


def load(path: str = "") -> Corpus:
    """The corpus in a file or folder.

    Raises:
        UsageError: no path, nothing there, nothing readable in it, or no item in two languages.
    """
    if not path:
        raise UsageError("the corpus 'files' needs a path: give data=<file or folder>")
    root = Path(path).expanduser()
    if not root.exists():
        raise UsageError(f"no such file or folder: {root}")
    reading = Reading()
    items: dict[str, tuple[str, str, str]] = {}
    texts: dict[str, dict[str, str]] = {}
    for record in _records(root, reading):
        _add(record, items, texts, reading)
    problems = reading.lines + reading.files
    if not items:
        detail = f" ({problems[0]})" if problems else ""
        raise UsageError(f"the corpus in {root} is empty: no item in two languages{detail}")
    table = pd.DataFrame.from_dict(items, orient="index", columns=["domain", "unit", "pool"])
    return Corpus("files", table, texts, reading.notes(), problems)


def _add(
    record: Record, items: dict[str, tuple[str, str, str]], texts: dict[str, dict[str, str]], reading: Reading
) -> None:
    """Put a record where its item is. The same English text is the same item, whichever file it came from: that is
    what aligns pair files with each other."""
    pivot = "en" if "en" in record.texts else next(iter(record.texts))
    key = splits.normalise(record.texts[pivot])
    named = f"{pivot}:{record.texts[pivot]}"
    item = record.fields.get("item") or hashlib.blake2b(named.encode(), digest_size=8).hexdigest()
    known = {code: texts[code][item] for code in record.texts if item in texts.get(code, {})}
    if pivot in known and splits.normalise(known[pivot]) != key:
        reading.lines.append(f"{record.where}: item {item!r} stands for another text already; not read")
        return
    pool = record.fields.get("pool") or splits.draw(key, SHARES)
    items.setdefault(item, (record.fields.get("domain") or "text", key, pool))
    if len(known) == len(record.texts) or any(record.texts[code] != text for code, text in known.items()):
        reading.repeated += 1
    for code, text in record.texts.items():
        texts.setdefault(code, {}).setdefault(item, text)


def _records(root: Path, reading: Reading) -> Iterator[Record]:
    if root.is_dir():
        for file in sorted(file for file in root.iterdir() if file.is_file() and not file.name.startswith(".")):
            match = _PAIR.fullmatch(file.name)
            if match and match["side"] == match["b"] != match["a"] and _half(file, match, "a").exists():
                continue  # read together with the other half
            if _readable(file):
                yield from _file(file, reading)
            elif file.suffix.lower() not in _NOT_TEXT:
                reading.files.append(f"{file.name}: not a .tsv, .jsonl, or NAME.xx-yy.xx file; not read")
    elif _readable(root):
        yield from _file(root, reading)
    else:
        raise UsageError(f"{root.name} is not a .tsv, .jsonl, or NAME.xx-yy.xx file: rename or convert it")


def _readable(file: Path) -> bool:
    match = _PAIR.fullmatch(file.name)
    return file.suffix in (".tsv", ".jsonl", ".ndjson") or bool(match and match["side"] in (match["a"], match["b"]))


def _file(file: Path, reading: Reading) -> Iterator[Record]:
    if file.suffix == ".tsv":
        rows = _tsv(file, reading)
    elif file.suffix in (".jsonl", ".ndjson"):
        rows = _jsonl(file, reading)
    else:
        rows = _aligned(file, _PAIR.fullmatch(file.name))
    for number, row in rows:
        where = f"{file.name}:{number}"
        fields = {name: row.pop(name) for name in _FIELDS if name in row}
        texts = {code: " ".join(text.split()) for code, text in row.items() if text.strip()}
        problem = _problem(texts)
        if problem:
            reading.lines.append(f"{where}: {problem}")
        elif fields.get("pool") and fields["pool"] not in splits.POOLS:
            raise UsageError(f"{where}: pool: {unknown(fields['pool'], splits.POOLS)}")
        else:
            yield Record(where, texts, fields)


def _problem(texts: dict[str, str]) -> str:
    """Why a line can't be used, or an empty string."""
    if "id" in texts and not regex.search(r"\p{L}", texts["id"]):
        return "the column 'id' is Indonesian and holds no word; a column that names items is called 'item'"
    if len(texts) < 2:
        return "text in fewer than two languages"
    if any(regex.search(r"\p{Cs}", text) for text in texts.values()):
        return "half a surrogate pair (broken \\u escape)"
    return ""


def _tsv(file: Path, reading: Reading) -> Iterator[tuple[int, dict[str, str]]]:
    lines = _read(file)
    if not lines:
        return
    columns = _columns((name.strip() for name in lines[0].split("\t")), f"{file.name}:1")
    for number, line in enumerate(lines[1:], start=2):
        values = [value.strip() for value in line.split("\t")]
        if len(values) != len(columns):
            reading.lines.append(f"{file.name}:{number}: {len(values)} columns, expected {len(columns)}")
        else:
            yield number, dict(zip(columns, values, strict=True))


def _jsonl(file: Path, reading: Reading) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(_read(file), start=1):
        where = f"{file.name}:{number}"
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            reading.lines.append(f"{where}: not JSON ({getattr(error, 'msg', 'too deep')})")
            continue
        if isinstance(value, dict) and isinstance(value.get("translation"), dict):
            value |= value.pop("translation")
        if isinstance(value, dict):
            value = {name: text for name, text in value.items() if text is not None}
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            reading.lines.append(f'{where}: expected an object of strings, such as {{"en": "...", "gl": "..."}}')
            continue
        columns = _columns(value, where)
        yield number, dict(zip(columns, (text.strip() for text in value.values()), strict=True))


def _aligned(file: Path, match: regex.Match) -> Iterator[tuple[int, dict[str, str]]]:
    halves = [_half(file, match, side) for side in ("a", "b")]
    for half in halves:
        if not half.exists():
            raise UsageError(f"{file.name} lacks its other half {half.name}")
    columns = _columns((match["a"], match["b"]), file.name)
    left, right = map(_read, halves)
    if len(left) != len(right):
        names = [half.name for half in halves]
        raise UsageError(f"{names[0]} has {len(left)} lines and {names[1]} {len(right)}: they must be aligned")
    for number, texts in enumerate(zip(left, right, strict=True), start=1):
        yield number, dict(zip(columns, texts, strict=True))


def _half(file: Path, match: regex.Match, side: str) -> Path:
    return file.with_name(f"{match['stem']}.{match['a']}-{match['b']}.{match[side]}")


def _columns(names: Iterable[str], where: str) -> list[str]:
    """Canonical codes, or names of `_FIELDS`.

    Raises:
        UsageError: an unknown language, or two columns for one.
    """
    try:
        columns = [name if name in _FIELDS else languages.get(name).code for name in names]
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise UsageError(f"{where}: two columns for {', '.join(twice)}; keep one")
    return columns


def _read(file: Path) -> list[str]:
    """Lines, split at line feeds alone: a stray carriage return must not shift one half of a pair."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 (byte {error.start}): convert it first") from error
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines
