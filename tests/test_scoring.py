"""Scores and their statistics, against sacreBLEU's own."""

import random
import shutil
import sys

import numpy as np
import pytest
import sacrebleu
from sacrebleu.tokenizers import tokenizer_spm

from langsim import models, paths, scoring
from langsim.errors import Failure, UsageError

WORDS = ["the", "a", "of", "cat", "dog", "sat", "mat", "on", "runs", "far", "away", "quickly", "today", "not"]


def corpus(n, seed, *, wrong=0.3, shortest=0):
    """Sentences, and copies with words replaced or left out."""
    rng = random.Random(seed)
    references = [rng.choices(WORDS, k=rng.randint(1, 12)) for _ in range(n)]
    changed = [[rng.choice(WORDS) if rng.random() < wrong else w for w in words] for words in references]
    hypotheses = [words[: rng.randint(shortest, len(words))] for words in changed]
    return [" ".join(w) + "." for w in hypotheses], [" ".join(w) + "." for w in references]


@pytest.fixture(autouse=True)
def no_flores(tmp_path, monkeypatch):
    """No tokenizer of FLORES-101, and no network to fetch it from."""

    def refused(*arguments, **options):
        raise AssertionError("asked for a download")

    monkeypatch.setattr(tokenizer_spm, "SACREBLEU_DIR", str(tmp_path / "sacrebleu"))
    monkeypatch.setattr(tokenizer_spm, "download_file", refused)


CASES = [corpus(40, seed, wrong=wrong) for seed, wrong in enumerate((0.0, 0.2, 0.5, 0.9))]
CASES += [
    (["cat"], ["dog"]),
    ([""], ["a cat"]),
    (["a cat", ""], ["", "a dog"]),
    (["x y z"], ["x y z"]),
    (["the cat sat on"], ["the dog sat far"]),  # no match of the longer n-grams: smoothed
    (["گربه روی حصیر نشست", "猫坐在垫子上"], ["گربه روی فرش نشست", "猫在垫子上"]),
]


@pytest.mark.parametrize(("hypotheses", "references"), CASES)
def test_corpus_scores_from_statistics_are_sacrebleus(hypotheses, references):
    oracles = {"bleu": sacrebleu.BLEU(), "chrf": sacrebleu.CHRF()}
    for measure, width in ((scoring.bleu(), 10), (scoring.chrf(), 18)):
        oracle = oracles[measure.name]
        found = measure.statistics(hypotheses, references)
        assert found.shape == (len(references), width)
        assert float(measure.score(found.sum(0))) == pytest.approx(
            oracle.corpus_score(hypotheses, [references]).score, rel=1e-12, abs=1e-12
        )
        assert measure.signature == str(oracle.get_signature())


def test_scores_of_many_sums_at_once():
    hypotheses, references = corpus(30, 5)
    for measure in (scoring.bleu(), scoring.chrf()):
        stats = measure.statistics(hypotheses, references)
        sums = np.stack([[stats[:10].sum(0), stats[10:].sum(0)], [stats[:3].sum(0), stats[3:].sum(0)]])
        parts = [[slice(0, 10), slice(10, 30)], [slice(0, 3), slice(3, 30)]]
        expected = [[measure.corpus(hypotheses[part], references[part]) for part in row] for row in parts]
        np.testing.assert_allclose(measure.score(sums), expected, rtol=1e-12)


def test_spbleu_without_flores_is_that_of_the_models_pieces():
    hypotheses, references = corpus(30, 7)
    found = scoring.spbleu("mini-m2m")
    digest = paths.sha256_file(models.SHIPPED / "mini-m2m" / "sentencepiece.model")[:8]
    assert f"|tok:spm-mini-m2m@{digest}|smooth:exp|" in found.signature
    tokenizer = models.Tokenizer.load(models.SHIPPED / "mini-m2m")
    by_id = [
        [" ".join(map(str, tokenizer.encode(text, "en")[1:-1])) for text in side] for side in (hypotheses, references)
    ]
    expected = sacrebleu.corpus_bleu(by_id[0], [by_id[1]], tokenize="none", force=True).score
    assert found.corpus(hypotheses, references) == pytest.approx(expected, rel=1e-12)
    assert found.corpus(hypotheses, references) != pytest.approx(scoring.bleu().corpus(hypotheses, references))


