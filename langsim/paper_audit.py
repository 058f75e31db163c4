"""Every derived number of the three papers, recomputed from their own tables (`data/claims/audit.csv`).

A line of that file is one *reading* of one statement: what it could mean, as a formula (`langsim.paper_numbers`,
`langsim.paper_counts`) and what it is applied to. The verdict on a reading:

    agrees            the recomputed number rounds to the printed one (half way: to either side)
    possible          it does not, but among the numbers that round to the printed inputs some give it
    differs           none do
    holds             a statement about several cells, without exception
    exceptions        the same, with the exceptions listed
    not recomputable  the numbers are not in print

A number has the verdict of its first reading that agrees; else of the first that is possible; else of the one that
comes nearest. A statement about several cells has the verdict of its first reading, which is the nearest to its words:
in some other reading almost any such statement holds.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

# Imported for their formulas, which register themselves.
from langsim import paper_counts, paper_numbers, papers, paths, results  # noqa: F401
from langsim.errors import Failure, UsageError
from langsim.paper_cells import FORMULAS
from langsim.paths import sha256_file
from langsim.rounding import Count, Interval, beyond, cut_off, half_unit, permits, rounds_to
from langsim.suggest import unknown
from langsim.tables import read_table

AGREES, POSSIBLE, DIFFERS = "agrees", "possible", "differs"
HOLDS, EXCEPTIONS, LOST = "holds", "exceptions", "not recomputable"
VERDICTS = (AGREES, POSSIBLE, DIFFERS, HOLDS, EXCEPTIONS, LOST)
PAPERS = {"pf": "Pseudo families", "lslo": "LSLo", "xsns": "X-SNS"}
KINDS = ("text", "cell")  # what a paper says of its tables, and what stands in them: averages, counts


@dataclass(frozen=True)
class Line:
    """One reading of a statement. `of`: what the formula is applied to, separated by `|`; no formula where the numbers
    are not in print. `printed` is a number as printed, or the paper's words where cases are counted; empty where it
    only implies the statement."""

    id: str
    paper: str
    kind: str
    statement: str
    printed: str
    unit: str
    reading: str
    formula: str
    of: str
    source: str


def path() -> Path:
    """The file of the statements."""
    return paths.DATA / "claims" / "audit.csv"


def lines() -> list[Line]:
    """All readings, in the order of the file.

    Raises:
        Failure: the file is missing or damaged, names no formula of ours, or prints no number where one is meant.
    """
    names = tuple(field.name for field in fields(Line))
    read = [Line(**{name: row[name] for name in names}) for row in read_table(path(), names)]
    for line in read:
        if line.formula and line.formula not in FORMULAS:
            raise Failure(f"{path()}, {line.id}: formula: {unknown(line.formula, FORMULAS)}; restore it")
        if line.paper not in PAPERS or line.kind not in KINDS:
            raise Failure(f"{path()}, {line.id}: paper {line.paper!r}, kind {line.kind!r}; restore the file")
    return read


def recomputed(line: Line) -> Interval | Count | None:
    """What a line's formula gives; None where the numbers are not in print.

    Raises:
        Failure: the formula can't be applied to what the line says.
    """
    if not line.formula:
        return None
    arguments = [part.strip() for part in line.of.split("|")] if line.of else []
    try:
        return FORMULAS[line.formula](*arguments)
    except (UsageError, TypeError, KeyError, ValueError) as error:
        raise Failure(
            f"{path()}, {line.id}: {line.formula} can't be applied to {line.of!r} ({type(error).__name__}: {error})"
        ) from error


def verdict(found: Interval | Count | None, printed: str) -> str:
    """What is to be said of one reading.

    Raises:
        Failure: the statement is a number, and what is printed is none.
    """
    if found is None:
        return LOST
    if isinstance(found, Count):
        return EXCEPTIONS if found.exceptions else HOLDS
    if rounds_to(found, printed):
        return AGREES
    return POSSIBLE if permits(found, printed) else DIFFERS


def frame(read: Iterable[Line] | None = None) -> pd.DataFrame:
    """One row a reading.

    Returns:
        id, paper, kind, statement, printed, unit, reading, formula, of, source as in the file; value, low, high (NaN
        for counted statements); beyond (the printed number less the nearest one that rounding permits, in units, 0
        inside); cut_off (digits dropped instead of rounded would give it); cases, exceptions, lost (whole numbers, or
        empty); listed (the exceptions, separated by "; "); verdict; chosen (the reading that the statement is judged
        by).
    """
    table = pd.DataFrame([_row(line) for line in (lines() if read is None else read)])
    table["chosen"] = False
    for _, part in table.groupby("id", sort=False):
        table.loc[_judged_by(part), "chosen"] = True
    return table


def _row(line: Line) -> dict[str, object]:
    found = recomputed(line)
    row: dict[str, object] = {field.name: getattr(line, field.name) for field in fields(Line)}
    number, counted = isinstance(found, Interval), isinstance(found, Count)
    for name in ("value", "low", "high"):
        row[name] = getattr(found, name) if number else math.nan
    row["beyond"] = beyond(found, line.printed) if number else math.nan
    row["cut_off"] = bool(number and cut_off(found, line.printed))
    row["cases"] = str(found.cases) if counted else ""
    row["exceptions"] = str(len(found.exceptions)) if counted else ""
    row["lost"] = str(found.lost) if counted else ""
    row["listed"] = "; ".join(found.exceptions) if counted else ""
    row["verdict"] = verdict(found, line.printed)
    return row


def _judged_by(readings: pd.DataFrame) -> int:
    """The reading of one statement that decides."""
    for wanted in (AGREES, POSSIBLE):
        found = readings.index[readings["verdict"] == wanted]
        if len(found):
            return int(found[0])
    numbers = readings["beyond"].abs()
    return int(readings.index[0] if numbers.isna().all() else numbers.idxmin())


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """One row a statement: the reading that it is judged by, its `place` among those `tried` (from 1)."""
    readings = table.groupby("id", sort=False)["id"]
    return table.assign(place=readings.cumcount() + 1, tried=readings.transform("size"))[table["chosen"]]


def signature() -> str:
    """What the audit was made from: the printed tables and the statements."""
    files = [paths.DATA / "papers" / f"{table_id}.csv" for table_id in papers.ids()]
    digest = results.digest_of([sha256_file(file) for file in files])
    return results.signature(
        {"papers": results.named("printed", digest), "claims": results.named("audit", sha256_file(path()))}
    )


def digits(printed: str) -> int:
    """Decimals that a recomputed number is shown with beside a printed one: two more than it has."""
    return max(0, -round(math.log10(2 * half_unit(printed)))) + 2
