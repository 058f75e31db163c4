"""Tables 1, 2, 6 and 7 from their rows, with the published ones beside them, and what has to be said before them."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from langsim import papers
from langsim.lslo import directions, intervals
from langsim.lslo.study import NAMES, NLL, WHOLE, Study
from langsim.readings import Prose, number, prose

IDLE = "†"  # marks a row that did not train
PUBLISHED_AS = "spbleu"  # the measure of the printed tables
NOTHING = (
    "This run has ranks of its own (`ranks`), and they are rows of Table 1 alone: this table is made with the paper's "
    "rows."
)


def tidy(found: Study) -> pd.DataFrame:
    """One row a method, column (H2H to V2V, AVG, plain) and measure: value, low and high (95% interval over seeds;
    none of a single one), seeds, parameters, trained, published (spBLEU; of a table that is in print)."""
    printed = pd.DataFrame({"AVG": []})
    if found.exhibit in papers.ids():
        printed = papers.matrix(found.exhibit).drop(columns="#Params").astype(float)
    printed["plain"] = printed.drop(columns="AVG").mean(axis=1)  # not in print: of what is
    lines = []
    for row, jobs in found.rows.items():
        for measure in NAMES:
            averages = found.averages(row, measure)
            for column in (*WHOLE, *found.counts):
                one = intervals.over_seeds(averages[column])
                same = measure == PUBLISHED_AS and row in printed.index and column in printed.columns
                lines.append(
                    {
                        "method": row,
                        "column": column,
                        "measure": measure,
                        "value": one.estimate,
                        "low": one.low,
                        "high": one.high,
                        "seeds": len(jobs),
                        "parameters": parameters(found, row),
                        "trained": found.trained(row),
                        "published": float(printed.loc[row, column]) if same else np.nan,
                    }
                )
    return pd.DataFrame(lines)


def parameters(found: Study, row: str) -> int:
    """How many are trained."""
    return int(found.scores[found.rows[row][0].id]["parameters"])


def table(frame: pd.DataFrame, measure: str) -> pd.DataFrame | Prose:
    """As in print: methods in rows, ours and (spBLEU) the published; in columns AVG, first, where a phone shows it, the
    plain mean, and pairs of classes. Means over seeds, with 95% intervals where there are several."""
    if frame.empty:
        return prose(NOTHING)
    digits = 3 if measure == NLL else 1
    lines: dict[str, dict[str, str]] = {}
    for row in frame[frame["measure"] == measure].itertuples():
        name = row.method if row.trained else f"{row.method} {IDLE}"
        line = lines.setdefault(name, {})
        text = number(row.value, digits)
        line[row.column] = (
            text if np.isnan(row.low) else f"{text} ({number(row.low, digits)}–{number(row.high, digits)})"
        )
        if not np.isnan(row.published):
            lines.setdefault(f"{row.method}, published", {})[row.column] = f"{row.published:.2f}"
        line |= {"#Params": _million(row.parameters), "seeds": str(row.seeds)}
    wide = pd.DataFrame.from_dict(lines, orient="index").fillna("")
    wide = wide[[*(name for name in wide if name not in ("#Params", "seeds")), "#Params", "seeds"]]
    told = "" if frame["trained"].all() else f" ({IDLE} did not train)"
    return wide.rename(columns={"plain": "mean of columns"}).rename_axis(columns=NAMES[measure] + told)


def _million(count: int) -> str:
    return "–" if not count else f"{count / 1e6:.2f}M"


def against(found: Study, baseline: str, measure: str = NLL) -> Mapping[str, pd.DataFrame]:
    """Title to what `charts.dots` takes: by how much each row is better than the baseline in the first pair of classes,
    in the last, and on average."""
    frames = {}
    for scope in shown(found):
        lines = []
        for row in found.rows:
            if row != baseline:
                one = found.difference(row, baseline, scope, measure)
                lines.append({"row": row, "series": "ours", "value": one.estimate, "low": one.low, "high": one.high})
        frames[scope] = pd.DataFrame(lines)
    return frames


def shown(found: Study) -> list[str]:
    """The columns of a figure: the first pair of classes, the last, and AVG."""
    named = list(found.counts)
    return list(dict.fromkeys((named[0], named[-1], "AVG")))


# What has to be said -------------------------------------------------------------------------------------------------


def instrument(found: Study, row: str) -> Prose:
    """Before any result: how good the model is that everything starts from, and so what can be read at all."""
    scores = {measure: float(found.averages(row, measure)["AVG"].mean()) for measure in NAMES}
    translated, everything = len(found.directions("bleu")), len(found.directions(NLL))
    singles = found.values(row, PUBLISHED_AS).mean(0)
    every = translated == everything
    return prose(
        f"The model as it came has {number(scores[NLL])} nats per token on {everything} directions; its translations "
        f"in {'the same' if every else translated} directions have {number(scores['bleu'], 1)} BLEU, "
        f"{number(scores['spbleu'], 1)} spBLEU and {number(scores['chrf'], 1)} chrF2, and in "
        f"{int((singles < 1).sum())} of {translated} directions less than 1 spBLEU.",
        "Where translations are that poor, BLEU says next to nothing; differences are read in nats per token, which is "
        "not what the paper measured."
        if scores["bleu"] < 10
        else "",
    )


def precondition_reading(found: Study) -> Prose:
    """Whether what is said of overfitting can be tested, and what decides it."""
    apart = found.separation()
    if apart is None:
        return prose("There are no two classes here, or no model as it came.")
    first, *_, last = [*found.counts]
    came = found.pretrained
    named, (nats, _), tokens = directions.labels(found.classes), found.per_text(came), found.values(came, NLL)
    there = {scope: [named[one] == scope for one in found.directions(NLL)] for scope in (first, last)}
    told = [
        f"{scope} {number(nats[:, own].mean(), 1)} ({number(tokens[:, own].mean())} per token)"
        for scope, own in there.items()
    ]
    first_rule = found.first_minus_last(tokens, found.texts(came))
    why = found.untestable([row for row in found.rows if row != came])
    return prose(
        f"Nats per text of the model as it came: {' and '.join(told)}; "
        f"{first} minus {last} {number(apart.estimate, 1)} (95% interval {number(apart.low, 1)} to "
        f"{number(apart.high, 1)}).",
        f"So what is said of overfitting is not testable: {why}." if why else "So overfitting can be looked for.",
        f"Per token, as the rule first had it, the difference is {number(first_rule.estimate)} "
        f"({number(first_rule.low)} to {number(first_rule.high)}); so no statement about overfitting would have been "
        "tested."
        if not (why or first_rule.high < 0)
        else "",
    )


def training_reading(found: Study) -> Prose:
    """How far the watched loss fell, which rows did not train, and which ended worse than they began."""
    if not found.rows:
        return prose(NOTHING)
    gains = {row: found.gains(row) for row in found.rows if len(found.gains(row))}
    if not gains:
        return prose("No row of this table is trained.")
    idle = [row for row in gains if not found.trained(row)]
    over = [row for row in gains if _end(found, row) > 0 and row not in idle]
    whole = np.concatenate(list(gains.values()))
    passes = list(dict.fromkeys(number(ask(map(found.passes, gains)), 1) for ask in (min, max)))
    return prose(
        f"In {len(whole)} trainings the loss on the watched text (averaged over directions) fell by "
        f"{number(whole.min(), 3)} to {number(whole.max(), 3)} nats per token at its best epoch; between seeds that "
        f"varies by {number(found.noise, 3)} (standard deviation). They read their text {' to '.join(passes)} times.",
        f"Did not train, by the rule that the loss over all directions has to fall beyond the noise of the seeds, and "
        f"decide nothing (a row may have moved single columns all the same): {'; '.join(idle)}."
        if idle
        else "Every trained row trained beyond the noise of the seeds.",
        f"Ended with a higher loss than the model had before training: {'; '.join(over)}." if over else "",
    )


def _end(found: Study, row: str) -> float:
    """Watched loss after the last epoch minus before training, mean over seeds."""
    curves = [found.scores[job.id]["curve"] for job in found.rows[row]]
    return float(np.mean([curve[-1]["watched"]["AVG"] - curve[0]["watched"]["AVG"] for curve in curves]))


def order_reading(found: Study) -> Prose:
    """Whether the rows stand in the order that they have in print, by each measure: Spearman's correlation of AVG."""
    from scipy.stats import spearmanr

    printed = papers.matrix(found.exhibit)["AVG"]
    shared = [row for row in found.rows if row in printed.index]
    if len(shared) < 4:
        return prose(NOTHING if not found.rows else "Too few of the rows are in print to compare their order.")
    there = printed[shared].astype(float)
    told = []
    for measure, name in NAMES.items():
        ours = np.array([found.averages(row, measure)["AVG"].mean() for row in shared])
        value = float(spearmanr(-ours if measure == NLL else ours, there).statistic)
        told.append(f"{name} {number(value)}")
    return prose(
        f"Rank correlation of AVG with the printed one over {len(shared)} rows (1: the same order): {', '.join(told)}. "
        "The rows are no sample of anything, so this has no interval."
    )


