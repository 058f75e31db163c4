"""An exhibit's committed results at other profiles, to stand beside those of this run.

A page is computed at one profile; what was computed once at another (`data/results/<profile>/`) is read. It is shown
where this run is a profile as it is: other languages or another measure would be compared with what they are not.
A result of a model that has been replaced since is named, and not shown.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from skbio import TreeNode

from langsim import agreement, comparison, exhibits, paths, profiles, readings, results, trees
from langsim.profiles import Settings
from langsim.readings import number
from langsim.results import Result

NULLS = "pf-fig5-halves"  # what the nulls reach, in the halves of the text
_OPEN_UP_TO = 9  # rows, as many as Table 2 has methods, of a table that is not folded
_DIGITS = 3
WORDS = {  # column to what a reader is told that it is, where its name does not say it
    "mask": "share of the mask in each group of weights",
    "robinson_foulds": "Robinson-Foulds distance from the reference tree",
    "correlation": "correlation with the reference tree",
    "members": "pseudo families",
    "similarity": "data similarity to the target, in percent",
}
MATRIX = ("target", "auxiliary", "value", "centred")  # the columns of a result that is a matrix


@dataclass(frozen=True)
class Other:
    """A committed result of another profile; `stale`: why its numbers are not shown, or empty."""

    profile: str
    file: Path
    result: Result
    stale: str

    @property
    def parts(self) -> dict[str, str]:
        """The parts of its signature, digests left out."""
        return {key: value.partition("@")[0] for key, value in results.parse_signature(self.result.signature).items()}

    @property
    def title(self) -> str:
        """`At open (ntrex)`: for a panel."""
        texts = [self.parts[key] for key in ("corpus", "corpus_b") if key in self.parts]
        return f"At {self.profile} ({' / '.join(texts)})" if texts else f"At {self.profile}"


@dataclass(frozen=True)
class Beside:
    """For each other profile sentences, and the table that belongs to them if there is one (its caption is the name of
    its columns); Markdown in a notebook."""

    parts: list[tuple[str, pd.DataFrame | None]]

    @property
    def text(self) -> str:
        """The sentences alone."""
        return "\n\n".join(text for text, _ in self.parts)

    @property
    def tables(self) -> list[pd.DataFrame]:
        """The tables alone."""
        return [table for _, table in self.parts if table is not None]

    def _repr_markdown_(self) -> str:
        shown = [(text, None if table is None else _boxed(_rounded(table))) for text, table in self.parts]
        return "\n\n".join(part for pair in shown for part in pair if part)

    def __repr__(self) -> str:
        return "\n".join(str(part) for pair in self.parts for part in pair if part is not None)


def _boxed(table: pd.DataFrame) -> str:
    """In a box that scrolls, with its caption above; a long table opens with a click on the caption."""
    caption, bare = str(table.columns.name or ""), table.rename_axis(columns=None)
    if len(table) > _OPEN_UP_TO:
        return readings.folded(caption or "All rows", bare).text
    return f"*{caption}*\n\n{readings.boxed(bare)}" if caption else readings.boxed(bare)


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers with three digits, as many decimals in a column as its largest one needs; whole numbers as they are."""

    def column(values: pd.Series) -> pd.Series:
        if not pd.api.types.is_float_dtype(values):
            return values
        largest = float(values.abs().max())
        if not largest > 0 or (values.dropna() % 1 == 0).all():
            return values.map(lambda value: number(value, 0))
        decimals = min(_DIGITS, max(0, _DIGITS - 1 - math.floor(math.log10(largest))))
        return values.map(lambda value: number(value, decimals))

    return table.apply(column)


def others(exhibit: str, settings: Settings) -> list[Other]:
    """The results of an exhibit at other profiles; none for a run with other parameters than its profile's.

    Raises:
        UsageError: no such exhibit.
        Failure: a committed result that can't be read.
    """
    if not any(exhibit.startswith(f"{known.id}-") for known in exhibits.all_exhibits()):
        exhibits.get(exhibit)  # what the paper lacks is named after the exhibit that it belongs to
    if profiles.overrides(settings):
        return []
    found = []
    for profile, listed in exhibits.results(exhibit).items():
        if profile != settings.profile:
            file = paths.DATA.parent / listed["file"]
            result = results.read_result(file)
            found.append(Other(profile, file, result, results.stale(result.signature)))
    return found


