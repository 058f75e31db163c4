"""FLORES-101, FLORES-200 and FLORES+ from small local folders in each layout, and through a stand-in for the hub."""

import json
import os

import datasets
import pytest

from langsim import corpora, languages, pipeline, profiles, splits
from langsim.corpora import flores, flores101, flores200, flores_plus
from langsim.errors import Failure, UsageError

# 40 articles in dev (two sentences each), 5 in devtest (three each).
ARTICLES = {"dev": [f"https://w/{n // 2}" for n in range(80)], "devtest": [f"https://t/{n // 3}" for n in range(15)]}
SPLITS = ("dev", "devtest")
SITES = ("wikinews", "wikibooks")
MODULES = {"flores101": flores101, "flores200": flores200, "flores_plus": flores_plus}
CODES = {
    "flores101": ("eng", "wol", "zho_simpl", "zho_trad", "fas"),
    "flores200": ("eng_Latn", "wol_Latn", "zho_Hans", "zho_Hant", "pes_Arab"),
    "flores_plus": ("eng_Latn", "wol_Latn", "cmn_Hans", "cmn_Hant", "pes_Arab"),
}
OURS = ("en", "wo", "zh", "zh-Hant", "fa")
WORDS = {"en": "sentence", "wo": "baat", "zh": "简体", "zh-Hant": "繁體", "fa": "جمله"}


def text(code, split, number):
    return f"{WORDS[code]}  {SPLITS.index(split)} {number}"


