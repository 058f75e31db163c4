"""A recommendation as a page shows it: candidates by similarity, and beside them what fine-tuning on each gave."""

import numpy as np
import pandas as pd
from scipy import stats

from langsim.readings import Prose, number, prose
from langsim.xsns import labelled, procedures, recommend, texts
from langsim.xsns.evidence import Evidence
from langsim.xsns.recommend import Recommendation
from langsim.xsns.setting import named
from langsim.xsns.settings import XSNSSettings

TEXTS = 128  # of each language: what is computed while the page is made
TOLERANCES = {"similarity": 0.02, "low": 0.05, "high": 0.05}  # as those of sub-networks; an interval moves more


def target_of(one: Evidence) -> str:
    """The language that a page recommends for: the first target that is no source, or the first of all."""
    return (one.only or one.pool)[0]


def suggest(settings: XSNSSettings, one: Evidence, target: str = "") -> Recommendation:
    """Rank a task's sources for a target, now, from unlabelled text of the task.

    Raises:
        UsageError: too little text for a ranking with intervals.
    """
    target = target or target_of(one)
    candidates = [code for code in one.sources if code != target]
    size = min(TEXTS, settings.text_items)
    task = labelled.load(settings, one.name)
    found = texts.of_task(task, [target, *candidates], size, seed=settings.seeds[0], recipe=settings.recipe)
    return recommend.recommend(
        procedures.model_of(one.model, settings.device),
        target,
        found.texts,
        candidates=candidates,
        items=size,
        seed=settings.seeds[0],
        **settings.sub_network,
    )


def frame(found: Recommendation, one: Evidence) -> pd.DataFrame:
    """Tidy, best first: target, source, similarity, low, high, tied, gold (score in percent, mean over seeds)."""
    gold = one.mean.loc[found.target].reindex(found.table["source"]).to_numpy(dtype=float)
    table = found.table.assign(gold=gold)
    table.insert(0, "target", found.target)
    return table


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """For reading: rank, candidate, similarity with its interval, whether the text tells it from the first, gold."""
    places = table["gold"].rank(ascending=False, method="min")
    lines = {
        named(row.source): {
            "similarity (95% interval)": f"{number(row.similarity, 3)} ({number(row.low, 3)} to {number(row.high, 3)})",
            "told from the first": "" if place == 0 else ("no" if row.tied else "yes"),
            "gold score": number(row.gold, 1),
            "place by gold": "–" if np.isnan(row.gold) else str(int(places.iloc[place])),
        }
        for place, row in enumerate(table.itertuples())
    }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis(None)


def reading(found: Recommendation, one: Evidence) -> Prose:
    """The suggestion, how far the text decides it, and what fine-tuning says of it."""
    table = frame(found, one)
    first, best = table.iloc[0], table.loc[table["gold"].idxmax()]
    place = int(table["gold"].rank(ascending=False, method="min").iloc[0])
    told = f"For {named(found.target)} the suggestion is {named(first['source'])}. {found.trust.partition(' How')[0]}"
    gold = (
        f"By gold scores of {one.name} it is number {place} of {len(table)}: {number(first['gold'], 1)}, where the "
        f"best, {named(best['source'])}, has {number(best['gold'], 1)}, and the mean of all "
        f"{number(table['gold'].mean(), 1)}."
    )
    order = ""
    if table["gold"].nunique() > 1 and table["similarity"].nunique() > 1:
        value = float(stats.spearmanr(table["similarity"], table["gold"]).statistic)
        order = f"Spearman's correlation of the two columns is {number(value)}."
    doubt = "" if one.testable else f"{one.name} is not testable here, so these gold scores judge nothing."
    return prose(told, gold, order, doubt, *found.warnings)
