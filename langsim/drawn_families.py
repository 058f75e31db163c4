"""The random families of Table 2's control: which were drawn for each target, and what each was worth."""

import pandas as pd

from langsim.systems import RANDOM
from langsim.translation_study import Study


def frame(found: Study) -> pd.DataFrame:
    """One row a target and draw: the auxiliaries, the seed it was trained with, and its scores on TEST."""
    lines = []
    for target, drawn in found.plan.rows[RANDOM].items():
        for number, system in enumerate(drawn, 1):
            test = found.scores[system.id]["test"]
            auxiliaries = " ".join(system.stages[0].auxiliaries)
            lines.append(
                {
                    "target": target,
                    "draw": number,
                    "auxiliaries": auxiliaries,
                    "seed": system.seed,
                    "bleu": test["bleu"],
                    "chrf": test["chrf"],
                }
            )
    return pd.DataFrame(lines)


def table(drawn: pd.DataFrame) -> pd.DataFrame:
    """The same for reading, one row a draw."""
    shown = drawn.assign(BLEU=drawn["bleu"].map("{:.1f}".format), chrF2=drawn["chrf"].map("{:.1f}".format))
    shown["random family"] = shown["auxiliaries"].replace("", "none")
    return shown.set_index("target")[["random family", "BLEU", "chrF2"]].rename_axis(None)
