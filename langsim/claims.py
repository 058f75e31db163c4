"""Statements of the papers that can be tested, and the rule that decides them.

They are data (`data/claims/<exhibit>.csv`), and they and the thresholds here were committed before the results that
they are held against were computed.

A statement is that one row of a table is better than another. It is tested on the difference of the two, by its p-value
after Holm's correction for all statements of its file:

    same direction   the difference is significant, with the sign in print
    opposite         it is significant, with the other sign
    undecided        it is not; `underpowered` says that a difference of the size in question could not have been found

Where two rows are level in print (a difference of 0), the statement is that they are equivalent: same direction where
the 95% interval lies within the margin, opposite where it lies outside.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from langsim.agreement import LEVEL, OPPOSITE, SAME, UNDECIDED
from langsim.errors import UsageError
from langsim.paths import DATA
from langsim.readings import Prose, grid, prose
from langsim.tables import read_table

# By measure, in its points: the least difference that a test set has to be able to show, and what counts as none.
DETECTABLE = {"bleu": 1.5, "chrf": 1.0}
MARGIN = {"bleu": 0.5, "chrf": 0.5}


@dataclass(frozen=True)
class Claim:
    """`row` is better than `baseline`, by `published` points, on one target or on the average of all."""

    id: str
    statement: str
    row: str
    baseline: str
    scope: str
    published: float
    source: str


@dataclass(frozen=True)
class Statement:
    """What parts II and III test.

    `test` names how, and `direction` (of `SIGNS`) is what the paper says of `row` against `baseline`. `threshold` is in
    `unit`; `published` is NaN where nothing is in print.
    """

    id: str
    statement: str
    test: str
    exhibit: str
    row: str
    baseline: str
    scope: str
    direction: str
    published: float
    unit: str
    threshold: float
    source: str


SIGNS = {"higher": 1, "lower": -1, "equal": 0}


def read(path: Path, kind: type[Statement] = Statement) -> list[Statement]:
    """All statements of a file, in its order; its columns are the fields of `kind`, an empty number is NaN.

    Raises:
        Failure: the file is missing or damaged.
    """
    columns = {field.name: float if field.type is float else str for field in fields(kind)}
    rows = read_table(path, tuple(columns))
    return [
        kind(**{name: cast(row[name] or "nan") if cast is float else row[name] for name, cast in columns.items()})
        for row in rows
    ]


def shown(table: pd.DataFrame, unit: str = "") -> Prose:
    """Statements with what became of them, in three columns whose words wrap where the screen is narrow.

    Args:
        table: what is compared as its index, the measure as the name of its columns; texts: "in words", "published",
            "ours (95% interval)", "verdict", "p".
        unit: of what is published.
    """
    if table.empty:
        return prose("No statement of the paper is about what is here.")
    ours = "ours (95% interval)"
    told = {
        "statement": [_under(row["in words"], str(name)) for name, row in table.iterrows()],
        ours: [_under(row[ours], " ".join(("in print", row["published"], unit))) for _, row in table.iterrows()],
        "verdict": [_under(row["verdict"], _chance(row["p"])) for _, row in table.iterrows()],
    }
    lines = pd.DataFrame(told).map(lambda text: text.replace("*", "\\*")).set_index("statement")
    lines.columns.name = ", ".join(filter(None, ("statement", table.columns.name)))
    return grid(lines)


def _under(text: str, more: str) -> str:
    return f"{text}<br><small>{more.strip()}</small>" if more else text


def _chance(p: str) -> str:
    return "" if p == "no p" else p if p.startswith("p") else f"p = {p}"


def load(exhibit: str) -> list[Claim]:
    """The statements about an exhibit.

    Raises:
        UsageError: there are none.
    """
    path = DATA / "claims" / f"{exhibit}.csv"
    if not path.exists():
        raise UsageError(f"no statements about {exhibit!r} in {path.parent}")
    return [Claim(**row) for row in pd.read_csv(path).to_dict("records")]


def verdict(published: float, estimate: float, low: float, high: float, adjusted: float, measure: str) -> str:
    """What a measured difference (its 95% interval, its adjusted p-value) says of a published one."""
    if published == 0:
        margin = MARGIN[measure]
        if -margin < low and high < margin:
            return SAME
        return OPPOSITE if low > margin or high < -margin else UNDECIDED
    if adjusted >= LEVEL:
        return UNDECIDED
    return SAME if estimate * published > 0 else OPPOSITE


def underpowered(detectable: float, measure: str) -> bool:
    """Whether a test set can't be expected to show a difference that matters."""
    return detectable > DETECTABLE[measure]
