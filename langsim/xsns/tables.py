"""Tables 1, 2 and 4: how well predictions rank sources, with the published numbers beside ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from langsim import languages, papers
from langsim.readings import Prose, boxed, number, prose
from langsim.xsns import evidence as gathering
from langsim.xsns import measuring, procedures, ranking_study
from langsim.xsns.evidence import Evidence
from langsim.xsns.ranking_study import AS_MANY, CENTRED, NULLS, OTHERS, OURS
from langsim.xsns.setting import marked, validity_table
from langsim.xsns.settings import KINDS, XSNSSettings

METRICS = {"pearson": "Pearson", "spearman": "Spearman", "top1": "Top 1", "ndcg3": "NDCG@3"}
PRINTED = {OURS: "X-SNS", "L2V": "L2V", "LEX": "LEX", "SuE": "SuE", "EMB": "EMB"}
# A kind of sub-network -> the corpus and the output of Table 1.
PRINTED_KINDS = {"task-head": ("T", "T"), "task-lm": ("T", "L"), "general-lm": ("W", "L")}
FAMILIES = {"bert": "mBERT", "xlm-roberta": "XLM-R", "mt5": "mT5"}  # of Table 4, by a model's architecture
# What a chart shows of Table 2: the paper's, and what tells whether X-SNS is more than its nulls. The table has all.
DRAWN = (OURS, CENTRED, *NULLS.values(), "L2V", "LEX", "SuE", "EMB")
# Said where X-SNS is not better than a null.
_AS_WELL = {
    measuring.RANDOM: "That what the model has learnt has a part in it is not shown.",
    measuring.SHUFFLED: "That the order of words has a part in it is not shown.",
}
_PERCENT = ("value", "low", "high", "authors", "chance", "line", "difference", "difference_low", "difference_high")


def kind_title(settings: XSNSSettings, kind: str) -> str:
    """What a kind of sub-network is called among the predictions: the settings' first one is X-SNS."""
    return OURS if kind == settings.kinds[0] else OTHERS.get(kind, kind)


def ranked(one: Evidence, names: Sequence[str] = (), *, ours: str = OURS, replicates: int = 0) -> pd.DataFrame:
    """Tidy, in percent: one row a predictor and metric of a task, with `ranking_study.Study.table`'s columns.

    A predictor that ranks nothing (constant, not available) has rows without numbers, and `note` says why.
    """
    chosen = {name: own for name, own in one.predictions.items() if not names or name in names}
    found = ranking_study.study(one.gold, chosen, ours=ours, replicates=replicates or one.settings.replicates)
    ranked_ones = found.table.assign(note="").to_dict("records")
    empty = [
        {"predictor": name, "metric": metric, "note": why} for name, why in found.unranked.items() for metric in METRICS
    ]
    frame = pd.DataFrame([*ranked_ones, *empty], columns=[*ranking_study.COLUMNS, "note"])
    frame[list(_PERCENT)] = 100 * frame[list(_PERCENT)].astype(float)
    frame["metric"] = frame["metric"].map(METRICS)
    frame.insert(0, "task", one.name)
    return frame.assign(languages=len(one.sources), testable=one.testable)


def compared(one: Evidence) -> str:
    """The prediction of the first kind that Table 1 compares with the others: from as many texts as they have."""
    return AS_MANY if AS_MANY in one.predictions else OURS


# The matrix -----------------------------------------------------------------------------------------------------------


def families(one: Evidence) -> dict[str, str]:
    """Language -> family, of the languages that are sources and targets, family by family: for `figures.heatmap`."""
    both = [code for code in one.pool if code in one.sources]
    found = {code: languages.get(code).family for code in both}
    return dict(sorted(found.items(), key=lambda item: (item[1], item[0])))


def matrix(one: Evidence, *, centred: bool = False) -> pd.DataFrame:
    """(L, L) similarities of sub-networks of these languages, mean over seeds; a language with itself is 1 (NaN where
    centred). The main effects are those of all languages of the task."""
    codes = list(families(one))
    found = one.prediction(CENTRED if centred else OURS).loc[codes, codes].copy()
    values = found.to_numpy(copy=True)
    np.fill_diagonal(values, np.nan if centred else 1.0)
    return pd.DataFrame(values, found.index, found.columns)


# Table 1 ------------------------------------------------------------------------------------------------------------


