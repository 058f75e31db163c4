"""Figures are checked as a reader sees them: nothing clipped, nothing too small, every label there."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from skbio import TreeNode

from langsim import diagrams, families, figures, notebook, trees
from langsim.centring import centre
from langsim.figures import FAMILY_BOX, PALETTE, SMALLEST, WIDTH

CODES = [f"{a}{b}" for a in "bmw" for b in "agkrsuxyz"] + ["zh-Hant", "sr-Latn", "ckb"]
NAMES = dict.fromkeys(CODES, "Indonesian") | {"zh-Hant": "Chinese (Traditional)", "ckb": "Central Kurdish"}


def table(size, seed=0, low=0.5, high=0.95):
    values = np.random.default_rng(seed).uniform(low, high, (size, size))
    np.fill_diagonal(values, 1.0)
    return pd.DataFrame(values, CODES[:size], CODES[:size])


def families_of(size, width=3):
    return {code: f"Family-{i // width}" for i, code in enumerate(CODES[:size])}


def texts(figure):
    """The texts that are drawn (a tick outside the axis, for example, is not)."""
    figure.canvas.draw()  # lays out
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", lambda self, renderer: drawn.append(self))
        figure.canvas.draw()
    return [text for text in drawn if text.get_text().strip() and text.get_visible()]


def assert_sound(figure):
    """No text leaves the figure, none is smaller than allowed, and the figure fits the page."""
    assert figure.get_figwidth() <= WIDTH + 1e-9
    renderer = figure.canvas.get_renderer()
    frame = figure.bbox
    for text in texts(figure):
        box = text.get_window_extent(renderer)
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= frame.width + 1 and box.y1 <= frame.height + 1
        assert inside, f"clipped: {text.get_text()!r} at {box}"
        assert text.get_fontsize() >= SMALLEST, text.get_text()
    assert not pyplot.get_fignums(), "pyplot keeps a figure alive, and a notebook would show it twice"


def assert_apart(figure, among):
    """No two of these texts lie on each other."""
    renderer = figure.canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer).padded(-1)) for text in among]
    for i, (first, a) in enumerate(boxes):
        for second, b in boxes[i + 1 :]:
            assert not a.overlaps(b), f"{first!r} lies on {second!r}"


def cells(axes):
    """Text of each annotated cell by (row, column)."""
    return {(int(t.get_position()[1]), int(t.get_position()[0])): t for t in axes.texts}


@pytest.mark.parametrize("size", [2, 6, 17, 24, 30])
def test_heat_map_is_sound_at_every_size(size):
    figure = figures.heatmap(table(size, low=0.95, high=0.98), "Ours", families=families_of(size))
    assert_sound(figure)
    axes = figure.axes[0]
    shown = [label.get_text() for label in axes.get_xticklabels()]
    assert shown == [label.get_text() for label in axes.get_yticklabels()]
    assert shown == CODES[:size] if size <= figures.LABELLED_UP_TO else len(shown) >= size / 2
    assert bool(axes.texts) == (size <= figures.ANNOTATED_UP_TO), "no number that a phone can't show"
    assert_apart(figure, axes.get_xticklabels())
    cell = axes.get_window_extent().width / size
    renderer = figure.canvas.get_renderer()
    assert all(text.get_window_extent(renderer).width < cell for text in axes.texts)


@pytest.mark.parametrize("columns", [1, 2])
def test_two_panels_are_sound(columns):
    panels = {"Published (Figure 3)": table(6, 1), "Ours": table(6, 2)}
    assert_sound(figures.heatmaps(panels, families=families_of(6), columns=columns))


def test_cells_say_the_values_and_leave_the_diagonal_out():
    matrix = table(5)
    matrix.iloc[0, 1], matrix.iloc[1, 0] = 0.846, 0.854
    figure = figures.heatmap(matrix)
    found = cells(figure.axes[0])
    assert found[0, 1].get_text() == "0.85" and found[1, 0].get_text() == "0.85"
    for i in range(5):
        for j in range(5):
            text = found[i, j].get_text() if (i, j) in found else ""
            assert text == ("" if i == j else f"{matrix.iloc[i, j]:.2f}")
    assert figure.axes[1].get_xlabel() == "Overlap"


def test_a_narrow_range_gets_a_third_digit():
    figure = figures.heatmap(table(6, low=0.94, high=0.98))
    assert all(len(text.get_text()) == len("0.945") for text in figure.axes[0].texts if text.get_text())
    assert_sound(figure)


def test_a_measured_diagonal_is_shown_like_any_other_cell():
    matrix = table(5)
    np.fill_diagonal(values := matrix.to_numpy(copy=True), [0.31, 0.32, 0.33, 0.34, 0.35])
    measured = pd.DataFrame(values, matrix.index, matrix.columns)
    figure = figures.heatmap(measured, diagonal=True)
    mesh = next(child for child in figure.axes[0].get_children() if isinstance(child, QuadMesh))
    assert not np.ma.getmaskarray(mesh.get_array()).any() and mesh.get_clim()[0] == pytest.approx(0.31)
    assert {"0.31", "0.32", "0.33", "0.34", "0.35"} <= {text.get_text() for text in figure.axes[0].texts}


@pytest.mark.parametrize("diagonal", [0.0, 1.0, 99.0])
def test_colours_do_not_see_the_diagonal(diagonal):
    matrix = table(6)
    np.fill_diagonal(values := matrix.to_numpy(copy=True), diagonal)
    figure = figures.heatmap(pd.DataFrame(values, matrix.index, matrix.columns))
    mesh = next(c for c in figure.axes[0].collections if isinstance(c, QuadMesh))
    off = values[~np.eye(6, dtype=bool)]
    assert mesh.get_clim() == (off.min(), off.max())
    assert np.ma.getmaskarray(mesh.get_array()).reshape(6, 6).diagonal().all()


def test_numbers_can_be_read_on_their_colours():
    figure = figures.heatmap(table(7, low=0.1, high=0.9))
    figure.canvas.draw()
    mesh = next(c for c in figure.axes[0].collections if isinstance(c, QuadMesh))
    colours = mesh.get_facecolors().reshape(7, 7, 4)
    assert len(cells(figure.axes[0])) >= 42
    for (i, j), text in cells(figure.axes[0]).items():
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colours[i, j, :3]]
        luminance = np.dot(linear, (0.2126, 0.7152, 0.0722))
        own = {"#ffffff": 1.0, "#000000": 0.0}[to_hex(text.get_color())]
        contrast = (max(own, luminance) + 0.05) / (min(own, luminance) + 0.05)
        assert contrast >= 4.5


def test_darker_is_more_similar_for_distances_too():
    def luminance(larger):
        figure = figures.heatmap(table(5), larger_is_similar=larger)
        mesh = next(c for c in figure.axes[0].collections if isinstance(c, QuadMesh))
        figure.canvas.draw()
        values = np.ma.getdata(mesh.get_array()).ravel()
        grey = mesh.get_facecolors()[:, :3].mean(axis=1)
        off = ~np.eye(5, dtype=bool).ravel()
        return np.corrcoef(values[off], grey[off])[0, 1]

    assert luminance(True) < -0.8 and luminance(False) > 0.8


def test_centred_colours_are_even_on_both_sides_of_zero():
    residuals = centre(table(7)).residuals
    figure = figures.heatmap(residuals, diverging=True, families=families_of(7))
    mesh = next(c for c in figure.axes[0].collections if isinstance(c, QuadMesh))
    low, high = mesh.get_clim()
    assert low == -high == -np.nanmax(np.abs(residuals.to_numpy()))
    assert any(text.get_text().startswith("−") for text in figure.axes[0].texts)
    assert_sound(figure)


def test_boxes_are_the_families_in_the_order_of_the_rows():
    mixed = dict(zip(CODES[:6], "abacbd", strict=True))  # b: second and fifth row, before ordering
    ordered = dict(sorted(mixed.items(), key=lambda item: item[1]))
    figure = figures.heatmap(table(6), families=ordered)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(ordered)
    boxes = [p for p in axes.patches if isinstance(p, Rectangle) and to_hex(p.get_edgecolor()) == FAMILY_BOX.lower()]
    assert [(b.get_xy(), b.get_width(), b.get_height()) for b in boxes] == [((0, 0), 2, 2), ((2, 2), 2, 2)]
    line = figure._supxlabel.get_text()
    assert all(code in line for code in list(ordered)[:4]) and list(ordered)[5] not in line


def test_highlighted_cells_are_framed():
    figure = figures.heatmap(table(4), highlight={"": [(CODES[1], CODES[2]), ("xx", CODES[0])]})
    frames = [p for p in figure.axes[0].patches if to_hex(p.get_edgecolor()) == "#000000"]
    assert [p.get_xy() for p in frames] == [(2, 1)]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.85, 0.91, 0.77], ["0.85", "0.91", "0.77"]),
        ([0.9312, 0.9461, 0.9523], ["0.931", "0.946", "0.952"]),
        ([-0.0123, 0.0191, -0.0], ["−0.012", "0.019", "0.000"]),
        ([4.2e-9, 1e-9, 2e-9], ["4e−09", "1e−09", "2e−09"]),
        ([31.4, 12.0, 25.0], ["31.40", "12.00", "25.00"]),
        ([np.nan, 0.5, 0.9], ["", "0.50", "0.90"]),
        ([0.5, 0.5, 0.5], ["0.50", "0.50", "0.50"]),
    ],
)
def test_cells_show_plain_numbers(values, texts):
    assert figures._texts(np.array([values]), 6).tolist() == [texts]


def test_the_maximum_of_each_row_is_framed_when_asked_for():
    matrix = pd.DataFrame([[0.1, 0.9], [0.8, 0.2]], ["aa", "bb"], ["aa", "bb"])
    assert figures.highest({"Ours": matrix}) == {"Ours": [("aa", "bb"), ("bb", "aa")]}


def test_equal_figures_are_equal_files():
    notebook.setup()

    def svg():
        file = io.BytesIO()
        figures.heatmap(table(4), families=families_of(4)).savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()

    assert svg() == svg()


def test_scatter_has_every_pair_and_marks_relatives():
    x, y, groups = table(7, 1), table(7, 2), families_of(7)
    panels = {"Raw": (x, y, "Spearman 0.10"), "Centred": (centre(x).residuals, centre(y).residuals, "Spearman −0.01")}
    figure = figures.scatter(panels, groups, xlabel="Figure 5", ylabel="Overlap", chance={"Raw": 0.7})
    assert_sound(figure)
    for axes in figure.axes:
        others, kin = (len(c.get_offsets()) for c in axes.collections if isinstance(c, PathCollection))
        assert (others, kin) == (42 - 12, 12)
    assert len(figure.axes[0].lines) == 1 and not figure.axes[1].lines
    assert {"same family", "different families", "chance"} == {t.get_text() for t in figure.legends[0].get_texts()}


@pytest.mark.parametrize("codes", [CODES[:17], CODES, ["zh-Hant"]])
def test_family_chart_has_every_language_once(codes):
    groups = {
        code: ["Sino-Tibetan", "Balto-Slavic", "Afro-Asiatic", "Austroasiatic"][i % 4] for i, code in enumerate(codes)
    }
    ordered = dict(sorted(groups.items(), key=lambda item: item[1]))
    figure = diagrams.family_membership(ordered, NAMES)
    assert_sound(figure)
    found = [text.get_text() for text in texts(figure)]
    assert all(found.count(code) == 1 for code in codes)
    assert all(any(name.split("-")[0] in text for text in found) for name in groups.values())
    assert_apart(figure, texts(figure))


@pytest.mark.parametrize(
    ("size", "larger", "variant"), [(17, True, "paper"), (17, False, "authors_code"), (3, False, "paper")]
)
def test_walk_fills_the_members_and_stops_where_a2_stops(size, larger, variant):
    scores = table(size).iloc[0].round(2)  # with ties
    family = families.select(scores, larger, variant, target=CODES[0])
    figure = diagrams.selection_walk(family, scores)
    assert_sound(figure)
    above, below = figure.axes
    ranked = [label.get_text() for label in below.get_xticklabels()]
    assert sorted(ranked) == sorted(CODES[1:size])
    filled = [line for line in above.lines if to_hex(line.get_markerfacecolor()) == PALETTE[0].lower()]
    assert {ranked[int(line.get_xdata()[0])] for line in filled} == set(family.members)
    assert len(below.patches) == len(family.trace)
    out = [p for p in below.patches if p.get_hatch()]
    assert len(out) == sum(step["decision"] == "larger" for step in family.trace)


@pytest.mark.parametrize("size", [3, 17])
def test_trees_have_every_leaf(size):
    first, second = (trees.cluster(table(size, seed), True).tree for seed in (1, 2))
    topology = trees.cluster(table(size, 3), True).tree
    for node in topology.traverse():
        node.length = None
    figure = diagrams.trees({"Reference": topology, "Published": first, "Ours": second})
    assert_sound(figure)
    shown = [axes for axes in figure.axes if axes.texts]
    assert len(shown) == 3
    for axes in shown:
        assert sorted(text.get_text() for text in axes.texts) == sorted(CODES[:size])
        assert_apart(figure, axes.texts)


def test_equal_colours_are_a_clade_of_the_first_tree():
    reference, other = (
        TreeNode.read(io.StringIO(newick), format="newick") for newick in ("((aa,bb),(cc,dd));", "((aa,cc),(bb,dd));")
    )
    figure = diagrams.trees({"Reference": reference, "Ours": other})
    assert len(figure.axes) == 2
    for axes in figure.axes:
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        names = [text.get_text() for text in axes.texts]
        colour = dict(zip(names, (to_hex(dot.get_color()) for dot in dots), strict=True))
        assert colour["aa"] == colour["bb"] != colour["cc"] == colour["dd"]
