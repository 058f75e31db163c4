"""The 34 exhibits of the three papers, where each is made, what was published, and which results exist.

An exhibit is a table or a figure; two passages that report an experiment without either count too (the search for
K in Section 3.1 and the data similarity of Appendix A.3 of the first paper). `data/exhibits.csv` lists them.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from langsim import paths, profiles
from langsim.errors import Failure, UsageError
from langsim.suggest import did_you_mean
from langsim.tables import read_table

NOT_IN_PRINT = "none in print"


@dataclass(frozen=True)
class Exhibit:
    """One table or figure. Paths are relative to the repository; `published` may be "none in print".

    `notebook` is the notebook that makes the exhibit: its place in the book, written or still to be written.
    """

    id: str
    paper: str
    exhibit: str
    title: str
    notebook: str
    published: str


@cache
def all_exhibits() -> tuple[Exhibit, ...]:
    """Every exhibit, by paper, figures before tables."""
    columns = ("id", "paper", "exhibit", "title", "notebook", "published")
    rows = read_table(paths.DATA / "exhibits.csv", columns)
    return tuple(Exhibit(**{column: row[column] for column in columns}) for row in rows)


def get(exhibit_id: str) -> Exhibit:
    """The exhibit of an id such as `pf-fig5`.

    Raises:
        UsageError: no such exhibit (with the nearest ids).
    """
    exhibits = {exhibit.id: exhibit for exhibit in all_exhibits()}
    if exhibit_id not in exhibits:
        raise UsageError(f"unknown exhibit {exhibit_id!r}; {did_you_mean(str(exhibit_id), exhibits)}")
    return exhibits[exhibit_id]


def results(exhibit_id: str) -> dict[str, dict[str, str]]:
    """The committed results of an exhibit: {profile: {"file", "signature"}}, in the order of the profiles.

    A result is `data/results/<profile>/<id>.csv` with its signature in `<id>.json` beside it; a table without a
    signature is no result and is not listed.

    Raises:
        Failure: a signature file that can't be read.
    """
    found = {}
    for profile in profiles.names():
        table = paths.DATA / "results" / profile / f"{exhibit_id}.csv"
        sidecar = table.with_suffix(".json")
        if table.exists() and sidecar.exists():
            file = table.relative_to(paths.DATA.parent).as_posix()
            found[profile] = {"file": file, "signature": _signature(sidecar)}
    return found


def listing() -> list[dict]:
    """What `langsim exhibits --json` prints: id, paper, exhibit, notebook, published, results by profile."""
    return [
        {
            "id": exhibit.id,
            "paper": exhibit.paper,
            "exhibit": exhibit.exhibit,
            "notebook": exhibit.notebook,
            "published": exhibit.published,
            "results": results(exhibit.id),
        }
        for exhibit in all_exhibits()
    ]


def _signature(sidecar: Path) -> str:
    try:
        signature = json.loads(sidecar.read_text(encoding="utf-8"))["signature"]
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{sidecar} has no readable signature; restore it or make the result again") from error
    return str(signature)
