"""Parts of speech from Universal Dependencies treebanks (CoNLL-U, read by the `conllu` library)."""

from collections.abc import Sequence
from pathlib import Path

import conllu
import regex
from conllu.exceptions import ParseException

from langsim import open_data
from langsim.errors import UsageError
from langsim.tasks.base import Task, Tokens
from langsim.tasks.treebanks import code_of, divided, wanted

OPEN, CLOSED = (
    ("ADJ", "ADV", "INTJ", "NOUN", "PROPN", "VERB"),
    ("ADP", "AUX", "CCONJ", "DET", "NUM", "PART", "PRON", "SCONJ"),
)
UPOS = (*OPEN, *CLOSED, "PUNCT", "SYM", "X")
FIELDS = ("id", "form", "lemma", "upos")  # the columns that are read
_FILE = regex.compile(r"(?P<code>[a-z]+)_(?P<treebank>\w+)-ud-(?P<split>dev|test)\.conllu")
NOTES = ("Training and validation are 450 and 50 sentences of a treebank's dev split.",)


def load(codes: Sequence[str] = (), *, path: str | Path = "") -> Task:
    """The task from a folder with files `<code>_<treebank>-ud-<dev|test>.conllu` (default: the open corpus `ud`).

    Raises:
        UsageError: the files are not there, or malformed.
    """
    folder = Path(path) if path else open_data.folder("ud")
    files = found(folder)
    chosen, unavailable = wanted(codes, {code: None for code, split in files if split == "test"}, "UD")
    read = {(code, split): sentences(file) for (code, split), file in files.items() if code in chosen}
    dev = {code: own for (code, split), own in read.items() if split == "dev"}
    test = {code: own for (code, split), own in read.items() if split == "test"}
    if not test:
        raise UsageError(f"{folder} has no test file of {', '.join(codes) or 'any language'}")
    return Task("ud-pos", "tokens", "token_f1", divided(dev, test), UPOS, unavailable, list(NOTES))


def found(folder: Path) -> dict[tuple[str, str], Path]:
    """(language, split) -> file; of several treebanks of a language the first by name."""
    files: dict[tuple[str, str], Path] = {}
    for file in sorted(folder.glob("*.conllu")):
        match = _FILE.fullmatch(file.name)
        code = code_of(match["code"], match["treebank"]) if match else ""
        if code:
            files.setdefault((code, match["split"]), file)
    return files


def sentences(file: Path) -> list[Tokens]:
    """The sentences of one file; ranges (1-2) and empty nodes (1.1) are skipped.

    Raises:
        UsageError: it can't be read, with the reason; a word without a part of speech.
    """
    try:
        parsed = conllu.parse(file.read_text(encoding="utf-8"), fields=FIELDS)
    except (OSError, UnicodeDecodeError, ParseException) as error:
        raise UsageError(f"{file}: {str(error).splitlines()[0]}; get it again with `langsim data fetch ud`") from error
    made = []
    for number, sentence in enumerate(parsed, start=1):
        words = [token for token in sentence if isinstance(token["id"], int)]
        odd = next((token for token in words if token["upos"] not in UPOS), None)
        name = sentence.metadata.get("sent_id", str(number))
        if odd is not None:
            raise UsageError(f"{file}, sentence {name}: {odd['form']!r} is tagged {odd['upos']!r}, no part of speech")
        if words:
            made.append(Tokens(tuple(t["form"] for t in words), tuple(t["upos"] for t in words), f"{file.stem}:{name}"))
    return made