def save_lines(folder, codes, metadata=True):
    for split, articles in ARTICLES.items():
        (folder / split).mkdir(parents=True)
        for code, ours in zip(codes, OURS, strict=True):
            lines = [text(ours, split, n) for n in range(1, len(articles) + 1)]
            (folder / split / f"{code}.{split}").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if metadata:
            rows = [f"{url}\t{SITES[n % 2]}\ttopic\tyes\tno" for n, url in enumerate(articles)]
            header = "URL\tdomain\ttopic\thas_image\thas_hyperlink"
            (folder / f"metadata_{split}.tsv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def rows(ours, split, column="text"):
    return [
        {"id": n, column: text(ours, split, n), ("url" if column == "text" else "URL"): url, "domain": SITES[n % 2 - 1]}
        for n, url in enumerate(ARTICLES[split], start=1)
    ]


def save_tables(folder, kind):
    for split in ARTICLES:
        (folder / split).mkdir(parents=True)
        for code, ours in zip(CODES["flores_plus"], OURS, strict=True):
            file = folder / split / f"{code}.{kind}"
            if kind == "parquet":
                datasets.Dataset.from_list(rows(ours, split)).to_parquet(file)
            else:
                lines = [json.dumps(row, ensure_ascii=False) for row in rows(ours, split)]
                file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def save(folder, name, kind="parquet"):
    return save_tables(folder, kind) if name == "flores_plus" else save_lines(folder, CODES[name])


def refusal(name, kind=UsageError, **options):
    with pytest.raises(kind) as caught:
        corpora.load(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", CODES)
def test_sentences_are_aligned_in_every_layout(name, tmp_path):
    corpus = corpora.load(name, path=str(save(tmp_path / "x", name)))
    assert corpus.languages == sorted(OURS) and corpus.domains == sorted(SITES)
    assert len(corpus.items) == 95 and corpus.items.index[0] == f"{name}:dev:0001"
    pairs = corpus.pairs("wo", "zh-Hant", pool="TEST")
    assert [pair.source_text for pair in pairs] == [f"baat 1 {n}" for n in range(1, 16)]
    assert [pair.target_text.split()[2] for pair in pairs] == [str(n) for n in range(1, 16)]
    assert corpus.notes == {} and corpus.warnings == []


@pytest.mark.parametrize("name", CODES)
def test_articles_are_units_and_some_of_dev_are_held_out_whole(name, tmp_path):
    items = corpora.load(name, path=str(save(tmp_path / "x", name))).items
    for split, articles in ARTICLES.items():
        part = items[items.index.str.startswith(f"{name}:{split}:")]
        assert part["unit"].tolist() == [f"{name}:{url}" for url in articles]
        assert set(part["pool"]) == ({"TEST"} if split == "devtest" else {"FINETUNE", "DEV"})
    assert (items.groupby("unit")["pool"].nunique() == 1).all()
    held_out = {unit.partition(":")[2] for unit in items["unit"][items["pool"] == "DEV"]}
    assert held_out == {url for url in ARTICLES["dev"] if splits.draw(f"flores:{url}", flores.SHARES) == "DEV"}
    assert items["domain"].tolist()[:2] == list(SITES)


def test_the_three_releases_hold_out_the_same_articles(tmp_path):
    found = [corpora.load(name, path=str(save(tmp_path / name, name))).items for name in CODES]
    assert found[0]["pool"].tolist() == found[1]["pool"].tolist() == found[2]["pool"].tolist()


def test_jsonl_and_parquet_are_one_corpus(tmp_path):
    digests = {
        corpora.load("flores_plus", path=str(save(tmp_path / k, "flores_plus", k))).digest for k in ("parquet", "jsonl")
    }
    assert len(digests) == 1


def test_without_metadata_a_sentence_is_a_unit_and_none_is_held_out(tmp_path):
    items = corpora.load("flores101", path=str(save_lines(tmp_path / "x", CODES["flores101"], metadata=False))).items
    assert items["unit"].is_unique and set(items["domain"]) == {"wikimedia"}
    assert items["pool"].value_counts().to_dict() == {"FINETUNE": 80, "TEST": 15}


def test_only_the_languages_asked_for_are_kept(tmp_path):
    folder = save(tmp_path / "x", "flores101")
    corpus = corpora.load("flores101", path=str(folder), languages=["wolof", "pes"])
    assert corpus.languages == ["fa", "wo"]
    assert corpora.load("flores101", path=str(folder), languages=["fa", "wo"]) is corpus
    file = folder / "dev" / "wol.dev"
    file.write_text(file.read_text(encoding="utf-8").replace("baat  0 1\n", "kàddu 0 1\n"), encoding="utf-8")
    os.utime(file, ns=(1, 1))
    assert corpora.load("flores101", path=str(folder), languages=["fa", "wo"]).texts["wo"]["flores101:dev:0001"] == (
        "kàddu 0 1"
    )


def test_what_is_not_read_is_counted_and_what_is_shared_warned_of(tmp_path):
    folder = save(tmp_path / "x", "flores_plus", "jsonl")
    for name in ("wol_Latn_abcd1234", "luo_Latn", "zho_Hans"):  # a variety, no language of ours, Chinese once more
        (folder / "dev" / f"{name}.jsonl").write_text((folder / "dev" / "wol_Latn.jsonl").read_text())
    assert corpora.load("flores_plus", path=str(folder)).notes == {
        "files of another language or spelling than the registry's": 3
    }
    folder = save(tmp_path / "y", "flores101")
    table = (folder / "metadata_devtest.tsv").read_text()
    (folder / "metadata_devtest.tsv").write_text(table.replace("https://t/0", "https://w/0"))
    assert corpora.load("flores101", path=str(folder)).warnings == [
        "FLORES-101: 1 articles have sentences in dev and in devtest."
    ]


def test_an_empty_line_is_no_text(tmp_path):
    folder = save(tmp_path / "x", "flores101")
    lines = (folder / "dev" / "wol.dev").read_text(encoding="utf-8").split("\n")
    (folder / "dev" / "wol.dev").write_text("\n".join(["", "a\u0085b\r", *lines[2:]]), encoding="utf-8")
    wolof = corpora.load("flores101", path=str(folder)).texts["wo"]
    assert "flores101:dev:0001" not in wolof and wolof["flores101:dev:0002"] == "a b"


def test_mistakes_are_one_line(tmp_path):
    assert "no such folder" in refusal("flores101", path=str(tmp_path / "nowhere"))
    assert "no dev/ or devtest/ in" in refusal("flores200", path=str(tmp_path))
    folder = save(tmp_path / "x", "flores101")
    assert "no text of FLORES-200 in any language of the registry" in refusal("flores200", path=str(folder))
    assert "in ha (hau)" in refusal("flores101", path=str(folder), languages=["wo", "ha"])
    assert "FLORES-101 has no Esperanto (eo); leave it out" in refusal("flores101", path=str(folder), languages=["eo"])
    assert "unknown language 'xq'" in refusal("flores101", path=str(folder), languages=["xq"])
    (folder / "dev" / "wol.dev").write_text("one\ntwo\n")
    assert "eng.dev has 80 lines and wol.dev 2: they must be aligned" in refusal("flores101", path=str(folder))
    (folder / "dev" / "wol.dev").write_bytes(b"\xff\n")
    assert "wol.dev is not UTF-8 (byte 0)" in refusal("flores101", path=str(folder))
    (folder / "dev" / "wol.dev").unlink()
    metadata = folder / "metadata_dev.tsv"
    metadata.write_text("URL\tdomain\nhttps://w/0\twikinews\n")
    assert "metadata_dev.tsv has 1 lines and eng.dev 80" in refusal("flores101", path=str(folder))
    metadata.write_text("url\n")
    assert "metadata_dev.tsv:1: no columns URL and domain" in refusal("flores101", path=str(folder))


def test_mistakes_in_tables_are_one_line(tmp_path):
    folder = save(tmp_path / "x", "flores_plus", "jsonl")
    file = folder / "dev" / "wol_Latn.jsonl"
    for content, words in (
        ("{\n", "wol_Latn.jsonl:1: not JSON"),
        ("[]\n", "wol_Latn.jsonl:1: no column id, text, url, domain"),
        ('{"id": 1, "text": "x"}\n', "no column url, domain: is it another dataset?"),
        ('{"id": "one", "text": "x", "url": "", "domain": ""}\n', "FLORES+, dev, wo: the id 'one' is not a number"),
        (2 * '{"id": 7, "text": "x", "url": "", "domain": ""}\n', "FLORES+, dev, wo: sentence 7 is there twice"),
    ):
        file.write_text(content)
        assert words in refusal("flores_plus", path=str(folder))
    file.unlink()
    file.with_suffix(".parquet").write_bytes(b"PAR1 and no more")
    assert "wol_Latn.parquet is damaged" in refusal("flores_plus", path=str(folder))


def test_settings_reach_the_folder(tmp_path):
    folder = save(tmp_path / "x", "flores101")
    settings = profiles.resolve(
        "paper", model="organisation/name", corpus="flores101", data=str(folder), languages=["wo", "fa"]
    )
    matched = pipeline.match_text(settings, pipeline.load_corpus(settings))
    assert matched.size == (corpora.load("flores101", path=str(folder)).items["pool"] == "FINETUNE").sum()


# The hub


@pytest.fixture
def the_hub(monkeypatch):
    calls = []

    def load_dataset(repository, config, revision):
        calls.append((repository, config, revision))
        name = next(name for name in CODES if MODULES[name].RELEASE.repository == repository)
        ours = dict(zip(CODES[name], OURS, strict=True))[config]
        column = "text" if name == "flores_plus" else "sentence"
        return {split: datasets.Dataset.from_list(rows(ours, split, column)) for split in ARTICLES}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


@pytest.mark.parametrize("name", CODES)
def test_the_hub_gives_what_the_folder_gives(name, tmp_path, the_hub):
    here = corpora.load(name, path=str(save(tmp_path / "x", name)))
    there = corpora.load(name, languages=OURS)
    assert there.digest == here.digest
    release = MODULES[name].RELEASE
    assert sorted(the_hub) == sorted((release.repository, code, release.revision) for code in CODES[name])
    assert "comes from the hub by language" in refusal(name)


def test_a_hub_out_of_reach_is_one_line(monkeypatch):
    def load_dataset(*given, **options):
        raise ConnectionError("Couldn't reach\nit")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    said = refusal("flores_plus", Failure, languages=["en", "ha"])
    assert said.startswith("cannot get openlanguagedata/flores_plus eng_Latn from the hub (Couldn't reach); ")


# Codes


def test_every_release_has_the_papers_languages_each_once():
    for module in MODULES.values():
        codes = module.RELEASE.codes()
        assert set(languages.pool("lang12")) | set(languages.pool("lang30")) <= set(codes.values())
        assert all(languages.get(code).code == code for code in codes.values())
    assert len(flores101.codes()) == len(set(flores101.codes().values())) == 98
    assert len(flores200.RELEASE.codes()) == len(set(flores200.RELEASE.codes().values()))
    assert flores_plus.RELEASE.code("zh") == "cmn_Hans" and flores200.RELEASE.code("zh") == "zho_Hans"


def test_the_codes_of_both_releases_agree_on_the_language():
    """FLORES-200's own table of its predecessor's codes, where the two are not the same three letters."""
    table = {
        "ara": "arb_Arab", "ful": "fuv_Latn", "lav": "lvs_Latn", "mon": "khk_Cyrl", "orm": "gaz_Latn",
        "fas": "pes_Arab", "pus": "pbt_Arab", "uzb": "uzn_Latn", "zho_simpl": "zho_Hans", "zho_trad": "zho_Hant",
        "msa": "zsm_Latn",
    }  # fmt: skip
    ours, theirs = flores101.codes(), flores.codes_200()
    for old, code in ours.items():
        new = table.get(old) or next(x for x in theirs if x[:3] == old)
        assert theirs[new] == code, old
