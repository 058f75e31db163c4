"""Sentences that are computed: what a page says about its numbers comes from the numbers, words of verdict included."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from langsim import profiles
from langsim.agreement import LEVEL, OPPOSITE, SAME, UNDECIDED, Association
from langsim.paths import ROOT
from langsim.profiles import Settings

_MOST_DIGITS = 5


@dataclass(frozen=True)
class Prose:
    """Markdown that a notebook shows as text."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


def prose(*sentences: str) -> Prose:
    """One paragraph; empty sentences are left out."""
    return Prose(" ".join(sentence for sentence in sentences if sentence))


def bullets(*lines: str) -> Prose:
    """A list; empty lines are left out."""
    return Prose("\n".join(f"- {line}" for line in lines if line))


def grid(table: pd.DataFrame) -> Prose:
    """A small table of words as Markdown: unlike a data frame its cells wrap where the screen is narrow. The name of
    its columns stands over the first one."""
    head = [str(table.columns.name or ""), *map(str, table.columns)]
    rows = [[str(name), *map(str, row)] for name, row in zip(table.index, table.to_numpy(), strict=True)]
    lines = [head, ["---"] * len(head), *rows]
    return Prose("\n".join("| " + " | ".join(line) + " |" for line in lines))


def boxed(table: pd.DataFrame) -> str:
    """A table as HTML in a box of its own that scrolls, where the screen is narrower than the table."""
    return f'<div style="overflow-x: auto">{table.to_html(border=0, index_names=False)}</div>'


def folded(title: str, *tables: pd.DataFrame) -> Prose:
    """Large tables that open with a click on their title, and scroll."""
    inside = "\n".join(boxed(table) for table in tables)
    return Prose(f"<details><summary>{title}</summary>\n{inside}\n</details>")


def folded_matrices(panels: Mapping[str, pd.DataFrame]) -> Prose:
    """The values of a figure's matrices, each in a table to open; three decimals, more for small ones."""
    return Prose("\n".join(folded(f"The numbers: {title}", _words(matrix)).text for title, matrix in panels.items()))


def _words(matrix: pd.DataFrame) -> pd.DataFrame:
    """A matrix of numbers as text, its largest with three digits at least; a dash where there is none."""
    largest = float(matrix.abs().max().max())
    digits = max(3, 2 - math.floor(math.log10(largest))) if largest > 0 else 3
    return matrix.map(lambda value: number(value, digits))


def setting(settings: Settings) -> Prose:
    """What this run compares, with what, what was changed from the profile, and how good an instrument the model is.

    Raises:
        Failure: the cells that judge the shipped model are missing or stale.
    """
    from langsim import gate  # which reaches for torch

    judged = gate.verdict(settings.model)
    changed = [f"`{name}`" for name in profiles.overrides(settings)]
    text = "; against ".join(
        f"corpus `{one.corpus}`, pool {one.pool}" + (f", domain `{one.domain}`" if one.domain else "")
        for one in settings.sides
    )
    return prose(
        f"Profile `{settings.profile}`{': changed ' + ', '.join(changed) if changed else ', as it is'}.",
        f"{len(settings.languages)} languages into `{settings.target_language}`: {' '.join(settings.languages)}.",
        f"Text: {text}. Model: `{Path(settings.model).name}`.",
        f"Fisher estimator: `{settings.estimator}`, recipe `{settings.recipe}`, parameters `{settings.params}`.",
        f"Measure: `{settings.measure}`"
        + (f", K = {settings.k:g}." if settings.measure in ("overlap", "jaccard") else "."),
        "" if judged is None else judged.sentence,
    )


def warnings(notes: Sequence[str]) -> Prose | None:
    """What a reader has to know about the data; None where there is nothing, so that a page shows nothing."""
    if not notes:
        return None
    return Prose("\n".join(f"> **Note.** {' '.join(note.split())}" for note in dict.fromkeys(notes)))


def signed(signature: str, *paths: Path) -> Prose:
    """The signature of the numbers above, and the files that hold them."""
    saved = [f"`{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}`" for path in paths]
    where = f" Saved as {' and '.join(saved)}." if saved else ""
    return Prose(f"<small>Signature: `{signature}`.{where}</small>")


