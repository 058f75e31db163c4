"""Reading the small CSV and TSV tables of `data/`: text cells, named columns, nothing guessed."""

import csv
from pathlib import Path

from langsim.errors import Failure


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV file (of a `.tsv`: tabs) as dicts of text (an empty cell is an empty text, `no` stays `no`).

    Raises:
        Failure: the file is missing, lacks one of `columns`, or a row has not as many cells as the header.
    """
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ",")
            missing = [column for column in columns if column not in (reader.fieldnames or [])]
            if missing:
                raise Failure(f"{path}: no column {', '.join(missing)}; restore the file from the repository")
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    raise Failure(f"{path}, line {reader.line_num}: expected {len(reader.fieldnames)} cells")
                rows.append(row)
            return rows
    except FileNotFoundError as error:
        raise Failure(f"{path} is missing; restore it from the repository") from error
