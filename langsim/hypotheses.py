"""Translations as plain text, for whatever tool a reader scores them with: one file a system, one line a sentence.

`<target>/source.txt` and `<target>/reference.txt` have the test set, `<target>/<system>.txt` the translations in the
same order, and `systems.csv` says which rows of Table 2, or which questions around it, a system belongs to.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from langsim import tuning
from langsim.paths import atomic_write
from langsim.systems import System
from langsim.translation_study import Study


def write(found: Study, folder: Path) -> list[Path]:
    """Write the test set of every target and its translations by every system; files that are there are replaced.

    Line breaks inside a text become spaces, so that lines stay sentences.

    Returns: the files.
    """
    folder = Path(folder)
    written = []
    for target in found.settings.targets:
        test = tuning.pairs(found.settings, target, "TEST")
        written.append(_lines(folder / target / "source.txt", [pair.source_text for pair in test]))
        written.append(_lines(folder / target / "reference.txt", [pair.target_text for pair in test]))
    for system in found.plan.systems():
        file = folder / system.target / f"{system.id}.txt"
        written.append(_lines(file, found.scores[system.id]["hypotheses"]))
    index = folder / "systems.csv"
    with atomic_write(index) as temporary:
        listing(found).to_csv(temporary, index=False, lineterminator="\n")
    return [*written, index]


def listing(found: Study) -> pd.DataFrame:
    """One row a row of Table 2 (or question), target and system: `row`, `target`, `seed`, `file`."""
    return pd.DataFrame(
        [
            {"row": row, "target": system.target, "seed": system.seed, "file": f"{system.target}/{system.id}.txt"}
            for row, system in _uses(found)
        ]
    )


def _uses(found: Study) -> Iterator[tuple[str, System]]:
    for row, by_target in found.plan.rows.items():
        yield from ((row, system) for of in by_target.values() for system in of)
    for k, by_target in found.plan.by_k.items():
        yield from ((f"K = {k:.0%}", system) for system in by_target.values())
    for by_auxiliary in found.plan.singles.values():
        yield from ((f"single auxiliary {code}", system) for code, system in by_auxiliary.items())


def _lines(file: Path, texts: Sequence[str]) -> Path:
    with atomic_write(file) as temporary:
        temporary.write_text("".join(f"{' '.join(text.split())}\n" for text in texts), encoding="utf-8")
    return file
