import json

import pytest

from langsim.errors import UsageError
from langsim.tasks import files, surface, validity, words
from langsim.tasks.base import Answer, Pair, Task, Tokens
from langsim.tasks.metrics import normalise_answer, score
from langsim.tasks.ud import UPOS


def pairs(*labels: str) -> tuple[Pair, ...]:
    return tuple(Pair(f"text {i}", "", label, str(i)) for i, label in enumerate(labels))


def task(**splits) -> Task:
    return Task("toy", "pair", "accuracy", splits)


def test_labels_that_differ_between_languages_are_one_clear_line():
    with pytest.raises(UsageError, match="label sets differ between languages: 'de' lacks b"):
        task(en={"test": pairs("a", "b")}, de={"test": pairs("a", "a")})
    with pytest.raises(UsageError, match="'en': labels not in the set: b"):
        Task("toy", "pair", "accuracy", {"en": {"test": pairs("a", "b")}}, labels=("a",))


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"en": {"train": (), "test": pairs("a")}}, "train: the split is empty"),
        ({"en": {"train": pairs("a")}}, "no test split"),
        ({"en": {"tests": pairs("a")}}, "did you mean 'test'"),
        ({"xx-no": {"test": pairs("a")}}, "xx-no"),
        ({"en": {"test": (Tokens(("a",), ("O",), ""),)}}, "is a Tokens, not 'pair'"),
        ({"en": {"test": (Pair("", "", "a", ""),)}}, "an empty text"),
        ({}, "has no language"),
    ],
)
def test_bad_tasks(splits, message):
    with pytest.raises(UsageError, match=message):
        task(**splits)


def test_bad_examples_and_unknown_names():
    assert "2 words but 1 tags" in Tokens(("a", "b"), ("O",), "").problem()
    assert "the context has" in Answer("q", "a context", "text", 2, "").problem()
    with pytest.raises(UsageError, match="kind of task"):
        Task("toy", "pairs", "accuracy", {})
    with pytest.raises(UsageError, match="metric of task"):
        Task("toy", "pair", "accurcy", {})
    toy = Task("toy", "pair", "accuracy", {"en": {"test": pairs("a")}}, unavailable={"sw": "no words"})
    with pytest.raises(UsageError, match="no data in 'sw': no words"):
        toy.examples("sw", "test")
    with pytest.raises(UsageError, match="no train split in 'en'"):
        toy.examples("en", "train")


def test_equal_sizes_keep_the_same_units_of_a_parallel_task():
    en, de = pairs(*"abababab"), pairs(*"abababab")
    equal = task(en={"train": en, "test": en}, de={"train": de, "test": de[:4]}).equal_sizes(seed=3)
    assert equal.sizes() == {code: {"train": 8, "validation": 0, "test": 4} for code in ("de", "en")}
    again = task(en={"train": en[:5], "test": en}, de={"train": de[:5], "test": de}).equal_sizes(seed=3)
    assert [one.unit for one in again.examples("en", "test")] == [one.unit for one in again.examples("de", "test")]


def test_the_digest_follows_every_example():
    one, other = task(en={"test": pairs("a", "b")}), task(en={"test": pairs("b", "a")})
    assert one.digest == task(en={"test": pairs("a", "b")}).digest != other.digest
    assert one.labels == ("a", "b") and one.head == "sequence" and one.sources == []


def entities(tags):
    """Spans of a valid BIO row, read naively."""
    found, start = set(), None
    for i, tag in enumerate([*tags, "O"]):
        if start is not None and not tag.startswith("I-"):
            found.add((start, i, tags[start][2:]))
            start = None
        if tag.startswith("B-"):
            start = i
    return found


def test_scores_against_naive_loops():
    gold = [["B-LOC", "I-LOC", "O", "B-CUR"], ["O", "B-LANG"]]
    guess = [["B-LOC", "O", "O", "B-CUR"], ["B-LOC", "B-LANG"]]
    right = sum(len(entities(g) & entities(p)) for g, p in zip(gold, guess, strict=True))
    n = sum(len(entities(row)) for row in gold) + sum(len(entities(row)) for row in guess)
    assert score("entity_f1", gold, guess) == pytest.approx(100 * 2 * right / n)
    assert score("token_f1", gold, guess) == pytest.approx(100 * 4 / 6)
    assert score("sentence_accuracy", gold, guess) == pytest.approx(100 * (3 / 4 + 1 / 2) / 2)
    assert score("accuracy", list("aab"), list("abb")) == pytest.approx(100 * 2 / 3)
    assert score("squad_em", ["45 km.", "9"], ["45 KM", "8"]) == 50
    assert score("squad_f1", ["a b c", "x"], ["b c", ""]) == pytest.approx(100 * (2 * 2 / 5) / 2)


