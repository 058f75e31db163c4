"""Charts of shares and of numbers with their intervals: stacked bars, dots in rows, lines over layers.

In the style of `langsim.figures`, whose rules hold here too. Order, marks and words say what colours say.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from langsim.figures import FAINT, INK, PALETTE, SMALLEST, WIDTH, blank, house_style
from langsim.readings import number

_COLOURS = tuple(PALETTE[i] for i in (0, 4, 1, 5, 3, 2, 6))  # neighbours that belong together are shades of one colour
_HATCHES = ("", "//")  # for more parts than colours
_MARKS = (("o", PALETTE[0], True), ("D", PALETTE[1], False), ("s", PALETTE[2], True), ("^", PALETTE[3], False))
_LINES = (("o", "-", PALETTE[0]), ("D", "--", PALETTE[1]), ("s", "-.", PALETTE[2]), ("^", ":", PALETTE[3]))
_LINES += (("v", "-", PALETTE[5]), ("x", "--", PALETTE[6]))
_GRID = "#e4e4e4"
_BAND = "#d9d9d9"
_ROW = 0.34  # inches


def stacked(
    shares: pd.DataFrame, *, xlabel: str, lines: Mapping[str, float] | None = None, apart: Sequence[str] = ()
) -> Figure:
    """One bar a row, cut into its shares from left to right; the first bar names the parts.

    Args:
        shares: (rows, parts), shares of one; row 0 on top.
        lines: words to the place on x where a vertical line is drawn through all bars.
        apart: rows at the top that are not like the others; a gap follows them.
    """
    rows = list(shares.index)
    places = np.arange(len(rows)) + np.array([0.5 * (row not in apart) for row in rows]) * bool(apart)
    with house_style():
        figure = blank(_ROW * (places[-1] + 1) + 1.0 + 0.28 * (math.ceil(shares.shape[1] / 5) + len(lines or {})))
        axes = figure.add_subplot()
        left = np.zeros(len(rows))
        for number, part in enumerate(shares.columns):
            values = shares[part].fillna(0).to_numpy()
            colour = _COLOURS[number % len(_COLOURS)]
            hatch = _HATCHES[number // len(_COLOURS) % len(_HATCHES)]
            axes.barh(places, values, left=left, height=0.8, color=colour, hatch=hatch, edgecolor="white", label=part)
            if values[0] > 0.07:  # room for its name
                axes.text(
                    left[0] + values[0] / 2, places[0], part, ha="center", va="center_baseline", color="black",
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
                )  # fmt: skip
            left += values
        for (words, place), style in zip((lines or {}).items(), ("--", ":", "-."), strict=False):
            axes.axvline(place, color="black", linestyle=style, linewidth=2.0, label=words, zorder=4)
        axes.set_yticks(places, rows)
        axes.set(xlim=(0, 1), ylim=(places[-1] + 0.6, -0.6), xlabel=xlabel)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        handles, names = axes.get_legend_handles_labels()
        count = len(lines or {})  # matplotlib lists lines first
        parts = figure.legend(
            handles[count:], names[count:], loc="outside lower center", ncols=5, frameon=False, columnspacing=1.2,
            handlelength=1.2,
        )  # fmt: skip
        parts.set_in_layout(True)
        if lines:
            figure.legend(handles[:count], names[:count], loc="outside upper left", frameon=False)
    return figure


def dots(
    panels: Mapping[str, pd.DataFrame],
    *,
    xlabel: str,
    columns: int = 1,
    bands: Mapping[str, pd.DataFrame] | None = None,
    lines: Mapping[str, float] | None = None,
    log: bool = False,
    words: Mapping[str, str] | None = None,
) -> Figure:
    """Numbers with intervals, one row a thing; panels share the rows, each has an x axis of its own.

    Args:
        panels: title to a frame with columns row, series, value, low, high (NaN: no interval); rows in the order of
            the first panel, from the top. Up to four series, told apart by mark and colour.
        bands: title to a frame indexed by row, with columns low, high: a grey bar behind, such as what chance gives.
        lines: title to the place of a dashed vertical line.
        log: a logarithmic axis, for ratios.
        words: what `band` and `line` are called in the legend.
    """
    rows = list(dict.fromkeys(row for frame in panels.values() for row in frame["row"]))
    series = list(dict.fromkeys(name for frame in panels.values() for name in frame["series"]))
    together = max(int(frame.groupby("row")["series"].nunique().max()) for frame in panels.values())
    height = _ROW * len(rows) * (1.0 if together == 1 else 1.25)
    down = math.ceil(len(panels) / columns)
    with house_style():
        figure = blank(down * (height + 0.75) + 0.45 + 0.27 * math.ceil((len(series) + 2) / 2), WIDTH)
        grid = figure.subplots(down, columns, squeeze=False, sharey=True)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, (title, frame) in zip(grid.flat, panels.items(), strict=False):
            band = None if bands is None else bands.get(title)
            _draw_dots(axes, frame, rows, series, together, band, (lines or {}).get(title), words or {})
            axes.set_title(title, loc="left", fontsize=15.0 if columns == 1 else SMALLEST)
            if log:
                _ratios(axes)
            else:
                axes.locator_params(axis="x", nbins=6 if columns == 1 else 3)
        grid.flat[0].set_yticks(range(len(rows)), rows)
        grid.flat[0].set_ylim(len(rows) - 0.4, -0.6)
        grid[-1, (columns - 1) // 2].set_xlabel(xlabel)
        found = {}
        for axes in grid.flat[: len(panels)]:
            found |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        if len(found) > 1:
            figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=2, frameon=False)
    return figure


def grid(values: pd.DataFrame, *, label: str) -> Figure:
    """A table of numbers around zero as colours, one cell a number: orange is above, purple below, grey is none.

    Args:
        values: (rows, columns), at most some ten columns, which stand on top.
        label: what the numbers are.
    """
    most = float(np.nanmax(np.abs(values.to_numpy(dtype=float)))) or 1.0
    digits = 1 if most < 100 else 0
    cells = values.map(lambda v: "" if np.isnan(v) else number(v, digits))
    with house_style():
        figure = blank(0.36 * len(values) + 1.5, min(WIDTH, 1.2 + 0.95 * values.shape[1]))
        axes = figure.add_subplot()
        axes.set_facecolor(_GRID)
        bar = {"orientation": "horizontal", "aspect": 40, "pad": 0.03, "label": label}
        sns.heatmap(
            values, annot=cells, fmt="", cmap="PuOr_r", vmin=-most, vmax=most, linewidths=0.6, linecolor="white",
            annot_kws={"size": SMALLEST}, cbar_kws=bar, ax=axes,
        )  # fmt: skip
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.set(xlabel="", ylabel="")
        axes.set_yticklabels(axes.get_yticklabels(), rotation=0)
    return figure


def _draw_dots(
    axes: Axes,
    frame: pd.DataFrame,
    rows: Sequence[str],
    series: Sequence[str],
    together: int,
    band: pd.DataFrame | None,
    line: float | None,
    words: Mapping[str, str],
) -> None:
    if band is not None:
        for place, row in enumerate(rows):
            if row in band.index and np.isfinite(band.loc[row, "low"]):
                low, high = band.loc[row, ["low", "high"]]
                axes.barh(place, high - low, left=low, height=0.7, color=_BAND, label=words.get("band"), zorder=1)
    if line is not None:
        axes.axvline(line, color=FAINT, linestyle="--", linewidth=1.5, label=words.get("line"), zorder=1.5)
    for place, name in enumerate(series):
        part = frame[frame["series"] == name]
        if part.empty:
            continue
        mark, colour, filled = _MARKS[place % len(_MARKS)]
        shift = 0.0 if together == 1 else (place - (len(series) - 1) / 2) * 0.34
        y = [rows.index(row) + shift for row in part["row"]]
        axes.hlines(y, part["low"], part["high"], color=colour, linewidth=2.2, zorder=2)
        axes.plot(
            part["value"], y, mark, color=colour, markersize=9, markeredgewidth=2, zorder=3, label=name,
            markerfacecolor=colour if filled else "white",
        )  # fmt: skip
    axes.grid(axis="y", color=_GRID)
    axes.set_axisbelow(True)
    axes.margins(x=0.08)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _ratios(axes: Axes) -> None:
    """A logarithmic x axis with plain numbers: 0.1, 0.2, 0.5, 1, 2, 5, ..., or finer ones on a narrow range."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    wide = LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=12)
    axes.xaxis.set_major_locator(wide if high > 5 * low else MaxNLocator(4))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())