def _shown(exhibit: str, settings: Settings) -> list[Other]:
    return [other for other in others(exhibit, settings) if not other.stale]


def panels(exhibit: str, settings: Settings, *, centred: bool = False) -> dict[str, pd.DataFrame]:
    """Title to (L, L) matrix at another profile: to be added to a heat map's panels. Empty where there is none."""
    values = "centred" if centred else "value"
    return {other.title: _matrix(other.result.frame, values) for other in _shown(exhibit, settings)}


def frames(exhibit: str, settings: Settings) -> dict[str, pd.DataFrame]:
    """Title to the tidy result at another profile, to be read as this run's is. Empty where there is none."""
    return {other.title: other.result.frame for other in _shown(exhibit, settings)}


def newick(exhibit: str, settings: Settings) -> dict[str, TreeNode]:
    """Title to the tree that was saved with a result at another profile. Empty where there is none."""
    files = {other.title: other.file.with_suffix(".nwk") for other in _shown(exhibit, settings)}
    return {title: trees.read_newick(file) for title, file in files.items() if file.is_file()}


def shown(
    exhibit: str,
    frame: pd.DataFrame,
    settings: Settings,
    *,
    values: Sequence[str] = (),
    columns: str = "",
    by: str = "",
) -> Beside | None:
    """An exhibit at other profiles: how it compares with this run's, and its signature. None where there is none.

    A matrix is compared by correlation (`panels` shows it). Any other result is compared row by row, with a table of
    both; its first columns, as many as it takes where it is committed, say which row is which.

    Args:
        frame: this run's tidy result, or the rows of it that are to be compared.
        values: columns to compare; default: all floats but the published ones.
        columns: a column whose entries become columns of the table, which then holds the other profile's values alone.
        by: a column whose entries are compared one by one: what is of different kinds is not averaged.

    Raises:
        UsageError, Failure: as `others`.
    """
    parts = []
    for other in others(exhibit, settings):
        if other.stale:
            parts.append((f"> **Note.** The committed result at `{other.profile}` is not shown: {other.stale}.", None))
            continue
        told, table = _compared(frame, other, settings.profile, values, columns, by)
        signature = f"<small>Signature: `{other.result.signature}`.</small>"
        parts.append((f"At `{other.profile}` ({_text(other.parts)}): {told}\n\n{signature}", table))
    return Beside(parts) if parts else None


def _text(parts: dict[str, str]) -> str:
    """Which text, and how much of it: `` `ntrex`, 401 items ``."""
    told = []
    for side in ("", "_b"):
        if f"corpus{side}" in parts:
            domain = f", domain `{parts[f'domain{side}']}`" if f"domain{side}" in parts else ""
            items = f", {parts[f'items{side}']} items" if f"items{side}" in parts else ""
            told.append(f"`{parts[f'corpus{side}']}`{domain}{items}")
    return " against ".join(told)


def _compared(
    frame: pd.DataFrame, other: Other, here: str, values: Sequence[str], columns: str, by: str
) -> tuple[str, pd.DataFrame | None]:
    """The sentence, and the table if there is to be one."""
    if set(MATRIX) <= set(frame.columns):
        return _matrices(frame, other, here), None
    there = other.result.frame
    keys = _keys(there)
    values = list(values) or [
        name
        for name in frame.select_dtypes("float")
        if name not in keys and name in there and not name.startswith("published")
    ]
    ours, theirs = (_plain(table[keys + values], keys) for table in (frame, there))
    rows = ours.merge(theirs, on=keys, how="inner", suffixes=("", " there"))
    kinds = {f" ({kind})": part for kind, part in rows.groupby(by, sort=False)} if by else {"": rows}
    sentence = "; ".join(_column(part, name, here, kind) for kind, part in kinds.items() for name in values) + "."
    if len(rows) < len(frame):
        sentence += f" {len(frame) - len(rows)} of the {len(frame)} rows are not there."
    if columns:
        index = [key for key in keys if key != columns]
        index = [key for key in index if rows[key].nunique(dropna=False) > 1] or index[:1]
        table = rows.pivot(index=index, columns=columns, values=f"{values[0]} there")
        order = rows.drop_duplicates(index).set_index(index).index
        table = table.reindex(index=order, columns=list(dict.fromkeys(rows[columns])))
        return sentence, table.rename_axis(columns=f"{_sentence_case(_told(values[0]))}, at {other.profile}")
    named = {name: here if len(values) == 1 else f"{_told(name)}, {here}" for name in values}
    named |= {f"{n} there": other.profile if len(values) == 1 else f"{_told(n)}, {other.profile}" for n in values}
    caption = f"{' and '.join(map(_told, values))}, at {here} and at {other.profile}"
    table = rows.set_index(keys)[list(named)].rename(columns=named)
    return sentence, table.rename_axis(columns=_sentence_case(caption))


