"""The text that shipped models are trained on: amounts, pools, and nothing held out in it."""

import json
import os
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from langsim import corpora, languages, pretraining, splits
from langsim.errors import UsageError


def test_recipes():
    for path in pretraining.MODELS.glob("*/recipe.toml"):
        recipe = pretraining.recipe(path.parent.name)
        classes = {member.resource_class for member in languages.role_members(recipe["role"])}
        assert classes == set(recipe["text"]) and classes <= set(recipe["sampling"]["language"])
        assert "interface" not in {domain for amounts in recipe["text"].values() for domain in amounts}
    with pytest.raises(UsageError, match="no recipe for 'mini-m3m'; recipes: mini-m2m"):
        pretraining.recipe("mini-m3m")


@pytest.fixture
def invented(monkeypatch):
    """Two sources and three languages, small enough to see through."""
    import pandas as pd

    rows = [(f"s{i}", "software", f"u{i}", "PRETRAIN") for i in range(8)]
    rows += [("h1", "software", "u9", "TEST"), ("d1", "interface", "u10", "FINETUNE")]
    items = pd.DataFrame(rows, columns=["item", "domain", "unit", "pool"]).set_index("item")
    words = dict(zip(items.index, "abcdefghij", strict=True))
    texts = {code: {item: f"{code} word{letter}" for item, letter in words.items()} for code in ("en", "fa")}
    texts["gl"] = {item: text.replace("en", "gl") for item, text in list(texts["en"].items())[:3]}
    texts["fa"]["s3"] = texts["fa"]["h1"].upper() + "!"  # held out in Persian, though not in English
    news = pd.DataFrame({"domain": "news", "unit": "n", "pool": ["PRETRAIN", "DEV"]}, index=["n1", "n2"])
    sources = {
        "catalogs": corpora.Corpus("catalogs", items, texts),
        "ntrex": corpora.Corpus("ntrex", news, {c: {"n1": f"{c} new", "n2": f"{c} newer"} for c in ("en", "fa")}),
    }
    members = [SimpleNamespace(code=c, resource_class=k) for c, k in (("en", "high"), ("fa", "equal"), ("gl", "equal"))]
    monkeypatch.setattr(pretraining, "load", sources.__getitem__)
    monkeypatch.setattr(pretraining.languages, "role_members", lambda role: members)
    amounts = {"high": {"software": 100, "news": 9}, "equal": {"software": 3, "news": 1}}
    return pretraining.training_text({"role": "x", "text": amounts}), sources["catalogs"]


def test_the_best_weights_are_chosen_on_dev_text_of_the_domains_of_training(invented):
    dev = pretraining.dev_text({"role": "x", "text": {"high": {"software": 100, "news": 9}}})
    assert dev.texts == {"en": {"n2": "en newer"}, "fa": {"n2": "fa newer"}, "gl": {}}
    assert set(dev.items["pool"]) == {"DEV"}


def test_training_text_is_chosen_by_pool_class_and_order(invented):
    text, catalogs = invented
    assert set(text.texts["en"]) == {*(f"s{i}" for i in range(8)), "n1"}
    ordered = sorted((f"s{i}" for i in range(8) if i != 3), key=pretraining._order)
    assert set(text.texts["fa"]) == {*ordered[:3], "n1"}  # s3 is another item's held-out text in Persian
    assert set(text.texts["gl"]) == {"s0", "s1", "s2"}  # all it has
    assert set(text.items["pool"]) == {"PRETRAIN"}
    held = {code: pretraining.held_out_text(catalogs, code) for code in catalogs.languages}
    assert len(held["fa"]) == 2 and splits.leaks(held, pretraining.segment_hashes(text)) == {}


@pytest.fixture(scope="module")
def real():
    if not os.environ.get("LANGSIM_DATA"):
        pytest.skip("LANGSIM_DATA is not set")
    settings = pretraining.recipe("mini-m2m")
    return settings, pretraining.training_text(settings)


def test_amounts_are_those_of_the_recipe(real):
    settings, text = real
    domain = text.items["domain"].to_dict()
    for member in languages.role_members(settings["role"]):
        have = Counter(domain[item] for item in text.texts[member.code])
        wanted = settings["text"][member.resource_class]
        assert all(have[name] <= amount for name, amount in wanted.items()) and set(have) <= set(wanted)
        if member.resource_class == "equal":  # equal text for all of them, and all that the recipe promises
            assert have == wanted


def test_held_out_text_is_in_it_on_neither_side(real):
    _, text = real
    for source in (corpora.load("catalogs"), corpora.load("ntrex")):
        assert set(source.items["pool"][source.items.index.intersection(text.items.index)]) == {"PRETRAIN"}
        for code, own in text.texts.items():
            held = set(map(splits.normalise, pretraining.held_out_text(source, code)))
            assert not held & set(map(splits.normalise, own.values()))


def test_the_shipped_card_names_this_text(real):
    _, text = real
    card = pretraining.MODELS / "mini-m2m" / "card.json"
    named = json.loads(card.read_text())["text"]
    assert named["pretrain"] == text.digest
    assert np.array_equal(pretraining.read_hashes(card.parent), pretraining.segment_hashes(text))
