"""TED and OPUS-100 from small local files of the hub's own schema, and through a stand-in for the hub."""

import inspect
import os
from importlib import import_module

import datasets
import pytest
from tiny import save_names, save_tiny_m2m

from langsim import corpora, costs, languages, pipeline, profiles
from langsim.corpora import hub, opus100, ted
from langsim.errors import Failure, UsageError
from langsim.matching import match

NULL, PARTLY = "__NULL__", "Half of _ _ NULL _ _ is there ."

# The header of the original files.
TED60 = """
    en es pt-br fr ru he ar ko zh-cn it ja zh-tw nl ro tr de vi pl pt bg el fa sr hu hr uk cs id th sv sk sq lt da calv
    my sl mk fr-ca fi hy hi nb ka mn et ku gl mr zh ur eo ms az ta bn kk be eu bs
"""

COLUMNS = ("en", "fr", "fr-ca", "nb", "zh-cn", "calv", "sr")
TALKS = {
    "train": [
        ("talk_a", "I &apos;m here .", "Je suis là .", "Chu là .", 'Jeg er "her" .', "我 在 这里 。", "?", NULL),
        ("talk_a", "Thank you .", "Merci .", NULL, "Takk .", NULL, NULL, "Хвала ."),
        ("talk_b", "Only English .", NULL, NULL, NULL, NULL, NULL, NULL),
        ("talk_b", "No half .", PARTLY, "Rien .", "Nei .", NULL, NULL, NULL),
        ("talk_b", "Odd\u0085spaces  here .", "Ici .", NULL, NULL, NULL, NULL, "Овде ."),
    ],
    "validation": [("talk_c", "Good .", "Bon .", NULL, "Bra .", "好 。", NULL, NULL)],
    "test": [("talk_d", "Bad .", "Mauvais .", NULL, "Dårlig .", NULL, NULL, NULL)],
}


def save_tsvs(folder, talks=TALKS, columns=COLUMNS):
    """The three files of the original distribution."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in talks.items():
        lines = ["\t".join(("talk_name", *columns)), *("\t".join(row) for row in rows)]
        (folder / ted.FILES[split]).write_bytes(("\n".join(lines) + "\n").encode())
    return folder


def save_parquets(folder, name="plain_text/{split}/{n:04d}.parquet"):
    """The same as the hub has it: two files a split, without what is missing; (split, n) make a file's name."""
    told = datasets.TranslationVariableLanguages(languages=list(COLUMNS))
    features = datasets.Features({"translations": told, "talk_name": datasets.Value("string")})
    for split, rows in TALKS.items():
        for n, part in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
            there = [{c: t for c, t in zip(COLUMNS, row[1:], strict=True) if "NULL" not in t} for row in part]
            table = {"translations": there, "talk_name": [row[0] for row in part]}
            file = folder / name.format(split=split, n=n)
            file.parent.mkdir(parents=True, exist_ok=True)
            datasets.Dataset.from_dict(table, features=features).to_parquet(file)
    return folder


def save_pair(folder, code, splits):
    """One pair of OPUS-100 as the hub has it: split -> [(English, text)]."""
    pair = sorted(("en", code))
    features = datasets.Features({"translation": datasets.Translation(languages=pair)})
    (folder / "-".join(pair)).mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        table = {"translation": [{"en": english, code: text} for english, text in rows]}
        file = folder / "-".join(pair) / f"{split}-00000-of-00001.parquet"
        datasets.Dataset.from_dict(table, features=features).to_parquet(file)
    return folder


@pytest.fixture
def the_hub(tmp_path, monkeypatch):
    """A stand-in for the hub: `load_dataset` finds the repositories in a folder, and says how it was called."""
    real, calls = datasets.load_dataset, []

    def load_dataset(*given, **options):
        calls.append((given, options))
        repository, config = given
        place = tmp_path / "hub" / repository
        return real(str(place / config if config else place), cache_dir=str(tmp_path / "arrow"))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for module in (ted, opus100):
        module._load.cache_clear()
    return tmp_path / "hub", calls


