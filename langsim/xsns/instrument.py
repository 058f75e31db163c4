"""A check of the instrument: do sub-networks know their languages, and do similarities follow what is no language?

A cell compares the sub-networks of one half of the text with those of the other (`measuring.halves`). A language is
found again where no other one of the second half is more like it than itself. What similarities may follow beside
languages: how much text there is (tokens), which tokens occur (`measuring.overlaps`), and at `mini`, for entities,
which messages carry the names (`entities.overlap`).
"""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from langsim.errors import UsageError
from langsim.instrument import Check
from langsim.readings import Prose, number, prose
from langsim.xsns import measuring, sensitivity
from langsim.xsns.evidence import Evidence
from langsim.xsns.ranking_study import NULLS, OURS


def frame(evidence: Mapping[str, Evidence]) -> pd.DataFrame:
    """One row a task and series (X-SNS and its nulls).

    languages; items (of each half); found, found_centred (languages found again, by the mean over seeds); and
    Spearman's correlations over the pairs of languages between the similarity (mean over seeds) and other things:
    tokens_alike (minus the difference of the languages' tokens, as a ratio), fewer_tokens (of the language with fewer),
    overlap (of token types), messages (of carrier messages; entities at `mini` alone); gold_messages: between a
    source's mean gold score and its mean overlap of messages.
    """
    rows = []
    for name, one in evidence.items():
        for series, null in {OURS: "", **{title: null for null, title in NULLS.items()}}.items():
            found = list(sensitivity.cells_of(one, null).values())
            if found:
                rows.append({"task": name, "series": series, **_row(one, found)})
    return pd.DataFrame(rows)


def _row(one: Evidence, found: Sequence[Mapping]) -> dict[str, object]:
    codes = found[0]["languages"]
    check = Check(one.name, sum(measuring.halves(cell) for cell in found) / len(found))
    similar = sum(measuring.matrix(cell, items=cell["items"]) for cell in found) / len(found)
    tokens = sum(np.array([cell["sizes"][-1]["tokens"][code] for code in codes], dtype=float) for cell in found)
    log = np.log(np.maximum(tokens, 1))
    overlap = sum(measuring.overlaps(cell) for cell in found) / len(found)
    row = {
        "languages": len(codes),
        "items": found[0]["halves"]["items"],
        "found": check.hits(centred=False),
        "found_centred": _centred(check),
        "tokens_alike": correlation(similar, -np.abs(log[:, None] - log[None, :])),
        "fewer_tokens": correlation(similar, np.minimum(log[:, None], log[None, :])),
        "overlap": correlation(similar, overlap.to_numpy()),
        "messages": np.nan,
        "gold_messages": np.nan,
    }
    if one.settings.tasks_from == "generated" and one.task.name == "mini-ner":
        row["messages"] = correlation(similar, messages(tuple(codes)).to_numpy())
        row["gold_messages"] = _columns(one)
    return row


def _centred(check: Check) -> float:
    try:
        return float(check.hits(centred=True))
    except UsageError:  # too few languages
        return float("nan")


def _columns(one: Evidence) -> float:
    """Between sources: mean gold score over targets, and mean overlap of messages with them."""
    shared = messages(tuple(one.pool)).loc[one.pool, one.sources]
    gold = one.mean.loc[one.pool, one.sources]
    same = np.array(one.pool)[:, None] == np.array(one.sources)[None, :]
    means = [np.nanmean(np.where(same, np.nan, matrix.to_numpy(dtype=float)), axis=0) for matrix in (gold, shared)]
    return _spearman(*means)


@cache
def messages(codes: tuple[str, ...]) -> pd.DataFrame:
    """(L, L) share of carrier messages that two languages have in common."""
    from langsim.tasks.generated import entities

    return entities.overlap(codes)


def correlation(similar: pd.DataFrame, other: np.ndarray) -> float:
    """Spearman's correlation over the pairs of different languages, each once; NaN where one of them is constant."""
    upper = np.triu_indices(len(similar), 1)
    return _spearman(similar.to_numpy()[upper], other[upper])


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(stats.spearmanr(one, other).statistic)


def shown(found: pd.DataFrame) -> pd.DataFrame | Prose:
    """For reading: a line a task and series."""
    if found.empty:
        return prose("Nothing to show.")
    lines = {}
    for row in found.itertuples():
        told = {"texts of a half": str(row.items)}
        told["found again"] = f"{row.found} of {row.languages}"
        told["centred"] = "–" if np.isnan(row.found_centred) else f"{row.found_centred:.0f} of {row.languages}"
        told["tokens alike"], told["fewer tokens"] = number(row.tokens_alike), number(row.fewer_tokens)
        told["same tokens"] = number(row.overlap)
        told["same messages"] = "–" if np.isnan(row.messages) else number(row.messages)
        lines[f"{row.task}: {row.series}"] = told
    return pd.DataFrame.from_dict(lines, orient="index")


def reading(found: pd.DataFrame) -> Prose:
    """The line of X-SNS in words, task by task."""
    told = []
    for row in found[found["series"] == OURS].itertuples():
        told.append(
            f"**{row.task}**: {row.found} of {row.languages} languages are found again in other text of the task"
            + ("" if np.isnan(row.found_centred) else f", centred {row.found_centred:.0f}")
            + f"; similarity goes with likeness of length by {number(row.tokens_alike)}, with the shorter length by "
            f"{number(row.fewer_tokens)}, with shared tokens by {number(row.overlap)}"
            + ("" if np.isnan(row.messages) else f", with shared carrier messages by {number(row.messages)}")
            + "."
        )
        if not np.isnan(row.gold_messages):
            told.append(
                "A source's mean gold score goes with the messages that it shares with the targets by "
                f"{number(row.gold_messages)}."
            )
    return prose(*told) if told else prose("This run has no sub-networks to check.")


def texts(evidence: Mapping[str, Evidence]) -> pd.DataFrame:
    """One row a task and language, of X-SNS's own text: tokens, nats (loss of a hidden token), unknown (share of tokens
    that the tokenizer has no piece for), means over seeds."""
    rows = []
    for name, one in evidence.items():
        found = list(sensitivity.cells_of(one, "").values())
        for code in found[0]["languages"] if found else ():
            means = {
                "tokens": np.mean([cell["sizes"][-1]["tokens"][code] for cell in found]),
                "nats": np.mean([cell["nats"][code] for cell in found]),
                "unknown": np.mean([cell["unknown"][code] for cell in found]),
            }
            rows.append({"task": name, "language": code} | {key: float(value) for key, value in means.items()})
    return pd.DataFrame(rows)


def texts_shown(found: pd.DataFrame) -> pd.DataFrame | Prose:
    """For reading, a line a task: ranges over languages, and the languages of the extremes."""
    if found.empty:
        return prose("Nothing to show.")
    lines = {}
    for task, part in found.groupby("task", sort=False):
        own, line = part.set_index("language"), {}
        for name, places, factor in (("tokens", 0, 1), ("nats", 2, 1), ("unknown", 1, 100)):
            low, high = own[name].idxmin(), own[name].idxmax()
            values = (number(factor * own.at[code, name], places) for code in (low, high))
            line[name if factor == 1 else f"{name}, %"] = " to ".join(
                f"{value} ({code})" for value, code in zip(values, (low, high), strict=True)
            )
        lines[task] = line
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis(None)
