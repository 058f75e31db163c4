"""Diagrams of families: who belongs to which, how Algorithm A.2 walks, and trees beside each other.

In the style of `langsim.figures`, whose rules hold here too.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from skbio import TreeNode

from langsim.families import Family
from langsim.figures import INK, PALETTE, SMALLEST, blank, house_style

_PER_LINE = 6  # chips of languages
_LETTERS = 10  # of the smallest size on one chip
_DECISIONS = {  # of a step: does the language come in, and what the bar is called
    "first": (True, "in: the first always"),
    "smaller": (True, "in: step ≤ Gap"),
    "equal": (True, "in: step ≤ Gap"),
    "minimum": (True, "in: two at least"),
    "larger": (False, "out: step > Gap, the walk ends"),
}


def family_membership(families: Mapping[str, str], names: Mapping[str, str]) -> Figure:
    """Chips of languages (code and name) under the names of their families, as Figure 1 of the first paper.

    Args:
        families: language to family, a family's languages one after the other. names: language to its name.
    """
    groups: dict[str, list[str]] = {}
    for code, family in families.items():
        groups.setdefault(family, []).append(code)
    lines = _lines(groups)
    with house_style():
        figure = blank(1.6 * len(lines) + 0.1)
        axes = figure.add_subplot()
        axes.set(xlim=(0, _PER_LINE), ylim=(len(lines), 0.04))
        axes.set_axis_off()
        colours = {family: PALETTE[i % len(PALETTE)] for i, family in enumerate(groups)}
        named = set()
        for row, line in enumerate(lines):
            for column, (family, codes) in line:
                span = _span(family, codes)
                title = family if family not in named else f"{family} (continued)"
                named.add(family)
                title = textwrap.fill(title, _LETTERS * span, break_long_words=False)
                axes.text(
                    column + 0.06, row + 0.29, title, va="bottom", fontsize=SMALLEST, fontweight="bold",
                    linespacing=0.95,
                )  # fmt: skip
                axes.plot([column + 0.06, column + len(codes) - 0.06], [row + 0.34] * 2, lw=5, color=colours[family])
                for place, code in enumerate(codes):
                    _chip(axes, column + place, row, code, names.get(code, code))
    return figure


def _lines(groups: Mapping[str, list[str]]) -> list[list[tuple[int, tuple[str, list[str]]]]]:
    """Families laid out like words on lines of `_PER_LINE` chips; a longer family is continued on the next line."""
    parts = [
        (family, codes[start : start + _PER_LINE])
        for family, codes in groups.items()
        for start in range(0, len(codes), _PER_LINE)
    ]
    lines: list[list[tuple[int, tuple[str, list[str]]]]] = [[]]
    column = 0
    for part in parts:
        span = _span(*part)
        if column + span > _PER_LINE:
            lines.append([])
            column = 0
        lines[-1].append((column, part))
        column += span
    return lines


def _span(family: str, codes: Sequence[str]) -> int:
    """How many chips wide: its languages, or the longest word of its name."""
    longest = max(map(len, family.replace("-", "- ").split()))
    return max(len(codes), math.ceil(longest / _LETTERS))


def _chip(axes: Axes, x: float, y: float, code: str, name: str) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x + 0.07, y + 0.42), 0.86, 0.52, boxstyle="round,pad=0,rounding_size=0.05", facecolor="#f2f2f2",
            edgecolor="none",
        )
    )  # fmt: skip
    size = 17 if len(code) < 4 else 14
    axes.text(x + 0.5, y + 0.525, code, ha="center", va="center", fontsize=size, fontweight="bold")
    short = "\n".join(textwrap.wrap(name.split(" (")[0], _LETTERS + 1)[:2])
    axes.text(x + 0.5, y + 0.77, short, ha="center", va="center", fontsize=SMALLEST, linespacing=0.95)


def selection_walk(family: Family, scores: Mapping[str, float], *, label: str = "Overlap") -> Figure:
    """How Algorithm A.2 picked a family: the sorted scores, and each step down against the Gap it had to keep within.

    Above: every auxiliary, most similar first; filled ones are in. Below: the step from the one before (bar) and the
    Gap at that moment (line); the walk ends at the first bar that stands above the line.

    Args:
        family: what `families.select` returned. scores: auxiliary to score, in the order that breaks ties.
        label: what the scores are.
    """
    given = {code: score for code, score in scores.items() if code != family.target}
    larger = given[family.members[0]] >= max(given.values())  # the first is the most similar one
    ranked = sorted(given, key=given.__getitem__, reverse=larger)
    steps = {str(step["language"]): step for step in family.trace}
    x = np.arange(len(ranked))
    with house_style():
        figure = blank(6.6)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.1, 1))
        for code, place in zip(ranked, x, strict=True):
            inside = code in family.members
            above.plot(
                place, given[code], "o", markersize=13, markeredgewidth=2, markeredgecolor=PALETTE[0],
                markerfacecolor=PALETTE[0] if inside else "white",
            )  # fmt: skip
        above.set_ylabel(label)
        above.set_title(f"{family.target}: auxiliaries, most similar first (filled: in the family)", loc="left")
        above.grid(axis="y", color="#e4e4e4")
        above.locator_params(axis="y", nbins=6)
        above.margins(y=0.15)
        _draw_steps(below, ranked, steps)
        below.set_xticks(x, ranked)
        below.set_xlim(-0.6, len(ranked) - 0.4)
    return figure


def _draw_steps(axes: Axes, ranked: Sequence[str], steps: Mapping[str, Mapping[str, object]]) -> None:
    """Bars of the steps and the line of the Gap. The first step, from the target itself, is far larger than the
    others: the axis is logarithmic, and steps of nothing (ties) are drawn as its smallest value."""
    looked = [(i, steps[code]) for i, code in enumerate(ranked) if code in steps]
    differences = [float(s["difference"] or 0) for _, s in looked]
    positive = [d for d in [*differences, *(float(s["gap_after"] or 0) for _, s in looked)] if d > 0]
    floor = min(positive, default=1e-3) / 3
    drawn = set()
    for (place, step), difference in zip(looked, differences, strict=True):
        inside, words = _DECISIONS[str(step["decision"])]
        colour, hatch = (PALETTE[0], "") if inside else (PALETTE[1], "//")
        if step["decision"] == "first":
            colour = PALETTE[4]
        axes.bar(
            place, max(difference, floor), width=0.62, color=colour, hatch=hatch, edgecolor="white",
            label=words if words not in drawn else None,
        )  # fmt: skip
        drawn.add(words)
        gap = step["gap_before"] if step["gap_before"] is not None else step["gap_after"]
        if gap is not None:
            axes.plot([place - 0.45, place + 0.45], [max(float(gap), floor)] * 2, color="black", lw=3, zorder=3)
    axes.plot([], [], color="black", lw=3, label="Gap")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(bottom=floor * 0.7)
    axes.set_ylabel("step")
    axes.legend(loc="upper right", frameon=False)
    axes.tick_params(axis="x", length=0)


def trees(panels: Mapping[str, TreeNode], names: Mapping[str, str] | None = None, *, columns: int = 2) -> Figure:
    """Trees side by side, root on the left, leaves on the right. The first one gives the order and the colours: leaves
    of one colour are a clade of it (one below the root).

    A tree with branch lengths is drawn to scale (long = late merge), one without by its levels.

    Args:
        panels: title to tree. names: leaf to its name, written beside the code.
    """
    first = next(iter(panels.values()))
    leaves = {tip.name: i for i, tip in enumerate(first.tips())}
    most = max(tree.count(tips=True) for tree in panels.values())
    with house_style():
        alone = len(panels) % columns == 1 and len(panels) > columns  # the first has a row of its own: the others pair
        rows = math.ceil(len(panels) / columns)
        figure = blank(rows * (0.38 * most + 0.6))
        grid = figure.subplots(rows, columns, squeeze=False)
        places = [grid.flat[0], *grid.flat[columns if alone else 1 :]]
        for axes in set(grid.flat) - set(places[: len(panels)]):
            axes.set_axis_off()
        clades = {tip.name: i for i, child in enumerate(first.children) for tip in child.tips(include_self=True)}
        for axes, (title, tree) in zip(places, panels.items(), strict=False):
            _draw_tree(axes, tree, leaves, clades, names or {})
            axes.set_title(title, loc="left")
    return figure


def _draw_tree(
    axes: Axes, tree: TreeNode, order: Mapping[str, int], clades: Mapping[str, int], names: Mapping[str, str]
) -> None:
    tree = tree.copy()
    for node in tree.postorder():  # branches turned so that the leaves come close to the first tree's order
        node.rank = order.get(node.name, len(order)) if node.is_tip() else np.mean([c.rank for c in node.children])
        node.children.sort(key=lambda child: child.rank)
    scaled = all(node.length is not None for node in tree.traverse(include_self=False))
    tips = list(tree.tips())
    for place, tip in enumerate(tips):
        tip.y = place
    for node in tree.postorder():
        if not node.is_tip():
            node.y = np.mean([child.y for child in node.children])
    tree.x = 0.0
    for node in tree.preorder(include_self=False):
        node.x = node.parent.x + (float(node.length) if scaled else 1.0)
    deepest = max(tip.x for tip in tips)
    if not scaled:
        for tip in tips:
            tip.x = deepest
    for node in tree.preorder(include_self=False):
        axes.plot([node.parent.x, node.parent.x, node.x], [node.parent.y, node.y, node.y], color=INK, lw=2)
    for tip in tips:
        colour = PALETTE[clades.get(tip.name, 0) % len(PALETTE)]
        axes.plot(tip.x, tip.y, "o", color=colour, markersize=11, clip_on=False)
        text = f"{tip.name}  {names[tip.name]}" if tip.name in names else tip.name
        axes.annotate(text, (tip.x, tip.y), (11, 0), textcoords="offset points", va="center", fontsize=14)
    axes.set_ylim(len(tips) - 0.5, -0.5)
    axes.set_xlim(-0.03 * (deepest or 1), (deepest or 1) * (2.1 if names else 1.35))
    axes.set_axis_off()
