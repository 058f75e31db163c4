"""The figures: one function per kind of plot, in one style. Matrices in, a matplotlib Figure out; nothing is loaded.

House rules. A figure is `WIDTH` wide, the width of the book's text, and no letter in it is smaller than `SMALLEST`: on
a phone, where the same figure is 360 pixels wide, that still is 9 pixels. Colours are told apart by colour-blind eyes
(viridis-like or two-sided maps that differ in lightness; Okabe and Ito's palette), and never carry a meaning alone.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from langsim.readings import number

WIDTH = 7.2  # inches
SMALLEST = 13.0  # points
# Okabe and Ito's palette without yellow, which is too light for marks on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
FAMILY_BOX = "#D32F2F"
INK, FAINT = "#222222", "#8a8a8a"
ANNOTATED_UP_TO = 7  # languages; in more cells than that no number can be read on a phone
LABELLED_UP_TO = 24  # languages; of more, only some are named on the axes

_CELL = 0.85  # inches, at most
_SEQUENTIAL, _DIVERGING = "GnBu", "PuOr_r"
_STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters everywhere
    "font.size": SMALLEST,
    "axes.titlesize": 15.0,
    "axes.labelsize": 14.0,
    "xtick.labelsize": 14.0,
    "ytick.labelsize": 14.0,
    "legend.fontsize": SMALLEST,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}


@contextmanager
def house_style():
    """The style of every figure here; figures keep it after the block."""
    with matplotlib.rc_context(_STYLE):
        yield


def blank(height: float, width: float = WIDTH) -> Figure:
    """An empty figure that belongs to nobody: not shown twice, not kept alive by pyplot."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def heatmap(matrix: pd.DataFrame, title: str = "", **options) -> Figure:
    """One matrix; see `heatmaps`."""
    return heatmaps({title: matrix}, **options)


def heatmaps(
    panels: Mapping[str, pd.DataFrame],
    *,
    families: Mapping[str, str] | None = None,
    highlight: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    label: str = "Overlap",
    diverging: bool = False,
    larger_is_similar: bool = True,
    diagonal: bool = False,
    columns: int = 1,
) -> Figure:
    """Heat maps, row = target, column = auxiliary, a box around every family; a small one has its values in the cells.

    With more than `ANNOTATED_UP_TO` languages colours and their bar say it all, and the values belong in a table. The
    diagonal is left out of the colours and of the numbers, unless it is a measurement. Darker is more similar.

    Args:
        panels: title to (L, L) matrix; each has a colour scale of its own.
        families: language to family, in the order of the rows; default: the matrix's order, no boxes.
        highlight: title to the (target, auxiliary) cells of that panel to frame in black.
        label: what the values are.
        diverging: centred values: two-sided colours around zero.
        diagonal: show it: rows and columns come from different data.
        columns: panels side by side; more than one only for small matrices.
    """
    order = {title: _ordered(matrix, families) for title, matrix in panels.items()}
    most = max(map(len, order.values()))
    rows = math.ceil(len(panels) / columns)
    width = min(WIDTH, columns * max(3.5, _CELL * most + 1.1))
    cell = min(_CELL, (width / columns - 0.75) / most)  # inches; what is left beside the row labels
    legend = _family_line(families, order, width)
    height = rows * (cell * most + 1.75) + 0.25 * legend.count("\n") + (0.35 if legend else 0)
    with house_style():
        figure = blank(height, width)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, (title, codes) in zip(grid.flat, order.items(), strict=False):
            matrix = panels[title].loc[codes, codes]
            _draw_heatmap(axes, matrix, title, label, diverging, larger_is_similar, diagonal, cell)
            for start, stop in _runs([families[code] for code in codes] if families else []):
                _box(axes, start, stop)
            for target, auxiliary in (highlight or {}).get(title, ()):
                if target in codes and auxiliary in codes:
                    corner = (codes.index(auxiliary), codes.index(target))
                    axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="black", lw=2.4, zorder=4))
        if legend:
            figure.supxlabel(legend, fontsize=SMALLEST, color=INK)
    return figure


