"""The audit of the papers as a page shows it: a table and a paragraph a paper, and what follows for comparisons."""

import math
import re

import pandas as pd

from langsim import paper_audit, readings
from langsim.paper_audit import AGREES, DIFFERS, EXCEPTIONS, HOLDS, LOST, PAPERS, POSSIBLE, VERDICTS, digits
from langsim.readings import Prose, bullets, number, prose
from langsim.rounding import half_unit

SHOWN = 4  # exceptions that a table lists; the CSV file has all
WEIGHTED, PLAIN = "over directions", "plain mean"
SHARES = ("lslo-share-12", "lslo-share-30", "lslo-share-low")  # the model alone, then the model with its LoRA
_SERIES = {"direction_mean": WEIGHTED, "plain_mean": PLAIN}


def table(found: pd.DataFrame, paper: str) -> Prose:
    """What a paper says of its tables, and the derived cells of the tables that do not agree: one row a statement, with
    all its readings; the one that decides is bold."""
    judged = paper_audit.judged(found)
    chosen = judged[(judged["paper"] == paper) & ((judged["kind"] == "text") | (judged["verdict"] != AGREES))]
    rows = [
        {"recomputed": _recomputed(found[found["id"] == row.id]), "verdict": _verdict(row)}
        for row in chosen.itertuples()
    ]
    told = [_plain(row.statement) + _printed(row) for row in chosen.itertuples()]
    return readings.grid(pd.DataFrame(rows, index=told).rename_axis(columns="statement, and what is printed"))


def _printed(row: tuple) -> str:
    """The number, or the words; nothing where the statement is only implied."""
    text = f"{row.printed} {row.unit}" if row.unit else f"“{row.printed}”"
    return f":<br>*{_plain(text)}*" if row.printed else ""


def cells_table(found: pd.DataFrame, paper: str) -> Prose:
    """The derived cells of a paper's tables, all of them, in a table to open."""
    judged = paper_audit.judged(found)
    chosen = judged[(judged["paper"] == paper) & (judged["kind"] == "cell")]
    shown = pd.DataFrame(
        {
            "printed": chosen["printed"],
            "recomputed": [_number(row.value, row.printed) for row in chosen.itertuples()],
            "rounding permits": [_range(row) or "exact" for row in chosen.itertuples()],
            "verdict": chosen["verdict"],
            "as": chosen["reading"],
        }
    ).set_axis(list(chosen["statement"]))
    return readings.folded(f"All {len(shown)} derived cells of its tables", shown)


def _recomputed(tried: pd.DataFrame) -> str:
    """All readings of a statement, with the exceptions of the one that decides."""
    numbered = [f"{place}. " if len(tried) > 1 else "" for place in range(1, len(tried) + 1)]
    told = [sign + _told(row) for sign, row in zip(numbered, tried.itertuples(), strict=True)]
    return "<br>".join(told)


def _told(row: tuple) -> str:
    """One reading: what it gives, and what it is."""
    if row.verdict == LOST:
        return _plain(row.reading)
    if row.cases:
        lost = f", {row.lost} more not legible" if row.lost != "0" else ""
        value, permits = f"{int(row.cases) - int(row.exceptions)} of {row.cases}{lost}", ""
    else:
        value, permits = _number(row.value, row.printed), _range(row)
    value = f"**{value}**" if row.chosen else value
    listed = row.listed.split("; ") if row.listed and row.chosen else []
    more = [f"and {len(listed) - SHOWN} more"] if len(listed) > SHOWN else []
    exceptions = f" (but {_plain('; '.join(listed[:SHOWN] + more))})" if listed else ""
    return f"{value}{f' ({permits})' if permits else ''} {_plain(row.reading)}{exceptions}"


def _number(value: float, printed: str) -> str:
    return number(value, digits(printed))


def _range(row: tuple) -> str:
    """What rounding permits; empty where no rounding has a part."""
    if math.isclose(row.low, row.high, rel_tol=0, abs_tol=1e-12):
        return ""
    return f"{_number(row.low, row.printed)} to {_number(row.high, row.printed)}"


def _verdict(row: tuple) -> str:
    if row.verdict == EXCEPTIONS:
        return f"{row.exceptions} exception{'' if row.exceptions == '1' else 's'}"
    if row.verdict == DIFFERS:
        how = f", {_number(row.beyond, row.printed)} of it more than rounding permits" if _range(row) else ""
        how += "; its further digits were cut off, not rounded" if row.cut_off else ""
        return f"**differs** by {_number(float(row.printed) - row.value, row.printed)}{how}"
    later = row.verdict in (AGREES, POSSIBLE) and row.tried > 1
    return f"{row.verdict}, by reading {row.place}" if later else row.verdict


def _plain(text: str) -> str:
    """With what Markdown would take for its own marked as text."""
    return re.sub(r"([\\`*_\[\]<>|$~&])", r"\\\1", text)


