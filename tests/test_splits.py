"""The one split file: disjoint pools, on the English side and by cluster, and a leak test that catches a leak."""

import os
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsim import corpora, languages, pretraining, splits
from langsim.corpora import catalogs
from langsim.errors import Failure

SHIPPED = sorted(path.parent for path in pretraining.MODELS.glob("*/pretrain.hashes"))


@pytest.fixture(scope="module")
def corpus():
    return corpora.load("catalogs")


@pytest.fixture(scope="module")
def english(corpus):
    """One row an item: text, domain, pool, unit."""
    return corpus.items.assign(english=[corpus.texts["en"][item] for item in corpus.items.index])


# The rules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Please log in.", "please,  LOG in!", True),
        ("{0} pages", "{1} Pages:", True),
        ("Page 3 of 4", "Page 1 of 9", True),
        ("ﬁle", "FILE", True),
        ("Straße", "STRASSE", True),
        ("Log in", "Log out", False),
        ("1,000", "2,000", False),  # nothing but digits: they count
        ("कि", "की", False),  # a vowel sign is a letter's mark, not punctuation
        ("cafe", "café", False),
    ],
)
def test_what_counts_as_the_same_text(one, other, same):
    assert (splits.normalise(one) == splits.normalise(other)) is same
    assert (splits.text_hash(one) == splits.text_hash(other)) is same


@given(st.text(max_size=30), st.sampled_from(["!", "...", " ", " 12 ", "{3}", "\n"]))
def test_the_normal_form_is_one_line_and_blind_to_what_follows(text, noise):
    normal = splits.normalise(text)
    assert normal == " ".join(normal.split())
    if any(letter.isalpha() for letter in normal):
        assert splits.normalise(text + noise) == normal


def test_near_identical_messages_share_a_cluster_and_no_others_do(english):
    """Against all pairs compared one by one, with vectors of character trigrams made by hand."""
    texts = list(english["english"].sample(220, random_state=1))
    texts += [text.replace("the ", "The  ") + "." for text in texts[:20]] + [f"{text} now" for text in texts[20:60]]
    found = splits.clusters(texts)
    documents = [Counter(grams(splits.normalise(text))) for text in texts]
    distinct = {splits.normalise(text): document for text, document in zip(texts, documents, strict=True)}
    in_documents = Counter(gram for document in distinct.values() for gram in document)
    weight = {g: np.log((1 + len(distinct)) / (1 + n)) + 1 for g, n in in_documents.items()}
    vectors = [{gram: count * weight[gram] for gram, count in document.items()} for document in documents]
    norms = [sum(value**2 for value in vector.values()) ** 0.5 for vector in vectors]
    parent = list(range(len(texts)))

    def root(i):
        while parent[i] != i:
            i = parent[i]
        return i

    for i in range(len(texts)):
        for j in range(i):
            dot = sum(value * vectors[j].get(gram, 0.0) for gram, value in vectors[i].items())
            if dot > splits.NEAR * norms[i] * norms[j]:
                parent[root(i)] = root(j)
    expected = [root(i) for i in range(len(texts))]
    assert len(set(expected)) < len(texts) - 30  # the copies were found
    assert len(set(zip(found, expected, strict=True))) == len(set(found)) == len(set(expected))


def grams(text):
    padded = [f" {word} " for word in text.split()]
    return [word[i : i + 3] for word in padded for i in range(max(1, len(word) - 2))]


def test_clusters_of_one_text_and_of_none_like_another():
    assert splits.clusters(["Save", "save!"]).tolist() == [0, 0]
    assert len(set(splits.clusters(["Save", "Open", "1", "2", ""]))) == 5


