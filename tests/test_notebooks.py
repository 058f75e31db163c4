"""What every notebook keeps to: figures with words, parameters of the settings, results of the list of exhibits."""

import ast
import re
from pathlib import Path

import jupytext
import nbformat
import pytest

from langsim import exhibits, profiles

ROOT = Path(__file__).resolve().parent.parent
TWINS = sorted((ROOT / "notebooks").glob("*/[0-9][0-9]_*.md"))
EXECUTED = sorted((ROOT / "notebooks").glob("*/[0-9][0-9]_*.ipynb"))
DRAWS = re.compile(r"\b(charts|diagrams|drawings|figures)\.\w+\(")
ALONE = {"01_paper_audit"}  # computed from printed tables: no settings but the profile
each_twin = pytest.mark.parametrize("path", TWINS, ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in jupytext.read(path).cells if cell.cell_type == "code"]


@each_twin
def test_every_figure_has_a_caption_a_name_and_alternative_text(path):
    drawn = [cell for cell in code_cells(path) if DRAWS.search(cell.source)]
    assert drawn
    names = []
    for cell in drawn:
        options = cell.metadata["mystnb"]
        names.append(options["figure"]["name"])
        assert len(options["figure"]["caption"].split()) > 10, "a caption says what to see"
        assert len(options["image"]["alt"].split()) > 10
        assert "figure" not in options["image"]["alt"].lower().split()[:2]
    assert len(set(names)) == len(names)


@each_twin
def test_parameters_are_the_settings(path):
    cell = next(cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", []))
    body = ast.parse(cell.source).body
    given = {node.target.id: ast.literal_eval(node.value) for node in body}
    kind = profiles.kind_of(given)
    shared = ["profile"] if path.stem in ALONE else list(kind.model_fields)
    own = tuple(list(given)[len(shared) :])  # a notebook's own parameters come last, with their values
    assert list(given) == [*shared, *own] and all(given[name] for name in own)
    expected = profiles.resolve("mini", kind=kind)
    assert profiles.from_notebook(given, own=own) == expected, "an empty value must mean the profile's"
    assert all("#" in line for line in cell.source.splitlines() if line), "every parameter has its help"


@each_twin
def test_parameters_are_checked_in_the_next_cell(path):
    cells = code_cells(path)
    first = next(i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
    assert first == 0 and "profiles.from_notebook(globals()" in cells[1].source


@each_twin
def test_results_are_exhibits_of_this_notebook_and_are_signed(path):
    source = "\n".join(cell.source for cell in code_cells(path))
    written = re.findall(r'write_(?:result|if_any)\(\s*"([\w-]+)"', source)
    here = path.relative_to(ROOT).with_suffix(".ipynb").as_posix()
    expected = {e.id for e in exhibits.all_exhibits() if e.notebook == here}
    expected = expected or {path.stem[3:].replace("_", "-")}  # a page without exhibits names its result after itself
    more = set(written) - expected  # what the paper lacks is named after the exhibit that it belongs to
    assert expected <= set(written) and all(any(id.startswith(f"{e}-") for e in expected) for id in more)
    assert len(written) <= source.count("readings.signed(") + 1


@each_twin
def test_glued_names_are_used_once(path):
    names = re.findall(r'glue\("([\w-]+)"', "\n".join(cell.source for cell in code_cells(path)))
    assert names and len(set(names)) == len(names)


@each_twin
def test_notebook_is_thin(path):
    assert all(len(cell.source.splitlines()) <= 25 for cell in code_cells(path)[1:])  # after the parameters
    for cell in code_cells(path):
        assert not [
            node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.FunctionDef | ast.ClassDef)
        ]


@pytest.mark.parametrize("path", EXECUTED, ids=lambda path: path.stem)
def test_outputs_are_clean(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.get("outputs")]
    assert cells
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type in ("execute_result", "display_data"), output
            if "image/svg+xml" in output.data:
                assert cell.metadata["mystnb"]["image"]["alt"]
            text = "".join(map(str, output.data.values()))
            assert str(ROOT) not in text and "/tmp/" not in text, "a path of this machine"
