"""The numbers that the three papers print: one tidy CSV per table in `data/papers/`.

Every file has the columns that name a cell (two or more axes, in the order of `TABLES`), `metric`, `value`,
`status`, `note` and `source` (paper, arXiv number, table, section). `status` is

- `printed`: the value as printed,
- `dash`: a dash in print,
- `missing`: printed, but lost in the text that the transcription was made from; the value is empty,
- `reconstructed`: not legible, put together from what the paper says elsewhere (the note says from what).
"""

from dataclasses import dataclass

import pandas as pd

from langsim import paths
from langsim.errors import Failure, UsageError
from langsim.suggest import did_you_mean


@dataclass(frozen=True)
class Axes:
    """Which columns of a published table name its rows, and which its columns, when it is laid out as printed."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]


TABLES = {
    "pf-fig1": Axes(("language",), ("field",)),
    "pf-fig2": Axes(("quantity",), ("part",)),
    "pf-fig5": Axes(("target",), ("auxiliary",)),
    "pf-table1": Axes(("measure",), ("target",)),
    "pf-table2": Axes(("method",), ("target",)),
    "pf-k": Axes(("setting",), ("field",)),
    "pf-a3": Axes(("auxiliary",), ("target",)),
    "lslo-fig1": Axes(("stack",), ("layers",)),
    "lslo-table1": Axes(("method",), ("column",)),
    "lslo-table2": Axes(("method",), ("column",)),
    "lslo-table3": Axes(("experiment",), ("field",)),
    "lslo-table4": Axes(("code",), ("field",)),
    "lslo-table5": Axes(("code",), ("field",)),
    "lslo-table6": Axes(("method",), ("column",)),
    "lslo-table7": Axes(("method",), ("column",)),
    "xsns-fig7": Axes(("quantity",), ("field",)),
    "xsns-table1": Axes(("task", "corpus", "output"), ("metric",)),
    "xsns-table2": Axes(("task", "method"), ("metric",)),
    "xsns-table3": Axes(("approach",), ("task", "metric")),
    "xsns-table4": Axes(("model",), ("metric", "method")),
}
STATUSES = ("printed", "dash", "missing", "reconstructed")


def ids() -> list[str]:
    """The ids of the published tables (`pf-fig5`, `lslo-table1`, ...)."""
    return list(TABLES)


def published(table_id: str) -> pd.DataFrame:
    """A published table in long form, one row per cell, in printed order.

    `value` is float (NaN where there is none) when the whole table is numbers, else text ("" where there is none).

    Raises:
        UsageError: no such table (with the nearest ids).
        Failure: its file is missing.
    """
    _axes(table_id)
    path = paths.DATA / "papers" / f"{table_id}.csv"
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)  # text: `no` and `nan` are names here
    except FileNotFoundError as error:
        raise Failure(f"{path} is missing; restore it from the repository") from error
    numbers = pd.to_numeric(frame["value"], errors="coerce")
    if numbers.notna().eq(frame["value"] != "").all():
        frame["value"] = numbers.astype(float)
    return frame


def matrix(table_id: str) -> pd.DataFrame:
    """A published table laid out as in print, rows and columns in printed order.

    `matrix("pf-fig5")` is 17 x 17: row = target, column = auxiliary, Overlap at K = 40%.

    Raises:
        UsageError: no such table (with the nearest ids).
    """
    axes = _axes(table_id)
    frame = published(table_id)
    wide = frame.pivot(index=list(axes.rows), columns=list(axes.columns), values="value")
    return wide.loc[_in_order(frame, axes.rows), _in_order(frame, axes.columns)]


def _axes(table_id: str) -> Axes:
    try:
        return TABLES[table_id]
    except (KeyError, TypeError):
        raise UsageError(f"no published table {table_id!r}; {did_you_mean(str(table_id), TABLES)}") from None


def _in_order(frame: pd.DataFrame, names: tuple[str, ...]) -> list:
    """The labels of an axis in printed order: single ones, or tuples where the axis has several columns."""
    rows = frame[list(names)].drop_duplicates().itertuples(index=False, name=None)
    return [row if len(names) > 1 else row[0] for row in rows]
