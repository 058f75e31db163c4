"""The search for K (section 3.1): the Overlap family at each share of active parameters, and how it does on DEV."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from langsim import table2
from langsim.agreement import LEVEL, holm
from langsim.readings import Prose, number, p, prose
from langsim.translation_study import AVERAGE, Study

PAPERS = 0.4  # the share that the paper chose


def frame(found: Study) -> pd.DataFrame:
    """One row a share K and target (or `Avg.`): the Overlap family at K, and the DEV scores of its system."""
    lines = []
    for k, row in found.plan.by_k.items():
        dev = {target: found.scores[system.id]["dev"] for target, system in row.items()}
        families = found.pseudo[table2.key_of(k)]
        for target, scores in dev.items():
            lines.append({"k": k, "target": target, "family": " ".join(families[target]), **_numbers(scores)})
        means = {name: float(np.mean([_numbers(one)[name] for one in dev.values()])) for name in ("bleu", "chrf")}
        lines.append({"k": k, "target": AVERAGE, "family": "", **means})
    return pd.DataFrame(lines)


def _numbers(scores: Mapping[str, object]) -> dict[str, float]:
    return {name: float(scores[name]) for name in ("bleu", "chrf")}


def table(searched: pd.DataFrame) -> pd.DataFrame:
    """K in rows, the DEV scores of targets in columns, with the families."""
    shown = searched.assign(text=[f"{row.chrf:.1f} {row.family}".strip() for row in searched.itertuples()])
    wide = shown.pivot(index="k", columns="target", values="text")
    wide = wide[list(dict.fromkeys(searched["target"]))].rename(index=lambda k: f"{k:.0%}")
    return wide.rename_axis(index=None, columns="K")


def reading(searched: pd.DataFrame) -> Prose:
    """Which K is best on DEV here, and how far the paper's choice is behind."""
    mean = searched[searched["target"] == AVERAGE].set_index("k")["chrf"]
    sets = searched[searched["target"] != AVERAGE].assign(family=lambda f: f["family"].str.split().map(frozenset))
    best, families = mean.idxmax(), sets.groupby("k")["family"].agg(tuple)
    papers = f"; the paper's choice of {PAPERS:.0%} has {mean[PAPERS]:.1f}" if PAPERS in mean.index else ""
    return prose(
        f"On DEV the best mean chrF2, {mean[best]:.1f}, is that of K = {best:.0%}{papers}. All means lie within "
        f"{mean.max() - mean.min():.1f} points, with one seed each; these scores were not tested.",
        f"The {len(families)} values of K give {families.nunique()} different sets of families.",
    )


def on_test(found: Study) -> Prose:
    """Whether any K differs from the paper's on TEST, of which (unlike DEV) the translations are kept: the paired
    bootstrap of the average chrF2, p-values after Holm's correction for all values of K."""
    rows = {k: {target: [system] for target, system in row.items()} for k, row in found.plan.by_k.items()}
    if PAPERS not in rows:
        return prose(f"{PAPERS:.0%} was not tried here, so there is nothing to test the others against.")
    tested = {k: found.compared(row, rows[PAPERS], AVERAGE, "chrf") for k, row in rows.items() if row != rows[PAPERS]}
    adjusted = dict(zip(tested, holm([one.p for one in tested.values()]), strict=True))
    told = [
        f"{k:.0%} {number(one.estimate)} ({number(one.low)} to {number(one.high)}, {p(float(adjusted[k]))})"
        for k, one in tested.items()
    ]
    differ = [f"{k:.0%}" for k in tested if adjusted[k] < LEVEL]
    same = [f"{k:.0%}" for k, row in rows.items() if k != PAPERS and k not in tested]
    return prose(
        f"On TEST, chrF2 beyond that of K = {PAPERS:.0%} (95% interval, p-value by Holm): {'; '.join(told)}."
        if told
        else "",
        f"The very systems of {PAPERS:.0%}: {', '.join(same)}." if same else "",
        f"Measurably different from {PAPERS:.0%}: {', '.join(differ)}."
        if differ
        else f"No other K differs measurably from {PAPERS:.0%}.",
        f"Differences of {max(one.detectable for one in tested.values()):.1f} points would have been found in four of "
        "five cases for each."
        if tested
        else "",
        "One seed each: how much training runs differ is not in these intervals, which are too narrow for it.",
    )
