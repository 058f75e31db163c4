"""The table of exhibits against the papers' counts, the files it names, and the discovery of results."""

import json
import re

import pytest

from langsim import exhibits, papers, paths
from langsim.errors import Failure, UsageError


def test_all_34_exhibits_are_there_once():
    listed = [(exhibit.paper, exhibit.exhibit) for exhibit in exhibits.all_exhibits()]
    expected = [("Pseudo families", f"Figure {n}") for n in range(1, 7)]
    expected += [("Pseudo families", f"Table {n}") for n in range(1, 3)]
    expected += [("Pseudo families", "Section 3.1"), ("Pseudo families", "Appendix A.3")]
    expected += [("LSLo", f"Figure {n}") for n in range(1, 7)] + [("LSLo", f"Table {n}") for n in range(1, 8)]
    expected += [("X-SNS", f"Figure {n}") for n in range(1, 8)] + [("X-SNS", f"Table {n}") for n in range(1, 5)]
    assert listed == expected
    assert len(listed) == 34


def test_ids_follow_from_the_exhibits():
    prefixes = {"Pseudo families": "pf", "LSLo": "lslo", "X-SNS": "xsns"}
    for exhibit in exhibits.all_exhibits():
        kind, number = exhibit.exhibit.split()
        short = {"Section": "k", "Appendix": "a3"}.get(kind) or f"{kind.lower()[:3]}{number}"
        short = short.replace("tab", "table")
        assert exhibit.id == f"{prefixes[exhibit.paper]}-{short}"
        assert exhibit.title


def test_published_files_are_exactly_those_of_the_papers_module():
    named = {exhibit.published for exhibit in exhibits.all_exhibits()} - {exhibits.NOT_IN_PRINT}
    assert named == {f"data/papers/{table_id}.csv" for table_id in papers.ids()}
    for exhibit in exhibits.all_exhibits():
        if exhibit.published != exhibits.NOT_IN_PRINT:
            assert exhibit.published == f"data/papers/{exhibit.id}.csv"
            assert (paths.ROOT / exhibit.published).is_file()
        else:
            assert exhibit.exhibit.startswith("Figure")  # every table is in print


def test_notebooks_are_grouped_by_paper():
    folders = {"Pseudo families": "pseudo_families", "LSLo": "lslo", "X-SNS": "xsns"}
    for exhibit in exhibits.all_exhibits():
        assert re.fullmatch(rf"notebooks/{folders[exhibit.paper]}/0\d_[a-z_]+\.ipynb", exhibit.notebook)
    assert len({exhibit.notebook for exhibit in exhibits.all_exhibits()}) == 19


@pytest.fixture
def results_folder(tmp_path, monkeypatch):
    exhibits.all_exhibits()  # cached before the data folder changes
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    folder = tmp_path / "data" / "results" / "mini"
    folder.mkdir(parents=True)
    return folder


def test_listing_has_exactly_the_contracts_keys(results_folder):
    listing = exhibits.listing()
    assert len(listing) == 34
    for entry in listing:
        assert list(entry) == ["id", "paper", "exhibit", "notebook", "published", "results"]
        assert entry["results"] == {}
    assert json.loads(json.dumps(listing)) == listing


def test_results_are_found_by_profile_with_their_signature(results_folder):
    signature = "model:mini-m2m@0123456789ab|k:0.4|langsim:0.1.0"
    for folder in (results_folder, results_folder.parent / "open"):
        folder.mkdir(exist_ok=True)
        (folder / "pf-fig5.csv").write_text("target,auxiliary,value\n")
        (folder / "pf-fig5.json").write_text(json.dumps({"signature": f"{signature}|{folder.name}"}))
    (results_folder / "pf-fig3.csv").write_text("a table without a signature is no result\n")
    found = {entry["id"]: entry["results"] for entry in exhibits.listing() if entry["results"]}
    assert found == {
        "pf-fig5": {
            "mini": {"file": "data/results/mini/pf-fig5.csv", "signature": f"{signature}|mini"},
            "open": {"file": "data/results/open/pf-fig5.csv", "signature": f"{signature}|open"},
        }
    }


@pytest.mark.parametrize("damaged", ["", "{", "[]", "{}", "3"])
def test_damaged_signature_is_one_line(results_folder, damaged):
    (results_folder / "pf-fig5.csv").write_text("target\n")
    (results_folder / "pf-fig5.json").write_text(damaged)
    with pytest.raises(Failure, match=r"pf-fig5\.json has no readable signature"):
        exhibits.listing()


def test_unknown_exhibit_suggests():
    assert exhibits.get("pf-fig5").exhibit == "Figure 5"
    with pytest.raises(UsageError, match="unknown exhibit 'pf-figure5'; did you mean pf-fig5"):
        exhibits.get("pf-figure5")