def highest(panels: Mapping[str, pd.DataFrame]) -> dict[str, list[tuple[str, str]]]:
    """Title to the (target, auxiliary) that is the maximum of each row: cells to highlight."""
    return {
        title: [(str(target), str(row.idxmax())) for target, row in matrix.iterrows()]
        for title, matrix in panels.items()
    }


def scatter(
    panels: Mapping[str, tuple[pd.DataFrame, pd.DataFrame, str]],
    groups: Mapping[str, str],
    *,
    xlabel: str,
    ylabel: str,
    chance: Mapping[str, float] | None = None,
    within: str = "same family",
    between: str = "different families",
) -> Figure:
    """Off-diagonal entries of two matrices against each other, one panel below the other.

    Args:
        panels: title to (matrix on x, matrix on y, a note for the corner such as the correlation).
        groups: language to group; pairs within one are drawn on top as filled diamonds, the others as circles.
        chance: title to the value on y that chance gives, drawn as a dashed line where it falls into the panel.
    """
    with house_style():
        figure = blank(4.3 * len(panels) + 0.5)
        grid = figure.subplots(len(panels), 1, squeeze=False)
        for axes, (title, (x, y, note)) in zip(grid.flat, panels.items(), strict=True):
            codes = [code for code in x.index if code in set(y.index)]
            pairs = [(t, a) for t in codes for a in codes if t != a]
            table = pd.DataFrame(
                {
                    "x": [x.loc[pair] for pair in pairs],
                    "y": [y.loc[pair] for pair in pairs],
                    "same": [groups[t] == groups[a] for t, a in pairs],
                }
            )
            for same, marker, colour, size in ((False, "o", PALETTE[4], 30), (True, "D", PALETTE[1], 46)):
                part = table[table["same"] == same]
                axes.scatter(
                    part["x"], part["y"], s=size, marker=marker, color=colour, edgecolor="white", linewidth=0.5,
                    alpha=0.9, label=within if same else between, zorder=3 if same else 2,
                )  # fmt: skip
            if chance and title in chance:
                low, high = axes.get_ylim()
                if low <= chance[title] <= high:
                    axes.axhline(chance[title], color=FAINT, linestyle="--", linewidth=1.5, label="chance")
            axes.set_title(title, loc="left")
            axes.set_title(note, loc="right", fontsize=SMALLEST)
            axes.set_ylabel(ylabel)
            axes.locator_params(nbins=5)
        grid.flat[-1].set_xlabel(xlabel)
        handles, names = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _draw_heatmap(
    axes: Axes,
    matrix: pd.DataFrame,
    title: str,
    label: str,
    diverging: bool,
    larger_is_similar: bool,
    diagonal: bool,
    cell: float,
) -> None:
    """One panel; `cell` is a cell's width in inches."""
    values = matrix.to_numpy(dtype=float)
    own = np.eye(len(values), dtype=bool) & (not diagonal)
    shown = np.where(own, np.nan, values)
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    if diverging:
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    elif low == high:
        low, high = low - (abs(low) or 1.0) / 100, high + (abs(high) or 1.0) / 100
    annotated = len(values) <= ANNOTATED_UP_TO
    texts = _texts(shown, int(cell * 72 * 0.92 / (0.64 * SMALLEST))) if annotated else None
    size = 0.0 if texts is None else min(17.0, max(SMALLEST, cell * 72 * 0.92 / (0.64 * max(map(len, texts.flat)))))
    name = _DIVERGING if diverging else _SEQUENTIAL
    colours = sns.color_palette(name if larger_is_similar else f"{name.removesuffix('_r')}_r", as_cmap=True)
    if diverging and not larger_is_similar:
        colours = sns.color_palette(_DIVERGING.removesuffix("_r"), as_cmap=True)
    axes.set_facecolor("#e4e4e4")  # the diagonal
    sns.heatmap(
        matrix, mask=own, cmap=colours, vmin=low, vmax=high, annot=False if texts is None else texts, fmt="",
        annot_kws={"size": size}, square=True, linewidths=0.6, linecolor="white", cbar=False, ax=axes,
    )  # fmt: skip
    for text, colour in zip(axes.texts, colours(Normalize(low, high)(shown[~own])), strict=False):
        text.set_color(_readable_on(colour))
    every = math.ceil(len(values) / LABELLED_UP_TO)
    ticks = np.arange(0, len(values), every)
    codes = list(map(str, matrix.index))
    room = every * cell * 72 * 0.8 / (0.64 * max(map(len, codes)))  # points: the largest letters that fit
    axes.set_xticks(ticks + 0.5, [codes[i] for i in ticks], rotation=0 if len(values) <= 18 else 90)
    axes.set_yticks(ticks + 0.5, [codes[i] for i in ticks], rotation=0)
    axes.tick_params(length=0, pad=3, labelsize=min(17.0, max(SMALLEST + 1, room)))
    axes.set_xlabel("")
    axes.set_ylabel("")
    axes.set_title(title, loc="left")
    bar = axes.figure.colorbar(
        ScalarMappable(Normalize(low, high), colours), ax=axes, orientation="horizontal", aspect=40, fraction=0.05,
        pad=0.02,
    )  # fmt: skip
    bar.outline.set_visible(False)
    bar.ax.locator_params(nbins=4)
    bar.ax.tick_params(labelsize=15.0)
    bar.set_label(textwrap.fill(label, _letters(max(2.6, cell * len(values)))), fontsize=SMALLEST)


