"""What translations are worth: scores of a constant output, exact matches, and examples, beside a trained row."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from langsim import translation_study, tuning
from langsim.readings import Prose, grid, prose
from langsim.translation_study import Study

MEASURES = translation_study.SHOWN
CONSTANT = "Constant"
SHOWN = 4  # examples of each target
FEW = 0.1  # share of exact translations below which a page says that they hardly are any


def constant(found: Study, rows: Sequence[str] = ("Vanilla", "FT")) -> pd.DataFrame:
    """One row a target: the constant text, and by measure its scores on TEST beside those of two rows of Table 2.

    The constant is the text of FINETUNE with the best BLEU as the translation of all of DEV.

    Returns:
        target, text, exact (share of TEST that the last of `rows` translates word for word, its first seed), and
        `measure, row` for every measure and row.
    """
    lines = []
    for target in found.settings.targets:
        text = _best(found, target)
        line: dict[str, object] = {"target": target, "text": text}
        last = found.scores[found.plan.rows[rows[-1]][target][0].id]["hypotheses"]
        pairs = zip(last, found.references[target], strict=True)
        line["exact"] = float(np.mean([ours.strip() == reference.strip() for ours, reference in pairs]))
        for name, shown in MEASURES.items():
            references = found.references[target]
            line[f"{shown}, {CONSTANT}"] = found.measures[name].corpus([text] * len(references), references)
            for row in rows:
                scores = [found.scores[system.id]["test"][name] for system in found.plan.rows[row][target]]
                line[f"{shown}, {row}"] = float(np.mean(scores))
        lines.append(line)
    return pd.DataFrame(lines)


def _best(found: Study, target: str) -> str:
    texts = sorted({pair.target_text for pair in tuning.pairs(found.settings, target, "FINETUNE")})
    dev = [pair.target_text for pair in tuning.pairs(found.settings, target, "DEV")]
    bleu = found.measures["bleu"]
    return max(texts, key=lambda text: bleu.corpus([text] * len(dev), dev))


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """The numbers of `constant`, rounded for reading: targets in columns."""
    scores = frame.drop(columns=["target", "text", "exact"], errors="ignore").map("{:.1f}".format)
    shown = scores.assign(exact=frame["exact"].map("{:.0%}".format)).set_axis(frame["target"])
    return shown.rename_axis(None).T


def texts(frame: pd.DataFrame) -> Prose:
    """The constant text of each target, in full."""
    told = pd.DataFrame({"the constant text": list(map(_plain, frame["text"]))}, index=frame["target"])
    return grid(told)


def reading(frame: pd.DataFrame) -> Prose:
    """Whether the trained row does better than saying the same thing always."""
    means = frame.drop(columns=["target", "text"], errors="ignore").mean()
    row = frame.columns[-1].partition(", ")[2]
    told = [
        f"{shown} {means[f'{shown}, {row}']:.1f} against {means[f'{shown}, {CONSTANT}']:.1f}"
        for shown in MEASURES.values()
    ]
    return prose(
        f"On average over the targets {row} has, against the constant text: {', '.join(told)}; it translates "
        f"{means['exact']:.1%} of the test texts word for word.",
        "**These systems hardly translate.** Table 2 shows how methods are compared, and how little this model and "
        "this text can say about them; it can't speak for or against the paper."
        if means["exact"] < FEW
        else "",
    )


def below(rows: pd.DataFrame, frame: pd.DataFrame, measures: Mapping[str, str] = MEASURES) -> Prose | None:
    """That the rows' differences are not of translation, where most of them score less than the constant text; or None.

    Args:
        rows: Table 2 (method, target, measure, value). frame: what `constant` gave for the same targets.
    """
    floor = frame.set_index("target")
    told = []
    for measure, shown in measures.items():
        chosen = rows[(rows["measure"] == measure) & (rows["method"] != "Vanilla") & rows["target"].isin(floor.index)]
        under = chosen["value"].to_numpy() < floor.loc[chosen["target"], f"{shown}, {CONSTANT}"].to_numpy()
        if len(chosen) and under.mean() > 0.5:
            told.append(f"{int(under.sum())} of {len(chosen)} in {shown}")
    if not told:
        return None
    return prose(
        f"**Of the fine-tuned rows, each with each target, {' and '.join(told)} score less than the constant text.** "
        "What differs between them is not how well they translate, so the verdicts on these scores can't speak for or "
        "against the paper."
    )


def examples(found: Study, row: str = "FT") -> Prose:
    """The first translations of every target's test set by a row (its first seed), beside source and reference."""
    lines = []
    for target in found.settings.targets:
        pairs = tuning.pairs(found.settings, target, "TEST")
        outputs = found.scores[found.plan.rows[row][target][0].id]["hypotheses"]
        for pair, output in list(zip(pairs, outputs, strict=True))[:SHOWN]:
            said = {row: output, "reference": pair.target_text, "source": pair.source_text}
            lines.append({"": target, **{name: _plain(text) for name, text in said.items()}})
    return grid(pd.DataFrame(lines).set_index(""))


def _plain(text: str) -> str:
    """On one line, with what Markdown would take for its own marked as text."""
    return re.sub(r"([\\`*_\[\]<>|$~&])", r"\\\1", " ".join(text.split()))
