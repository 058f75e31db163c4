"""Tasks from open corpora, on small files of the same form, and on the corpora themselves where they are."""

import json

import pytest

from langsim import open_data
from langsim.errors import UsageError
from langsim.tasks import open as open_tasks
from langsim.tasks import treebanks, ud, uner, xquad
from langsim.tasks.base import Tokens


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(treebanks, "TRAIN", 4)
    monkeypatch.setattr(treebanks, "VALIDATION", 2)
    monkeypatch.setattr(treebanks, "LEAST", 4)


def word(n):
    """A word for a number: digits are alike when sentences are compared."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(n)) + "x"


def conllu_of(code, numbers):
    lines = []
    for n in numbers:
        lines += [f"# sent_id = {code}-{n}", "1-2\tdu\t_\t_\t_\t_\t_\t_\t_\t_"]
        words = [(f"{code}{word(n)}", "NOUN"), ("de", "ADP"), ("!", "PUNCT")]
        lines += [f"{i}\t{w}\t_\t{tag}\t_\t_\t0\troot\t_\t_" for i, (w, tag) in enumerate(words, start=1)]
        lines += ["3.1\tghost\t_\tVERB\t_\t_\t_\t_\t_\t_", ""]
    return "\n".join(lines) + "\n"


def test_treebanks_are_read_and_divided(small, tmp_path):
    for code in ("de_gsd", "fr_gsd"):
        (tmp_path / f"{code}-ud-dev.conllu").write_text(conllu_of(code, [*range(9), 3, 100]))
        (tmp_path / f"{code}-ud-test.conllu").write_text(conllu_of(code, range(100, 105)))
    (tmp_path / "it_isdt-ud-test.conllu").write_text(conllu_of("it_isdt", range(3)))
    (tmp_path / "notes.txt").write_text("x")
    task = ud.load(path=tmp_path)
    assert task.languages == ["de", "fr", "it"] and task.sources == ["de", "fr"]
    assert task.sizes() == {
        "de": {"train": 4, "validation": 2, "test": 5},
        "fr": {"train": 4, "validation": 2, "test": 5},
        "it": {"train": 0, "validation": 0, "test": 3},
    }
    assert task.examples("de", "test")[0] == Tokens(
        ("de_gsd" + word(100), "de", "!"), ("NOUN", "ADP", "PUNCT"), "de_gsd-ud-test:de_gsd-100"
    )
    words = {split: {one.words for one in task.splits["de"][split]} for split in ("train", "validation", "test")}
    assert not words["train"] & words["validation"] and not (words["train"] | words["validation"]) & words["test"]
    assert ud.load(["de", "hi"], path=tmp_path).unavailable == {"hi": "UD has no files in it here"}


def test_a_sentence_of_any_test_split_is_trained_on_nowhere(small):
    def said(text):
        return Tokens(tuple(text.split()), ("X",) * len(text.split()), text)

    dev = {"de": [said(f"satz {word(i)}") for i in range(6)] + [said("Gleich  hier"), said(f"satz {word(1)}")]}
    test = {"de": [said("anderes")], "fr": [said("gleich hier")]}
    found = treebanks.divided(dev, test)
    assert sorted(one.text for split in ("train", "validation") for one in found["de"][split]) == [
        f"satz {word(i)}" for i in range(6)
    ]
    assert list(found["fr"]) == ["test"]


def test_universal_ner_is_read(small, tmp_path):
    rows = ("Anna? B-PER", "in O", "Berlin B-LOC", "Cup B-OTH", "# O")
    lines = ["# text = x", *(f"{i}\t{row.replace(' ', chr(9))}\t-\t-" for i, row in enumerate(rows, start=1)), "", ""]
    text = "".join("\n".join(lines).replace("?", word(i)) for i in range(7))
    (tmp_path / "sv_talbanken-ud-dev.iob2").write_text(text)
    (tmp_path / "sv_talbanken-ud-test.iob2").write_text(text.replace("Anna", "Otto"))
    (tmp_path / "ru_pud-ud-test.iob2").write_text(text.replace("Anna", "Vera"))
    task = uner.load(path=tmp_path)
    assert task.sources == ["sv"] and task.languages == ["ru", "sv"] and task.labels == uner.TAGS
    assert task.examples("ru", "test")[0].tags == ("B-PER", "O", "B-LOC", "O", "O")
    (tmp_path / "sv_talbanken-ud-dev.iob2").write_text("1\tAnna\tPER\n")
    with pytest.raises(UsageError, match=r"talbanken-ud-dev.iob2:1: expected number, word and IOB2 tag"):
        uner.load(path=tmp_path)


def squad(code, articles=6):
    context = f"{code} hat 308 Punkte und 12 Tore."
    return {
        "data": [
            {
                "title": "t",
                "paragraphs": [
                    {
                        "context": context,
                        "qas": [
                            {
                                "id": f"q{a}",
                                "question": f"{code} {a}?",
                                "answers": [{"text": "308", "answer_start": context.index("308")}],
                            }
                        ],
                    }
                ],
            }
            for a in range(articles)
        ]
    }


def test_xquad_is_split_by_article_in_all_languages(tmp_path):
    for code in ("de", "en", "hi"):
        (tmp_path / f"xquad.{code}.json").write_text(json.dumps(squad(code)))
    task = xquad.load(path=tmp_path)
    assert task.languages == ["de", "en", "hi"] and task.kind == "answer"
    units = {code: {s: [one.unit for one in own] for s, own in task.splits[code].items()} for code in task.languages}
    assert units["de"] == units["en"] == units["hi"] and sum(map(len, units["de"].values())) == 6
    (tmp_path / "xquad.hi.json").write_text(json.dumps(squad("hi", 5)))
    with pytest.raises(UsageError, match=r"xquad.hi.json has other articles or questions than xquad.de.json"):
        xquad.load(path=tmp_path)
    broken = squad("hi")
    broken["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 1
    (tmp_path / "xquad.hi.json").write_text(json.dumps(broken))
    with pytest.raises(UsageError, match=r"xquad.hi.json, question q0: the context has"):
        xquad.load(path=tmp_path)
    (tmp_path / "xquad.hi.json").write_text("[]")
    with pytest.raises(UsageError, match=r"xquad.hi.json is no SQuAD file"):
        xquad.load(path=tmp_path)


def test_what_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("LANGSIM_DATA", str(tmp_path))
    for name, corpus in (("pos", "ud"), ("ner", "uner"), ("qa", "xquad")):
        with pytest.raises(UsageError, match=f"the corpus '{corpus}' is not in .*langsim data fetch {corpus}"):
            open_tasks.load(name)
    with pytest.raises(UsageError, match="open task: unknown 'nli'"):
        open_tasks.load("nli")
    (tmp_path / "de_gsd-ud-test.conllu").write_text("1\tdas\t_\tARTIKEL\t_\t_\t0\troot\t_\t_\n\n")
    with pytest.raises(UsageError, match=r"sentence 1: 'das' is tagged 'ARTIKEL', no part of speech"):
        ud.load(path=tmp_path)


@pytest.mark.parametrize(
    ("name", "corpus", "codes", "sources"),
    [("pos", "ud", ["sv", "zh", "hi"], 2), ("ner", "uner", [], 7), ("qa", "xquad", [], 9)],
)
def test_the_corpora_themselves(name, corpus, codes, sources):
    try:
        open_data.folder(corpus)
    except UsageError:
        pytest.skip(f"no {corpus} here")
    task = open_tasks.load(name, codes)
    assert len(task.sources) == sources and len(task.languages) + len(task.unavailable) >= len(codes)
    assert len({task.equal_sizes().sizes()[code]["train"] for code in task.sources}) == 1