def alike_reading(found: Study, rows: Mapping[str, str]) -> Prose:
    """Which strategies made the same architecture, and so are one training.

    Args:
        rows: row -> the row with the learned architecture.
    """
    there = {row: other for row, other in rows.items() if {row, other} <= set(found.rows)}
    same = [f"{row} and {other}" for row, other in there.items() if found.alike(row, other)]
    return prose(
        f"The same architecture, and so one training: {'; '.join(same)}. Nothing is said by comparing them."
        if same
        else "The strategies made different architectures."
        if found.rows
        else NOTHING
    )


def coincidence_reading(found: Study) -> Prose:
    """Which columns of which rows are one training's, and why."""
    rows = [row for row, jobs in found.rows.items() if jobs[0].experiment.trains == "lslo"]
    told = {}
    for row, other in combinations(rows, 2):
        if columns := [scope for scope in found.counts if found.coincide(row, other, scope)]:
            told[row, other] = ", ".join(columns)
    if not told:
        return prose("No two rows with LSLo have the same numbers in any column.")
    (row, other), columns = max(told.items(), key=lambda item: len(item[1]))
    return prose(
        f"{len(told)} pairs of rows have the same numbers in some columns, such as {row} and {other} in {columns}.",
        "That is no result: where every layer is indexed by the target, a language's LoRAs are trained on directions "
        "into it and by nothing else, so the ranks and the pruning of other targets have no part in them.",
        "A statement about such a column decides nothing.",
    )


def budgets_reading(found: Study, pairs: Sequence[tuple[str, str]]) -> Prose:
    """How many parameters rows that are compared have here, as a share of the other's.

    Args:
        pairs: a row, and the row that it is compared with.
    """
    told = [
        f"{row} has {number(parameters(found, row) / parameters(found, other))} of {other}'s"
        for row, other in pairs
        if {row, other} <= set(found.rows)
    ]
    return prose(f"Parameters, as trained here: {'; '.join(told)}." if told else NOTHING)


def signatures(found: Study) -> Prose:
    """sacreBLEU's signatures of the measures."""
    return prose(*(f"{NAMES[name]}: `{measure.signature}`." for name, measure in found.measures.items()))
