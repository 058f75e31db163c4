"""NTREX-128 (Federmann et al., 2022): 1,997 professionally translated news sentences, line-aligned.

Read from the folder that `LANGSIM_DATA` names, or from where `langsim data fetch ntrex` put it; never committed. A
document is the resampling unit and has one pool.
"""

from pathlib import Path

import pandas as pd

from langsim import languages, open_data, splits
from langsim.corpora.base import Corpus
from langsim.errors import UsageError

_AGAIN = "`langsim data fetch ntrex` gets it again"


def load() -> Corpus:
    """All languages of the registry that the folder has.

    Raises:
        UsageError: NTREX-128 is not there, or damaged; the line says how to get it.
    """
    path = open_data.folder("ntrex")
    documents = _lines(path / "DOCUMENT_IDS.tsv")
    ids = [f"ntrex:{number:04d}" for number in range(1, len(documents) + 1)]
    units = [f"ntrex:{line.split(chr(9))[0].strip()}" for line in documents]
    texts = {"en": _aligned(path / "newstest2019-src.eng.txt", ids)}
    for language in languages.all_languages():
        file = path / f"newstest2019-ref.{language.ntrex}.txt"
        if language.ntrex and language.code != "en" and file.exists():
            texts[language.code] = _aligned(file, ids)
    pools = splits.table()["pool"].reindex(units).fillna("UNSPLIT").to_numpy()
    items = pd.DataFrame({"domain": "news", "unit": units, "pool": pools}, index=ids)
    return Corpus("ntrex", items, texts, _notes(path))


def _notes(path: Path) -> dict[str, int]:
    """How many files a fetch that was interrupted has left out."""
    missing = [file for file in open_data.files("ntrex") if not (path.parent / file.file).exists()]
    return {"files not there (`langsim data fetch ntrex` gets them)": len(missing)} if missing else {}


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")  # not splitlines: a line may hold another separator
    except OSError as error:
        raise UsageError(f"{path} is missing: {_AGAIN}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 (byte {error.start}): {_AGAIN}") from error
    return lines[:-1] if lines[-1] == "" else lines


def _aligned(path: Path, ids: list[str]) -> dict[str, str]:
    lines = _lines(path)
    if len(lines) != len(ids):
        raise UsageError(f"{path} has {len(lines)} lines, expected {len(ids)}: {_AGAIN}")
    return {item: " ".join(line.split()) for item, line in zip(ids, lines, strict=True) if line.strip()}
