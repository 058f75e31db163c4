"""The cells of the papers' tables as they are printed, digits and all, and the formulas that may be named for them.

Formulas take texts: an id of `langsim.papers`, names of rows and columns as printed; lists are separated by a comma,
and `*` in a column stands for anything.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase

from langsim import papers, paths
from langsim.errors import Failure
from langsim.rounding import Count, Interval, printed
from langsim.tables import read_table

AVERAGES = ("Avg.", "AVG", "#Params", "languages")  # columns that are not scores of something
# How the axes of a table are taken as rows and columns here, where that is not as in print.
_LAYOUT = {
    "xsns-table1": (("corpus", "output"), ("task", "metric")),
    "xsns-table2": (("method",), ("task", "metric")),
    "xsns-table4": (("method",), ("model", "metric")),
}
FORMULAS: dict[str, Callable[..., Interval | Count]] = {}


def formula(function: Callable[..., Interval | Count]) -> Callable[..., Interval | Count]:
    """Make a function one that `data/claims/audit.csv` may name."""
    FORMULAS[function.__name__] = function
    return function


def cells(table: str) -> dict[tuple[str, str], str]:
    """(row, column) -> the cell as printed, digits and all, in printed order; "" where it is a dash or lost.

    Raises:
        UsageError, Failure: as `papers.published`.
    """
    axes = papers.TABLES.get(table)
    if axes is None:
        papers.published(table)  # says which there are
    rows, columns = _LAYOUT.get(table) or (axes.rows, axes.columns)
    read = read_table(paths.DATA / "papers" / f"{table}.csv", (*rows, *columns, "value"))
    return {(" ".join(line[n] for n in rows), " ".join(line[n] for n in columns)): line["value"] for line in read}


def cell(table: str, row: str, column: str) -> Interval:
    """A printed number with what its rounding permits.

    Raises:
        Failure: nothing is in print there, or no number.
    """
    text = cells(table).get((row, column), "")
    if not text:
        raise Failure(f"{table} has nothing in print in row {row!r}, column {column!r}; see data/papers/{table}.csv")
    return printed(text)


def names(text: str) -> list[str]:
    """What a comma separates."""
    return [name.strip() for name in text.split(",")]


def columns_of(table: str, patterns: str, skip: tuple[str, ...] = ()) -> list[str]:
    """The columns that fit one of the patterns, in printed order, without those whose last word is one of `skip`."""
    known = dict.fromkeys(column for _, column in cells(table))
    return [
        c for c in known if c.split()[-1] not in skip and any(fnmatchcase(c, pattern) for pattern in names(patterns))
    ]