def by_layer(
    panels: Mapping[str, pd.DataFrame],
    groups: Sequence[str],
    *,
    ylabel: str,
    line: float | None = None,
    words: str = "",
) -> Figure:
    """Lines over the layers of a model, one a group, for up to two series; panels below each other.

    Args:
        panels: title to a frame with columns place (the label on x), group, series, value; places in their order.
        groups: the order of the groups, which gives them the colours that they have in `stacked`.
        line: a horizontal dashed line, called `words`.
    """
    first = next(iter(panels.values()))
    places, series = (list(dict.fromkeys(first[name])) for name in ("place", "series"))
    colours = {group: _COLOURS[number % len(_COLOURS)] for number, group in enumerate(groups)}
    every = math.ceil(len(places) / 12)
    styles = [{"linestyle": style, "marker": mark} for style, (mark, *_) in zip(("-", ":"), _MARKS, strict=False)]
    with house_style():
        figure = blank(3.1 * len(panels) + 1.1)
        grid = figure.subplots(len(panels), 1, squeeze=False, sharex=True)
        for axes, (title, frame) in zip(grid.flat, panels.items(), strict=True):
            if line is not None:
                axes.axhline(line, color=FAINT, linestyle="--", linewidth=1.5, label=words)
            for (name, group), part in frame.groupby(["series", "group"], sort=False):
                number = series.index(name)
                axes.plot(
                    [places.index(place) for place in part["place"]], part["value"], color=colours[group],
                    linewidth=2.0, markersize=7, markerfacecolor="white" if number else colours[group],
                    **styles[number],
                )  # fmt: skip
            axes.set_title(title, loc="left")
            axes.set_ylabel(ylabel)
            axes.grid(axis="y", color=_GRID)
            axes.locator_params(axis="y", nbins=6)
            axes.set_ylim(bottom=0)
        grid.flat[-1].set_xticks(range(0, len(places), every), places[::every])
        there = [group for group in groups if group in set(first["group"])]
        handles = [Line2D([], [], color=colours[group], linewidth=5, label=group) for group in there]
        handles += [
            Line2D([], [], color=INK, markerfacecolor="white" if number else INK, label=name, **styles[number])
            for number, name in enumerate(series)
        ]
        handles += [Line2D([], [], color=FAINT, linestyle="--", label=words)] if line is not None else []
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def grids(panels: Mapping[str, pd.DataFrame], *, label: str, columns: int = 1, numbers: bool = True) -> Figure:
    """Tables of numbers around zero as colours, on one scale: orange is above, purple below, grey is none.

    Args:
        panels: title to (rows, columns); row 0 on top, names of columns below.
        label: what the numbers are.
        columns: panels beside each other.
        numbers: write the numbers too, rounded to whole ones; there has to be room for them.
    """
    tables = list(panels.values())
    most = max(float(np.nanmax(np.abs(table.to_numpy(dtype=float)))) for table in tables) or 1.0
    down = math.ceil(len(panels) / columns)
    heights = [max(len(table) for table in tables[i * columns : (i + 1) * columns]) for i in range(down)]
    side = 0.36 if numbers else 0.27
    with house_style():
        figure = blank(side * sum(heights) + 0.85 * down + 1.0)
        grid = figure.subplots(down, columns, squeeze=False, height_ratios=heights)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for place, (axes, (title, table)) in enumerate(zip(grid.flat, panels.items(), strict=False)):
            cells = table.map(lambda v: "" if np.isnan(v) else number(v, 0))
            sns.heatmap(
                table, annot=cells if numbers else False, fmt="", cmap="PuOr_r", vmin=-most, vmax=most, cbar=False,
                linewidths=0.6, linecolor="white", annot_kws={"size": SMALLEST}, ax=axes,
            )  # fmt: skip
            axes.set_facecolor(_GRID)
            axes.tick_params(length=0)
            axes.set(xlabel="", ylabel="")
            axes.set_title(title, loc="left", fontsize=15.0 if columns == 1 else SMALLEST)
            names = list(map(str, table.columns))
            turned = len(names) * max(map(len, names)) * 0.14 * columns > WIDTH
            axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90 if turned else 0)
            first = place % columns == 0
            every = [str(name) if first else "" for name in table.index]
            axes.set_yticks(np.arange(len(table)) + 0.5, every, rotation=0)
        bar = figure.colorbar(
            ScalarMappable(Normalize(-most, most), sns.color_palette("PuOr_r", as_cmap=True)), ax=grid,
            orientation="horizontal", aspect=40, shrink=0.9, fraction=0.04, pad=0.02, label=label,
        )  # fmt: skip
        bar.outline.set_visible(False)
        bar.ax.locator_params(nbins=5)
    return figure


