"""Charts as a reader sees them: nothing clipped, every number at its place, every mark in the legend."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from test_figures import assert_apart, assert_sound

from langsim import charts
from langsim.distribution import GROUPS

CODES = ["bg", "sr", "hr", "uk", "sk", "be", "fa", "hi", "bn", "id", "ms", "kk", "tr", "de", "sv", "ja", "ko"]


def shares(rows, parts, seed=0):
    values = np.random.default_rng(seed).dirichlet(np.ones(len(parts)), len(rows))
    return pd.DataFrame(values, rows, list(parts))


@pytest.mark.parametrize("codes", [CODES[:2], CODES, [f"l{i}" for i in range(40)]])
@pytest.mark.parametrize("parts", [GROUPS[:2], GROUPS[:5], GROUPS])
def test_stacked_bars_are_sound(codes, parts):
    given = shares(["parameters", "random weights", *codes], parts)
    lines = {"FFN's share of the parameters": 0.571, "published: the FFN holds more than this": 0.6}
    figure = charts.stacked(given, xlabel="share of the mask", lines=lines, apart=["parameters", "random weights"])
    assert_sound(figure)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(given.index)
    assert_apart(figure, axes.get_yticklabels())
    words = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert words == [*parts, *lines]


def test_stacked_bars_are_as_long_as_their_shares():
    given = shares(CODES, GROUPS[:5])
    axes = charts.stacked(given, xlabel="").axes[0]
    bars = [c for c in axes.containers if isinstance(c, BarContainer)]
    for bar, part in zip(bars, given, strict=True):
        assert [patch.get_width() for patch in bar] == pytest.approx(given[part].to_numpy())
    ends = [patch.get_x() + patch.get_width() for patch in bars[-1]]
    assert ends == pytest.approx([1.0] * len(CODES))
    assert len({to_hex(bar[0].get_facecolor()) for bar in bars}) == 5


def test_parts_beyond_the_colours_are_hatched():
    axes = charts.stacked(shares(CODES[:3], GROUPS), xlabel="").axes[0]
    looks = {(to_hex(bar[0].get_facecolor()), bar[0].get_hatch()) for bar in axes.containers}
    assert len(looks) == len(GROUPS)


def rows(names, series, seed=0, exact=False):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame([{"row": n, "series": s, "value": rng.uniform(0.2, 3)} for n in names for s in series])
    width = math.nan if exact else 0.1
    return table.assign(low=table["value"] - width, high=table["value"] + width)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("columns", [1, 3])
def test_dots_are_sound(log, columns):
    panels = {title: rows(CODES, ["trained model", "random weights"], i) for i, title in enumerate("abc")}
    lines = dict.fromkeys(panels, 1.0)
    figure = charts.dots(panels, xlabel="enrichment", columns=columns, lines=lines, log=log, words={"line": "one"})
    assert_sound(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == CODES
    for axes in figure.axes:
        ticks = [t for t in axes.get_xticklabels() if t.get_text()]
        inside = [t for t in ticks if axes.get_xlim()[0] <= t.get_position()[0] <= axes.get_xlim()[1]]
        assert len(inside) >= 2
        assert_apart(figure, inside)
    words = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert sorted(words) == ["one", "random weights", "trained model"]


def test_a_narrow_range_of_ratios_still_has_ticks():
    narrow = rows(CODES[:5], ["ours"]).assign(value=[0.97, 0.99, 1.0, 1.02, 1.03], low=math.nan, high=math.nan)
    axes = charts.dots({"": narrow}, xlabel="", log=True).axes[0]
    low, high = axes.get_xlim()
    assert sum(low <= tick <= high for tick in axes.get_xticks()) >= 3


def test_dots_are_where_the_numbers_are():
    first, second = rows(CODES[:4], ["ours"]), rows(["ko"], ["published"], exact=True)
    band = pd.DataFrame({"low": [0.5], "high": [0.9]}, ["sr"])
    panels = {"ours": first, "printed": second}
    figure = charts.dots(panels, xlabel="%", columns=2, bands={"ours": band}, words={"band": "chance"})
    assert_sound(figure)
    left, right = figure.axes
    points = next(line for line in left.lines if len(line.get_xdata()) == 4)
    assert list(points.get_xdata()) == list(first["value"]) and list(points.get_ydata()) == [0, 1, 2, 3]
    (segments,) = [c.get_segments() for c in left.collections if len(c.get_segments()) == 4]
    assert [s[:, 0].tolist() for s in segments] == first[["low", "high"]].to_numpy().tolist()
    (bar,) = left.patches
    assert (bar.get_x(), bar.get_width()) == (
        0.5,
        pytest.approx(0.4),
    ) and bar.get_y() < 1 < bar.get_y() + bar.get_height()
    assert [label.get_text() for label in left.get_yticklabels()] == [*CODES[:4], "ko"]
    assert list(right.lines[0].get_ydata()) == [4], "rows are shared"


def layered(layers, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for side, groups in (("E", ["E_f", "E_a"]), ("D", ["D_f", "D_a", "D_c"])):
        for layer in range(layers):
            for group in groups:
                for series in ("trained model", "random weights"):
                    found.append(
                        {"place": f"{side}{layer + 1}", "group": group, "series": series, "value": rng.random()}
                    )
    return pd.DataFrame(found)


@pytest.mark.parametrize("layers", [1, 4, 12])
def test_lines_over_layers_are_sound(layers):
    panels = {"In the mask (top 40 %)": layered(layers), "In Fisher mass": layered(layers, 1)}
    figure = charts.by_layer(panels, GROUPS, ylabel="enrichment", line=1.0, words="as its size")
    assert_sound(figure)
    assert_apart(figure, [t for t in figure.axes[-1].get_xticklabels() if t.get_text()])
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["E_f", "D_f", "E_a", "D_a", "D_c", "trained model", "random weights", "as its size"]
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata()) == layers and line.get_marker() != "None"]
    assert len(drawn) == 10
    assert {line.get_linestyle() for line in drawn} == {"-", ":"}


def test_a_group_has_one_colour_in_both_charts():
    bars = charts.stacked(shares(CODES[:3], GROUPS[:5]), xlabel="").axes[0].containers
    colours = {bar.get_label(): to_hex(bar[0].get_facecolor()) for bar in bars}
    handles = charts.by_layer({"": layered(3)}, GROUPS, ylabel="").legends[0].legend_handles
    lines = {h.get_label(): to_hex(h.get_color()) for h in handles}
    assert all(lines[group] == colours[group] for group in colours)


def test_a_grid_shows_every_number_and_leaves_out_what_is_none():
    values = pd.DataFrame({"fa": [np.nan, 1.23, -0.04], "hi": [-4.56, 0.0, np.nan]}, index=["fa", "bg", "hi"])
    figure = charts.grid(values, label="gain")
    axes, bar = figure.axes
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["−4.6", "1.2", "0.0", "0.0"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["fa", "bg", "hi"]
    low, high = bar.get_xlim()
    assert -low == high == 4.56 and bar.get_xlabel() == "gain"
