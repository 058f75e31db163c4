"""Typology: URIEL's vectors of languages, and distances between them (Littell et al. 2017).

Syntax, phonology and phoneme inventories, gaps filled by URIEL's k nearest neighbours, as the package `lang2vec` ships
them. Its data is read, its code is not run.
"""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from langsim import languages
from langsim.errors import UsageError

KINDS = {"syntax": "S_", "phonology": "P_", "inventory": "INV_"}


@cache
def _features() -> pd.DataFrame:
    """(languages by ISO 639-3, features) float32 in [0, 1]."""
    with np.load(str(files("lang2vec") / "data" / "feature_predictions.npz"), allow_pickle=False) as stored:
        return pd.DataFrame(stored["data"][:, :, 0], index=stored["langs"], columns=stored["feats"])


def available(codes: Sequence[str]) -> list[str]:
    """Those of `codes` that URIEL describes."""
    return [code for code in codes if languages.get(code).uriel in _features().index]


def vectors(codes: Sequence[str], kinds: Sequence[str] = tuple(KINDS)) -> pd.DataFrame:
    """(L, features) of the kinds asked for, side by side.

    Raises:
        UsageError: no such kind, or a language that URIEL lacks (never a default in its place).
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"no features of kind {kind!r} in URIEL; kinds: {', '.join(KINDS)}")
    missing = [code for code in codes if code not in available(codes)]
    if missing:
        raise UsageError(f"URIEL has no data for {', '.join(missing)}; leave them out")
    found = _features().loc[[languages.get(code).uriel for code in codes]]
    found.index = pd.Index(codes)
    chosen = [name for kind in kinds for name in found.columns if name.startswith(KINDS[kind])]
    return found[chosen]


def distances(codes: Sequence[str], kinds: Sequence[str] = tuple(KINDS)) -> pd.DataFrame:
    """(L, L) cosine distance of the vectors, 0 = alike; errors as of `vectors`."""
    found = vectors(codes, kinds)
    values = cdist(found, found, "cosine")
    np.fill_diagonal(values, 0.0)
    return pd.DataFrame(values, index=found.index, columns=found.index)