@pytest.mark.parametrize("domain", splits.SHARES)
def test_pools_are_drawn_in_their_shares(domain):
    shares, n = splits.SHARES[domain], 20_000
    assert sum(shares.values()) == pytest.approx(1) and set(shares) <= set(splits.POOLS)
    drawn = Counter(splits.draw(f"key {i}", shares) for i in range(n))
    for pool, share in shares.items():
        assert abs(drawn[pool] - n * share) < 4 * (n * share * (1 - share)) ** 0.5
    assert splits.draw("key 1", shares) == splits.draw("key 1", dict(shares))


def test_a_cluster_follows_its_most_reserved_domain():
    domains = ["software", "interface", "names"]
    items = pd.DataFrame({"english": ["Log in now", "log in now!", "Quit"], "domain": domains})
    rows = splits.assign(items).set_index("key")
    assert len(rows) == 2
    key = f"{splits.text_hash('Log in now'):016x}"
    assert rows.at[key, "cluster"] == key
    assert rows.at[key, "pool"] == splits.draw(key, splits.SHARES["interface"])


# The file --------------------------------------------------------------------------------------------------------


def test_the_file_is_what_the_harvest_gives(english):
    """Frozen: made anew from the text of the pinned packages it is the same, row by row."""
    assert catalogs.versions() == catalogs.pinned()["packages"]
    table = splits.table().reset_index()
    is_document = table["key"].str.startswith("ntrex:")
    expected = table[~is_document].reset_index(drop=True)
    pd.testing.assert_frame_equal(splits.assign(english), expected, check_dtype=False)
    documents = [key.removeprefix("ntrex:") for key in table.loc[is_document, "key"]]
    pd.testing.assert_frame_equal(
        splits.assign_documents(documents), table[is_document].reset_index(drop=True), check_dtype=False
    )


def test_every_item_has_a_pool(english):
    assert set(english["pool"]) == set(splits.POOLS)
    assert english["unit"].ne("").all()


def test_pools_are_disjoint_by_text_and_by_cluster(english):
    keys = english["english"].map(splits.text_hash)
    assert (english.groupby(keys)["pool"].nunique() == 1).all()
    assert (english.groupby("unit")["pool"].nunique() == 1).all()
    assert (splits.table().groupby("cluster")["pool"].nunique() == 1).all()


def test_no_near_copies_on_two_sides(english):
    """Clusters are closed over the whole corpus: two texts of different pools are never near."""
    held = english[english["pool"] != "PRETRAIN"].sample(150, random_state=2)
    some = pd.concat([held, english[english["pool"] == "PRETRAIN"].sample(1500, random_state=3)])
    found = some.groupby(splits.clusters(list(some["english"])))["pool"].agg(set)
    assert all("PRETRAIN" not in pools or pools == {"PRETRAIN"} for pools in found)


def test_the_adaptation_domain_is_in_no_training_text(english):
    django = english[english["domain"] == "interface"]
    assert set(django["pool"]) == {"FINETUNE", "DEV", "TEST"}
    trained = set(english.loc[english["pool"] == "PRETRAIN", "english"].map(splits.normalise))
    assert not trained & set(django["english"].map(splits.normalise))
    assert not set(django["unit"]) & set(english.loc[english["pool"] == "PRETRAIN", "unit"])


def test_what_the_tasks_keep_is_in_no_other_pool(english):
    tasks = english[english["pool"] == "TASKS"]
    assert len(tasks[tasks["domain"] == "names"]) > 300
    others = english[english["pool"] != "TASKS"]
    assert not set(tasks["english"].map(splits.normalise)) & set(others["english"].map(splits.normalise))


def test_unknown_texts_are_no_pool_and_a_unit_each():
    found = splits.pool_and_unit(["A text that nobody ever harvested", "Nor this one", "nor THIS one!"])
    assert found["pool"].tolist() == ["UNSPLIT"] * 3 and found["unit"].nunique() == 2


