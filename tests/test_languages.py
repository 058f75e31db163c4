"""The registry against what Babel, transformers, Django and NTREX say, and the rule of resolution."""

import os
from pathlib import Path

import pytest
from babel import Locale
from babel.core import get_global
from hypothesis import given
from hypothesis import strategies as st

from langsim import languages, paths, pools
from langsim.errors import Failure, UsageError

TED17 = ["bg", "sr", "hr", "uk", "sk", "be", "fa", "hi", "bn", "id", "ms", "kk", "tr", "de", "sv", "ja", "ko"]
ALL = languages.all_languages()
BASE = [language for language in ALL if not language.variety_of]

# The file names of NTREX-128, as its list of languages gives them, and the English source.
NTREX = """
afr amh arb aze-Latn bak bel bem ben bod bos bul cat ces ckb-Arab cym dan deu div dzo ell eng-GB eng-IN
eng-US est eus ewe fao fas fij fil fin fra fra-CA fuc gle glg guj gsw-BE gsw-ZH hau heb hin hmn hrv hun
hye ibo ind isl ita jpn kan kat kaz khm kin kir kmr kor lao lav lit ltz mal mar mey mkd mlg mlt mon mri
msa mya nde nep nld nno nob nso nya orm pan pol por por-BR prs pus ron rus shi sin slk slv smo sna-Latn
snd-Arab som spa spa-MX sqi srp-Cyrl srp-Latn ssw swa swe tah tam tat tel tgk-Cyrl tha tir ton tsn tuk
tur uig ukr urd uzb ven vie wol xho yor yue zho-CN zho-TW zul
"""


def codes_of(source):
    return [code for language in BASE for code in language.codes(source)]


# The registry against the sources


def test_codes_and_names_are_unique():
    for column in ("code", "name"):
        values = [getattr(language, column) for language in ALL]
        assert len(values) == len(set(values))
    for source in languages.SOURCES:
        assert len(codes_of(source)) == len(set(codes_of(source))), source


def test_canonical_code_is_iso639_1_else_iso639_3():
    for language in BASE:
        assert language.code == (language.iso639_1 or language.iso639_3)


def test_iso_codes_agree_with_cldr_aliases():
    """CLDR maps 639-3 codes, macrolanguages and standard members to the short code: an independent table."""
    aliases = get_global("language_aliases")
    own = {code: x.code for x in BASE for code in (x.iso639_3, x.flores[:3], x.uriel, *x.aliases) if code}
    assert all(aliases[x.iso639_3] == x.iso639_1 for x in BASE if x.iso639_1 and x.iso639_1 != "tl")
    checked = [code for code, short in aliases.items() if code in own and short in own.values()]
    assert len(checked) > 125
    assert all(own[code] == aliases[code] for code in checked)


def test_old_codes_come_from_cldr():
    old = {"ger": "de", "fre": "fr", "per": "fa", "chi": "zh", "scc": "sr", "iw": "he", "mol": "ro", "may": "ms"}
    assert {code: languages.get(code).code for code in old} == old


def test_cldr_locales_parse_and_scripts_are_the_likely_ones():
    likely = get_global("likely_subtags")
    without = [language.code for language in ALL if not language.cldr]
    assert sorted(without) == ["ach", "cak", "fj", "ilo", "sm", "tet", "ty", "udm"]
    for language in ALL:
        if language.cldr:
            locale = Locale.parse(language.cldr)
            subtags = likely[language.cldr].split("_") if language.cldr in likely else []
            assert language.script in (locale.script, *subtags) or language.code in ("no", "prs"), language.code
    assert {languages.get(code).script for code in ("no", "prs")} == {"Latn", "Arab"}


def test_english_names_are_babels_or_babels_name_finds_them():
    own_way = {"prs", "ku", "zh", "zh-Hant"}  # Babel: Persian (Afghanistan), Kurdish, with the script in brackets
    for language in ALL:
        if language.cldr and language.code not in own_way:
            assert languages.get(Locale.parse(language.cldr).english_name).code == language.code


def test_m2m_codes_are_exactly_those_of_m2m100():
    tokenization = pytest.importorskip("transformers.models.m2m_100.tokenization_m2m_100")
    ours = [language.m2m for language in BASE if language.m2m]
    assert set(ours) == set(tokenization.FAIRSEQ_LANGUAGE_CODES["m2m100"])


