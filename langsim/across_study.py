"""What a page says of two texts compared (`langsim.across`): tables and computed sentences for Figure 6."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from langsim import agreement, comparison, instrument, readings, reference
from langsim.across import Across
from langsim.agreement import OPPOSITE, SAME, UNDECIDED, Association
from langsim.centring import centre
from langsim.instrument import Check
from langsim.readings import Prose, number, p, prose

ACROSS = "across the texts"


@dataclass(frozen=True)
class Diagonal:
    """How often the diagonal of a cross matrix is the maximum of its row.

    Attributes:
        low, high: exact binomial interval (95%) of the share, as if rows were independent.
        p_value: the chance of as many or more when the columns' languages are exchanged. Unlike the interval it
            knows that several rows may have their maximum in the same column.
        columns: in how many different columns the maxima are.
    """

    hits: int
    languages: int
    low: float
    high: float
    p_value: float
    columns: int

    @property
    def verdict(self) -> str:
        """On "most similarities remain highest for the same language": is it more than half of the rows?"""
        return SAME if self.low > 0.5 else OPPOSITE if self.high < 0.5 else UNDECIDED

    def __str__(self) -> str:
        return (
            f"the same language is the most similar one for {self.hits} of {self.languages} targets "
            f"({self.hits / self.languages:.0%}, 95% interval {self.low:.0%} to {self.high:.0%}, {p(self.p_value)})"
        )


def diagonal(check: Check, *, centred: bool, permutations: int = agreement.DRAWS, seed: int = 0) -> Diagonal:
    """Count the rows whose maximum is on the diagonal; chance gives one on average."""
    values = (centre(check.cross, cross=True).residuals if centred else check.cross).to_numpy()
    best, places = values.argmax(axis=1), np.arange(len(values))
    hits = int((best == places).sum())
    orders = np.random.default_rng(seed).permuted(np.tile(places, (permutations, 1)), axis=1)
    as_many = int(((orders[:, best] == places).sum(axis=1) >= hits).sum())
    interval = binomtest(hits, len(places)).proportion_ci(0.95, method="exact")
    p_value = (as_many + 1) / (permutations + 1)
    return Diagonal(hits, len(places), float(interval.low), float(interval.high), p_value, len(set(best.tolist())))


def diagonals(across: Across) -> dict[tuple[str, bool], Diagonal]:
    """(instrument, centred) -> its diagonal. P-values are Holm's, over all of them."""
    found = {(check.name, view): diagonal(check, centred=view) for check in across.checks for view in (False, True)}
    return _adjusted(found)


def agreements(across: Across) -> dict[tuple[str, str, bool], Association]:
    """(matrix, other matrix, centred) -> Spearman's correlation off the diagonal, between the matrices within the texts
    and the one across them. P-values are Holm's, over all of them."""
    matrices = {**across.within, ACROSS: across.cross}
    return _adjusted(
        {
            (a, b, view): agreement.association(matrices[a], matrices[b], centred=view)
            for a, b in combinations(matrices, 2)
            for view in (False, True)
        }
    )


def _adjusted(found: dict) -> dict:
    """The same tests with Holm's p-values."""
    chances = comparison.adjusted(found)
    return {key: replace(one, p_value=chances[key]) for key, one in found.items()}


def sizes(across: Across) -> pd.DataFrame:
    """One row a text: how much of it each language was measured on."""
    rows = {}
    for name, vectors in zip(across.within, (across.first, across.second), strict=True):
        units = {len({pair.unit for pair in pairs}) for pairs in vectors.matched.pairs.values()}
        lengths = comparison.mean_lengths(vectors).values()
        rows[name] = {
            "pool": vectors.settings.pool,
            "matching": vectors.matched.matching,
            "pairs a language": vectors.matched.size,
            "units a language": " to ".join(map(str, sorted({min(units), max(units)}))),
            "characters an item": number(sum(lengths) / len(lengths), 1),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="text")


def apart_reading(across: Across) -> Prose:
    """How the two texts were kept apart."""
    first, second = across.within
    if not across.left_out:
        return prose(f"No item of the second text ({second}) is in the first ({first}).")
    return prose(
        f"Of the second text ({second}), {across.left_out} items were left out, because the first ({first}) has them "
        "too, or nearly: no message is measured on both sides."
    )