@pytest.mark.parametrize("damage", ["missing", "pool", "twice"])
def test_a_damaged_file_is_noticed(tmp_path, monkeypatch, damage):
    lines = splits.FILE.read_text().splitlines()[:5]
    if damage == "pool":
        lines[2] = lines[2].rsplit("\t", 1)[0] + "\tTRAIN"
    if damage == "twice":
        lines.append(lines[1])
    if damage != "missing":
        (tmp_path / "splits.tsv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(splits, "FILE", tmp_path / "splits.tsv")
    splits.table.cache_clear()
    try:
        with pytest.raises(Failure, match=r"restore it with `git checkout data/splits\.tsv`"):
            splits.table()
    finally:
        splits.table.cache_clear()


# Leaks -----------------------------------------------------------------------------------------------------------


def test_a_planted_leak_is_found_and_nothing_else():
    trained = {"en": {"1": "The house is white."}, "gl": {"1": "A casa é branca."}}
    items = pd.DataFrame({"domain": "text", "unit": "u", "pool": "PRETRAIN"}, index=["1"])
    hashes = pretraining.segment_hashes(corpora.Corpus("x", items, trained))
    assert hashes.dtype == np.uint64 and (np.diff(hashes.astype(object)) > 0).all()
    held = {"en": ["It rains.", "the house is WHITE"], "gl": ["Chove.", "A casa é branca!"], "es": ["A casa é branca."]}
    assert splits.leaks(held, hashes) == {"en": ["the house is WHITE"], "gl": ["A casa é branca!"]}
    assert splits.leaks({"en": [], "gl": ["Chove."]}, hashes) == {}
    assert splits.leaks(held, np.array([], dtype=np.uint64)) == {}


@given(st.lists(st.integers(0, 2**64 - 1), max_size=8, unique=True), st.booleans())
def test_a_leak_is_found_wherever_it_sorts(others, planted):
    own = splits.segment_hash("en", "Save")
    hashes = np.array(sorted({*others, *([own] if planted else ())}), dtype=np.uint64)
    assert splits.leaks({"en": ["Save"]}, hashes) == ({"en": ["Save"]} if planted or own in others else {})


@pytest.mark.parametrize("model", SHIPPED, ids=lambda path: path.name)
def test_no_held_out_text_is_among_the_hashes_of_a_shipped_model(corpus, model):
    hashes = pretraining.read_hashes(model)
    sources = [corpus] + ([corpora.load("ntrex")] if os.environ.get("LANGSIM_DATA") else [])
    for source in sources:
        held = {code: pretraining.held_out_text(source, code) for code in source.languages}
        assert sum(map(len, held.values())) > 40_000
        assert splits.leaks(held, hashes) == {}


@pytest.mark.parametrize("model", SHIPPED, ids=lambda path: path.name)
def test_the_hashes_of_a_shipped_model_are_those_of_its_text(corpus, model):
    """A leak is caught in the shipped file too: what the model was trained on is found there, on both sides."""
    settings = pretraining.recipe(model.name)
    hashes = pretraining.read_hashes(model)
    members, amounts = languages.role_members(settings["role"]), settings["text"]
    whole = [m for m in members if amounts[m.resource_class].get("software", 0) >= 10_000]
    assert whole  # those that have all of it are sure to have these
    for member in whole:
        held = set(map(splits.text_hash, pretraining.held_out_text(corpus, member.code)))
        trained = corpus.text(member.code, domain="software", pool="PRETRAIN")
        trained = [text for text in trained[:200] if splits.text_hash(text) not in held]
        assert splits.leaks({member.code: trained}, hashes) == {member.code: trained}


def test_damaged_hashes_are_noticed(tmp_path):
    with pytest.raises(Failure, match="missing or damaged"):
        pretraining.read_hashes(tmp_path)
    path = tmp_path / "pretrain.hashes"
    path.write_bytes(b"\0" * 12)
    with pytest.raises(Failure, match="missing or damaged"):
        pretraining.read_hashes(tmp_path)
    np.array([3, 1], dtype="<u8").tofile(path)
    with pytest.raises(Failure, match="not sorted"):
        pretraining.read_hashes(tmp_path)