def test_answers_are_compared_alike_in_every_script():
    assert normalise_answer("The 3.5 km!") == ["the", "3.5", "km"]  # no language loses its articles
    assert normalise_answer("5月3日") == ["5", "月", "3", "日"]
    assert normalise_answer("۱٬۲۳۴ کیلومتر") == ["۱٬۲۳۴", "کیلومتر"]


def test_scores_refuse_what_does_not_belong_together():
    for gold, guess, message in [([], [], "nothing to score"), (["a"], [], "1 gold but 0")]:
        with pytest.raises(UsageError, match=message):
            score("accuracy", gold, guess)
    with pytest.raises(UsageError, match="sentence 1 has 2 tags but 1"):
        score("token_f1", [["O", "O"]], [["O"]])
    with pytest.raises(UsageError, match="metric"):
        score("f1", ["a"], ["a"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5km, 1.234,5!", ["5", "km", ",", "1.234,5", "!"]),
        ("2021年5月", ["2021", "年", "5", "月"]),
        ("می‌شود\u200f ۱٬۲۳۴", ["می‌شود", "۱٬۲۳۴"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("1\u202f234\xa0€", ["1", "234", "€"]),
        ("l'an «x»", ["l'an", "«", "x", "»"]),
        ("ที่ 3", ["ที่", "3"]),
    ],
)
def test_words(text, expected):
    assert words.split(text) == expected


def test_trivial_baselines_by_hand():
    train = (Tokens(("a", "b"), ("X", "O"), "0"), Tokens(("a", "b", "c"), ("X", "O", "O"), "1"))
    test = (Tokens(("a", "b", "c"), ("X", "O", "X"), "2"),)
    found = validity.baselines(Task("t", "tokens", "token_f1", {"en": {"train": train, "test": test}}))
    assert found.loc["en"].round(1).to_dict() == {"majority": 33.3, "position": 66.7}
    answer = (Answer("q", "one two three", "two", 4, "0"),)
    found = validity.baselines(Task("t", "answer", "squad_f1", {"en": {"train": answer, "test": answer}}))
    assert found.loc["en"].to_dict() == {"majority": 0, "position": 100}


def write(folder, **texts):
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def test_own_conll(tmp_path):
    text = "Rio B-LOC\nlebt O\n\nJa\tO\n"
    found = files.load(write(tmp_path, train__de__conll=text, dev__de__conll=text, test__de__conll=text))
    assert found.metric == "entity_f1" and found.sources == ["de"]
    assert [one.words for one in found.examples("de", "validation")] == [("Rio", "lebt"), ("Ja",)]


def test_own_conllu(tmp_path):
    row = "{}\t{}\t_\t{}\t_\t_\t0\t_\t_\t_\n".format
    text = "# text = zum Haus\n" + row("1-2", "zum", "_") + row(1, "zu", "ADP") + row(2, "dem", "DET") + "\n"
    found = files.load(write(tmp_path, test__de__conllu=text))
    assert found.examples("de", "test")[0] == Tokens(("zu", "dem"), ("ADP", "DET"), "test.de.conllu:3")


def test_the_whole_label_set_of_own_files(tmp_path):
    row = "1\t{}\t_\t{}\t_\t_\t_\t_\t_\t_\n"
    texts = {"test__de__conllu": row.format("Haus", "NOUN"), "test__fr__conllu": row.format("rouge", "ADJ")}
    assert files.load(write(tmp_path / "ud", **texts)).labels == UPOS, "no language has to have them all"
    own = {name: text.replace("NOUN", "N").replace("ADJ", "A") for name, text in texts.items()}
    with pytest.raises(UsageError, match=r"'de' lacks A; rename them, or .*labels.txt"):
        files.load(write(tmp_path / "own", **own))
    folder = write(tmp_path / "listed", **own)
    (folder / "labels.txt").write_text("N\n\nA\nV\n")
    assert files.load(folder).labels == ("N", "A", "V")
    for text, message in (("", "no label in it"), ("N\nN\nA\n", "listed twice")):
        (folder / "labels.txt").write_text(text)
        with pytest.raises(UsageError, match=message):
            files.load(folder)
    (folder / "labels.txt").write_text("N\nV\n")
    with pytest.raises(UsageError, match="'fr': labels not in the set: A"):
        files.load(folder)


def test_own_pairs_and_answers(tmp_path):
    (tmp_path / "a").mkdir()
    found = files.load(write(tmp_path / "a", test__en__tsv="one\ttwo\tyes\nthree\tfour\tno\n"))
    assert found.examples("en", "test")[1] == Pair("three", "four", "no", "test.en.tsv:2")
    (tmp_path / "b").mkdir()
    squad = {"question": "q", "context": "x y x", "answers": {"text": ["x"], "answer_start": [4]}}
    found = files.load(write(tmp_path / "b", test__en__jsonl=json.dumps(squad)))
    assert found.examples("en", "test")[0].start == 4


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("test.de.conll", "Haus O\nohne\n", r"test\.de\.conll:2: expected a word and a tag"),
        ("test.de.conllu", "1\tHaus\n", r":1: expected the 10 columns"),
        ("test.de.tsv", "a\tb\tx\na\tb\n", r":2: expected 3 columns parted by tabs, got 2"),
        ("test.de.tsv", "a\n", r":1: expected 2 \(text, label\) or 3"),
        ("test.de.jsonl", '{"question": "q"}', ":1: expected an object"),
        ("test.de.jsonl", "{", ":1: not JSON"),
        ("test.de.jsonl", '{"question": "q", "context": "x x", "answer": "x"}', "stands 2 times"),
        ("test.de.jsonl", '{"question": "q", "context": "x", "answer": "x", "start": 3}', ":1: the context has"),
        ("test.de.tsv", "", "is empty"),
        ("tset.de.tsv", "a\tb\n", "did you mean 'test'"),
        ("test.qqq.tsv", "a\tb\n", "qqq"),
        ("test.tsv", "a\tb\n", "name it <split>.<language>.tsv"),
        ("test.txt", "a\tb\n", "has no file named"),
    ],
)
def test_own_files_that_are_wrong_name_file_and_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        files.load(tmp_path)