def p(value: float) -> str:
    """`p = 0.03`, `p < 0.001`."""
    if math.isnan(value):
        return "no p"
    if value < 0.001:
        return "p < 0.001"
    return f"p = {value:.3f}" if value < 0.01 else f"p = {value:.2f}"


def view_name(centred: bool) -> str:
    """Which of the two views of a matrix."""
    return "centred" if centred else "raw"


def number(value: float, digits: int = 2) -> str:
    """A number with a real minus sign; a dash where there is none."""
    if math.isnan(value):
        return "–"
    text = f"{value:.{digits}f}"
    return (text[1:] if float(text) == 0 and text[0] == "-" else text).replace("-", "−")


def measured(found: Association, digits: int = 2) -> str:
    """`0.42 (95% interval 0.25 to 0.58, p = 0.002)`."""
    if math.isnan(found.value):
        return "not defined here"
    interval = "no interval: too few languages"
    digits = max(digits, _digits(found))
    if not math.isnan(found.low):
        interval = f"95% interval {number(found.low, digits)} to {number(found.high, digits)}"
    return f"{number(found.value, digits)} ({interval}, {p(found.p_value)})"


def _digits(found: Association) -> int:
    """Decimals that it takes so that no bound that isn't zero reads as zero: else an interval and its verdict would
    seem to differ."""
    sizes = [abs(bound) for bound in (found.low, found.high) if math.isfinite(bound) and bound != 0]
    return min(_MOST_DIGITS, max((math.ceil(-math.log10(2 * size)) for size in sizes), default=0))


def agreement(raw: Association, centred: Association, other: str) -> Prose:
    """The correlation with another matrix, raw and centred, each with its verdict."""
    pairs = raw.languages * (raw.languages - 1)
    return prose(
        f"Against {other}, on the {pairs} ordered pairs of {raw.languages} languages, Spearman's correlation is "
        f"{measured(raw)} raw: **{raw.verdict}**.",
        f"Centred it is {measured(centred)}: **{centred.verdict}**.",
        _together(raw.verdict, centred.verdict, other),
    )


def _together(raw: str, centred: str, other: str) -> str:
    """What two verdicts say together, and no more than that: nothing tests one correlation against the other."""
    if raw == centred:
        return {
            SAME: f"Both views agree with {other}.",
            OPPOSITE: f"Both views run against {other}: what is similar there is dissimilar here.",
            UNDECIDED: f"So these numbers neither confirm nor contradict {other}.",
        }[raw]
    if raw == UNDECIDED:
        return "Only the centred view is decided; the two were not tested against each other."
    if centred == UNDECIDED:
        return "Only the raw view is decided; the two were not tested against each other."
    return "The two views contradict each other: rows and columns as wholes do not order as pairs do."


def kinship(ours: Association, published: Association | None = None, what: str = "family") -> Prose:
    """Is similarity higher within families than between them? Ours, and in the published matrix."""
    if math.isnan(ours.value):
        return prose(
            f"Whether languages of one {what} are more similar can't be told: that takes pairs within one {what} and "
            "pairs of different ones."
        )
    words = {SAME: "more similar", UNDECIDED: "not safely more or less similar"}
    line = (
        f"Centred, and not controlled for script, languages of one {what} are "
        f"**{words.get(ours.verdict, 'less similar')}** than languages of different ones: the difference of the means "
        f"is {measured(ours, 3)}. {_two_questions(ours)}"
    ).rstrip()
    if published is None or math.isnan(published.value):
        return prose(line)
    if UNDECIDED in (ours.verdict, published.verdict):
        verdict = UNDECIDED
    else:
        verdict = SAME if ours.verdict == published.verdict else "opposite direction"
    return prose(
        line,
        f"In the published matrix it is {measured(published, 3)}. Together, script not controlled for: **{verdict}**.",
    )


def _two_questions(one: Association) -> str:
    """Why a small p-value may stand beside an interval that holds zero, where that is so."""
    if one.verdict != UNDECIDED or one.p_value >= LEVEL:
        return ""
    return (
        "The p-value is a test on *these* languages, the interval says how the number moves with *other* ones; the "
        "first tells it from zero, the second does not, and both are asked for here."
    )