def test_flores_codes_are_in_nllb():
    tokenization = pytest.importorskip("transformers.models.nllb.tokenization_nllb")
    known = set(tokenization.FAIRSEQ_LANGUAGE_CODES)
    for language in ALL:
        assert set(language.codes("flores")) <= known
        if language.flores:
            assert language.flores[4:] == {"Kore": "Hang"}.get(language.script, language.script), language.code


def test_django_folders_are_exactly_djangos():
    django = pytest.importorskip("django")
    root = Path(django.__file__).parent / "conf" / "locale"
    folders = {path.parent.name for path in root.glob("*/LC_MESSAGES")}  # de_CH, say, has only formats
    ours = {code for language in ALL for code in language.codes("django")}
    assert ours == folders


@pytest.mark.parametrize("package", ["django/conf", "sphinx", "allauth", "rest_framework", "wagtail/admin"])
def test_every_locale_folder_of_the_catalog_packages_is_understood(package):
    module = pytest.importorskip(package.split("/")[0])
    root = Path(module.__file__).parent.joinpath(*package.split("/")[1:], "locale")
    folders = [path.parent.name for path in root.glob("*/LC_MESSAGES")]
    assert len(folders) > 30
    for folder in folders:
        languages.get(folder)


def test_ntrex_codes_are_its_file_names():
    ours = {code for language in ALL for code in language.codes("ntrex")}
    assert ours == set(NTREX.split()) - {"hmn", "mey", "shi"} | {"eng"}


@pytest.mark.skipif(not os.environ.get("LANGSIM_DATA"), reason="LANGSIM_DATA is not set")
def test_ntrex_files_of_the_open_corpora_are_all_known():
    folder = Path(os.environ["LANGSIM_DATA"]) / "ntrex128"
    names = [path.name.split(".")[1] for path in folder.glob("newstest2019-*.txt")]
    assert names
    assert len({languages.from_source("ntrex", name) for name in names}) == len(names)


def test_uriel_and_iso639_3_are_three_letters():
    assert all(len(language.uriel) == len(language.iso639_3) == 3 for language in ALL)


# The rule of resolution


@pytest.mark.parametrize(
    ("given_codes", "code"),
    [
        ("fa fas pes FA Persian Farsi pes_Arab pes-arab fa-IR Iranian-Persian", "fa"),
        ("zh zho cmn zh-cn zh_CN zh_Hans ZH_HANS zho_Hans zho-CN zh-Hans-HK zh_Hans.UTF-8 Mandarin", "zh"),
        ("zh_Hant zh-TW zh_HK zh-mo zho_Hant zho-TW zh-Hant-HK zh_TW.Big5", "zh-Hant"),
        ("sr srp sr-Cyrl srp_Cyrl srp-Cyrl sr_RS sr-Cyrl-RS Serbian", "sr"),
        ("sr-Latn sr_Latn srp-Latn sr@latin SR_LATN sr-Latn-ME", "sr-Latn"),
        ("no nb nob nor nb_NO NO nob_Latn Bokmål bokmal", "no"),
        ("nn nno nn_NO nno_Latn Nynorsk", "nn"),
        ("ms msa zsm zlm zsm_Latn Malay", "ms"),
        ("ar ara arb ar_DZ arb_Arab", "ar"),
        ("sw swa swh swh_Latn", "sw"),
        ("et est ekk", "et"),
        ("lv lav lvs", "lv"),
        ("sq sqi als als_Latn", "sq"),
        ("ku kur kmr", "ku"),
        ("ckb Sorani ckb-Arab", "ckb"),
        ("tl tgl fil fil_PH Filipino", "tl"),
        ("nso ns", "nso"),
        ("he iw", "he"),
        ("id in ind", "id"),
        ("pt pt-BR pt_PT por-BR", "pt"),
        ("es es_419 es-MX spa-MX", "es"),
        ("ko kor kor_Hang ko-Hang ko-Kore ko_KR", "ko"),
        ("ny Nyanja Chichewa", "ny"),
        ("ff ful fuv fuc Fula", "ff"),
        ("or ori ory Oriya Odia", "or"),
        ("hi hin_Deva hi-Deva-IN", "hi"),
        ("prs fa_AF", "prs"),
    ],
)
def test_codes_aliases_and_names_resolve(given_codes, code):
    for text in given_codes.split():
        assert languages.get(text).code == code, text