def _ordered(matrix: pd.DataFrame, families: Mapping[str, str] | None) -> list[str]:
    codes = set(matrix.index) & set(matrix.columns)
    return [code for code in (families or matrix.index) if code in codes]


def _texts(values: np.ndarray, room: int) -> np.ndarray:
    """Values as they are, with as many decimals as tell most of them apart and `room` letters hold; no text for NaN.
    Very small or large ones as `1.2e−9`."""
    given = values[np.isfinite(values)]
    largest = float(np.abs(given).max()) if given.size else 0.0
    if largest and not 1e-3 <= largest < 1e4:
        return np.array([["" if np.isnan(v) else f"{v:.0e}".replace("-", "−") for v in row] for row in values])
    apart = float(np.ptp(given)) / 10 if given.size else 0.0
    wanted = max(2, math.ceil(-math.log10(apart))) if apart else 2
    before = len(str(int(largest))) + 1 + bool((given < 0).any())
    digits = max(0, min(wanted, room - before))
    return np.array([["" if np.isnan(v) else number(v, digits) for v in row] for row in values])


def _readable_on(colour: Sequence[float]) -> str:
    """Black or white, whichever has more contrast with a colour (relative luminance as in WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return "white" if np.dot(linear, (0.2126, 0.7152, 0.0722)) < 0.179 else "black"


def _letters(width: float) -> int:
    """How many letters of the smallest size fit into a line of `width` inches."""
    return int(width * 72 / (SMALLEST * 0.58))


def _runs(labels: Sequence[str]) -> list[tuple[int, int]]:
    """Where a label is repeated without a break: (start, stop), two and more."""
    edges = [i for i in range(len(labels) + 1) if i in (0, len(labels)) or labels[i - 1] != labels[i]]
    return [(i, j) for i, j in pairwise(edges) if j - i > 1]


def _box(axes: Axes, start: int, stop: int) -> None:
    """A family's box on the diagonal, red on white so that it is seen on any colour."""
    for colour, line in (("white", 5.0), (FAMILY_BOX, 2.8)):
        side = stop - start
        axes.add_patch(
            Rectangle((start, start), side, side, fill=False, edgecolor=colour, lw=line, zorder=3, clip_on=False)
        )


def _family_line(families: Mapping[str, str] | None, order: Mapping[str, list[str]], width: float) -> str:
    """What the boxes are: families with at least two languages, wrapped to the figure."""
    shown = {code for codes in order.values() for code in codes}
    members: dict[str, list[str]] = {}
    for code, family in (families or {}).items():
        if code in shown:
            members.setdefault(family, []).append(code)
    parts = [f"{name} ({' '.join(codes)})" for name, codes in members.items() if len(codes) > 1]
    if not parts:
        return ""
    return textwrap.fill("Boxes: " + ", ".join(parts), width=_letters(width))