def refusal(name, **options):
    with pytest.raises(UsageError) as caught:
        corpora.load(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_talk_is_a_unit_and_the_splits_are_pools(tmp_path):
    corpus = corpora.load("ted", path=str(save_tsvs(tmp_path)))
    assert corpus.languages == ["en", "fr", "no", "sr", "zh"] and corpus.domains == ["talks"]
    assert corpus.items["unit"].to_dict() == {
        "ted:train:000001": "ted:talk_a",
        "ted:train:000002": "ted:talk_a",
        "ted:train:000004": "ted:talk_b",
        "ted:train:000005": "ted:talk_b",
        "ted:validation:000001": "ted:talk_c",
        "ted:test:000001": "ted:talk_d",
    }
    assert corpus.items["pool"].tolist() == ["FINETUNE"] * 4 + ["DEV", "TEST"]


def test_texts_are_those_of_the_file_but_for_entities_and_spaces(tmp_path):
    texts = corpora.load("ted", path=str(save_tsvs(tmp_path))).texts
    assert texts["en"]["ted:train:000001"] == "I 'm here ." and texts["no"]["ted:train:000001"] == 'Jeg er "her" .'
    assert texts["en"]["ted:train:000005"] == "Odd spaces here ."
    assert texts["sr"] == {"ted:train:000002": "Хвала .", "ted:train:000005": "Овде ."}
    assert "ted:train:000004" not in texts["fr"]  # half a translation is none


def test_columns_that_are_not_read_are_told(tmp_path):
    notes = corpora.load("ted", path=str(save_tsvs(tmp_path))).notes
    assert notes == {
        "column fr-ca: fr has more of this language": 2,
        "column calv: not a language of the registry": 1,
    }


def test_every_column_of_the_talks_is_read_or_told():
    codes = {column: ted._language(column)[0] for column in TED60.split()}
    assert len(codes) == 60 and {column for column, code in codes.items() if not code} == {"calv", "pt", "zh", "fr-ca"}
    read = [code for code in codes.values() if code]
    assert len(read) == len(set(read)) and set(languages.pool("ted17")) <= set(read)
    assert (codes["zh-cn"], codes["zh-tw"], codes["pt-br"], codes["nb"]) == ("zh", "zh-Hant", "pt", "no")


@pytest.mark.parametrize("name", ["plain_text/{split}/{n:04d}.parquet", "ted_multi-{split}-0000{n}-of-00002.parquet"])
def test_parquet_and_tsv_are_one_corpus(tmp_path, name):
    original = corpora.load("ted", path=str(save_tsvs(tmp_path / "tsv")))
    converted = corpora.load("ted", path=str(save_parquets(tmp_path / "parquet", name)))
    assert converted.digest == original.digest and converted.notes == original.notes


def test_the_hub_is_asked_for_parquet_and_never_for_code(tmp_path, the_hub):
    folder, calls = the_hub
    save_parquets(folder / ted.REPOSITORY)
    assert corpora.load("ted").digest == corpora.load("ted", path=str(save_tsvs(tmp_path / "tsv"))).digest
    assert calls == [(("neulab/ted_multi", None), {"revision": "refs/convert/parquet"})]


def test_only_the_languages_asked_for_are_kept(tmp_path):
    corpus = corpora.load("ted", path=str(save_tsvs(tmp_path)), languages=["nob", "fr"])
    assert corpus.languages == ["fr", "no"]
    assert list(corpus.items.index) == [
        f"ted:{n}" for n in ("train:000001", "train:000002", "validation:000001", "test:000001")
    ]
    assert "no sentence in two of the languages fr in" in refusal("ted", path=str(tmp_path), languages=["fr"])


def test_what_cannot_be_read_is_said_in_one_line(tmp_path):
    assert "no such folder" in refusal("ted", path=str(tmp_path / "nowhere"))
    assert "no parquet files of train or validation or test" in refusal("ted", path=str(tmp_path))
    save_tsvs(tmp_path / "tsv", {"test": [("talk", "a", "b"), *TALKS["test"], ("talk", *["x"] * 8)]})
    corpus = corpora.load("ted", path=str(tmp_path / "tsv"))
    assert corpus.problems == [
        "all_talks_test.tsv, row 1: 3 columns, expected 8",
        "all_talks_test.tsv, row 3: 9 columns, expected 8",
    ]
    assert list(corpus.items.index) == ["ted:test:000002"]
    (tmp_path / "tsv" / "all_talks_dev.tsv").write_text("en\tfr\na\tb\n")
    assert "all_talks_dev.tsv:1: no column talk_name" in refusal("ted", path=str(tmp_path / "tsv"))
    (tmp_path / "tsv" / "all_talks_dev.tsv").write_bytes(b"talk_name\ten\tfr\na\t\xff\tb\n")
    assert "all_talks_dev.tsv is not UTF-8" in refusal("ted", path=str(tmp_path / "tsv"))
    pair = save_pair(tmp_path / "pair", "fr", {"train": [("a", "b")]}) / "en-fr"
    assert "no column translations, talk_name among translation" in refusal("ted", path=str(pair))
    (pair / "train-00000-of-00001.parquet").write_bytes(b"PAR1 and no more")
    assert "train-00000-of-00001.parquet is damaged (" in refusal("ted", path=str(pair))


def test_files_are_read_once_until_they_change(tmp_path):
    save_tsvs(tmp_path)
    first = corpora.load("ted", path=str(tmp_path))
    assert corpora.load("ted", path=str(tmp_path)) is first
    file = tmp_path / "all_talks_test.tsv"
    file.write_text(file.read_text().replace("Mauvais", "Malin"))
    os.utime(file, ns=(1, 1))
    assert corpora.load("ted", path=str(tmp_path)).texts["fr"]["ted:test:000001"] == "Malin ."


def test_text_in_another_script_is_warned_of(tmp_path):
    corpus = corpora.load("ted", path=str(save_tsvs(tmp_path / "cyrillic")))
    assert corpus.warnings == []
    latin = {"test": [("talk", "Thanks .", "Merci .", NULL, NULL, NULL, NULL, "Hvala .")]}
    corpus = corpora.load("ted", path=str(save_tsvs(tmp_path / "latin", latin)))
    assert corpus.warnings == ["Most of the text in sr in corpus 'ted' is in another script than Cyrl."]


def test_a_result_shows_what_its_text_warns_of(tmp_path, monkeypatch):
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "cache"))
    names = save_names(tmp_path / "names.tsv", ("en", "fr", "sr_Latn")).read_text(encoding="utf-8")
    cells = [line.split("\t")[2:] for line in names.splitlines()[1:61]]
    rows = [("talk", english, french, NULL, NULL, NULL, NULL, serbian) for english, french, serbian in cells]
    data = save_tsvs(tmp_path / "ted", {"train": rows})
    model = save_tiny_m2m(tmp_path / "model", names.replace("\t", "\n").splitlines())
    settings = profiles.resolve(model=str(model), corpus="ted", data=str(data), languages=["fr", "sr"])
    warned = "Most of the text in sr in corpus 'ted' is in another script than Cyrl."
    assert warned in pipeline.fisher_vectors(settings, jobs=1).warnings


