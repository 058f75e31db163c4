"""Your own text: TSV, JSONL, or two aligned text files per pair.

    my.tsv              a header of language codes (and, if you like, `id`, `domain`, `pool`), one item a line
    my.jsonl            one object a line: {"en": "...", "gl": "..."} or {"translation": {"en": "...", "gl": "..."}}
    news.gl-en.gl       two files of equal length, line by line (Moses and OPUS naming)
    news.gl-en.en

A file, or a folder of such files. A line that can't be used is counted and reported with its file and line.
Without a `pool` column, pools are drawn by the English text (80% FINETUNE, 10% DEV, 10% TEST), so that the same
sentence is in the same pool in every language.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import regex

from langsim import languages, splits
from langsim.corpora.base import Corpus
from langsim.errors import UsageError

SHARES = {"FINETUNE": 0.8, "DEV": 0.1, "TEST": 0.1}
_FIELDS = ("id", "domain", "pool")
_PAIR = regex.compile(r"(?P<stem>.+)\.(?P<a>[A-Za-z_-]+?)-(?P<b>[A-Za-z_]+(?:-[A-Z][a-z]{3})?)\.(?P<side>[A-Za-z_-]+)")

Record = tuple[dict[str, str], dict[str, str]]  # texts by language code; id, domain, pool where given


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
    sources = [root] if root.is_file() else sorted(file for file in root.iterdir() if file.is_file())
    problems: list[str] = []
    records = [record for file in sources for record in _records(file, problems)]
    texts: dict[str, dict[str, str]] = {}
    facts: dict[str, tuple[str, str, str]] = {}
    for item_texts, fields in records:
        pivot = item_texts.get("en") or next(iter(item_texts.values()))
        key = splits.normalise(pivot)
        # The same English text is the same item, whichever file it came from: that is what aligns pair files.
        item = fields.get("id") or hashlib.blake2b(pivot.encode(), digest_size=8).hexdigest()
        pool = fields.get("pool") or splits.draw(key, SHARES)
        facts.setdefault(item, (fields.get("domain") or "text", key, pool))
        for code, text in item_texts.items():
            texts.setdefault(code, {}).setdefault(item, text)
    if not records:
        detail = f" ({problems[0]})" if problems else ""
        raise UsageError(f"the corpus in {root} is empty: no item in two languages{detail}")
    items = pd.DataFrame.from_dict(facts, orient="index", columns=["domain", "unit", "pool"])
    return Corpus("files", items, texts, {"malformed lines": len(problems)} if problems else {}, problems)


def _records(file: Path, problems: list[str]) -> Iterator[Record]:
    if file.suffix == ".tsv":
        yield from _tsv(file, problems)
    elif file.suffix in (".jsonl", ".ndjson"):
        yield from _jsonl(file, problems)
    elif match := _PAIR.fullmatch(file.name):
        if match["side"] == match["a"]:  # the other side is read together with this one
            yield from _aligned(file, match, problems)
        elif not file.with_name(f"{match['stem']}.{match['a']}-{match['b']}.{match['a']}").exists():
            raise UsageError(f"{file.name} lacks its other half {match['stem']}.{match['a']}-{match['b']}.{match['a']}")
    elif file.suffix.lower() not in (".md", ".txt", ".json", ""):
        problems.append(f"{file.name}: not a .tsv, .jsonl, or NAME.xx-yy.xx file; not read")


def _tsv(file: Path, problems: list[str]) -> Iterator[Record]:
    lines = _read(file)
    if not lines:
        return
    header = [name.strip() for name in lines[0].split("\t")]
    columns = [name if name in _FIELDS else languages.get(name).code for name in header]
    for number, line in enumerate(lines[1:], start=2):
        values = [value.strip() for value in line.split("\t")]
        if len(values) != len(columns):
            problems.append(f"{file.name}:{number}: {len(values)} columns, expected {len(columns)}")
            continue
        row = dict(zip(columns, values, strict=True))
        yield from _usable(row, f"{file.name}:{number}", problems)


def _jsonl(file: Path, problems: list[str]) -> Iterator[Record]:
    for number, line in enumerate(_read(file), start=1):
        where = f"{file.name}:{number}"
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"{where}: not JSON ({error.msg})")
            continue
        if isinstance(value, dict):
            value = {**value, **value["translation"]} if isinstance(value.get("translation"), dict) else value
            value.pop("translation", None)
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            problems.append(f'{where}: expected an object of strings, such as {{"en": "...", "gl": "..."}}')
            continue
        row = {name if name in _FIELDS else languages.get(name).code: text.strip() for name, text in value.items()}
        yield from _usable(row, where, problems)


def _aligned(first: Path, match: regex.Match, problems: list[str]) -> Iterator[Record]:
    second = first.with_name(f"{match['stem']}.{match['a']}-{match['b']}.{match['b']}")
    if not second.exists():
        raise UsageError(f"{first.name} lacks its other half {second.name}")
    left, right = _read(first), _read(second)
    if len(left) != len(right):
        raise UsageError(f"{first.name} has {len(left)} lines and {second.name} {len(right)}: they must be aligned")
    codes = [languages.get(match["a"]).code, languages.get(match["b"]).code]
    for number, texts in enumerate(zip(left, right, strict=True), start=1):
        row = dict(zip(codes, (text.strip() for text in texts), strict=True))
        yield from _usable(row, f"{first.name}:{number}", problems)


def _usable(row: dict[str, str], where: str, problems: list[str]) -> Iterator[Record]:
    fields = {name: row.pop(name) for name in _FIELDS if name in row}
    texts = {code: " ".join(text.split()) for code, text in row.items() if text.strip()}
    if len(texts) < 2:
        problems.append(f"{where}: text in fewer than two languages")
    else:
        yield texts, fields


def _read(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 (byte {error.start}): convert it first") from error
    lines = text.split("\n")
    return lines[:-1] if lines and lines[-1] == "" else lines
