"""Beam search, likelihood and scores, against HF's own loss and sacreBLEU's own functions."""

import pytest
import sacrebleu
import torch

from langsim import models, translation
from langsim.corpora import Pair
from langsim.errors import UsageError

PAIRS = [
    Pair("1", "Datei", "File", "interface", "a"),
    Pair("2", "Bitte melden Sie sich erneut an.", "Please log in again to continue.", "interface", "b"),
    Pair("3", "Suchen", "Search", "interface", "c"),
]


@pytest.fixture(scope="module")
def mini():
    torch.set_num_threads(1)
    return models.load("mini-m2m")


def test_mean_nll_is_the_models_own_loss_weighted_by_tokens(mini):
    expected, tokens = 0.0, 0
    for pair in PAIRS:  # one at a time: no padding
        batch = next(mini.batches([pair], "de"))
        count = batch["labels"].numel()
        expected += mini.model(**batch).loss.item() * count
        tokens += count
    nll, counted = translation.mean_nll(mini, PAIRS, "de")
    assert counted == tokens
    assert nll == pytest.approx(expected / tokens, rel=1e-5)


def test_translations_keep_the_order_of_the_pairs_and_do_not_depend_on_the_batch(mini):
    together = translation.translate(mini, PAIRS, "de", beam_size=2)
    alone = [translation.translate(mini, [pair], "de", beam_size=2)[0] for pair in PAIRS]
    assert together == alone


def test_a_translation_starts_with_the_token_of_its_language(mini):
    batch = next(mini.batches(PAIRS[:1], "de", "fr"))
    forced = mini.first_token("fr")
    assert batch["labels"][0, 0] == forced
    output = mini.model.generate(input_ids=batch["input_ids"], forced_bos_token_id=forced, max_new_tokens=4)
    assert output[0, 1] == forced
    assert "fr" not in mini.decode(output[0].tolist())[:2]


def test_scores_are_sacrebleus_and_carry_its_signature():
    hypotheses = ["Please log in to continue.", "File"]
    references = ["Please log in again to continue.", "File"]
    found = translation.scores(hypotheses, references)
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(hypotheses, [references]).score)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(hypotheses, [references]).score)
    assert found["bleu_signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")


def test_nothing_to_score_is_an_error():
    with pytest.raises(UsageError, match="cannot score 0 translations"):
        translation.scores([], [])
