"""The committed results of the profile open: all there, of the shipped model, and without a sentence of their text."""

from pathlib import Path

import pytest

from langsim import exhibits, results
from langsim.errors import UsageError

REFERENCE = results.reference_dir("open")
FILES = [file for file in sorted(REFERENCE.glob("*.csv")) if file.stem != "paper-audit"]  # which no corpus is in
PART_1 = {"pf-fig1", "pf-fig2", "pf-fig3", "pf-fig4", "pf-fig5", "pf-fig6", "pf-table1", "pf-table2", "pf-a3"}
PART_2 = {"lslo-table1", "lslo-fig1", "lslo-fig3"}
BESIDE = {"pf-fig5-halves", "pf-table2-claims", "pf-k", "lslo-table1-claims"}  # what an exhibit leans on
MAKE = "make them again with `make accept-open`"

each = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_every_exhibit_so_far_is_there():
    assert {path.stem for path in FILES} >= PART_1 | PART_2 | BESIDE, MAKE
    listed = {entry["id"]: entry["results"] for entry in exhibits.listing()}
    for name in PART_1 | PART_2:
        assert listed[name]["open"]["file"] == f"data/results/open/{name}.csv"


@each
def test_it_was_made_with_the_shipped_model(path):
    assert not results.stale(results.read_result(path).signature), MAKE


@each
def test_it_was_made_from_the_open_corpus(path):
    parts = results.parse_signature(results.read_result(path).signature)
    assert parts["corpus"].partition("@")[0] == "ntrex", MAKE
    assert parts["model"].partition("@")[0] == "mini-m2m"


def test_no_sentence_of_the_corpus_is_in_it():
    from langsim import corpora

    try:
        corpus = corpora.load("ntrex")
    except UsageError as error:
        pytest.skip(str(error))
    sentences = {text for texts in corpus.texts.values() for text in texts.values() if len(text) >= 20}
    assert sentences
    for path in (file for file in REFERENCE.rglob("*") if file.is_file()):
        text = Path(path).read_text(encoding="utf-8")
        assert not [sentence for sentence in sentences if sentence in text], path
