"""`langsim recommend`: a ranking of sources, and mistakes in one line."""

import json

import pytest
from xsns_tiny import CODES, loaded, save, sentences, tokenizer

from langsim import cli

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A checkpoint in a folder."""
    return save(tmp_path_factory.mktemp("models") / "small-xlmr", "xlmr")


@pytest.fixture
def text_folder(tmp_path):
    for code in CODES:
        (tmp_path / f"{code}.txt").write_text("\n".join(sentences(code)), encoding="utf-8")
    return tmp_path


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(["recommend", *map(str, arguments)])
    return stop.value.code, *capsys.readouterr()


def test_recommend_prints_a_ranking(capsys, model, text_folder):
    status, out, err = command(capsys, "--target", "sv", "--model", model, "--texts", text_folder)
    lines = out.splitlines()
    assert status == 0 and lines[0] == "sources for sv, best first (40 texts of each language)"
    assert lines[2].split()[:3] == ["rank", "source", "similarity"] and {line.split()[1] for line in lines[3:6]} == {
        "de",
        "en",
        "fr",
    }
    assert "two random masks: 0.0811" in out and "The text" in err
    status, out, _ = command(
        capsys, "--target", "sv", "--candidates", "de,fr", "--model", model, "--texts", text_folder, "--json"
    )
    assert status == 0 and {row["source"] for row in json.loads(out)["ranking"]} == {"de", "fr"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--target", "sv", "--candidates", "de,sv"], "the target 'sv' is among its own candidates; leave it out"),
        (["--target", "sv", "--candidates", "de"], "1 candidate source: give two at least"),
        (["--target", "svv", "--candidates", "de,en"], "unknown language 'svv'"),
        (["--target", "sv", "--candidates", "de,en", "--text", "missing.txt"], "text: cannot read missing.txt"),
        (["--target", "sv", "--candidates", "de,en", "--task", "nerr"], "unknown 'nerr'"),
        (["--target", "sv", "--candidates", "de,en", "--texts", "nowhere"], "texts: no folder 'nowhere'"),
    ],
)
def test_recommend_tells_mistakes_in_one_line(capsys, model, arguments, told):
    status, out, err = command(capsys, "--model", model, *arguments)
    assert (status, out) == (2, "") and told in err and err.count("\n") == 1


def test_a_model_without_its_head_is_told(capsys, tmp_path):
    tokenizer("xlmr").save_pretrained(tmp_path)
    loaded("xlmr").model.roberta.save_pretrained(tmp_path)
    status, out, err = command(capsys, "--target", "sv", "--candidates", "de,en", "--model", tmp_path)
    assert (status, out) == (2, "") and "has no language-modelling head" in err and err.count("\n") == 1
