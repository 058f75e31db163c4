"""What a task must show before it decides anything."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from xsns_tiny import blind_task

from langsim.tasks.base import Task
from langsim.xsns import ranking_study


def scores_of(task, own, others, spread, noise, seeds=3):
    """Gold scores whose sources differ by `spread` points, and whose seeds by `noise`."""
    rng, n = np.random.default_rng(0), len(task.languages)
    good = spread * np.linspace(-1, 1, n)
    found = []
    for _ in range(seeds):
        values = others + good[None, :] + noise * rng.standard_normal((n, n))
        np.fill_diagonal(values, own)
        found.append(
            pd.DataFrame(values, pd.Index(task.languages, name="target"), pd.Index(task.languages, name="source"))
        )
    return found


def test_validity_tells_what_is_missing():
    codes = ("en", "de", "fr", "sv", "es", "it")
    task = Task("t", "pair", "accuracy", blind_task(codes).splits)
    good = ranking_study.validity(task, scores_of(task, 95, 80, 8, 0.5))
    assert good.testable and good.sentence == "t: testable here." and good.reliability > 0.95
    assert good.own == pytest.approx(95) and good.transfer == pytest.approx(80, abs=1) and good.spread > 10
    cases = {
        "in their own language models are": scores_of(task, good.trivial, 80, 8, 0.5),
        "in others they are": scores_of(task, 95, good.trivial, 8, 0.5),
        "the mean over seeds tells sources with": scores_of(task, 95, 80, 0.0, 5.0),
        "sources differ no more": scores_of(task, 95, 80, 0.0, 0.0),
    }
    for told, gold in cases.items():
        found = ranking_study.validity(task, gold)
        assert not found.testable and any(told in reason for reason in found.reasons), (told, found)
        assert "not testable here" in found.sentence
    one = ranking_study.validity(task, scores_of(task, 95, 80, 8, 0.5, seeds=1))
    assert not one.testable and np.isnan(one.reliability), "one seed can't tell"


def test_reliability_is_spearman_browns():
    rng = np.random.default_rng(1)
    stack = rng.random((3, 4, 5))
    stack[:, range(4), range(4)] = np.nan
    expected = []
    for t in range(4):
        rows = np.delete(stack[:, t], t, axis=1)
        r = np.mean([stats.pearsonr(rows[i], rows[j]).statistic for i, j in ((0, 1), (0, 2), (1, 2))])
        expected.append(3 * max(r, 0) / (1 + 2 * max(r, 0)))
    assert ranking_study.reliability(stack) == pytest.approx(np.mean(expected))
