"""Statements of a paper with what became of them, as a table for pages (parts II and III)."""

import math
from typing import Any

import pandas as pd

from langsim.agreement import UNDECIDED
from langsim.readings import Prose, grid, number, p, prose


def shown(stated: pd.DataFrame, *, digits: int, measure: str = "", unit: str = "") -> Prose:
    """Statements with what became of them, in three columns whose words wrap where the screen is narrow.

    Args:
        stated: one row a statement: statement, row, baseline, scope, direction, published, estimate, low, high, p,
            adjusted, underpowered, note, verdict.
        digits: of the estimate.
        measure: its name. unit: of what is published.
    """
    if stated.empty:
        return prose("No statement of the paper is about what is here.")
    head = ", ".join(filter(None, ("statement", measure)))
    lines = [
        {
            head: _under(row.statement, _compared(row)),
            "ours (95% interval)": _under(_estimate(row, digits), _said(row, unit)),
            "verdict": _under(_verdict_in_words(row), "" if math.isnan(row.adjusted) else p(row.adjusted)),
        }
        for row in stated.itertuples()
    ]
    frame = pd.DataFrame(lines).map(lambda text: text.replace("*", "\\*"))
    return grid(frame.set_index(head).rename_axis(index=None, columns=head))


def _under(text: str, more: str) -> str:
    return f"{text}<br><small>{more}</small>" if more else text


def _compared(row: Any) -> str:
    compared = f"{row.row} − {row.baseline}" if row.baseline else row.row
    return ", ".join(filter(None, (compared, row.scope)))


def _estimate(row: Any, digits: int) -> str:
    low, estimate, high = (number(value, digits) for value in (row.low, row.estimate, row.high))
    return estimate if math.isnan(row.low) else f"{estimate} ({low} to {high})"


def _said(row: Any, unit: str) -> str:
    """The published number, or in what direction the paper's words go."""
    if math.isnan(row.published):
        return {"higher": "stated: higher", "lower": "stated: lower", "equal": "stated: equal"}[row.direction]
    return f"in print {row.published:+.2f} {unit}".strip().replace("-", "−")


def _verdict_in_words(row: Any) -> str:
    if row.note:
        return f"{row.verdict}: {row.note}"
    return f"{row.verdict}, underpowered" if row.underpowered and row.verdict == UNDECIDED else row.verdict
