"""The search for K (section 3.1): the Overlap family at each share of active parameters, and how it does on DEV."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from langsim import table2
from langsim.readings import Prose, prose
from langsim.translation_study import AVERAGE, Study


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
    return wide[list(dict.fromkeys(searched["target"]))].rename(index=lambda k: f"{k:.0%}")


def reading(searched: pd.DataFrame) -> Prose:
    """Which K is best on DEV here, and how far the paper's choice is behind."""
    mean = searched[searched["target"] == AVERAGE].set_index("k")["chrf"]
    sets = searched[searched["target"] != AVERAGE].assign(family=lambda f: f["family"].str.split().map(frozenset))
    best, families = mean.idxmax(), sets.groupby("k")["family"].agg(tuple)
    return prose(
        f"On DEV the best mean chrF2, {mean[best]:.1f}, is that of K = {best:.0%}; the paper's choice of 40% has "
        f"{mean[0.4]:.1f}. All means lie within {mean.max() - mean.min():.1f} points, with one seed each: no choice "
        "can be told from another.",
        f"The {len(families)} values of K give {families.nunique()} different sets of families.",
    )
