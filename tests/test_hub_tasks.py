"""Tasks from the hub, on small parquet files of the same schema and layout."""

import pyarrow as pa
import pytest
from pyarrow import parquet

from langsim.errors import UsageError
from langsim.tasks import hub
from langsim.tasks.base import Answer, Pair, Tokens


def write(folder, config, **splits):
    for split, rows in splits.items():
        path = folder / config / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.Table.from_pylist(rows), path)


def test_tagged_tasks(tmp_path):
    rows = [
        {"tokens": ["Anna", "lacht"], "ner_tags": [1, 0], "langs": ["de", "de"]},
        {"tokens": [], "ner_tags": [], "langs": []},
    ]
    write(tmp_path, "PAN-X.de", train=rows, validation=rows, test=rows)
    task = hub.load("ner", ["de", "fr"], path=tmp_path)
    assert task.examples("de", "test") == (Tokens(("Anna", "lacht"), ("B-PER", "O"), "test:0"),)
    assert task.languages == ["de"] and "no such folder" in task.unavailable["fr"] and task.metric == "entity_f1"
    write(
        tmp_path,
        "udpos.German",
        train=[{"tokens": ["das"], "pos_tags": [5]}],
        test=[{"tokens": ["!"], "pos_tags": [12]}],
    )
    task = hub.load("pos", ["de"], path=tmp_path)
    assert task.examples("de", "train")[0].tags == ("DET",) and task.examples("de", "test")[0].tags == ("PUNCT",)
    assert not task.sources, "without validation text no model can be trained"


def test_pairs(tmp_path):
    write(
        tmp_path,
        "de",
        train=[{"premise": "a", "hypothesis": "b", "label": 2}],
        test=[{"premise": "c", "hypothesis": "d", "label": 0}],
    )
    task = hub.load("nli", ["de"], path=tmp_path)
    assert task.examples("de", "train") == (Pair("a", "b", "contradiction", "train:0"),)
    rows = [{"sentence1": "a ", "sentence2": "b", "label": "1"}, {"sentence1": "", "sentence2": "b", "label": "0"}]
    write(tmp_path, "PAWS-X.ko", test=rows)
    assert hub.load("pi", ["ko"], path=tmp_path).examples("ko", "test") == (Pair("a", "b", "same", "test:0"),)


def test_answers_are_told_by_their_ids(tmp_path):
    def row(language, i):
        return {
            "id": f"{language}-{i}", "title": "t", "context": f"Es sind {i} Tore.", "question": "Wie viele?",
            "answers": {"text": [str(i)], "answer_start": [8]},
        }  # fmt: skip

    train = [row("finnish", i) for i in range(10)] + [row("swahili", 3)]
    write(tmp_path, "tydiqa", train=train, validation=[row("finnish", 7), row("russian", 8)])
    task = hub.load("qa", ["fi", "te"], path=tmp_path)
    assert task.sizes() == {"fi": {"train": 8, "validation": 2, "test": 1}}
    assert task.examples("fi", "test") == (Answer("Wie viele?", "Es sind 7 Tore.", "7", 8, "finnish-7"),)
    assert task.unavailable == {"te": "TyDiQA-GoldP has no question in Telugu"}


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(UsageError, match="hub task: unknown 'nre' \\(did you mean 'ner'"):
        hub.load("nre", ["de"])
    with pytest.raises(UsageError, match="hub task 'ner': name its languages"):
        hub.load("ner")
    write(tmp_path, "PAN-X.de", test=[{"tokens": ["a"], "ner_tags": [9]}])
    with pytest.raises(UsageError, match=r"has no language: de: PAN-X.de: label 9 is out of 0 to 6"):
        hub.load("ner", ["de"], path=tmp_path)
    write(tmp_path, "PAN-X.fr", test=[{"words": ["a"]}])
    with pytest.raises(UsageError, match="no column tokens, ner_tags"):
        hub.load("ner", ["fr"], path=tmp_path)
