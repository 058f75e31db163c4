"""The tokenizer of the shipped models: every script, no unknown token, one token a language."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsim import corpora, languages
from langsim.errors import Failure, UsageError
from langsim.tokenizer import EOS, UNK, Tokenizer


@pytest.fixture(scope="module")
def corpus():
    return corpora.load("catalogs")


@pytest.fixture(scope="module")
def tokenizer(corpus):
    """Trained on English and Persian alone: all other scripts must come through as bytes."""
    sentences = [text for code in ("en", "fa") for text in corpus.text(code, domain="names")[:600]]
    return Tokenizer.train(sentences, vocab_size=700, character_coverage=0.99)


def same(text):
    return " ".join(unicodedata.normalize("NFKC", text).split())


def test_every_script_comes_back_and_nothing_is_unknown(corpus, tokenizer):
    scripts = set()
    for language in languages.all_languages():
        texts = corpus.texts.get(language.code) or {}
        for text in list(texts.values())[:: max(1, len(texts) // 12)]:
            ids = tokenizer.encode(text, language.code)
            assert UNK not in ids and ids[-1] == EOS
            assert same(tokenizer.decode(ids)) == same(tokenizer.processor.normalize(text).replace("▁", " "))
            scripts.add(language.script)
    assert len(scripts) > 20


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Cn", "Co"]), max_size=30))
def test_no_text_is_unknown(text):
    ids = _small().encode(text, "en")
    assert UNK not in ids and all(0 <= i < len(_small()) for i in ids)


def _small(found=[]):  # noqa: B006 - one tokenizer for all examples
    if not found:
        sentences = [text for text in corpora.load("catalogs").text("de", domain="names")[:300]]
        found.append(Tokenizer.train(sentences, vocab_size=400, character_coverage=0.99))
    return found[0]


def test_joiners_are_kept(tokenizer):
    text = "می\u200cخواهم"  # without its joiner another spelling
    assert tokenizer.decode(tokenizer.encode(text, "fa")) == text


def test_a_token_for_every_language_of_the_registry(tokenizer):
    codes = [language.code for language in languages.all_languages()]
    ids = [tokenizer.lang_id(code) for code in codes]
    assert len(set(ids)) == len(codes) and min(ids) == len(tokenizer.processor) and max(ids) == len(tokenizer) - 1
    assert tokenizer.lang_id("pes") == tokenizer.lang_id("fa")
    assert tokenizer.encode("Iran", "fa")[0] == tokenizer.lang_id("fa")
    assert tokenizer.decode([tokenizer.lang_id("fa"), EOS, 0, 1]) == ""
    with pytest.raises(UsageError, match="unknown language 'xx'"):
        tokenizer.lang_id("xx")
    fewer = Tokenizer(tokenizer._pieces, ["en", "fa"])
    with pytest.raises(UsageError, match="no token for 'de'"):
        fewer.lang_id("de")


def test_training_is_the_same_every_time_and_saving_keeps_it(corpus, tokenizer, tmp_path):
    sentences = [text for code in ("en", "fa") for text in corpus.text(code, domain="names")[:600]]
    again = Tokenizer.train(sentences, vocab_size=700, character_coverage=0.99)
    assert again._pieces == tokenizer._pieces
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded.codes == tokenizer.codes and len(loaded) == len(tokenizer)
    assert loaded.encode("ایران", "fa") == tokenizer.encode("ایران", "fa")


@pytest.mark.parametrize("damage", ["pieces", "codes", "missing"])
def test_damaged_files(tokenizer, tmp_path, damage):
    tokenizer.save(tmp_path)
    if damage == "pieces":
        (tmp_path / "sentencepiece.model").write_bytes(b"\xff\x00")
    elif damage == "codes":
        (tmp_path / "languages.json").write_text(json.dumps(["en"])[:-1])
    else:
        (tmp_path / "languages.json").unlink()
    with pytest.raises(Failure, match="is missing or damaged") as caught:
        Tokenizer.load(tmp_path)
    assert "\n" not in str(caught.value)