def test_kinds_are_not_mixed(tmp_path):
    with pytest.raises(UsageError, match="several kinds"):
        files.load(write(tmp_path, test__en__tsv="a\tb\n", test__de__conll="a O\n"))


def test_words_of_scripts_without_spaces_are_joined_without_any():
    cases = {
        ("Das", "ist", "gut", "."): "Das ist gut .",
        ("私", "は", "Tom", "Smith", "です", "。"): "私はTom Smithです。",
        ("2022", "年", "5", "月"): "2022年5月",
        ("나는", "집에", "간다"): "나는 집에 간다",
        ("ฉัน", "ไป"): "ฉันไป",
    }
    for given, told in cases.items():
        assert Tokens(given, ("O",) * len(given), "u").text == told
    task = Task("t", "tokens", "token_f1", {"zh": {"test": [Tokens(("你", "好"), ("A", "B"), "u")]}})
    assert task.text("zh", "test") == ["你好"] and task.examples("zh", "test")[0].words == ("你", "好")


def test_a_tree_on_surface_features_is_a_baseline_of_pairs():
    """It finds a label that is told by shared numbers, in any digits, and none that is told by nothing."""
    train, test = (
        [Pair(f"am {i}. Mai", f"{i if i % 2 else i + 1}/5 ok", ("no", "yes")[i % 2], f"u{i}") for i in some]
        for some in (range(10, 60), range(70, 100))
    )
    found = validity.baselines(Task("t", "pair", "accuracy", {"de": {"train": train, "test": test}}))
    assert found.loc["de", "surface"] == 100 and found.loc["de", "majority"] == 50
    assert surface.numbers("১,২৩৪ کتاب ۵") == [1234, 5]
    blind = [Pair("a", "b", ("no", "yes")[i % 2], f"u{i}") for i in range(20)]
    assert (
        validity.baselines(Task("t", "pair", "accuracy", {"de": {"train": blind, "test": blind}})).loc["de", "surface"]
        == 50
    )
