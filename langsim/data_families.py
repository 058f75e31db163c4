"""Are the languages of a family closer in their text to the target than random languages are? (Appendix A.3)"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from langsim.agreement import DRAWS, LEVEL, holm
from langsim.data_study import TAILS, Study, digits_of, spread
from langsim.readings import Prose, bullets, number, p

TOLERANCES = {"similarity": 0.05, "low": 0.05, "high": 0.05, "chance": 0.05, "p_value": 0.02}
Tested = dict[tuple[str, str], "Against"]  # (kind of sentence vector, name of the family)


@dataclass(frozen=True)
class Against:
    """A family's data similarity beside that of random families of its size.

    Attributes:
        value: mean over members and draws. low, high: where 95% of the draws lie.
        expected: mean of random families. chance_low, chance_high: where 95% of them lie.
        p_value: two-sided, share of random families at least as far from `expected`. adjusted: by Holm's method.
    """

    value: float
    low: float
    high: float
    expected: float
    chance_low: float
    chance_high: float
    p_value: float
    adjusted: float = math.nan

    @property
    def verdict(self) -> str:
        """More or less similar than random families, or neither."""
        if not self.adjusted < LEVEL:
            return "not measurably different"
        return "more similar" if self.value > self.expected else "less similar"


def against_random(values: pd.DataFrame, members: Sequence[str], *, seed: int = 0) -> Against:
    """A family beside `DRAWS` random ones of its size; `values` (draws, auxiliaries).

    The chance of a family of all auxiliaries is that of itself: p is 1.
    """
    means = values.mean().to_numpy()
    orders = np.random.default_rng(seed).permuted(np.tile(np.arange(len(means)), (DRAWS, 1)), axis=1)
    random = means[orders[:, : len(members)]].mean(axis=1)
    value, low, high = spread(values[list(members)].mean(axis=1))
    expected = float(means.mean())
    further = np.abs(random - expected) >= abs(value - expected) - 1e-9
    chance = np.quantile(random, TAILS)
    return Against(value, low, high, expected, *map(float, chance), float((further.sum() + 1) / (DRAWS + 1)))


def tested_families(found: Study) -> Tested:
    """(kind, family) -> the family beside random ones. Holm's p-values over the families of each kind of vector; two
    names for the same languages are one test."""
    tested = {}
    for kind, values in found.every.items():
        sets = {frozenset(members): members for members in found.families.values()}
        one = {languages: against_random(values, members) for languages, members in sets.items()}
        chances = dict(zip(one, holm([a.p_value for a in one.values()]).tolist(), strict=True))
        for name, members in found.families.items():
            languages = frozenset(members)
            tested[kind, name] = replace(one[languages], adjusted=chances[languages])
    return tested


def table(found: Study, tested: Tested) -> pd.DataFrame:
    """One row a family: members, and by every kind of vector its data similarity with the p-value of chance."""
    rows = {}
    for name, members in found.families.items():
        rows[name] = {"members": " ".join(members)}
        for kind in found.every:
            one = tested[kind, name]
            rows[name][f"{kind}, %"] = f"{number(one.value, digits_of(found.every[kind]))} ({p(one.adjusted)})"
    rows["random families"] = {"members": "–"}
    for kind in found.every:
        rows["random families"][f"{kind}, %"] = number(tested[kind, name].expected, digits_of(found.every[kind]))
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="family")


def panels(found: Study, tested: Tested) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame], dict[str, float]]:
    """For `charts.dots`: title to rows, to the band of random families, to their mean."""
    panels, bands, lines = {}, {}, {}
    for kind in found.draws:
        rows, band = [], {}
        for name in found.families:
            one = tested[kind, name]
            source = "published" if name.endswith("published") else "ours" if name.endswith("ours") else "by descent"
            rows.append({"row": name, "series": source, "value": one.value, "low": one.low, "high": one.high})
            band[name] = {"low": one.chance_low, "high": one.chance_high}
            lines[kind] = one.expected
        panels[kind], bands[kind] = pd.DataFrame(rows), pd.DataFrame.from_dict(band, orient="index")
    return panels, bands, lines


def frame(found: Study, tested: Tested) -> pd.DataFrame:
    """The tidy result: vectors, of (language, family), name, members, similarity with 95% of the draws, published,
    the mean of random families, p_value (Holm)."""
    rows = []
    for kind, values in found.every.items():
        for code in found.auxiliaries:
            value, low, high = spread(values[code])
            row = {"vectors": kind, "of": "language", "name": code, "members": code, "similarity": value}
            row |= {"low": low, "high": high, "published": found.printed.get(code, math.nan)}
            rows.append({**row, "chance": float(values.mean().mean()), "p_value": math.nan})
        for name, members in found.families.items():
            one = tested[kind, name]
            row = {"vectors": kind, "of": "family", "name": name, "members": " ".join(members)}
            row |= {"similarity": one.value, "low": one.low, "high": one.high, "published": math.nan}
            rows.append({**row, "chance": one.expected, "p_value": one.adjusted})
    return pd.DataFrame(rows)


def reading(found: Study, tested: Tested) -> Prose:
    """Which families are more or less similar than random ones, a line a kind of vector."""
    return bullets(*(_beside_random(kind, found, tested) for kind in found.every))


def _beside_random(kind: str, found: Study, tested: Tested) -> str:
    """Which families are more or less similar than random ones, by one kind of vector."""
    told = []
    for verdict in ("more similar", "less similar"):
        names = [f"*{name}*" for name in found.families if tested[kind, name].verdict == verdict]
        if names:
            told.append(f"**{verdict}** than random families of the same size: {'; '.join(names)}")
    count, rest = len(found.families), [n for n in found.families if tested[kind, n].verdict.startswith("not")]
    if not told:
        return f"{kind.capitalize()}: none of the {count} families is measurably more or less similar than random ones."
    others = f" The other {len(rest)} of {count} cannot be told from random ones." if rest else ""
    return f"{kind.capitalize()}: {'; '.join(told)}.{others}"