def test_settings_reach_the_talks(tmp_path):
    talks = {
        "train": [(f"talk_{i // 5}", f"sentence {i} .", f"phrase {i} .", NULL, f"setning {i} .") for i in range(40)]
    }
    save_tsvs(tmp_path / "ted", talks, ("en", "fr", "fr-ca", "nb"))
    settings = profiles.resolve(
        "paper", model="organisation/name", data=str(tmp_path / "ted"), languages=["fr", "no"], max_items=35
    )
    assert settings.corpus == "ted"
    matched = pipeline.match_text(settings, pipeline.load_corpus(settings))
    assert matched.size == 35 and matched.available == {"fr": 40, "no": 40}
    assert costs.tokens_of(settings) > 0
    assert costs.tokens_of(settings.model_copy(update={"data": ""})) is None  # no download for an estimate


def test_a_pair_of_opus_has_items_of_its_own(tmp_path):
    save_pair(tmp_path, "fr", {"train": [("Yes.", "Oui."), ("No.", ""), ("Yes!", "Si !")], "test": [("Go", "Va")]})
    save_pair(tmp_path, "de", {"train": [("Yes.", "Ja.")], "validation": [("Go  on", "Weiter")]})
    corpus = corpora.load("opus100", path=str(tmp_path), languages=["fr", "de", "en"])
    assert {pair.id: (pair.source_text, pair.target_text) for pair in corpus.pairs("fr")} == {
        "opus100:en-fr:train:0000001": ("Oui.", "Yes."),
        "opus100:en-fr:train:0000003": ("Si !", "Yes!"),
        "opus100:en-fr:test:0000001": ("Va", "Go"),
    }
    assert corpus.texts["de"] == {"opus100:de-en:train:0000001": "Ja.", "opus100:de-en:validation:0000001": "Weiter"}
    assert corpus.items["pool"].value_counts().to_dict() == {"FINETUNE": 3, "DEV": 1, "TEST": 1}
    assert corpus.items["unit"].nunique() == 3  # "Yes." and "Yes!" are one text
    assert corpus.notes == {"no text on one side": 1} and corpus.pairs("fr", "de") == []
    assert corpus.texts["en"]["opus100:de-en:validation:0000001"] == "Go on"