@pytest.mark.parametrize("language", ALL, ids=lambda language: language.code)
def test_every_code_of_a_language_finds_it(language):
    assert languages.get(language.code) == language
    assert languages.get(language.name) == language
    for alias in language.aliases:
        assert languages.get(alias) == language, alias
    for source in languages.SOURCES:
        for code in language.codes(source):
            base = language.variety_of or language.code  # M2M, UD and URIEL have one code for both scripts
            assert languages.get(code).code in (language.code, base)
            assert languages.from_source(source, code) in (language.code, base)
            assert language.variety_of or languages.from_source(source, code) == language.code


@given(st.sampled_from(ALL), st.data())
def test_spelling_does_not_matter(language, data):
    text = data.draw(st.sampled_from([language.code, language.name, language.flores or language.iso639_3]))
    letters = [data.draw(st.sampled_from([x.lower(), x.upper()])) if x.isascii() else x for x in text]
    mixed = "".join(data.draw(st.sampled_from("-_")) if x in "-_" else x for x in letters)
    assert languages.get(f" {mixed} ").code == languages.get(text).code


@given(st.text(max_size=12))
def test_any_text_gives_a_language_or_one_line(text):
    try:
        assert languages.get(text) in ALL
    except UsageError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("xx", "unknown language 'xx'; did you mean xh"),
        ("Persain", "did you mean fa (Persian)"),
        ("ukrainan", "did you mean uk (Ukrainian)"),
        ("sh", "bs, hr, sr"),
        ("Kurdish", "ku, ckb"),
        ("hi-Latn", "Hindi in the script Latn"),
        ("sr-Arab", "sr is written in Cyrl"),
        ("", "langsim languages"),
        ("فارسی", "langsim languages"),
        (False, "YAML"),
        (3, "not by 3"),
        (None, "not by None"),
    ],
)
def test_unusable_codes_say_what_to_do(code, words):
    with pytest.raises(UsageError) as caught:
        languages.get(code)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_resolve_keeps_the_order_and_refuses_doubles():
    assert languages.resolve(["Farsi", "zh_TW", "nb", "sr-Latn", "sr"]) == ["fa", "zh-Hant", "no", "sr-Latn", "sr"]
    assert languages.resolve([]) == []
    with pytest.raises(UsageError, match="'fa' and 'pes' are one language"):
        languages.resolve(["fa", "hi", "pes"])
    with pytest.raises(UsageError, match="as a list"):
        languages.resolve("fa")


def test_code_for():
    expected = {
        "fa": dict(m2m="fa", flores="pes_Arab", ntrex="fas", cldr="fa", django="fa", uriel="fas", ud="fa"),
        "no": dict(m2m="no", flores="nob_Latn", ntrex="nob", cldr="nb", django="nb", ud="no"),
        "zh": dict(m2m="zh", flores="zho_Hans", ntrex="zho-CN", cldr="zh_Hans", django="zh_Hans", ud="zh"),
        "zh-Hant": dict(m2m="zh", flores="zho_Hant", ntrex="zho-TW", cldr="zh_Hant", django="zh_Hant"),
        "sr-Latn": dict(m2m="sr", ntrex="srp-Latn", cldr="sr_Latn", django="sr_Latn", ud="sr"),
        "en": dict(m2m="en", flores="eng_Latn", ntrex="eng", cldr="en", django="en", ud="en"),
    }
    for code, codes in expected.items():
        for source, value in codes.items():
            assert languages.code_for(code, source) == value
    with pytest.raises(UsageError, match="m2m has no Kamba"):
        languages.code_for("kam", "m2m")
    with pytest.raises(UsageError, match="unknown source 'wals'"):
        languages.code_for("fa", "wals")


