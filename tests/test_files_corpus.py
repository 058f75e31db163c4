"""A user's own text: what is read, how it is aligned, and what is said about what can't be."""

import json

import pytest

from langsim import corpora, splits
from langsim.errors import UsageError

GL = ["A casa é branca.", "Chove.", "O libro está na mesa."]
EN = ["The house is white.", "It is raining.", "The book is on the table."]
MI = ["He mā te whare.", "Kei te ua.", "Kei runga te pukapuka i te tēpu."]


def write(folder, **files):
    for name, lines in files.items():
        (folder / name.replace("__", "-").replace("_", ".")).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder)


def tsv(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def load(path):
    return corpora.load("files", path=str(path))


def refusal(path):
    with pytest.raises(UsageError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is read ----------------------------------------------------------------------------------------------------


def test_tsv(tmp_path):
    lines = ["en\tglg\tmi", *("\t".join(row) for row in zip(EN, GL, MI, strict=True))]
    corpus = load(tsv(tmp_path / "my.tsv", *lines))
    assert corpus.languages == ["en", "gl", "mi"] and corpus.domains == ["text"]
    assert [(p.source_text, p.target_text) for p in corpus.pairs("gl")] == list(zip(GL, EN, strict=True))
    assert [(p.source_text, p.target_text) for p in corpus.pairs("mi", "gl")] == list(zip(MI, GL, strict=True))
    assert corpus.problems == [] and corpus.notes == {}


def test_tsv_with_fields_gaps_and_windows_line_ends(tmp_path):
    raw = "\ufeffitem\tdomain\tpool\ten\tgl\tmi\r\n7\tweather\tTEST\tIt is raining.\t\tKei te ua.\r\n"
    (tmp_path / "my.tsv").write_bytes(raw.encode())
    corpus = load(tmp_path / "my.tsv")
    (pair,) = corpus.pairs("mi")
    assert (pair.id, pair.source_text, pair.domain) == ("7", "Kei te ua.", "weather")
    assert corpus.select(pool="TEST").tolist() == ["7"] and corpus.languages == ["en", "mi"]


def test_both_forms_of_jsonl(tmp_path):
    rows = [{"en": EN[0], "gl": GL[0]}, {"translation": {"en": EN[1], "gl": GL[1]}, "domain": "weather"}]
    rows.append({"en": EN[2], "gl": GL[2], "mi": None})
    corpus = load(tsv(tmp_path / "my.jsonl", *map(json.dumps, rows), ""))
    assert [p.source_text for p in corpus.pairs("gl")] == GL
    assert corpus.domains == ["text", "weather"] and corpus.problems == []


def test_indonesian_is_a_language_and_not_a_number(tmp_path):
    corpus = load(tsv(tmp_path / "my.tsv", "id\ten", "Rumah itu putih.\tThe house is white."))
    assert corpus.pairs("id")[0].source_text == "Rumah itu putih."
    corpus = load(tsv(tmp_path / "my.jsonl", json.dumps({"en": EN[0], "id": "Rumah itu putih."})))
    assert corpus.languages == ["en", "id"]
    assert "a column that names items is called 'item'" in refusal(
        tsv(tmp_path / "numbered.tsv", "id\ten\tgl", f"1\t{EN[0]}\t{GL[0]}")
    )


@pytest.mark.parametrize("half", ["gl", "en"])
def test_a_pair_of_files_by_either_half(tmp_path, half):
    write(tmp_path, news_gl__en_gl=GL, news_gl__en_en=EN)
    corpus = load(tmp_path / f"news.gl-en.{half}")
    assert [(p.source_text, p.target_text) for p in corpus.pairs("gl")] == list(zip(GL, EN, strict=True))


def test_codes_with_a_script_in_the_names_of_a_pair(tmp_path):
    (tmp_path / "x.en-zh-Hant.en").write_text("Open\n")
    (tmp_path / "x.en-zh-Hant.zh-Hant").write_text("開啟\n")
    (tmp_path / "x.sr-Latn-en.sr-Latn").write_text("Otvori\n")
    (tmp_path / "x.sr-Latn-en.en").write_text("Open\n")
    assert load(tmp_path).languages == ["en", "sr-Latn", "zh-Hant"]
    assert load(tmp_path).pairs("sr-Latn", "zh-Hant")[0].target_text == "開啟"


def test_a_folder_of_everything_is_aligned_by_its_english(tmp_path):
    write(tmp_path, a_gl__en_gl=GL, a_gl__en_en=EN)
    tsv(tmp_path / "b.tsv", "mi\ten", *(f"{m}\t{e}" for m, e in zip(reversed(MI), reversed(EN), strict=True)))
    tsv(tmp_path / "c.jsonl", json.dumps({"en": EN[1], "es": "Llueve."}))
    tsv(tmp_path / "README.md", "not data")
    (tmp_path / ".DS_Store").write_bytes(b"\xff\x00")
    corpus = load(tmp_path)
    assert {(p.source_text, p.target_text) for p in corpus.pairs("gl", "mi")} == set(zip(GL, MI, strict=True))
    assert [(p.source_text, p.target_text) for p in corpus.pairs("es", "gl")] == [("Llueve.", "Chove.")]
    assert corpus.problems == [] and len(corpus.items) == 3


def test_the_order_of_files_and_the_digest_are_those_of_the_content(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, names in ((one, "ab"), (other, "ba")):
        folder.mkdir()
        tsv(folder / f"{names[0]}.tsv", "en\tgl", f"{EN[0]}\t{GL[0]}")
        tsv(folder / f"{names[1]}.tsv", "en\tgl", f"{EN[1]}\t{GL[1]}")
    assert load(one).digest == load(other).digest
    tsv(other / "a.tsv", "en\tgl", f"{EN[0]}\t{GL[0]}!")
    assert load(one).digest != load(other).digest


def test_one_sentence_is_in_one_pool_whatever_the_language(tmp_path):
    sentences = [f"Sentence of the number {chr(97 + i % 26) * (1 + i // 26)}" for i in range(300)]
    for code in ("gl", "es", "mi"):
        mine = sentences if code != "es" else [s.upper() + "!" for s in sentences]  # the same once normalised
        write(tmp_path, **{f"x_{code}__en_{code}": [f"{code} {s}" for s in sentences], f"x_{code}__en_en": mine})
    corpus = load(tmp_path)
    pool_of = {}
    for code in ("gl", "es", "mi"):
        for pair in corpus.pairs(code):
            sentence = splits.normalise(pair.target_text)
            assert pool_of.setdefault(sentence, corpus.items.at[pair.id, "pool"]) == corpus.items.at[pair.id, "pool"]
    assert len(pool_of) == 300
    counts = corpus.items["pool"].value_counts(normalize=True)
    assert set(counts.index) == {"FINETUNE", "DEV", "TEST"} and abs(counts["FINETUNE"] - 0.8) < 0.08


# What is reported ------------------------------------------------------------------------------------------------


def test_malformed_lines_are_reported_with_file_and_line_and_counted(tmp_path):
    lines = ["en\tgl", "one\tun", "only one column", "three\tcolumns\there", "\tbaleiro", "two\tdous", ""]
    tsv(tmp_path / "a.tsv", *lines)
    broken = ['{"en": "three", "gl": "tres"}', '{"en": ', '["en", "gl"]', '{"en": 4, "gl": "catro"}', '{"en": "x"}']
    tsv(tmp_path / "b.jsonl", *broken, r'{"en": "half \ud800", "gl": "medio"}', "[" * 100_000)
    write(tmp_path, c_gl__en_gl=["", "catro"], c_gl__en_en=["five", "four"])
    (tmp_path / "d.csv").write_text("en,gl\n")
    corpus = load(tmp_path)
    assert sorted(corpus.text("gl")) == ["catro", "dous", "tres", "un"]
    assert [problem.split(" ")[0].rstrip(":") for problem in corpus.problems] == [
        *("a.tsv:3", "a.tsv:4", "a.tsv:5", "a.tsv:7"),
        *("b.jsonl:2", "b.jsonl:3", "b.jsonl:4", "b.jsonl:5", "b.jsonl:6", "b.jsonl:7"),
        *("c.gl-en.gl:1", "d.csv"),
    ]
    assert corpus.notes == {"malformed lines": 11, "files not read": 1}
    assert "1 columns, expected 2" in corpus.problems[0]


def test_an_item_can_not_stand_for_two_texts(tmp_path):
    tsv(tmp_path / "a.tsv", "item\ten\tgl", f"1\t{EN[0]}\t{GL[0]}", f"2\t{EN[1]}\t{GL[1]}")
    tsv(tmp_path / "b.tsv", "item\ten\tmi", f"1\t{EN[2]}\t{MI[2]}", f"2\t{EN[1]}\t{MI[1]}")
    tsv(tmp_path / "c.tsv", "item\tes\tmi", f"2\tLlueve.\t{MI[1]}")
    corpus = load(tmp_path)
    assert corpus.problems == ["b.tsv:2: item '1' stands for another text already; not read"]
    assert [(p.source_text, p.target_text) for p in corpus.pairs("mi", "gl")] == [(MI[1], GL[1])]
    assert corpus.pairs("es", "gl")[0].target_text == GL[1]


def test_repeated_texts_are_counted_and_the_first_is_kept(tmp_path):
    rows = ["Yes.\tSi.", "Yes.\tIso.", "Yes.\tSi.", "No.\tNon."]
    corpus = load(tsv(tmp_path / "a.tsv", "en\tgl", *rows))
    assert [p.source_text for p in corpus.pairs("gl")] == ["Si.", "Non."]
    assert corpus.notes == {"repeated texts (the first translation is kept)": 2} and corpus.problems == []


# What is refused -------------------------------------------------------------------------------------------------


def test_nothing_there(tmp_path):
    assert "needs a path" in refusal("")
    assert "no such file or folder" in refusal(tmp_path / "missing")
    assert "is empty" in refusal(tmp_path)
    assert "is empty" in refusal(tsv(tmp_path / "a.tsv", "en\tgl"))
    (tmp_path / "b.tsv").write_bytes(b"")
    assert "is empty" in refusal(tmp_path / "b.tsv")
    (tmp_path / "c.tsv").write_bytes(b"\xef\xbb\xbf")
    assert "is empty" in refusal(tmp_path / "c.tsv")
    assert "a.tsv:2: text in fewer than two languages" in refusal(tsv(tmp_path / "a.tsv", "en\tgl", "one\t"))
    assert "rename or convert it" in refusal(tsv(tmp_path / "a.txt", "en\tgl", "one\tun"))


def test_half_a_pair(tmp_path):
    write(tmp_path, news_gl__en_gl=GL)
    assert "news.gl-en.gl lacks its other half news.gl-en.en" in refusal(tmp_path)
    (tmp_path / "news.gl-en.gl").rename(tmp_path / "news.gl-en.en")
    assert "news.gl-en.en lacks its other half news.gl-en.gl" in refusal(tmp_path)


def test_pairs_of_unequal_length(tmp_path):
    write(tmp_path, news_gl__en_gl=GL, news_gl__en_en=EN[:2])
    assert "news.gl-en.gl has 3 lines and news.gl-en.en 2: they must be aligned" in refusal(tmp_path)


def test_a_stray_carriage_return_shifts_nothing(tmp_path):
    (tmp_path / "x.gl-en.gl").write_bytes(b"un\rdous\ntres\n")
    (tmp_path / "x.gl-en.en").write_bytes(b"one two\nthree\n")
    corpus = load(tmp_path)
    assert [(p.source_text, p.target_text) for p in corpus.pairs("gl")] == [("un dous", "one two"), ("tres", "three")]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("en\txx", "a.tsv:1: unknown language 'xx'"),
        ("en\ttext", "a.tsv:1: unknown language 'text'"),
        ("en\t", "a.tsv:1: unknown language ''"),
        ("no\tnb", "a.tsv:1: two columns for no"),
        ("en\tsh", "covers several languages"),
    ],
)
def test_columns_that_are_no_languages(tmp_path, header, message):
    assert message in refusal(tsv(tmp_path / "a.tsv", header, "one\tun"))


def test_keys_and_names_that_are_no_languages(tmp_path):
    assert "a.jsonl:2: unknown language" in refusal(
        tsv(tmp_path / "a.jsonl", '{"en": "a", "gl": "b"}', '{"en": "a", "galego!": "b"}')
    )
    (tmp_path / "a.jsonl").unlink()
    write(tmp_path, x_train__en_train=GL, x_train__en_en=EN)
    assert "x.train-en.train: unknown language 'train'" in refusal(tmp_path)


def test_a_name_that_only_looks_like_a_pair_is_another_file(tmp_path):
    tsv(tmp_path / "a.tsv", "en\tgl", "one\tun")
    tsv(tmp_path / "my.train-dev.csv", "x")
    assert load(tmp_path).problems == ["my.train-dev.csv: not a .tsv, .jsonl, or NAME.xx-yy.xx file; not read"]


def test_a_pool_that_is_none(tmp_path):
    message = refusal(tsv(tmp_path / "a.tsv", "pool\ten\tgl", "TEST\tone\tun", "TRAIN\ttwo\tdous"))
    assert message.startswith("a.tsv:3: pool: unknown 'TRAIN'") and "PRETRAIN" in message


def test_not_utf_8(tmp_path):
    (tmp_path / "a.tsv").write_bytes("en\tgl\nhouse\tcasa branca é\n".encode("latin-1"))
    assert "a.tsv is not UTF-8 (byte 24): convert it first" in refusal(tmp_path)
