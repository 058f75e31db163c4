"""Named entities from Universal NER: persons, organisations, places in sentences of UD treebanks (IOB2).

Sentences are divided as those of `ud`, so that a sentence that both have is in no training split of the one and test
split of the other within a language's own treebank.
"""

from collections.abc import Sequence
from pathlib import Path

import regex

from langsim import open_data
from langsim.errors import UsageError
from langsim.tasks.base import Task, Tokens
from langsim.tasks.treebanks import code_of, divided, wanted

TAGS = ("O", *(f"{mark}-{kind}" for kind in ("PER", "ORG", "LOC") for mark in "BI"))
_FILE = regex.compile(r"(?P<code>[a-z]+)_(?P<treebank>\w+)-ud-(?P<split>dev|test)\.iob2")
NOTES = (
    "Training and validation are 450 and 50 sentences of the dev split; German and Russian have a test split alone.",
    "Other entities (OTH), which few treebanks have, count as none.",
)


def load(codes: Sequence[str] = (), *, path: str | Path = "") -> Task:
    """The task from a folder with files `<code>_<treebank>-ud-<dev|test>.iob2` (default: the open corpus `uner`).

    Raises:
        UsageError: the files are not there, or malformed.
    """
    folder = Path(path) if path else open_data.folder("uner")
    files: dict[tuple[str, str], Path] = {}
    for file in sorted(folder.glob("*.iob2")):
        match = _FILE.fullmatch(file.name)
        code = code_of(match["code"], match["treebank"]) if match else ""
        if code:
            files.setdefault((code, match["split"]), file)
    chosen, unavailable = wanted(codes, {code: None for code, split in files if split == "test"}, "Universal NER")
    read = {key: sentences(file) for key, file in files.items() if key[0] in chosen}
    test = {code: own for (code, split), own in read.items() if split == "test"}
    if not test:
        raise UsageError(f"{folder} has no test file of {', '.join(codes) or 'any language'}")
    dev = {code: own for (code, split), own in read.items() if split == "dev"}
    return Task("uner", "tokens", "entity_f1", divided(dev, test), TAGS, unavailable, list(NOTES))


def sentences(file: Path) -> list[Tokens]:
    """The sentences of one file: number, word, tag, parted by tabs; an empty line after each.

    Raises:
        UsageError: a malformed line, with its number.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} can't be read; get it again with `langsim data fetch uner`") from error
    made, rows, start = [], [], 1
    for number, line in enumerate([*lines, ""], start=1):
        if line.startswith("#") and "\t" not in line:
            continue
        if line.strip():
            parts = line.split("\t")
            tag = "O" if len(parts) > 2 and parts[2][2:] == "OTH" else parts[2] if len(parts) > 2 else ""
            if len(parts) < 3 or tag not in TAGS or not parts[1].strip():
                raise UsageError(
                    f"{file}:{number}: expected number, word and IOB2 tag parted by tabs, got {line[:40]!r}"
                )
            start = start if rows else number
            rows.append((parts[1], tag))
        elif rows:
            words, tags = zip(*rows, strict=True)
            made.append(Tokens(words, tags, f"{file.stem}:{start}"))
            rows = []
    return made
