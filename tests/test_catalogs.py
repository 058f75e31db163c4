"""The offline corpus: what is harvested, that it is the pinned text, and that its cache can be trusted.

The first run harvests the installed packages (about a minute); later ones read the cache.
"""

import json
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import babel
import pandas as pd
import polib
import pytest
import regex

from langsim import corpora, languages
from langsim.corpora import catalogs
from langsim.corpora.text import clean
from langsim.errors import Failure, UsageError


@pytest.fixture(scope="module")
def corpus():
    return corpora.load("catalogs")


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A harvest of two languages, and an empty cache to keep it in."""
    items = ["a:x:::File", "a:x:::Open"]
    rows = [(item, "software", "a", code, f"{item[6:]} {code}") for item in items for code in ("de", "en", "fa")]
    table = pd.DataFrame(rows, columns=["item", "domain", "package", "language", "text"])
    harvests = []

    def harvest():
        harvests.append(1)
        return table, {"not translated": 3}

    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path))
    monkeypatch.setattr(catalogs, "harvest", harvest)
    monkeypatch.setattr(catalogs, "fingerprint", lambda: "tiny")
    catalogs._load.cache_clear()
    yield tmp_path / "catalogs" / "tiny.json", harvests
    catalogs._load.cache_clear()


# What is in it ---------------------------------------------------------------------------------------------------


def test_it_is_the_pinned_text(corpus):
    pinned = catalogs.pinned()
    assert catalogs.facts() == pinned
    assert corpus.digest == pinned["digest"] and len(pinned["digest"]) == 64


def test_domains_and_packages_are_kept_apart(corpus):
    of = corpus.items.groupby("domain")["package"].unique()
    assert set(of["interface"]) == {"Django"}
    assert set(of["names"]) == {"babel"}
    assert set(of["software"]) == {p.distribution for p in catalogs.PACKAGES} - {"Django"}
    assert all(item.split(":")[0] in (package, "cldr") for item, package in corpus.items["package"].items())


def test_there_is_enough_of_it(corpus):
    assert len(corpus.languages) > 100
    assert len(corpus.items) > 10_000
    for code in languages.pool("ted17"):
        assert len(corpus.text(code)) > 1500
    assert all(corpus.texts["en"].get(item) for item in corpus.items.index)
    translated = set().union(*(texts for code, texts in corpus.texts.items() if code != "en"))
    assert translated == set(corpus.items.index)


def test_every_text_is_one_clean_line(corpus):
    every = [text for texts in corpus.texts.values() for text in texts.values()]
    assert all(text == " ".join(text.split()) and 0 < len(text) <= catalogs.MAX_CHARACTERS for text in every)
    joined = "\n".join(every)
    assert not regex.search(r"%\(|%\d\$|&(amp|lt|gt|quot|nbsp);|</(a|b|code|em|strong|p)>", joined)


def test_no_copy_of_the_english_is_left_and_the_placeholders_are_those_of_the_english(corpus):
    english = corpus.texts["en"]
    slots = {item: set(regex.findall(r"\{\d+\}", text)) for item, text in english.items()}
    for code in set(corpus.languages) - {"en"}:
        for item, text in corpus.texts[code].items():
            assert text != english[item]
            assert set(regex.findall(r"\{\d+\}", text)) == slots[item]
            assert "{" not in regex.sub(r"\{\d+\}", "", text)


SCRIPTS = {"fa": "Arab", "hi": "Deva", "bg": "Cyrl", "sr": "Cyrl", "sr-Latn": "Latn", "ja": "Jpan", "ko": "Kore"}


@pytest.mark.parametrize(("code", "script"), SCRIPTS.items())
def test_texts_are_in_the_script_of_their_language(corpus, code, script):
    classes = {"Jpan": r"\p{Han}\p{Hiragana}\p{Katakana}", "Kore": r"\p{Hangul}\p{Han}"}
    own = classes.get(script, rf"\p{{sc={script}}}")
    worded = [text for text in corpus.text(code) if regex.search(r"\p{L}", text)]
    assert worded and all(regex.search(f"[{own}]", text) for text in worded)


def test_varieties_do_not_mix(corpus):
    for one, other in (("sr", "sr-Latn"), ("zh", "zh-Hant"), ("fa", "ckb")):
        pairs = corpus.pairs(one, other)
        same = sum(pair.source_text == pair.target_text for pair in pairs)
        assert len(pairs) > 1000 and same / len(pairs) < 0.1


def test_names_are_those_of_cldr(corpus):
    for code, locale in (("fa", "fa"), ("uk", "uk"), ("sr-Latn", "sr_Latn"), ("zh-Hant", "zh_Hant")):
        data = babel.Locale.parse(locale)
        for territory in ("DE", "ES", "CH"):
            assert corpus.texts[code][f"cldr:territory:{territory}"] == data.territories[territory]
    assert corpus.texts["en"]["cldr:city:America/New_York"] == "New York"
    assert corpus.texts["fa"]["cldr:currency:JPY"] == babel.Locale("fa").currencies["JPY"]


def _shipped(package, suffix):
    return {Path(str(file)) for file in metadata.distribution(package).files if str(file).endswith(suffix)}


@pytest.mark.parametrize("package", [p for p in catalogs.PACKAGES if _shipped(p.distribution, ".po")], ids=str)
def test_nothing_fuzzy_or_obsolete_is_in_it(corpus, package):
    """The source catalogs (.po) say what is fuzzy or obsolete; the harvest reads the compiled ones (.mo)."""
    distribution = metadata.distribution(package.distribution)
    checked = dropped = 0
    for code in ("de", "fa", "uk"):
        good, bad = {}, {}
        for path in sorted(_shipped(package.distribution, ".po")):
            if path.parent.parent.name not in catalogs._folders(code) or path.stem in package.skip:
                continue
            for entry in polib.pofile(str(distribution.locate_file(path))):
                item = f"{package.distribution}:{path.stem}:{entry.msgctxt or ''}:{entry.msgid}"
                text = entry.msgstr or entry.msgstr_plural.get(0, "")
                into = bad if entry.fuzzy or entry.obsolete else good
                into.setdefault(item.replace("\n", " ").replace("\t", " "), set()).add(clean(text)[0])
        for item, texts in bad.items():
            found = corpus.texts[code].get(item)
            assert found is None or found not in texts or found in good.get(item, ()), (code, item)
        for item, texts in good.items():
            found = corpus.texts[code].get(item)
            if found is not None and "{" not in found:  # slots may have been renumbered
                assert found in texts or "_plural" in item, (code, item)
                checked += 1
        dropped += len(bad)
    assert checked > 50
    assert dropped > 20 or package.distribution not in ("django-allauth", "plone.app.locales")  # these have some


def test_plural_forms_of_a_language_with_three(corpus):
    """Of Ukrainian one, few, many: the singular has the form for 1, the plural the form for 5."""
    (path,) = _shipped("Django", "contrib/admin/locale/uk/LC_MESSAGES/django.mo")
    entries = [e for e in polib.mofile(str(metadata.distribution("Django").locate_file(path))) if e.msgid_plural]
    told_apart = 0
    for entry in entries:
        one, _, many = (clean(entry.msgstr_plural[i])[0] for i in range(3))
        assert corpus.texts["uk"][f"Django:django:{entry.msgctxt or ''}:{entry.msgid}"] == one
        assert corpus.texts["uk"][f"Django:django:{entry.msgctxt or ''}:{entry.msgid_plural}"] == many
        told_apart += one != many
    assert told_apart


def test_plural_forms_are_read_by_the_rule_of_the_catalog(tmp_path):
    rule = "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 ? 1 : 2);"
    catalog = polib.POFile()
    catalog.metadata = {"Content-Type": "text/plain; charset=utf-8", "Plural-Forms": rule}
    forms = {0: "%d файл", 1: "%d файли", 2: "%d файлів"}
    catalog.append(polib.POEntry(msgid="%d file", msgid_plural="%d files", msgstr_plural=forms))
    catalog.append(polib.POEntry(msgid="May", msgstr="Травень", msgctxt="month"))
    catalog.append(polib.POEntry(msgid="Maybe", msgstr="Можливо", flags=["fuzzy"]))
    catalog.append(polib.POEntry(msgid="Old", msgstr="Старе", obsolete=True))
    catalog.save_as_mofile(str(tmp_path / "x.mo"))
    assert sorted(catalogs._messages(tmp_path / "x.mo")) == [
        ("", "%d file", "%d файл"),
        ("", "%d files", "%d файлів"),
        ("month", "May", "Травень"),
    ]


@pytest.mark.parametrize(
    ("english", "text", "script", "reason"),
    [
        ("Save", "Gem", "Latn", ""),
        ("Save", "Save", "Latn", "copy of the English"),
        ("Save", "", "Latn", "not translated"),
        ("Save", None, "Latn", "placeholders differ"),
        ("Save {0}", "Gem {0} {", "Latn", "a brace that is no placeholder"),
        ("{0} %", "{0} %", "Latn", "no words in English"),
        ("Save", "Save now", "Cyrl", "not in the language's script"),
        ("Save x", "Зберегти Django", "Cyrl", ""),
        ("Save", "Gem " * 101, "Latn", "longer than 400 characters"),
    ],
)
def test_why_a_text_is_dropped(english, text, script, reason):
    assert catalogs._unusable(english, text, script) == reason


def test_default_texts_of_symbolic_messages(tmp_path, corpus):
    (tmp_path / "x.pot").write_text(
        '#. Default: "You have \\"${n}\\" items"\nmsgid "label_items"\nmsgstr ""\n\nmsgid "Plain"\nmsgstr ""\n'
    )
    (tmp_path / "y.pot").write_text('#. Default: "Things"\nmsgid "label_items"\nmsgstr ""\n')
    one = catalogs._defaults([tmp_path / "x.pot"])
    assert one == {"label_items": {"x": 'You have "${n}" items'}}
    both = catalogs._defaults([tmp_path / "x.pot", tmp_path / "y.pot"])
    assert catalogs._english("label_items", "y", both) == "Things"
    assert catalogs._english("label_items", "z", one) == 'You have "${n}" items'
    assert catalogs._english("label_items", "z", both) is None, "told in two ways"
    assert catalogs._english("label_other", "x", one) is None and catalogs._english("Plain", "x", one) == "Plain"
    assert catalogs._english("label_other", "x", {}) == "label_other", "a package without symbolic ids"
    english = [corpus.texts["en"][i] for i in corpus.items.index if i.startswith("plone")]
    assert not [text for text in english if regex.fullmatch(r"[a-z]+(_[a-z]+)+", text)]


# The interface of a corpus ---------------------------------------------------------------------------------------


def test_pairs_and_texts_agree(corpus):
    pairs = corpus.pairs("fa", "de", domain="names", pool="TEST")
    assert pairs and all(pair.domain == "names" for pair in pairs)
    for pair in pairs:
        assert corpus.texts["fa"][pair.id] == pair.source_text and corpus.texts["de"][pair.id] == pair.target_text
        assert corpus.items.at[pair.id, "pool"] == "TEST" and corpus.items.at[pair.id, "unit"] == pair.unit
    assert len(corpus.text("fa", domain="names")) == sum(i.startswith("cldr:") for i in corpus.texts["fa"])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda c: c.pairs("xx"), "unknown language 'xx'"),
        (lambda c: c.pairs("de", pool="TRAIN"), "pool of corpus 'catalogs': unknown 'TRAIN'"),
        (lambda c: c.text("de", domain="softwear"), "did you mean 'software'"),
        (lambda c: corpora.load("catalog"), "corpus: unknown 'catalog' .did you mean 'catalogs'"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(corpus, ask, message):
    with pytest.raises(UsageError, match=message) as caught:
        ask(corpus)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(catalogs, "PACKAGES", (catalogs.Package("no-such-package", "software"),))
    with pytest.raises(Failure, match="need the package no-such-package; run `make env`"):
        catalogs.versions()


# The cache -------------------------------------------------------------------------------------------------------


def test_the_caches_name_changes_with_what_the_harvest_takes_from_the_registry(monkeypatch):
    registry, name = languages.all_languages(), catalogs.fingerprint()
    german = next(each for each in registry if each.code == "de")

    def with_registry(*entries):
        monkeypatch.setattr(languages, "all_languages", lambda: list(entries))
        return catalogs.fingerprint()

    others = [each for each in registry if each.code != "de"]
    assert with_registry(*others, replace(german, code="xyz"), german) != name  # a language more
    assert with_registry(*others) != name
    assert with_registry(*others, replace(german, cldr="de_AT")) != name
    assert with_registry(*others, replace(german, script="Cyrl")) != name
    assert with_registry(*others, replace(german, name="Deutsch", family="Romance")) == name
    with_registry(*registry)
    monkeypatch.setitem(catalogs._FOLDERS, "de", ["de_AT"])
    assert catalogs.fingerprint() != name
    assert len(name) < 220  # a file name, with room for that of its temporary file


def test_a_harvest_is_kept(small):
    path, harvests = small
    first = catalogs.load()
    assert first.notes["not translated"] == 3
    assert first.notes["not in the split file (another version of a package)"] == 2
    assert first.items["pool"].tolist() == ["UNSPLIT"] * 2 and first.items["unit"].nunique() == 2
    catalogs._load.cache_clear()
    again = catalogs.load()
    assert len(harvests) == 1 and path.exists()
    assert again.digest == first.digest and again.texts["fa"] == {"a:x:::File": "File fa", "a:x:::Open": "Open fa"}


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_a_damaged_cache_is_noticed_and_harvested_again(small, damage):
    path, harvests = small
    digest = catalogs.load().digest
    raw = path.read_bytes()
    assert b"File fa" in raw
    path.write_bytes(
        {
            "cut": raw[: len(raw) // 2],
            "flip": raw.replace(b"File fa", b"Fyle fa"),
            "empty": b"",
            "other": json.dumps({"rows": 0}).encode() + b"\n",
        }[damage]
    )
    catalogs._load.cache_clear()
    assert catalogs.load().digest == digest
    assert len(harvests) == 2 and path.read_bytes() == raw


def test_two_processes_may_harvest_at_once(tmp_path):
    """Both write the same file; whoever reads it meanwhile sees nothing or all of it."""
    script = (
        "import sys, pandas as pd\n"
        "from pathlib import Path\n"
        "from langsim.corpora import catalogs\n"
        "rows = [(f'a:{i}', 'software', 'a', c, 'word ' * 20) for i in range(300) for c in ('de', 'en')]\n"
        "rows = pd.DataFrame(rows,"
        "    columns=['item', 'domain', 'package', 'language', 'text'])\n"
        "for _ in range(5):\n"
        "    catalogs._write(Path(sys.argv[1]), rows, {})\n"
        "    assert len(catalogs._read(Path(sys.argv[1])).items) == 300\n"
    )
    path = tmp_path / "shared.json"
    both = [subprocess.Popen([sys.executable, "-c", script, str(path)]) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_pin_is_said_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(catalogs, "PINNED", tmp_path / "catalogs.json")
    with pytest.raises(Failure, match=r"restore it with `git checkout data/catalogs\.json`"):
        catalogs.pinned()


def test_pinning_writes_what_the_test_above_reads(monkeypatch, tmp_path):
    monkeypatch.setattr(catalogs, "PINNED", tmp_path / "catalogs.json")
    catalogs.pin()
    assert catalogs.pinned() == catalogs.facts()
    assert (tmp_path / "catalogs.json").read_text() == (catalogs.DATA / "catalogs.json").read_text()
