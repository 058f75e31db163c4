"""The least difference from fine-tuning on the target alone that a test set can show, for each row of Table 2.

A difference of this size would be found with a probability of 80%. A row for which it exceeds 1.5 BLEU or 1 chrF2
(`langsim.claims.DETECTABLE`) is underpowered: that it does not differ from FT then says little.
"""

import pandas as pd

from langsim import claims, translation_study
from langsim.readings import Prose, prose
from langsim.translation_study import AVERAGE, ORDER, Study

BASELINE = "FT"
SHOWN = {measure: translation_study.SHOWN[measure] for measure in claims.DETECTABLE}


def frame(found: Study) -> pd.DataFrame:
    """One row a method, target (or `Avg.`) and measure: `detectable`, in points of the measure, and `underpowered`."""
    lines = []
    for method in (row for row in ORDER if row != BASELINE):
        for scope in (AVERAGE, *found.settings.targets):
            for measure in SHOWN:
                least = found.difference(method, BASELINE, scope, measure).detectable
                weak = claims.underpowered(least, measure)
                lines.append(
                    {"method": method, "target": scope, "measure": measure, "detectable": least, "underpowered": weak}
                )
    return pd.DataFrame(lines)


def table(least: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Methods in rows; where the row is underpowered, in words; then the least difference by target."""
    chosen = least[least["measure"] == measure]
    scopes = list(dict.fromkeys(chosen["target"]))
    wide = chosen.pivot(index="method", columns="target", values="detectable").loc[
        list(dict.fromkeys(chosen["method"])), scopes
    ]
    weak = chosen[chosen["underpowered"]].groupby("method")["target"].agg(list)
    told = [_words(weak.get(method, []), scopes) for method in wide.index]
    shown = wide.map("{:.1f}".format)
    shown.insert(0, "underpowered for", told)
    return shown.rename_axis(index=None, columns=SHOWN[measure])


def _words(weak: list[str], scopes: list[str]) -> str:
    if not weak:
        return "none"
    return "all" if len(weak) == len(scopes) else " ".join(weak)


def reading(least: pd.DataFrame) -> Prose:
    """In how many comparisons of the averages, and of single targets, a difference that matters could be found."""
    told = []
    for measure, name in SHOWN.items():
        chosen = least[least["measure"] == measure]
        for what, part in (("averages", chosen["target"] == AVERAGE), ("single targets", chosen["target"] != AVERAGE)):
            weak = chosen[part & chosen["underpowered"]]
            told.append(f"{len(weak)} of {int(part.sum())} in {name} on {what}")
    return prose(
        f"Comparisons with {BASELINE} that could not show {claims.DETECTABLE['bleu']} BLEU or "
        f"{claims.DETECTABLE['chrf']} chrF2 in four of five cases, the underpowered ones: {'; '.join(told)}."
    )