def test_spbleu_with_flores_is_sacrebleus(tmp_path):
    file = scoring.flores_file()
    file.parent.mkdir(parents=True)
    shutil.copy(models.SHIPPED / "mini-m2m" / "sentencepiece.model", file)  # under its name, another model
    hypotheses, references = corpus(20, 8)
    found = scoring.spbleu()
    assert "|tok:flores101|" in found.signature
    expected = sacrebleu.corpus_bleu(hypotheses, [references], tokenize="flores101").score
    assert found.corpus(hypotheses, references) == pytest.approx(expected, rel=1e-12)


def test_flores_is_fetched_when_asked_for_alone(monkeypatch):
    scoring.spbleu()
    with pytest.raises(AssertionError, match="asked for a download"):
        scoring.spbleu(download=True)

    def offline(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(tokenizer_spm, "download_file", offline)
    with pytest.raises(Failure, match=r"FLORES-101 \(no route to host\); put it at .*sacrebleu_tokenizer_spm.model"):
        scoring.spbleu(download=True)


def test_spbleu_with_a_file_of_pieces(tmp_path):
    file = tmp_path / "mine.model"
    shutil.copy(models.SHIPPED / "mini-m2m" / "sentencepiece.model", file)
    assert "|tok:spm-mine@" in scoring.spbleu(str(file)).signature
    file.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="is no SentencePiece model"):
        scoring.spbleu(str(file))
    with pytest.raises(UsageError, match="SentencePiece model: unknown 'mini' "):
        scoring.spbleu("mini")


def test_the_authors_bleu_reads_moses_tokens_without_smoothing():
    pytest.importorskip("sacremoses")
    measure = scoring.authors_bleu("en")
    assert "|tok:moses-en-sacremoses@" in measure.signature and "|smooth:none|" in measure.signature
    assert measure.prepare("“It’s 5 % of A&B”, he said。") == '" It \'s 5 % of A & B , " he said .'
    hypotheses, references = ["He can't go, he said."], ["He can't go (he said)."]
    tokens = "He can 't go , he said .", "He can 't go ( he said ) ."
    expected = sacrebleu.corpus_bleu(
        [tokens[0]], [[tokens[1]]], tokenize="none", smooth_method="none", force=True
    ).score
    assert measure.corpus(hypotheses, references) == pytest.approx(expected, rel=1e-12)
    assert (
        measure.corpus(["the cat sat on"], ["the dog sat far"])
        == 0
        < scoring.bleu().corpus(["the cat sat on"], ["the dog sat far"])
    )


def test_the_authors_code_has_other_tokenizers_for_some_languages():
    with pytest.raises(UsageError, match="no Moses tokens of 'ja'"):
        scoring.authors_bleu("ja")


def test_sacremoses_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    with pytest.raises(UsageError, match=r"pip install 'langsim\[moses\]'"):
        scoring.measures("authors_code")


def test_recipes_and_scores():
    hypotheses, references = corpus(20, 3)
    found = scoring.scores(hypotheses, references, scoring.measures())
    assert list(found) == ["bleu", "chrf", "spbleu", "bleu_signature", "chrf_signature", "spbleu_signature"]
    assert list(scoring.scores(hypotheses, references)) == ["bleu", "chrf", "bleu_signature", "chrf_signature"]
    authors = scoring.scores(hypotheses, references, scoring.measures("authors_code"))
    assert "moses" in authors["bleu_signature"] and authors["chrf"] == found["chrf"]
    with pytest.raises(UsageError, match="recipe: unknown 'papers'"):
        scoring.measures("papers")


def test_what_cannot_be_scored():
    for measure in (scoring.bleu(), scoring.chrf()):
        with pytest.raises(UsageError, match="cannot score 1 translations against 2 references"):
            measure.statistics(["a"], ["a", "b"])
        with pytest.raises(UsageError, match="lists of texts"):
            measure.statistics("a", ["b"])