def test_from_source_knows_only_that_source():
    assert languages.from_source("django", "pt_BR") == "pt"
    assert languages.from_source("django", "sr-latn") == "sr-Latn"
    assert languages.from_source("m2m", "sr") == "sr"
    assert languages.from_source("m2m", "ns") == "nso"
    assert languages.from_source("ntrex", "arb") == "ar"
    with pytest.raises(UsageError, match="m2m has no language 'Persian'"):
        languages.from_source("m2m", "Persian")
    with pytest.raises(UsageError, match="unknown source"):
        languages.from_source("iso", "fa")


# Pools and roles


def test_ted17_is_in_figure_5s_order_with_figure_1s_families():
    assert languages.pool("ted17") == TED17
    families = ["Balto-Slavic"] * 6 + ["Indo-Iranian"] * 3 + ["Austronesian"] * 2 + ["Turkic"] * 2
    families += ["Germanic"] * 2 + ["Japonic", "Koreanic"]
    assert [languages.get(code).family for code in TED17] == families


def test_pools_have_the_papers_sizes_and_only_canonical_codes():
    sizes = {name: len(languages.pool(name)) for name in languages.pools()}
    assert sizes == {
        "ted17": 17, "lang12": 12, "lang30": 30, "xsns-ner": 17, "xsns-pos": 20, "xsns-nli": 15,
        "xsns-pi": 7, "xsns-qa": 8, "xsns-low15": 15,
    }  # fmt: skip
    for name in sizes:
        assert languages.resolve(languages.pool(name)) == languages.pool(name)


def test_resource_classes_and_bitext():
    def classes(name):
        found = [member.resource_class for member in languages.pool_members(name)]
        return [found.count(c) for c in ("high", "medium", "low", "very-low")]

    assert classes("lang12") == [4, 4, 0, 4]
    assert classes("lang30") == [7, 9, 8, 6]
    assert languages.pool_members("lang30")[7].code == "ar"  # the first of Medium
    twelve = {member.code: member for member in languages.pool_members("lang12")}
    for member in languages.pool_members("lang30"):
        if member.code in twelve:
            assert member.bitext_pairs == twelve[member.code].bitext_pairs
            assert member.resource_class == twelve[member.code].resource_class
        assert languages.get(member.code).family_lslo
    assert twelve["oc"].bitext_pairs == 5_110
    assert twelve["nl"].bitext_pairs == 82_400_000
    assert twelve["en"].bitext_pairs is None


def test_slips_of_the_third_paper():
    assert "mr" in languages.pool("xsns-low15")
    assert "bn" in languages.pool("xsns-qa")
    assert "bg" not in languages.pool("xsns-qa")
    assert "ko" not in languages.pool("xsns-qa")
    assert set(languages.pool("xsns-low15")).isdisjoint(languages.pool("xsns-ner"))


def test_unknown_pool_suggests():
    with pytest.raises(UsageError, match=r"unknown pool 'ted71'; did you mean ted17"):
        languages.pool("ted71")


@pytest.fixture
def roles_table(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    pools._roles.cache_clear()
    yield tmp_path / "roles.csv"
    pools._roles.cache_clear()


def test_roles_are_read_from_their_table(roles_table):
    roles_table.write_text("role,code,class,note\nlslo12,fr,high,much text\nlslo12,no,low,\nner,fr,,\n")
    assert languages.roles() == ["lslo12", "ner"]
    assert languages.role("lslo12") == ["fr", "no"]
    assert [member.resource_class for member in languages.role_members("lslo12")] == ["high", "low"]
    with pytest.raises(UsageError, match="unknown role 'lslo'; did you mean lslo12"):
        languages.role("lslo")


def test_missing_or_damaged_roles_table_is_one_line(roles_table):
    with pytest.raises(Failure, match=r"roles\.csv is missing"):
        languages.roles()
    roles_table.write_text("role,code,note\nner,fr,\n")
    with pytest.raises(Failure, match="no column class"):
        languages.roles()
    roles_table.write_text("role,code,class,note\nner,fr\n")
    with pytest.raises(Failure, match="line 2"):
        languages.roles()


@pytest.mark.skipif(not (paths.DATA / "roles.csv").exists(), reason="the table of roles is not there yet")
def test_roles_hold_canonical_codes():
    for name in languages.roles():
        assert languages.resolve(languages.role(name)) == languages.role(name), name
