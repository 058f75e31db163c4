"""NTREX-128 (Federmann et al., 2022): 1,997 professionally translated news sentences, line-aligned.

Read from the folder that `LANGSIM_DATA` names; never committed. A document is the resampling unit and has one pool.
"""

import os
from pathlib import Path

import pandas as pd

from langsim import languages, splits
from langsim.corpora.base import Corpus
from langsim.errors import UsageError


def folder() -> Path:
    """Where NTREX-128 lies: `$LANGSIM_DATA/ntrex128`.

    Raises:
        UsageError: the variable is not set, or the folder is not there.
    """
    root = os.environ.get("LANGSIM_DATA", "")
    if not root:
        raise UsageError("the corpus 'ntrex' needs LANGSIM_DATA: set it to a folder that holds ntrex128/")
    path = Path(root).expanduser() / "ntrex128"
    if not path.is_dir():
        raise UsageError(f"the corpus 'ntrex' is not in {path.parent}: no folder ntrex128 there")
    return path


def load() -> Corpus:
    """All languages of the registry that the folder has."""
    path = folder()
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
    return Corpus("ntrex", items, texts)


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")  # not splitlines: a line may hold another separator
    except OSError as error:
        raise UsageError(f"{path} is missing: fetch NTREX-128 again") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 (byte {error.start}): fetch NTREX-128 again") from error
    return lines[:-1] if lines[-1] == "" else lines


def _aligned(path: Path, ids: list[str]) -> dict[str, str]:
    lines = _lines(path)
    if len(lines) != len(ids):
        raise UsageError(f"{path} has {len(lines)} lines, expected {len(ids)}: fetch NTREX-128 again")
    return {item: " ".join(line.split()) for item, line in zip(ids, lines, strict=True) if line.strip()}