def table1(evidence: Mapping[str, Evidence]) -> pd.DataFrame:
    """Kinds of sub-networks, all from as many texts: one row a task, kind and metric, with the published value."""
    printed = papers.matrix("xsns-table1")
    parts = []
    for name, one in evidence.items():
        of = {kind_title(one.settings, kind): kind for kind in one.settings.kinds}
        ours = compared(one)
        of[ours] = of.pop(OURS)
        frame = ranked(one, [title for title in of if title in one.predictions], ours=ours)
        frame.insert(1, "kind", frame["predictor"].map(of))
        frame["published"] = [
            _printed(printed, (name.upper(), *PRINTED_KINDS[row.kind]), row.metric) for row in frame.itertuples()
        ]
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def table1_shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The same for reading: D and p(y|x) in words, ours with intervals, and the published numbers."""
    words = {
        kind: f"{'task' if text == 'task' else 'general'} text, {'random head' if output == 'head' else 'LM'}"
        for kind, (text, output) in KINDS.items()
    }
    return _shown(frame, [f"{marked(r.task, r.testable)}: {words[r.kind]}" for r in frame.itertuples()])


# Table 2 ------------------------------------------------------------------------------------------------------------


def table2(evidence: Mapping[str, Evidence]) -> pd.DataFrame:
    """All predictors of all tasks, our other kinds of sub-networks apart (Table 1 has them)."""
    printed = papers.matrix("xsns-table2")
    parts = []
    for name, one in evidence.items():
        frame = ranked(one, [title for title in one.predictions if title not in (AS_MANY, *OTHERS.values())])
        frame["published"] = [
            _printed(printed, (name.upper(), PRINTED.get(row.predictor, "")), row.metric) for row in frame.itertuples()
        ]
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def table2_shown(frame: pd.DataFrame, task: str) -> pd.DataFrame:
    """One task, as in print: predictors in rows, with what chance reaches in the last one."""
    part = frame[frame["task"] == task]
    shown = _shown(part, list(part["predictor"]))
    ours = part[part["predictor"] == OURS].set_index("metric")
    shown.loc["95% of random rankings are below"] = {name: number(ours.loc[name, "line"], 1) for name in shown.columns}
    return shown.rename_axis(
        columns=f"{marked(task, bool(part['testable'].all()))} ({part['languages'].iloc[0]} sources)"
    )


def table2_tables(frame: pd.DataFrame) -> Prose:
    """All tasks below each other, each with its name and the number of its sources."""
    parts = []
    for task in dict.fromkeys(frame["task"]):
        table = table2_shown(frame, task)
        parts += [f"**{table.columns.name}**", boxed(table.rename_axis(columns=None))]
    return Prose("\n\n".join(parts))


def table2_dots(frame: pd.DataFrame, metric: str = "NDCG@3") -> dict[str, pd.DataFrame]:
    """Task to what `charts.dots` takes: ours and the published numbers, of the predictions that are drawn."""
    found, wanted = {}, (frame["metric"] == metric) & frame["predictor"].isin(DRAWN)
    for task, part in frame[wanted].groupby("task", sort=False):
        title = marked(str(task), bool(part["testable"].all()))
        ours = part[["predictor", "value", "low", "high"]].assign(series="ours").rename(columns={"predictor": "row"})
        theirs = ours.assign(value=part["published"], low=np.nan, high=np.nan, series="published")
        found[title] = pd.concat([ours, theirs.dropna(subset=["value"])], ignore_index=True)
    return found


def lines(frame: pd.DataFrame, metric: str = "NDCG@3") -> dict[str, float]:
    """Title of a panel to what 95% of random rankings stay below."""
    ours = frame[(frame["metric"] == metric) & frame["predictor"].isin([OURS, AS_MANY])]
    return {marked(row.task, row.testable): float(row.line) for row in ours.itertuples()}


def table2_reading(frame: pd.DataFrame, metric: str = "NDCG@3") -> Prose:
    """For every task that can be tested: is X-SNS above chance, above its own nulls, above the baselines?"""
    told = []
    for task, part in frame[(frame["metric"] == metric) & frame["testable"]].groupby("task", sort=False):
        own = part.set_index("predictor")
        ours = own.loc[OURS]
        chance = "above" if ours["value"] > ours["line"] else "not above"
        told.append(
            f"On **{task}** X-SNS has {metric} {number(ours['value'], 1)} (95% interval {number(ours['low'], 1)} to "
            f"{number(ours['high'], 1)}), {chance} what 95% of random rankings stay below ({number(ours['line'], 1)}). "
            f"{_compared(own.drop(index=[OURS, CENTRED], errors='ignore'))}"
        )
    if not told:
        return prose("No task can be tested here, so this table decides nothing.")
    return prose(*told, "The differences are not corrected for their number here; the statements below are.")


def _compared(others: pd.DataFrame) -> str:
    better = [str(name) for name, row in others.iterrows() if row["difference_low"] > 0]
    worse = [str(name) for name, row in others.iterrows() if row["difference_high"] < 0]
    level = [str(n) for n, row in others.iterrows() if row["difference_low"] <= 0 <= row["difference_high"]]
    parts = [
        f"{words} {', '.join(f'*{name}*' for name in names)}"
        for words, names in (("better than", better), ("worse than", worse), ("not to be told from", level))
        if names
    ]
    more = [why for null, why in _AS_WELL.items() if NULLS[null] in level + worse]
    return " ".join([f"It is {'; '.join(parts)}.", *more]) if parts else ""


def variants(settings: XSNSSettings, evidence: Mapping[str, Evidence]) -> pd.DataFrame:
    """X-SNS by the authors' measure of gold scores and by their order of averaging, one row a task, in percent."""
    from langsim.ranking import ranking
    from langsim.xsns.transfer import authors_metric

    rows = {}
    for name, one in evidence.items():
        other = ranking_study.gold(settings, name, model=one.model, metric=authors_metric(one.task))
        other = [matrix.loc[one.pool] for matrix in other]
        line = {}
        for words, gold in (("paper's measure", one.gold), ("code's measure", other)):
            for order, recipe in (("paper's averages", "paper"), ("code's averages", "authors_code")):
                value = ranking(gold, one.predictions[OURS], recipe=recipe).mean["ndcg3"]
                line[f"{words}, {order}"] = number(100 * value, 1)
        rows[marked(name, one.testable)] = line
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="NDCG@3 of X-SNS")


