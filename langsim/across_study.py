"""What a page says of two texts compared (`langsim.across`): tables and computed sentences for Figure 6."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd

from langsim import agreement, comparison, instrument, readings, reference
from langsim.across import Across
from langsim.agreement import Association
from langsim.centring import centre
from langsim.diagonals import Diagonal, diagonal, rivals
from langsim.instrument import TRAINED, Check
from langsim.readings import Prose, number, p, prose, view_name

ACROSS = "across the texts"


def diagonals(checks: Sequence[Check]) -> dict[tuple[str, bool], Diagonal]:
    """(instrument, centred) -> its diagonal. P-values are Holm's, over all of them."""
    return _adjusted({(check.name, view): diagonal(check, centred=view) for check in checks for view in (False, True)})


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


def table(found: Mapping[tuple[str, bool], Diagonal]) -> Prose:
    """One row an instrument: in how many rows the diagonal is the maximum."""
    rows: dict[str, dict[str, str]] = {}
    for (name, centred), one in found.items():
        rows.setdefault(name, {})[view_name(centred)] = f"{one.hits} of {one.languages} ({p(one.p_value)})"
    return readings.grid(pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="finds itself"))


def diagonal_table(checks: Sequence[Check], found: Mapping[tuple[str, bool], Diagonal]) -> Prose:
    """One column a view: how often the trained model finds a language again in the other text, and what the sign tests
    against the nulls say."""
    columns = {}
    for centred in (False, True):
        one = found[TRAINED, centred]
        rows = {
            "found again": f"{one.hits} of {one.languages} ({one.hits / one.languages:.0%})",
            "95 % interval": f"{one.low:.0%} to {one.high:.0%}",
            f"by chance {1 / one.languages:.0%}": p(one.p_value),
            "columns that hold a maximum": str(one.columns),
            "more than half": f"**{one.verdict}**",
        }
        for name, chance in rivals(checks, centred=centred).items():
            rows[f"against {name}"] = f"{_word(found, name, centred, chance)} ({p(chance)})"
        columns[view_name(centred)] = rows
    return readings.grid(pd.DataFrame(columns).rename_axis(columns=TRAINED))


def _word(found: Mapping[tuple[str, bool], Diagonal], name: str, centred: bool, chance: float) -> str:
    """How the trained model does beside a null, by the sign test."""
    if chance >= agreement.LEVEL:
        return "not told apart"
    return "more" if found[TRAINED, centred].hits > found[name, centred].hits else "fewer"


def diagonal_reading(checks: Sequence[Check], found: Mapping[tuple[str, bool], Diagonal]) -> Prose:
    """What follows from the table, in a sentence for each view."""
    return prose(
        'The paper says of its figure that "most similarities remain highest for the same language pair". If most '
        f"means more than half of the targets, ours has raw: **{found[TRAINED, False].verdict}**, centred: "
        f"**{found[TRAINED, True].verdict}**.",
        *(
            f"{view_name(view).capitalize()}, {_beaten(rivals(checks, centred=view), found, view)}."
            for view in (False, True)
        ),
        "What a null finds as well may come from the texts alone." if _any_level(checks, found) else "",
    )


def _beaten(chances: Mapping[str, float], found: Mapping[tuple[str, bool], Diagonal], centred: bool) -> str:
    """Which nulls find measurably fewer, more, or neither."""
    words: dict[str, list[str]] = {}
    for name, chance in chances.items():
        words.setdefault(_word(found, name, centred, chance), []).append(name)
    if set(words) == {"more"}:
        return "every null finds measurably fewer"
    turned = {"more": "finds measurably fewer", "fewer": "finds measurably more", "not told apart": "not told apart"}
    return "; ".join(f"{turned[word]}: {' and '.join(words[word])}" for word in turned if word in words)


def _any_level(checks: Sequence[Check], found: Mapping[tuple[str, bool], Diagonal]) -> bool:
    """Whether in some view a null is not measurably worse."""
    return any(
        _word(found, name, view, chance) != "more"
        for view in (False, True)
        for name, chance in rivals(checks, centred=view).items()
    )


def elsewhere(frames: Mapping[str, pd.DataFrame]) -> Prose:
    """The same for results of other profiles, title to tidy frame of Figure 6; empty without one that has nulls."""
    parts = []
    for title, frame in frames.items():
        checks = instrument.read(frame)
        if len(checks) > 1:
            found = diagonals(checks)
            told = (table(found), diagonal_table(checks, found), diagonal_reading(checks, found))
            parts.append("\n\n".join([f"*{title}*", *map(str, told)]))
    return Prose("\n\n".join(parts))


def agreement_reading(found: Mapping[tuple[str, str, bool], Association]) -> Prose:
    """How well the matrices within the texts agree with each other and with the one across: one row a pair of them."""

    def told(one: Association) -> str:
        return f"{readings.measured(one)}: **{one.verdict}**" if one.permutations else "not defined"

    rows: dict[str, dict[str, str]] = {}
    for (a, b, centred), one in found.items():
        rows.setdefault(f"{a} – {b}", {})[view_name(centred)] = told(one)
    return readings.grid(pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="matrices"))


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
