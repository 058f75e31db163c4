"""The instrument check: halves and nulls."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from studies import pairs_of

from langsim import instrument, models, pipeline, profiles
from langsim.corpora.base import Pair


def test_halves_are_disjoint_even_and_the_same_units_everywhere():
    units = [f"u{i % 20}" for i in range(61)]
    pairs = {"aa": pairs_of(units), "bb": pairs_of(units[:50])}
    first, second = instrument.halves(pairs)
    sides = [{pair.unit for half in part.values() for pair in half} for part in (first, second)]
    assert not sides[0] & sides[1]
    for code, whole in pairs.items():
        assert sorted(first[code] + second[code], key=repr) == sorted(whole, key=repr)
        assert abs(len(first[code]) - len(second[code])) <= 0.2 * len(whole)


def characters(part):
    return sum(len(pair.source_text) + len(pair.target_text) for found in part.values() for pair in found)


def test_halves_have_as_many_characters_and_come_from_the_seed_alone():
    sizes = np.random.default_rng(0).integers(1, 200, 80)
    pairs = [Pair(str(i), "s" * size, "t" * size, "text", f"u{i}") for i, size in enumerate(sizes)]
    one, turned = instrument.halves({"aa": pairs}), instrument.halves({"aa": pairs[::-1]})
    assert abs(characters(one[0]) - characters(one[1])) <= 2 * sizes.max()
    assert {p.id for p in one[0]["aa"]} == {p.id for p in turned[0]["aa"]}, "the order of the pairs must not matter"
    assert {p.id for p in one[0]["aa"]} != {p.id for p in instrument.halves({"aa": pairs}, seed=1)[0]["aa"]}


def test_shuffled_sources_are_the_same_text_and_nobody_keeps_its_own():
    pairs = {"aa": pairs_of([f"u{i}" for i in range(30)]), "bb": pairs_of([f"u{i}" for i in range(30)])}
    mixed = instrument.shuffled(pairs)
    for code, whole in pairs.items():
        assert sorted(p.source_text for p in mixed[code]) == sorted(p.source_text for p in whole)
        assert [p.target_text for p in mixed[code]] == [p.target_text for p in whole]
        assert all(a.source_text != b.source_text for a, b in zip(mixed[code], whole, strict=True))
    assert [p.source_text for p in mixed["aa"]] == [p.source_text for p in mixed["bb"]]
    assert mixed == instrument.shuffled(pairs) != instrument.shuffled(pairs, seed=1)


def test_checks_of_a_real_model_have_all_nulls_and_are_kept(tmp_path, monkeypatch):
    from tiny import save_names, save_tiny_m2m

    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "cache"))
    names = tmp_path / "names.tsv"
    save_names(names)
    model = save_tiny_m2m(tmp_path / "tiny", names.read_text(encoding="utf-8").splitlines())
    settings = profiles.resolve(
        "mini", model=str(model), corpus="files", data=str(names), languages=["fa", "hi", "de", "sv"], max_items=30
    )
    vectors = pipeline.fisher_vectors(settings)
    checks = {check.name: check for check in instrument.checks(vectors)}
    assert list(checks) == [instrument.TRAINED, instrument.SHUFFLED, instrument.RANDOM, instrument.TOKENS]
    trained, mixed = checks[instrument.TRAINED], checks[instrument.SHUFFLED]
    assert list(mixed.nats) == settings.languages and mixed.nats != trained.nats and not checks[instrument.TOKENS].nats
    assert not trained.cross.equals(mixed.cross)
    whole = {row["language"]: row["nll"] for row in vectors.summary()}
    assert trained.nats == pytest.approx(whole, rel=0.02)  # the halves are the whole text
    monkeypatch.setattr("langsim.fisher.estimate", None)  # a second call estimates nothing
    assert instrument.checks(vectors)[1].cross.equals(mixed.cross)


def test_hits_count_languages_that_find_themselves():
    cross = pd.DataFrame([[0.9, 0.5, 0.5], [0.6, 0.7, 0.8], [0.9, 0.6, 0.95]], list("abc"), list("abc"))
    assert instrument.Check("x", cross).hits(centred=False) == 2
    shifted = cross + np.array([[0.0, 5.0, 0.0]])  # a column that all languages are similar to
    assert instrument.Check("x", shifted).hits(centred=False) == 1
    assert instrument.Check("x", shifted).hits(centred=True) == instrument.Check("x", cross).hits(centred=True)


def test_random_weights_are_drawn_anew_and_again_the_same():
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    config = M2M100Config(
        vocab_size=20, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=16,
    )  # fmt: skip
    loaded = replace_model(M2M100ForConditionalGeneration(config))
    once, again, other = (models.randomised(loaded, seed).model.state_dict() for seed in (1, 1, 2))
    weights = loaded.model.state_dict()
    key = "model.encoder.layers.0.fc1.weight"
    assert torch.equal(once[key], again[key]) and not torch.equal(once[key], other[key])
    assert not torch.equal(once[key], weights[key])


def replace_model(model, encode=None):
    from langsim.models import LoadedModel

    return LoadedModel("test", model, encode, None, None, 0, 16, "0" * 64)


def test_token_affinity_is_one_for_the_same_text_and_ignores_the_language_token():
    codes = {"aa": 8, "bb": 9}

    def encode(source, target, source_language, target_language):
        return [codes[source_language], *map(int, source.split()), 7], []

    loaded = replace_model(SimpleNamespace(config=SimpleNamespace(vocab_size=10)), encode)
    texts = {"aa": ["0 0 1", "2"], "bb": ["3 4", "5 0"]}
    pairs = {c: [Pair(str(i), t, "", "", str(i)) for i, t in enumerate(found)] for c, found in texts.items()}
    affinity = instrument.token_affinity(loaded, pairs, pairs, "en")
    assert affinity.loc["aa", "aa"] == pytest.approx(1) and affinity.loc["bb", "bb"] == pytest.approx(1)
    # aa: 0 twice, 1, 2 of 4; bb: 0, 3, 4, 5 of 4. Common is 0 alone: sqrt(1/2 * 1/4).
    assert affinity.loc["aa", "bb"] == pytest.approx(math.sqrt(0.5 * 0.25))