def curves(
    panels: Mapping[str, pd.DataFrame],
    *,
    xlabel: str,
    ylabel: str,
    line: float | None = None,
    lines: Mapping[str, float] | None = None,
    words: str = "",
) -> Figure:
    """Lines over steps with bands, up to six, told apart by colour, dash and mark; panels below each other.

    Args:
        panels: title to a frame with columns series, x, value, low, high (NaN: no band).
        line: a horizontal line, called `words`. lines: title to a line of that panel alone.
    """
    levels = dict.fromkeys(panels, line) | dict(lines or {})
    series = list(dict.fromkeys(name for frame in panels.values() for name in frame["series"]))
    styles = {name: _LINES[place % len(_LINES)] for place, name in enumerate(series)}
    with house_style():
        figure = blank(3.0 * len(panels) + 0.5 + 0.3 * math.ceil((len(series) + bool(words)) / 2))
        grid = figure.subplots(len(panels), 1, squeeze=False, sharex=True)
        for axes, (title, frame) in zip(grid.flat, panels.items(), strict=True):
            if levels[title] is not None:
                axes.axhline(levels[title], color=FAINT, linewidth=1.5, label=words)
            for name, part in frame.groupby("series", sort=False):
                mark, dash, colour = styles[name]
                axes.fill_between(part["x"], part["low"], part["high"], color=colour, alpha=0.1, linewidth=0)
                axes.plot(
                    part["x"], part["value"], marker=mark, linestyle=dash, color=colour, linewidth=2.0, markersize=7,
                    label=name,
                )  # fmt: skip
            axes.set_title(title, loc="left")
            axes.set_ylabel(ylabel)
            axes.grid(axis="y", color=_GRID)
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        grid.flat[-1].set_xlabel(xlabel)
        found = {}
        for axes in grid.flat:
            found |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=2, frameon=False)
    return figure
