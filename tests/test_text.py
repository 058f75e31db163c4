"""Cleaning of catalog entries: placeholders, mnemonics, markup, scripts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsim import languages
from langsim.corpora.text import clean, renumber, script_share

PLACEHOLDERS = ["%(name)s", "%(count)d", "%s", "%d", "{name}", "{0}", "{}", "${name}", "$name", "%(x).2f", "%.1f"]
words = st.text(st.characters(categories=["Ll", "Lu", "Lo", "Mn"]), min_size=1, max_size=8)
messages = st.lists(st.one_of(words, st.sampled_from(PLACEHOLDERS)), max_size=8).map(" ".join)
anything = st.text(st.one_of(st.characters(), st.sampled_from("%${}()&_<>`:sdn0 1")), max_size=40)


def slots(text):
    return set(re.findall(r"\{\d+\}", text))


@pytest.mark.parametrize(
    ("text", "cleaned", "names"),
    [
        ("Hello %(user)s, %(n)d new", "Hello {0}, {1} new", ["user", "n"]),
        ("{a} and {b} and {a}", "{0} and {1} and {0}", ["a", "b"]),
        ("%s of %s", "{0} of {1}", ["#0", "#1"]),
        ("{} of {}", "{0} of {1}", ["#0", "#1"]),
        ("${count} files in $folder", "{0} files in {1}", ["count", "folder"]),
        ("%.2f MB, 100%% done", "{0} MB, 100% done", ["#0"]),
        ("%(size).1f", "{0}", ["size"]),
        ("value %r is not valid", "value {0} is not valid", ["#0"]),
        ("%(a)s%(b)s", "{0}{1}", ["a", "b"]),
        ("two\nlines  and\ttabs", "two lines and tabs", []),
        ("<b>Bold</b> &amp; &quot;plain&quot; &#233;", 'Bold & "plain" é', []),
        ("see :ref:`the guide <guide>` or :py:func:`len`", "see the guide or len", []),
    ],
)
def test_placeholders_and_markup(text, cleaned, names):
    assert clean(text) == (cleaned, names)


@pytest.mark.parametrize(
    "text",
    [
        "50% of the pages",
        "5 % discount",
        "100% sure",
        "costs US$ 5",
        'an object such as {"a": 1, "b": [2]}',
        "R&D and Q&A",
        "a & b",
        "set max_length and MAX_LENGTH in conf_file.py",
        "_private and __init__",
        "1 < 2",
        "he said: `yes`",
    ],
)
def test_ordinary_text_stays_as_it_is(text):
    assert clean(text) == (text, [])


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("_File", "File"),
        ("&File", "File"),
        ("E_xit", "Exit"),
        ("文件(_F)", "文件"),
        ("ファイル (&F)", "ファイル"),
        ("_Файл", "Файл"),
        ("Quit & _Shutdown", "Quit & Shutdown"),
        ("R&D", "R&D"),
        ("a & b", "a & b"),
        ("MAX_LENGTH", "MAX_LENGTH"),
        ("x" * 60 + " blocks_written", "x" * 60 + " blocks_written"),  # longer than any label
    ],
)
def test_mnemonics_are_removed_where_a_package_has_them(text, cleaned):
    assert clean(text, mnemonics=True)[0] == cleaned
    if "_" in text or "&" in text:
        assert clean(text)[0] == text  # and nowhere else


@given(messages)
def test_cleaning_a_clean_text_changes_nothing(text):
    cleaned, _ = clean(text)
    assert clean(cleaned)[0] == cleaned


@given(anything, st.booleans())
def test_a_clean_text_is_one_line_with_slots_numbered_as_they_appear(text, mnemonics):
    cleaned, names = clean(text, mnemonics=mnemonics)
    assert cleaned == " ".join(cleaned.split())
    assert len(set(names)) == len(names)
    assert slots(cleaned) == {f"{{{i}}}" for i in range(len(names))}
    first = [cleaned.index(f"{{{i}}}") for i in range(len(names))]
    assert first == sorted(first)


@given(anything)
def test_a_text_keeps_the_numbers_of_its_own_placeholders(text):
    cleaned, names = clean(text)
    assert renumber(cleaned, names, names) == cleaned


@given(st.permutations(["%(a)s", "{b}", "${c}", "%(d)i"]), st.integers(0, 4))
def test_a_translation_in_another_order_gets_the_english_numbers(order, left_out):
    english, names = clean("%(a)s then {b} then ${c} then %(d)i")
    kept = order[left_out:]
    text, own = clean(" — ".join(kept))
    numbered = renumber(text, own, names)
    number_of = {"%(a)s": "{0}", "{b}": "{1}", "${c}": "{2}", "%(d)i": "{3}"}
    if left_out:
        assert numbered is None
    else:
        assert numbered == " — ".join(number_of[name] for name in kept)
        assert slots(numbered) == slots(english)


def test_a_translation_with_a_placeholder_of_its_own_is_refused():
    _, names = clean("%(a)s")
    text, own = clean("%(a)s %(b)s")
    assert renumber(text, own, names) is None


@pytest.mark.parametrize(
    ("text", "script", "share"),
    [
        ("Привет", "Cyrl", 1.0),
        ("Привет abcdef", "Cyrl", 0.5),
        ("123 {0}", "Cyrl", 1.0),  # nothing to tell by
        ("ファイルを開く", "Jpan", 1.0),
        ("サーバー", "Jpan", 1.0),  # the length mark is of no script
        ("文件", "Hans", 1.0),
        ("파일", "Kore", 1.0),
        ("hello", "Arab", 0.0),
    ],
)
def test_share_of_a_script(text, script, share):
    assert script_share(text, script) == pytest.approx(share)


def test_every_script_of_the_registry_is_known():
    for script in sorted({language.script for language in languages.all_languages()}):
        assert script_share("123", script) == 1.0  # an unknown script would be an error of the regular expression