def test_the_hub_is_asked_for_each_pair(the_hub):
    folder, calls = the_hub
    for code in ("fr", "de"):
        save_pair(
            folder / opus100.REPOSITORY, code, {"train": [("Yes.", f"{code} yes")], "test": [("No.", f"{code} no")]}
        )
    here = corpora.load("opus100", languages=["fr", "de"])
    assert calls == [(("Helsinki-NLP/opus-100", pair), {"revision": None}) for pair in ("en-fr", "de-en")]
    assert here.digest == corpora.load("opus100", path=str(folder / opus100.REPOSITORY), languages=["de", "fr"]).digest


@pytest.mark.parametrize("seed", [0, 7])
def test_what_is_kept_of_a_large_pair_is_what_would_be_drawn_of_all(tmp_path, seed):
    for code, size in (("fr", 300), ("de", 250)):
        rows = [(f"sentence {i}", f"{code} {i} {'x' * (i % 9)}") for i in range(size)]
        save_pair(tmp_path, code, {"train": rows, "test": rows[:50]})
    options = {"path": str(tmp_path), "languages": ["fr", "de"]}
    whole, part = corpora.load("opus100", **options), corpora.load("opus100", **options, max_items=40, seed=seed)
    assert len(part.items) == 4 * 40 and part is corpora.load("opus100", **options, max_items=40, seed=seed)
    drawn = [
        match(corpus, ["fr", "de"], pool="FINETUNE", matching="sizes", max_items=40, seed=seed).pairs
        for corpus in (whole, part)
    ]
    assert drawn[0] == drawn[1] and len(drawn[0]["fr"]) == 40


def test_mistakes_with_opus_are_one_line(tmp_path):
    save_pair(tmp_path, "fr", {"train": [("Yes.", "Oui.")]})
    assert "is read by language: name them" in refusal("opus100", path=str(tmp_path))
    assert "corpus 'opus100' has no text in ckb; leave it out" in refusal("opus100", languages=["ckb", "fr"])
    assert f"no such folder: {tmp_path / 'de-en'}" in refusal("opus100", path=str(tmp_path), languages=["fr", "de"])


def test_the_codes_of_opus_are_those_of_the_registry():
    codes = opus100.LANGUAGES.split()
    assert [languages.get(code).code for code in codes] == codes and len(set(codes)) == len(codes)
    assert set(languages.pool("ted17")) <= set(codes)


@pytest.mark.parametrize("error", [ConnectionError("Couldn't reach\nit"), ValueError("BuilderConfig 'x' not found.")])
def test_a_hub_out_of_reach_is_one_line(monkeypatch, error):
    def load_dataset(*given, **options):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(Failure) as caught:
        corpora.load("opus100", languages=["fr"])
    said, first = str(caught.value), str(error).splitlines()[0].rstrip(".")
    assert said.startswith(f"cannot get Helsinki-NLP/opus-100 en-fr from the hub ({first}); ") and "\n" not in said


def test_every_corpus_takes_the_options_that_it_lists():
    for name, options in corpora.OPTIONS.items():
        assert tuple(inspect.signature(import_module(f"langsim.corpora.{name}").load).parameters) == options
    assert "option of corpus 'ted': unknown 'langages' (did you mean 'languages'?)" in refusal("ted", langages=["fr"])
    assert "option of corpus 'catalogs': unknown 'path'" in refusal("catalogs", path="x")
    assert set(corpora.FROM_HUB) == {"ted", "opus100", "flores101", "flores200", "flores_plus"} and set(
        hub.POOLS.values()
    ) == {"FINETUNE", "DEV", "TEST"}
