"""Table 3: transfer scores by regression, on sub-network similarity alone and on the features of X-POS."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from langsim import papers, ranking_chance
from langsim.bootstrap import Difference
from langsim.errors import UsageError
from langsim.ranking import NothingToRank
from langsim.readings import Prose, number, prose
from langsim.regression import Regression, regress, xpos_features
from langsim.xsns import resampling
from langsim.xsns.evidence import Evidence
from langsim.xsns.ranking_study import OURS
from langsim.xsns.setting import marked

TECHNIQUES = {"ols": "OLS", "mixed": "MER"}
NAMES = ("X-POS", "X-SNS")
RMSE, LEFT_OUT = "RMSE", "RMSE, target left out"
TOLERANCES = {"value": 0.05, "low": 0.1, "high": 0.1}  # the optimizer of the mixed models; all else is read from cells

Fits = dict[str, Regression]  # "X-SNS + OLS" -> the fit


def fits(one: Evidence) -> tuple[Fits, str]:
    """All regressions of a task, all on the same pairs (those that have every feature), and why there are none.

    Features that are constant here (one script, say) carry nothing and are left in: a fit is on the directions that are
    there.
    """
    gold = one.mean.loc[one.pool]
    features = xpos_features(one.pool, one.sources)
    features = {name: matrix.loc[one.pool, one.sources] for name, matrix in features.items()}
    ours = {OURS: one.prediction().loc[one.pool]}
    missing = sum(matrix.isna() for matrix in [*features.values(), *ours.values()]) > 0
    gold = gold.mask(missing)
    found: Fits = {}
    try:
        for method, title in TECHNIQUES.items():
            for name, given in zip(NAMES, (features, ours), strict=True):
                found[f"{name} + {title}"] = regress(gold, given, method)
    except UsageError as error:
        return {}, str(error)
    return found, ""


def all_fits(evidence: Mapping[str, Evidence]) -> dict[str, tuple[Fits, str]]:
    """Task -> its regressions."""
    return {name: fits(one) for name, one in evidence.items()}


def table3(evidence: Mapping[str, Evidence], made: Mapping[str, tuple[Fits, str]]) -> pd.DataFrame:
    """One row a task, approach and metric: value, low and high (two-way bootstrap), published.

    RMSE in points of the score; Top 1 and NDCG@3 in percent. In-sample as in print, and with the target left out.
    """
    printed = papers.published("xsns-table3").set_index(["approach", "task", "metric"])["value"]
    rows = []
    for name, one in evidence.items():
        for approach, fit in made[name][0].items():
            for metric, value, low, high in _numbers(one, fit):
                rows.append(
                    {
                        "task": name,
                        "approach": approach,
                        "metric": metric,
                        "value": value,
                        "low": low,
                        "high": high,
                        "pairs": fit.pairs,
                        "converged": fit.converged,
                        "testable": one.testable,
                        "published": float(printed.get((approach, name.upper(), metric), np.nan)),
                    }
                )
    return pd.DataFrame(rows)


def _numbers(one: Evidence, fit: Regression):
    gold = one.mean.loc[one.pool]
    for metric, predicted in ((RMSE, fit.predicted), (LEFT_OUT, fit.predicted_left_out)):
        squares = ((gold - predicted) ** 2).to_numpy()
        drawn = np.sqrt(_resampled(squares, one.settings.replicates))
        found = resampling.of_replicates(float(np.sqrt(np.nanmean(squares))), drawn)
        yield metric, found.estimate, max(0.0, found.low), found.high
    for words, predicted in (("", fit.predicted), (", target left out", fit.predicted_left_out)):
        try:
            found = ranking_chance.intervals(gold, predicted, replicates=one.settings.replicates)
        except NothingToRank:
            found = {}
        for key, metric in (("top1", "Top 1"), ("ndcg3", "NDCG@3")):
            own = found.get(key)
            values = (own.estimate, own.low, own.high) if own else (np.nan,) * 3
            yield (f"{metric}{words}", *(100 * value for value in values))


def difference(one: Evidence, made: Fits, ours: str, theirs: str, *, left_out: bool = False) -> Difference | None:
    """RMSE of one approach minus another's, in points; below 0 the first is better (two-way bootstrap, paired)."""
    if not {ours, theirs} <= made.keys():
        return None
    gold = one.mean.loc[one.pool]
    squares = []
    for name in (ours, theirs):
        fit = made[name]
        squares.append(((gold - (fit.predicted_left_out if left_out else fit.predicted)) ** 2).to_numpy())
    estimate = float(np.sqrt(np.nanmean(squares[0])) - np.sqrt(np.nanmean(squares[1])))
    drawn = [np.sqrt(_resampled(values, one.settings.replicates)) for values in squares]
    return resampling.of_replicates(estimate, drawn[0] - drawn[1])


def _resampled(values: np.ndarray, replicates: int) -> np.ndarray:
    return resampling.two_way_mean(values, resampling.drawn(*values.shape, replicates))


def shown(frame: pd.DataFrame, made: Mapping[str, tuple[Fits, str]]) -> pd.DataFrame | Prose:
    """For reading: task and approach in rows, the published below ours; and tasks without a fit."""
    if frame.empty:
        return prose("Nothing could be fitted.", *(f"{task}: {why}." for task, (_, why) in made.items() if why))
    lines: dict[str, dict[str, str]] = {}
    for row in frame.itertuples():
        name = f"{marked(row.task, row.testable)}: {row.approach}"
        text = number(row.value, 1)
        same = row.metric in (RMSE, LEFT_OUT)
        lines.setdefault(name, {})[row.metric] = (
            f"{text} ({number(row.low, 1)}–{number(row.high, 1)})" if same and not np.isnan(row.low) else text
        )
        if not np.isnan(row.published):
            lines.setdefault(f"{name}, published", {})[row.metric] = f"{row.published:.2f}"
    return pd.DataFrame.from_dict(lines, orient="index").fillna("").rename_axis(None)


def dots(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Task to what `charts.dots` takes: RMSE of every approach, in-sample and with the target left out."""
    found = {}
    for task, part in frame[frame["metric"].isin([RMSE, LEFT_OUT])].groupby("task", sort=False):
        words = {RMSE: "in-sample", LEFT_OUT: "target left out"}
        named = part.assign(row=part["approach"], series=part["metric"].map(words))
        title = marked(str(task), bool(part["testable"].all()))
        found[title] = named[["row", "series", "value", "low", "high"]].reset_index(drop=True)
    return found


def reading(evidence: Mapping[str, Evidence], made: Mapping[str, tuple[Fits, str]]) -> Prose:
    """Does the one feature do as well as the four, in-sample and for targets that the fit has not seen?"""
    told = []
    for task, one in evidence.items():
        own, why = made[task]
        if why:
            told.append(f"{task} could not be fitted: {why}.")
            continue
        if not one.testable:
            continue
        inside, outside = (
            difference(one, own, "X-SNS + OLS", "X-POS + OLS", left_out=left_out) for left_out in (False, True)
        )
        told.append(
            f"On **{task}** the error of X-SNS + OLS minus that of X-POS + OLS is {number(inside.estimate)} points "
            f"(95% interval {number(inside.low)} to {number(inside.high)}) in-sample, and {number(outside.estimate)} "
            f"({number(outside.low)} to {number(outside.high)}) where the target is left out."
        )
        rest = [f"{name} ({fit.warnings[0]})" for name, fit in own.items() if fit.warnings]
        if rest:
            told.append(f"While fitting, this was said: {'; '.join(rest)}.")
    return prose(*told) if told else prose("No task can be tested here, so this table decides nothing.")