def table(found: Mapping[tuple[str, bool], Diagonal]) -> pd.DataFrame:
    """One row an instrument: in how many rows the diagonal is the maximum."""
    rows: dict[str, dict[str, str]] = {}
    for (name, centred), one in found.items():
        column = f"finds itself, {'centred' if centred else 'raw'}"
        rows.setdefault(name, {})[column] = f"{one.hits} of {one.languages} ({p(one.p_value)})"
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="instrument")


def diagonal_reading(across: Across, found: Mapping[tuple[str, bool], Diagonal]) -> Prose:
    """How often the trained model finds a language again in the other text, and whether the nulls do."""
    raw, centred = (found[instrument.TRAINED, view] for view in (False, True))
    return prose(
        f"Raw, {raw}; centred, {centred}. By chance it would be one target of {raw.languages} "
        f"({1 / raw.languages:.0%}).",
        f"The rows' maxima are in {raw.columns} different columns raw, in {centred.columns} centred.",
        'The paper says of its figure that "most similarities remain highest for the same language pair". If most '
        f"means more than half of the targets, ours has raw: **{raw.verdict}**, centred: **{centred.verdict}**.",
        _nulls(across),
    )


def _nulls(across: Across) -> str:
    """Sign tests on the targets that only one of two instruments finds again, centred."""
    trained, *nulls = across.checks
    own, chances = trained.found(centred=True), {}
    for check in nulls:
        theirs = check.found(centred=True)
        only = int((own & ~theirs).sum()), int((theirs & ~own).sum())
        chances[check.name] = float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0
    chances = dict(zip(chances, agreement.holm(list(chances.values())).tolist(), strict=True))
    hits = {check.name: check.hits(centred=True) for check in nulls}
    told = [f"{name} {hits[name]} ({p(chance)})" for name, chance in chances.items()]
    as_good = [n for n in hits if chances[n] >= agreement.LEVEL or hits[n] > trained.hits(centred=True)]
    return (
        f"The nulls find the same language again, centred: {', '.join(told)}; p-values of sign tests against the "
        f"{trained.name}, Holm's. {_no_worse(as_good)}"
    )


def _no_worse(nulls: list[str]) -> str:
    if not nulls:
        return "All of them find measurably fewer."
    listed = " and ".join([", ".join(nulls[:-1]), nulls[-1]] if len(nulls) > 1 else nulls)
    if nulls == [instrument.SHUFFLED]:
        return f"Not measurably worse: {listed}. Finding a language again need not come from translating it."
    return (
        f"Not measurably worse: {listed}. Finding a language again may come from the texts alone, and need not be "
        "anything that the model has learnt."
    )


def agreement_reading(found: Mapping[tuple[str, str, bool], Association]) -> Prose:
    """How well the matrices within the texts agree with each other and with the one across."""

    def told(one: Association) -> str:
        return f"{readings.measured(one)}: **{one.verdict}**" if one.permutations else "not defined"

    pairs = dict.fromkeys((a, b) for a, b, _ in found)
    return readings.bullets(
        *(f"*{a}* and *{b}*: raw {told(found[a, b, False])}; centred {told(found[a, b, True])}." for a, b in pairs)
    )


def points(across: Across, found: Mapping[tuple[str, str, bool], Association]) -> dict:
    """Title to (first text, second text, note): the panels of a scatter plot."""
    (name, one), (other_name, other) = across.within.items()
    shown = {"Raw": (one, other), "Centred": (centre(one).residuals, centre(other).residuals)}
    return {
        view: (*matrices, f"Spearman {number(found[name, other_name, view == 'Centred'].value)}")
        for view, matrices in shown.items()
    }


def predictors(across: Across) -> dict[str, pd.DataFrame]:
    """What the cross matrix might follow, (L, L) each, larger = more alike: kinship, script, and how alike in length
    the target's items in the first text are to the auxiliary's in the second."""
    codes = list(across.cross.index)
    rows, columns = (
        np.log([comparison.mean_lengths(vectors)[code] for code in codes]) for vectors in (across.first, across.second)
    )
    return {
        "same family": agreement.same_group(reference.families(codes)),
        "same script": agreement.same_group(reference.scripts(codes)),
        "alike in length": pd.DataFrame(-np.abs(rows[:, None] - columns[None, :]), codes, codes),
    }


def highest(panels: Mapping[str, pd.DataFrame]) -> dict[str, list[tuple[str, str]]]:
    """Title to the (target, auxiliary) that is the maximum of each row: cells to frame."""
    return {
        title: [(str(target), str(row.idxmax())) for target, row in matrix.iterrows()]
        for title, matrix in panels.items()
    }
