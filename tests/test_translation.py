"""Beam search, likelihood and scores, against HF's own loss and sacreBLEU's own functions."""

import dataclasses

import pytest
import sacrebleu
import torch

from langsim import languages, models, translation
from langsim.corpora import Pair
from langsim.errors import UsageError

PAIRS = [
    Pair("1", "Datei", "File", "interface", "a"),
    Pair("2", "Bitte melden Sie sich erneut an.", "Please log in again to continue.", "interface", "b"),
    Pair("3", "Suchen", "Search", "interface", "c"),
]


@pytest.fixture(scope="module")
def mini(one_thread):
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


@pytest.mark.parametrize("engine", list(translation.ENGINES))
def test_bad_input_is_one_line(mini, engine):
    with pytest.raises(UsageError, match="nothing to translate from 'de' into 'en': the test set is empty"):
        translation.translate(mini, [], "de", engine=engine)
    with pytest.raises(UsageError, match="unknown language 'xx'"):
        translation.translate(mini, PAIRS, "xx", engine=engine)
    with pytest.raises(UsageError, match="beam_size=0"):
        translation.translate(mini, PAIRS, "de", beam_size=0, engine=engine)


def test_a_direction_that_the_model_has_no_token_for(mini):
    known = {language.code for language in languages.all_languages()} - {"de"}

    def first_token(code):
        if code not in known:
            raise UsageError(f"the model has no token for '{code}'")
        return mini.first_token(code)

    limited = dataclasses.replace(mini, first_token=first_token)
    with pytest.raises(UsageError, match="no token for 'de'"):
        translation.translate(limited, PAIRS, "de", "de")


def test_an_unknown_engine(mini):
    with pytest.raises(UsageError, match=r"engine: unknown 'ctranslate' .*ctranslate2"):
        translation.translate(mini, PAIRS, "de", engine="ctranslate")


def test_the_reference_is_plain_beam_search(mini):
    """Against a search written out: no batch, no cache, every hypothesis rescored by a whole forward pass."""
    for pair in PAIRS[::2]:
        batch = next(mini.batches([pair], "de"))
        limit = 2 * batch["input_ids"].shape[1] + 10
        expected = mini.decode(beam_search(mini, batch["input_ids"], mini.first_token("en"), 3, limit))
        assert translation.translate(mini, [pair], "de", beam_size=3) == [expected]


@torch.inference_mode()
def beam_search(loaded, source, first, width, limit):
    """The best translation by log-probability over length (start left out, end counted).

    It ends when no running beam, at its length, beats the worst of the best `width` finished ones.
    """
    model, end = loaded.model, loaded.model.config.eos_token_id
    running, finished = [(0.0, [model.config.decoder_start_token_id, first])], []
    while len(running[0][1]) <= limit:
        candidates = []
        for score, ids in running:
            logits = model(input_ids=source, decoder_input_ids=torch.tensor([ids])).logits[0, -1]
            best = logits.log_softmax(-1).topk(2 * width)
            pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
            candidates += [(score + value, [*ids, token]) for value, token in pairs]
        candidates.sort(key=lambda one: -one[0])
        last = len(candidates[0][1]) > limit
        done = [one for one in candidates[:width] if one[1][-1] == end or last]
        finished += [(score / (len(ids) - 1), ids) for score, ids in done]
        finished = sorted(finished, key=lambda one: -one[0])[:width]
        running = [one for one in candidates if one[1][-1] != end][:width]
        length = len(running[0][1]) - 1
        if len(finished) == width and running[0][0] / length <= finished[-1][0]:
            break
    return finished[0][1]
