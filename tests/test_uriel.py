"""URIEL's vectors and distances."""

import numpy as np
import pytest

from langsim import languages, pools, uriel
from langsim.errors import UsageError


def test_vectors_are_shares_between_0_and_1_of_the_kinds_asked_for():
    found = uriel.vectors(["fa", "hi"])
    assert found.shape[1] == sum(uriel.vectors(["fa"], [kind]).shape[1] for kind in uriel.KINDS) == 289
    assert found.to_numpy().min() >= 0 and found.to_numpy().max() <= 1 and not found.isna().any(axis=None)
    assert found.loc["hi", "S_SOV"] == 1 and uriel.vectors(["de"]).loc["de", "S_SVO"] == 1


def test_distances_are_the_cosines_and_know_relatives():
    codes = pools.pool("ted17")
    found, vectors = uriel.distances(codes), uriel.vectors(codes)
    a, b = (vectors.loc[code].to_numpy(dtype=float) for code in ("fa", "tr"))
    assert found.loc["fa", "tr"] == pytest.approx(1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    assert np.allclose(found, found.T) and (np.diag(found) == 0).all()
    near = found.replace(0.0, np.nan).idxmin()
    assert near["id"] == "ms" and near["uk"] in ("be", "bg", "sr", "hr", "sk")


def test_what_is_not_there_is_said():
    every = [language.code for language in languages.all_languages()]
    assert set(pools.pool("ted17")) <= set(uriel.available(every))
    with pytest.raises(UsageError, match="no features of kind 'geography'"):
        uriel.vectors(["fa"], ["geography"])
    with pytest.raises(UsageError, match="xx"):
        uriel.vectors(["xx"])
