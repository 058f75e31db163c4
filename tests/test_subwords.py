"""The tokenizers of the masked models: the same every time, and they know words and characters."""

import pytest
from masked import NAMES, small

from langsim import objectives, subwords
from langsim.errors import Failure, UsageError


@pytest.mark.parametrize("name", NAMES)
def test_tokenizers_are_the_same_every_time_and_after_loading(masked_tokenizers, masked_text, tmp_path, name):
    sentences = [string for code in sorted(masked_text.texts) for string in masked_text.texts[code].values()]
    again = subwords.train(sentences, **small(name)["tokenizer"])
    assert again.backend_tokenizer.to_str() == masked_tokenizers[name].backend_tokenizer.to_str()
    subwords.save(again, tmp_path)
    loaded = subwords.load(tmp_path)
    assert loaded.all_special_ids == again.all_special_ids and len(loaded) == len(again)
    assert loaded(sentences[:50])["input_ids"] == masked_tokenizers[name](sentences[:50])["input_ids"]
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(Failure, match="missing or damaged"):
        subwords.load(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_subwords_know_their_words_and_characters(masked_tokenizers, name):
    tokenizer, words = masked_tokenizers[name], ["Südkorea", "대한민국", "ایران", "12:30", "鱻"]
    found = tokenizer(words, is_split_into_words=True).word_ids()
    assert list(dict.fromkeys(i for i in found if i is not None)) == list(range(len(words)))
    sentence = " ".join(words)
    encoded = tokenizer(sentence, return_offsets_mapping=True, add_special_tokens=False)
    covered = {place for start, end in encoded["offset_mapping"] for place in range(start, end)}
    assert covered >= {place for place, character in enumerate(sentence) if character != " "}
    if name != "mini-mbert":  # bytes stand for what is not in the vocabulary
        assert tokenizer.unk_token_id not in encoded["input_ids"]
        assert tokenizer.decode(encoded["input_ids"]) == sentence


def test_the_segmentation_is_sentencepieces_own(masked_tokenizers, masked_text):
    from langsim.tokenizer import Tokenizer

    sentences = [string for code in sorted(masked_text.texts) for string in masked_text.texts[code].values()]
    pieces = Tokenizer.train(sentences, vocab_size=1200, character_coverage=0.99).processor
    tricky = ["  two  spaces ", "ﬁ №", "می\u200cخواهم", "鱻 😀", "a  b"]
    for string in [*sentences[::7], *tricky]:
        ids, own = masked_tokenizers["mini-xlmr"].encode(string, add_special_tokens=False), pieces.encode(string)
        if ids != own:  # a tie: "..." as ".." and "." or the other way round
            assert sorted(ids) == sorted(own)


def test_unknown_kinds_of_tokenizer_and_objective():
    with pytest.raises(UsageError, match="did you mean 'unigram'"):
        subwords.train(["a"], kind="unigrams")
    with pytest.raises(UsageError, match="did you mean 'masked-lm'"):
        objectives.of({"objective": "maskedlm"})
    assert objectives.of({}) is objectives.OBJECTIVES["translation"]
