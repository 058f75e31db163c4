"""The paper's statements about Table 2: what our differences say of each, and what the test sets could have shown.

A statement is decided by the rule of `langsim.claims`, on the interval and the p-value (Holm's, over all statements of
a measure) of one paired bootstrap. Beside them the controls: random families, and all languages.
"""

from typing import Any

import pandas as pd

from langsim import claims
from langsim.agreement import LEVEL, holm
from langsim.readings import Prose, bullets, grid, number, p, prose
from langsim.systems import CONTROLS, MEASURES
from langsim.translation_study import AVERAGE, SHOWN, Study, traditional


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
                    "verdict": claims.verdict(claim.published, one, float(q), measure),
                }
            )
    return pd.DataFrame(lines)


def _same(found: Study, row: str, baseline: str, scope: str) -> bool:
    """Whether two rows are the same systems, as where a pseudo family is the traditional one."""
    targets = found.settings.targets if scope == AVERAGE else [scope]
    return all(found.plan.rows[row][target] == found.plan.rows[baseline][target] for target in targets)


def table(stated: pd.DataFrame, measure: str) -> pd.DataFrame:
    """What became of the statements, rounded for reading: the row and the row it is compared with, then numbers; the
    measure in the corner. `statements` has their words."""
    chosen = stated[stated["measure"] == measure]
    shown = pd.DataFrame(
        {
            "": list(map(_name, chosen.itertuples())),
            "verdict": [_verdict(row) for row in chosen.itertuples()],
            "published": chosen["published"].map("{:+.2f}".format),
            "ours (95% interval)": [
                f"{number(row.difference)} ({number(row.low)} to {number(row.high)})" for row in chosen.itertuples()
            ],
            "p": chosen["p"].map(lambda value: p(value).removeprefix("p = ")),
        }
    )
    return shown.set_index("").rename_axis(index=None, columns=SHOWN[measure])


def statements(found: Study, stated: pd.DataFrame) -> Prose:
    """The statements in words, each with what it compares here where a pseudo family is the traditional one."""
    once = stated.drop_duplicates("id")
    told = {"in words": once["statement"], "here": [_sampling(found, row) for row in once.itertuples()]}
    return grid(pd.DataFrame(told).set_axis(map(_name, once.itertuples())))


def _name(row: Any) -> str:
    return f"{row.row} − {row.baseline}, {row.scope}"


def _sampling(found: Study, row: Any) -> str:
    """For which targets of a statement two rows of one stage have the same auxiliaries, so that it is about something
    else than families."""
    scopes = found.settings.targets if row.scope == "average" else [row.scope]
    alike = [t for t in traditional(found, row.row) if t in scopes] if row.baseline == "LF" else []
    same = [t for t in alike if _same(found, row.row, row.baseline, t)]
    sampled = [t for t in alike if t not in same]
    told = f"the same family, sampled by another rule, for {' '.join(sampled)}" if sampled else ""
    nothing = f"the same systems for {' '.join(same)}" if same else ""
    return "; ".join(filter(None, [told, nothing]))


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
