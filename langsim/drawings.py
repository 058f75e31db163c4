"""Figures of part III that are no charts: a method drawn step by step, and numbers spread by group.

In the style of `langsim.figures`, whose rules hold here too.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from langsim.figures import FAINT, INK, PALETTE, SMALLEST, blank, house_style

_GRID = "#e4e4e4"
_CHOICES = (("s", 8, True), ("o", 8, True), ("D", 12, False), ("^", 8, True))  # the last ones around the others
_SHARED = ("#ffffff", PALETTE[4], PALETTE[5], INK)  # none, the target alone, the source alone, both


def sub_networks(
    target: str,
    sources: Sequence[str],
    fisher: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    jaccard: Mapping[str, float],
) -> Figure:
    """A block of one matrix through the steps of X-SNS: Fisher values above, masks below them, overlaps last.

    Args:
        target, sources: codes of a target and two sources, the columns.
        fisher: code to (N, N) values, drawn as log10. masks: code to (N, N) bool.
        jaccard: source to its coefficient with the target over all parameters.
    """
    codes = [target, *sources]
    logs = {code: np.log10(np.maximum(fisher[code], 1e-30)) for code in codes}
    low, high = np.quantile(np.stack(list(logs.values())), [0.02, 0.98])
    with house_style():
        figure = blank(7.6)
        grid = figure.subplots(3, len(codes))
        for place, code in enumerate(codes):
            role = "target" if code == target else "source"
            grid[0, place].imshow(logs[code], cmap="viridis", vmin=low, vmax=high)
            grid[0, place].set_title(f"{role} {code}", loc="left")
            grid[1, place].imshow(masks[code], cmap=ListedColormap(["#ffffff", INK]), vmin=0, vmax=1)
            _frame(grid[0, place])
            _frame(grid[1, place])
            if code == target:
                _legend(grid[2, place])
                continue
            both = masks[target].astype(int) + 2 * masks[code].astype(int)
            grid[2, place].imshow(both, cmap=ListedColormap(_SHARED), vmin=0, vmax=3)
            grid[2, place].set_xlabel(f"Jaccard {jaccard[code]:.3f}")
            _frame(grid[2, place])
        for row, words in enumerate(("1, 2  Fisher values", "3  the top p", "4  what is shared")):
            grid[row, 0].set_ylabel(words, fontsize=SMALLEST)
    return figure


def _frame(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color=FAINT)


def _legend(axes: Axes) -> None:
    """Where the target would be compared with itself stands what the colours mean."""
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    words = ("in neither", "target alone", "source alone", "in both")
    handles = [Patch(facecolor=c, edgecolor=FAINT, label=w) for c, w in zip(_SHARED, words, strict=True)]
    axes.legend(handles=handles, loc="center left", frameon=False, borderaxespad=0, handlelength=1.2)


def boxes(groups: Mapping[str, np.ndarray], *, xlabel: str, line: float = 0.0, words: str = "") -> Figure:
    """How numbers spread in each group, one row a group: every number as a dot, quartiles as a box, the median as a
    bar in it.

    Args:
        groups: name to numbers; NaN are left out.
        line: a vertical dashed line, called `words`.
    """
    names = list(groups)
    rng = np.random.default_rng(0)  # dots are moved a little so that they can be told apart; only for the eye
    with house_style():
        figure = blank(0.75 * len(names) + 1.4)
        axes = figure.add_subplot()
        axes.axvline(line, color=FAINT, linestyle="--", linewidth=1.5, label=words or None, zorder=1)
        for place, name in enumerate(names):
            values = np.asarray(groups[name], dtype=float)
            values = values[~np.isnan(values)]
            axes.plot(
                values, place + rng.uniform(-0.22, 0.22, len(values)), "o", color=PALETTE[0], alpha=0.35, markersize=4,
                markeredgewidth=0, zorder=2,
            )  # fmt: skip
            if len(values):
                first, middle, third = np.quantile(values, [0.25, 0.5, 0.75])
                axes.barh(
                    place, third - first, left=first, height=0.56, facecolor="none", edgecolor=INK, lw=2, zorder=3
                )
                axes.plot([middle, middle], [place - 0.28, place + 0.28], color=PALETTE[1], lw=4, zorder=4)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel(xlabel)
        axes.grid(axis="x", color=_GRID)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        if words:
            figure.legend(loc="outside lower center", frameon=False)
    return figure


def choices(panels: Mapping[str, pd.DataFrame], *, xlabel: str) -> Figure:
    """What each of up to four choices gives, one row a thing, the choices of a row on one line; dotted lines are
    means over the rows that have all choices.

    Args:
        panels: title to a frame with columns row, series, value; rows from the top in their order.
    """
    series = list(dict.fromkeys(name for frame in panels.values() for name in frame["series"]))
    counts = [frame["row"].nunique() for frame in panels.values()]
    with house_style():
        figure = blank(0.36 * sum(counts) + 0.9 * len(panels) + 0.6)
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=counts)
        for axes, (title, frame) in zip(grid.flat, panels.items(), strict=True):
            rows = list(dict.fromkeys(frame["row"]))
            ends = frame.groupby("row")["value"].agg(["min", "max"]).loc[rows]
            axes.hlines(range(len(rows)), ends["min"], ends["max"], color=_GRID, linewidth=3, zorder=1)
            whole = frame.groupby("row")["series"].transform("nunique") == len(series)
            for place, name in enumerate(series):
                part = frame[frame["series"] == name]
                mark, size, filled = _CHOICES[place % len(_CHOICES)]
                colour = PALETTE[place]
                axes.plot(
                    part["value"], [rows.index(row) for row in part["row"]], mark, color=colour, markersize=size,
                    markeredgewidth=2, markerfacecolor=colour if filled else "none", label=name, zorder=3 + place,
                )  # fmt: skip
                axes.axvline(part.loc[whole, "value"].mean(), color=colour, linestyle=":", linewidth=1.5, zorder=2)
            axes.set_yticks(range(len(rows)), rows)
            axes.set_ylim(len(rows) - 0.4, -0.6)
            axes.set_title(title, loc="left")
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
        grid.flat[-1].set_xlabel(xlabel)
        handles, names = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    return figure
