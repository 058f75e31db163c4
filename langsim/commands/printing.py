"""What commands print: results on stdout, as JSON or as a plain table, everything else on stderr."""

import json
from typing import Any

import typer


def print_json(value: Any) -> None:
    """One line of JSON on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def print_table(columns: tuple[str, ...], rows: list[list[Any]]) -> None:
    """Columns as wide as they have to be, on stdout."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [columns, *cells]:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def warn(warnings: list[str]) -> None:
    """Each warning on stderr, as a note."""
    for line in warnings:
        say(f"note: {line}")


def say(line: str) -> None:
    """A line on stderr."""
    typer.echo(line, err=True)
