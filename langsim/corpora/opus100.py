"""OPUS-100 (Zhang et al., 2020): pairs of a language and English, up to a million each, from many sources.

From the hub (`Helsinki-NLP/opus-100`), or from a local folder with its layout (`en-fr/train-00000-of-00001.parquet`).
Every pair of languages has sentences of its own, so that no item is there in three languages: what compares languages
on the same content has to do without. Train is the pool FINETUNE, validation DEV, test TEST.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from heapq import nsmallest

import pandas as pd
from tqdm import tqdm

from langsim import languages as registry
from langsim import splits
from langsim.corpora import hub
from langsim.corpora.base import Corpus
from langsim.errors import UsageError
from langsim.matching import rank

REPOSITORY = "Helsinki-NLP/opus-100"

# Its codes are those of the registry. Left out: an as li se wa, which the registry lacks; sh, which is several
# languages; nb, which is also in `no`.
LANGUAGES = """
    af am ar az be bg bn br bs ca cs cy da de dz el eo es et eu fa fi fr fy ga gd gl gu ha he hi hr hu hy id ig is it
    ja ka kk km kn ko ku ky lt lv mg mk ml mn mr ms mt my ne nl nn no oc or pa pl ps pt ro ru rw si sk sl sq sr sv ta
    te tg th tk tr tt ug uk ur uz vi xh yi yo zh zu
"""


def load(path: str = "", languages: Sequence[str] = (), max_items: int = 0, seed: int = 0) -> Corpus:
    """The pairs of the given languages with English.

    Of each split of each pair at most `max_items` are kept (0: all, about half a GB of memory for a million): the very
    ones that `langsim.matching.match` would draw with this seed.

    Raises:
        UsageError: no language given, one that OPUS-100 lacks, or nothing in `path` that can be read.
        Failure: the hub can't be reached.
    """
    codes = [code for code in registry.resolve(languages) if code != "en"]
    if not codes:
        raise UsageError("the corpus 'opus100' is read by language: name them, such as languages=['fr', 'de']")
    lacking = [code for code in codes if code not in LANGUAGES.split()]
    if lacking:
        raise UsageError(f"corpus 'opus100' has no text in {', '.join(lacking)}; leave it out")
    return _load(path, hub.state(path), tuple(codes), max_items, seed)


@lru_cache(maxsize=1)
def _load(path: str, state: tuple, codes: tuple[str, ...], max_items: int, seed: int) -> Corpus:
    notes: Counter = Counter()
    items: dict[str, tuple[str, str, str]] = {}
    texts: dict[str, dict[str, str]] = {"en": {}}
    for code in tqdm(codes, desc="OPUS-100", unit=" languages", disable=None, leave=False):
        texts[code] = {}
        pair = "-".join(sorted(("en", code)))
        for split, rows in hub.splits(REPOSITORY, ("translation",), path=path, config=pair).items():
            usable = _usable(rows, code, f"opus100:{pair}:{split}", notes)
            kept = nsmallest(max_items, usable, key=lambda row: rank(row[0], seed)) if max_items else usable
            for item, english, text in sorted(kept):
                items[item] = ("opus", splits.normalise(english), hub.POOLS[split])
                texts["en"][item], texts[code][item] = english, text
    if not items:
        raise UsageError(f"no sentence in {', '.join(codes)} and English in {path or REPOSITORY}")
    table = pd.DataFrame.from_dict(items, orient="index", columns=["domain", "unit", "pool"])
    return Corpus("opus100", table, texts, notes, warnings=hub.script_warnings(texts, "opus100"))


def _usable(rows: hub.Rows, code: str, name: str, notes: Counter) -> Iterator[tuple[str, str, str]]:
    """(item, English, text) of the rows that have text on both sides."""
    for number, row in enumerate(rows, start=1):
        english, text = (" ".join((row["translation"].get(side) or "").split()) for side in ("en", code))
        if english and text:
            yield f"{name}:{number:07d}", english, text
        else:
            notes["no text on one side"] += 1