def reading(found: pd.DataFrame, paper: str) -> Prose:
    """How many agree, are possible, differ, hold; what differs, in words."""
    judged = paper_audit.judged(found)
    own = judged[judged["paper"] == paper]
    counts = own["verdict"].value_counts().reindex(VERDICTS, fill_value=0)
    numbers, counted = counts[[AGREES, POSSIBLE, DIFFERS]].sum(), counts[[HOLDS, EXCEPTIONS]].sum()
    first = found.groupby("id", sort=False)["verdict"].first()
    later = own[(own["verdict"] == AGREES) & (first.reindex(own["id"]).to_numpy() != AGREES)]
    near, wrong = own[own["verdict"] == POSSIBLE], own[own["verdict"] == DIFFERS]
    return bullets(
        f"{_are(numbers, 'derived number')} recomputed: {counts[AGREES]} {_s('agree', counts[AGREES])}, "
        f"{_are(counts[POSSIBLE])} possible within rounding, {counts[DIFFERS]} {_s('differ', counts[DIFFERS])}.",
        f"{len(later)} of them {_s('agree', len(later))} by a later reading than the first: {_listed(later)}."
        if len(later)
        else "",
        f"Within rounding: {_differing(near)}." if len(near) else "",
        f"What differs: {_differing(wrong)}." if len(wrong) else "",
        f"{_are(counted, 'statement')} about several cells: {counts[HOLDS]} {_s('hold', counts[HOLDS])} as worded, "
        f"{counts[EXCEPTIONS]} {'has' if counts[EXCEPTIONS] == 1 else 'have'} exceptions."
        if counted
        else "",
        f"{_are(counts[LOST])} not recomputable: the numbers are not in print." if counts[LOST] else "",
    )


def _are(count: int, noun: str = "") -> str:
    """`1 derived number is`, `2 are`."""
    named = f" {noun}{'' if count == 1 else 's'}" if noun else ""
    return f"{count}{named} {'is' if count == 1 else 'are'}"


def _s(verb: str, count: int) -> str:
    return f"{verb}s" if count == 1 else verb


def _listed(rows: pd.DataFrame) -> str:
    return "; ".join(_plain(f"{row.statement} ({row.reading})") for row in rows.itertuples())


def _differing(rows: pd.DataFrame) -> str:
    return "; ".join(
        f"{_plain(row.statement)} ({row.printed} in print, {_number(row.value, row.printed)} recomputed)"
        for row in rows.itertuples()
    )


def summary(found: pd.DataFrame) -> Prose:
    """How many statements of each paper have which verdict."""
    judged = paper_audit.judged(found)
    counts = pd.crosstab(judged["verdict"], judged["paper"]).reindex(index=VERDICTS, columns=list(PAPERS), fill_value=0)
    return readings.grid(counts.rename(columns=PAPERS).rename_axis(columns="verdict"))


# What LSLo's AVG is


def averages(found: pd.DataFrame) -> pd.DataFrame:
    """The AVG column of LSLo's tables, two ways: row (short), series, value, low, high, of printed less recomputed."""
    chosen = found[(found["kind"] == "cell") & (found["paper"] == "lslo") & found["formula"].isin(_SERIES)]
    half = chosen["printed"].map(half_unit)
    printed = chosen["printed"].astype(float)
    return pd.DataFrame(
        {
            "row": chosen["of"].map(_short),
            "series": chosen["formula"].map(_SERIES),
            "value": printed - chosen["value"],
            "low": printed - half - chosen["high"],
            "high": printed + half - chosen["low"],
            "verdict": chosen["verdict"],
        }
    )


def _short(of: str) -> str:
    """`lslo-table7 | 2;2;16+WL+GPS(0.9)` as `7: 2;2;16 (0.9)`."""
    table_id, _, method = of.partition(" | ")
    method = method.replace("+WL", "").replace("+GPS", " ").replace("+", " ")
    return f"{table_id.removeprefix('lslo-table')}: {method}"


def averages_reading(found: pd.DataFrame) -> Prose:
    """Which mean AVG is, and what is lost by taking the other."""
    rows = averages(found)
    weighted, plain = (rows[rows["series"] == name] for name in (WEIGHTED, PLAIN))
    off = plain["value"].abs()
    side = plain["value"].gt(0).sum()
    gains = found[found["id"].str.startswith("lslo-gain-")].pivot(index="id", columns="formula", values="value")
    apart = gains["gain_of_plain_means"] - gains["gain"]
    return bullets(
        f"AVG is the mean over translation directions: {int((weighted['verdict'] == AGREES).sum())} of {len(weighted)} "
        "rows agree with it. The groups have different numbers of directions: no language is translated into itself, "
        "and the classes of the 30 languages are of different sizes.",
        f"The plain mean of the columns agrees in {int((plain['verdict'] == AGREES).sum())} rows; it is off by "
        f"{number(off.min())} to {number(off.max())} spBLEU. AVG is above it in {side} of {len(plain)} rows.",
        "Differences between rows move less: by plain means the gains over full fine-tuning that the text names change "
        f"by {number(apart.min(), 3)} to {number(apart.max(), 3)} spBLEU.",
    )


def shares_reading(found: pd.DataFrame) -> Prose:
    """Whether one base explains all of LSLo's shares of parameters."""
    rows = found[found["id"].isin(SHARES)].assign(place=lambda t: t.groupby("id").cumcount())
    fits = rows.groupby("place")["verdict"].agg(lambda verdicts: int((verdicts == AGREES).sum()))
    return prose(
        f"The shares of parameters do not go back to one base: of {len(SHARES)} that the text names, the model alone "
        f"gives {fits[0]}, the model with its LoRA {fits[1]}."
        if fits.max() < len(SHARES)
        else "The shares of parameters go back to one base.",
        "None of them counts what pruning takes away.",
    )