# Table 4 ------------------------------------------------------------------------------------------------------------


def by_model(settings: XSNSSettings) -> dict[str, Evidence]:
    """Model -> evidence of the task of Table 4."""
    task = settings.compared_task
    if task not in settings.tasks:
        return {}
    return {model: gathering.gather(settings, [task], model=model)[task] for model in settings.models_of(task)}


def model_validity(models: Mapping[str, Evidence]) -> pd.DataFrame:
    """`setting.validity_table` with the models' names in place of tasks."""
    return validity_table({Path(name).name: one for name, one in models.items()})


def table4(models: Mapping[str, Evidence]) -> pd.DataFrame:
    """X-SNS, EMB and X-SNS centred with each model: one row a model, predictor and metric."""
    printed = papers.published("xsns-table4").set_index(["model", "method", "metric"])["value"]
    parts = []
    for model, one in models.items():
        frame = ranked(one, [OURS, CENTRED, "EMB"])
        family = family_of(one)
        frame.insert(0, "model", Path(model).name)
        frame.insert(1, "family", family)
        named = [(family, PRINTED.get(row.predictor, ""), row.metric) for row in frame.itertuples()]
        frame["published"] = [float(printed.get(cell, np.nan)) for cell in named]
        parts.append(frame)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def family_of(one: Evidence) -> str:
    """mBERT, XLM-R or mT5; the architecture's own name if it is another."""
    kind = procedures.model_of(one.model, one.settings.device).model.config.model_type
    return FAMILIES.get(kind, kind)


def table4_shown(frame: pd.DataFrame) -> pd.DataFrame | Prose:
    """The same for reading."""
    if frame.empty:
        return prose("This run leaves out the task of Table 4 (`compared_task`).")
    return _shown(frame, [f"{marked(r.model, r.testable)}: {r.predictor}" for r in frame.itertuples()])


def table4_dots(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Model to what `charts.dots` takes."""
    return table2_dots(frame.assign(task=frame["model"])) if len(frame) else {}


def table4_lines(frame: pd.DataFrame) -> dict[str, float]:
    """Model to what 95% of random rankings stay below."""
    return lines(frame.assign(task=frame["model"])) if len(frame) else {}


def table4_reading(frame: pd.DataFrame, models: Mapping[str, Evidence]) -> Prose:
    """With which models X-SNS and EMB can be told apart."""
    told = []
    for model, one in models.items():
        name = Path(model).name
        if not one.testable:
            told.append(f"With {name} the task is not testable here: {'; '.join(one.validity.reasons)}.")
            continue
        part = frame[(frame["model"] == name) & (frame["metric"] == "NDCG@3")].set_index("predictor")
        row = part.loc["EMB"]
        told.append(
            f"With {name} X-SNS has an NDCG@3 {number(row['difference'], 1)} points above EMB's (95% interval "
            f"{number(row['difference_low'], 1)} to {number(row['difference_high'], 1)})."
        )
    return prose(*told)


# Shared ---------------------------------------------------------------------------------------------------------------


def _printed(printed: pd.DataFrame, row: tuple[str, ...], metric: str) -> float:
    return float(printed.loc[row, metric]) if row in printed.index and metric in printed.columns else np.nan


def _shown(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Rows by name, metrics in columns: `78.1 (70.2–86.0)`, and below it what is in print."""
    found: dict[str, dict[str, str]] = {}
    for name, row in zip(names, frame.itertuples(), strict=True):
        text = number(row.value, 1)
        found.setdefault(name, {})[row.metric] = (
            text if np.isnan(row.low) else f"{text} ({number(row.low, 1)} to {number(row.high, 1)})"
        )
        if not np.isnan(row.published):
            found.setdefault(f"{name}, published", {})[row.metric] = f"{row.published:.2f}"
    shown = pd.DataFrame.from_dict(found, orient="index")[list(METRICS.values())].fillna("–")
    return shown.rename_axis(None)