def _told(column: str) -> str:
    """What a column is, in words; its name where there are none."""
    return WORDS.get(column, column.replace("_", " "))


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def _keys(frame: pd.DataFrame) -> list[str]:
    """The first columns, as many as it takes to tell the rows apart."""
    names = list(frame.columns)
    return next(names[:n] for n in range(1, len(names) + 1) if not frame.duplicated(names[:n]).any())


def _plain(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """With keys as they are read from a file, so that rows find each other: numbers are floats, the rest is text."""
    numeric = {key: pd.api.types.is_numeric_dtype(table[key]) for key in keys}
    return table.astype({key: float if is_number else str for key, is_number in numeric.items()})


def _column(rows: pd.DataFrame, name: str, here: str, kind: str) -> str:
    """How the two values of one column go together, as a clause; `kind`: of which rows."""
    ours, theirs = rows[name], rows[f"{name} there"]
    if pd.api.types.is_numeric_dtype(ours) and pd.api.types.is_numeric_dtype(theirs):
        apart = (ours - theirs).abs()
        if not apart.max() > 0:
            return f"the {_told(name)}{kind} is the same as at `{here}`"
        return (
            f"the {_told(name)}{kind} differs from that at `{here}` by {apart.mean():.3g} on average, by "
            f"{apart.max():.3g} at most"
        )
    words = [(set(str(a).split()), set(str(b).split())) for a, b in zip(ours, theirs, strict=True)]
    same = sum(a == b for a, b in words)
    alike = np.mean([len(a & b) / len(a | b) if a | b else 1.0 for a, b in words])
    return (
        f"of the {len(words)} {_told(name)}{kind} {same} {'is' if same == 1 else 'are'} the same as at `{here}`; of "
        f"the languages that are in either, {100 * alike:.0f}% are in both (on average)"
    )


def _matrices(frame: pd.DataFrame, other: Other, here: str) -> str:
    """How a matrix at another profile goes with this run's, and with the published one where that stands beside it.
    P-values are Holm's, over these tests."""
    there = other.result.frame
    value = _matrix(there, "value")
    rivals = {f"the matrix of `{here}`": _matrix(frame, "value")}
    printed = _matrix(there, "published") if "published" in there else value * math.nan
    printed = printed.dropna(axis=0, how="all").dropna(axis=1, how="all")
    unknown = ""
    if len(printed) >= agreement.FEWEST:
        rivals["the published one"] = printed
        if not other.file.with_name(f"{NULLS}.csv").is_file():
            unknown = "(What the nulls reach there is not among the committed results.)"
    found = {
        (name, view): agreement.association(rival, value, centred=view)
        for name, rival in rivals.items()
        for view in (False, True)
    }
    chances = comparison.adjusted(found)
    found = {key: replace(one, p_value=chances[key]) for key, one in found.items()}
    told = [
        f"Spearman's correlation with {name} is, raw, {readings.measured(found[name, False])}: "
        f"**{found[name, False].verdict}**; centred, {readings.measured(found[name, True])}: "
        f"**{found[name, True].verdict}**."
        for name in rivals
    ]
    return " ".join(filter(None, [*told, unknown, _diagonal(there)]))


def _diagonal(there: pd.DataFrame) -> str:
    """Where the diagonal is a measurement: in how many rows it is the maximum."""
    views = {name: _matrix(there, name).to_numpy() for name in ("value", "centred")}
    if not np.isfinite(np.diag(views["centred"])).all():
        return ""
    raw, centred = (int((view.argmax(axis=1) == np.arange(len(view))).sum()) for view in views.values())
    return f"The diagonal is the maximum in {raw} of {len(views['value'])} rows raw, in {centred} centred."


def _matrix(frame: pd.DataFrame, values: str) -> pd.DataFrame:
    """(L, L) one column of a result, in the order of its rows."""
    codes = list(dict.fromkeys(frame["target"]))
    return frame.pivot(index="target", columns="auxiliary", values=values).loc[codes, codes].astype(float)
