"""The paper's statements about Table 2: what our differences say of each, and what the test sets could have shown.

A statement is decided by the rule of `langsim.claims`, on the interval and the p-value (Holm's, over all statements of
a measure) of one paired bootstrap. Beside them the controls: random families, and all languages.
"""

from typing import Any

import pandas as pd

from langsim import claims
from langsim.agreement import LEVEL, holm
from langsim.readings import Prose, bullets, number, p, prose
from langsim.systems import CONTROLS, MEASURES
from langsim.translation_study import AVERAGE, Study


def frame(found: Study) -> pd.DataFrame:
    """One row a statement of the paper and measure (BLEU, as printed, and chrF2): difference, interval, p, verdict."""
    lines = []
    stated = [
        claim for claim in claims.load("pf-table2") if claim.scope == "average" or claim.scope in found.settings.targets
    ]
    for measure in ("bleu", "chrf"):
        scopes = [AVERAGE if claim.scope == "average" else claim.scope for claim in stated]
        tested = [
            found.difference(claim.row, claim.baseline, scope, measure)
            for claim, scope in zip(stated, scopes, strict=True)
        ]
        adjusted = holm([one.p for one in tested])
        for claim, scope, one, q in zip(stated, scopes, tested, adjusted, strict=True):
            lines.append(
                {
                    "id": claim.id,
                    "statement": claim.statement,
                    "row": claim.row,
                    "baseline": claim.baseline,
                    "scope": claim.scope,
                    "measure": measure,
                    "published": claim.published,
                    "difference": one.estimate,
                    "low": one.low,
                    "high": one.high,
                    "p": float(q),
                    "detectable": one.detectable,
                    "same_systems": _same(found, claim.row, claim.baseline, scope),
                    "underpowered": claims.underpowered(one.detectable, measure),
                    "verdict": claims.verdict(claim.published, one.estimate, one.low, one.high, float(q), measure),
                }
            )
    return pd.DataFrame(lines)


def _same(found: Study, row: str, baseline: str, scope: str) -> bool:
    """Whether two rows are the same systems, as where a pseudo family is the traditional one."""
    targets = found.settings.targets if scope == AVERAGE else [scope]
    return all(found.plan.rows[row][target] == found.plan.rows[baseline][target] for target in targets)


def table(stated: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The statements, rounded for reading: the row and the row it is compared with, then numbers, then words."""
    chosen = stated[stated["measure"] == measure]
    shown = pd.DataFrame(
        {
            "": [f"{row.row} − {row.baseline}, {row.scope}" for row in chosen.itertuples()],
            "verdict": [_verdict(row) for row in chosen.itertuples()],
            "published": chosen["published"].map("{:+.2f}".format),
            "ours (95% interval)": [
                f"{number(row.difference)} ({number(row.low)} to {number(row.high)})" for row in chosen.itertuples()
            ],
            "p": chosen["p"].map(lambda value: p(value).removeprefix("p = ")),
            "in words": chosen["statement"],
        }
    )
    return shown.set_index("").rename_axis(None)


def _verdict(row: Any) -> str:
    if row.same_systems:
        return "none: the same systems"
    return f"{row.verdict}, underpowered" if row.underpowered else row.verdict


def power_reading(stated: pd.DataFrame) -> Prose:
    """Whether the test sets could have shown differences that matter."""
    stated = stated[~stated["same_systems"]]  # where there is nothing to find
    weak = stated[stated["underpowered"]]
    low, high = stated["detectable"].min(), stated["detectable"].max()
    return prose(
        f"The smallest difference that would be found with a probability of 80% lies between {low:.1f} and {high:.1f} "
        f"points; {len(weak)} of {len(stated)} comparisons could not show {claims.DETECTABLE['bleu']} BLEU or "
        f"{claims.DETECTABLE['chrf']} chrF2, and are marked as underpowered."
    )


def controls_reading(found: Study) -> Prose:
    """Whether the pseudo families do better than random ones, and than all languages."""
    lines = []
    for control in CONTROLS:
        tested = {method: found.difference(method, control, AVERAGE, "chrf") for method in MEASURES}
        adjusted = holm([one.p for one in tested.values()])
        for (method, one), q in zip(tested.items(), adjusted, strict=True):
            word = (
                "not measurably different from" if q >= LEVEL else "better than" if one.estimate > 0 else "worse than"
            )
            lines.append(
                f"{method} is {word} {control}: {number(one.estimate)} chrF2 ({number(one.low)} to "
                f"{number(one.high)}, {p(float(q))})."
            )
    return bullets(*lines)
