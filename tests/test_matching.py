"""The same content for every language, or the same amount with a warning."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from langsim.corpora.base import Corpus
from langsim.errors import UsageError
from langsim.matching import POOR, SMALL, digest, match

CODES = ["fa", "hi", "de"]


def corpus(has: dict[str, range], size: int = 400) -> Corpus:
    """Items 0..size-1; each language has those of its range."""
    items = pd.DataFrame(
        {"domain": ["names" if i % 2 else "interface" for i in range(size)], "unit": "u", "pool": "FINETUNE"},
        index=[f"item{i:03d}" for i in range(size)],
    )
    texts = {code: {f"item{i:03d}": f"{code} {i}" for i in numbers} for code, numbers in has.items()}
    return Corpus("made", items, {**texts, "en": {item: f"en {item}" for item in items.index}})


def test_intersection_gives_all_languages_the_same_items_in_the_same_order():
    made = corpus({"fa": range(300), "hi": range(100, 400), "de": range(400)})
    found = match(made, CODES)
    ids = {code: [pair.id for pair in pairs] for code, pairs in found.pairs.items()}
    assert ids["fa"] == ids["hi"] == ids["de"]
    assert set(ids["fa"]) == {f"item{i:03d}" for i in range(100, 300)}
    assert ids["fa"] != sorted(ids["fa"])  # shuffled: a mini-batch mixes domains
    assert (found.size, found.shared, found.matching, found.warnings) == (200, 200, "intersection", [])
    assert found.available == {"fa": 300, "hi": 300, "de": 400}
    assert found.pairs["fa"][0].source_text.startswith("fa ") and found.pairs["fa"][0].target_text.startswith("en ")


def test_a_small_intersection_falls_back_to_sizes_and_says_so():
    made = corpus({"fa": range(200), "hi": range(150, 350), "de": range(400)})
    found = match(made, CODES)
    assert found.matching == "sizes" and found.shared == 50 < SMALL
    assert {len(pairs) for pairs in found.pairs.values()} == {200}
    assert len(found.warnings) == 1 and "Only 50 items" in found.warnings[0]
    assert match(made, CODES, matching="sizes").warnings == []


@pytest.mark.parametrize(("most", "measured"), [(0, 200), (40, 40), (900, 200)])
def test_the_warning_says_how_many_items_are_measured(most, measured):
    found = match(corpus({"fa": range(200), "hi": range(150, 350), "de": range(400)}), CODES, max_items=most)
    assert found.size == measured and f"measured on {measured} items" in found.warnings[0]


def test_domains_and_limits():
    made = corpus({code: range(400) for code in CODES})
    names = match(made, CODES, domain="names")
    assert names.size == 200 and {pair.domain for pair in names.pairs["hi"]} == {"names"}
    few = match(made, CODES, max_items=40)
    assert few.size == 40
    assert few.pairs["fa"] == match(made, CODES).pairs["fa"][:40]


@limits(max_examples=15, deadline=None)
@given(st.integers(0, 5), st.sets(st.sampled_from(CODES), min_size=2))
def test_order_depends_on_the_seed_and_not_on_the_company(seed, company):
    made = corpus({code: range(400) for code in CODES})
    alone = match(made, CODES, seed=seed).pairs
    for code, pairs in match(made, sorted(company), seed=seed).pairs.items():
        assert pairs == alone[code]
    assert alone["fa"] != match(made, CODES, seed=seed + 1).pairs["fa"]


def test_the_digest_sees_text_and_order():
    pairs = match(corpus({code: range(400) for code in CODES}), CODES).pairs
    assert digest(pairs["fa"]) == digest(list(pairs["fa"]))
    assert len({digest(pairs["fa"]), digest(pairs["hi"]), digest(pairs["fa"][::-1]), digest(pairs["fa"][1:])}) == 4


def test_too_little_text_is_one_clear_line():
    made = corpus({"fa": range(400), "hi": range(POOR - 1)})
    with pytest.raises(UsageError, match=f"'hi' has only {POOR - 1} pairs with 'en' in corpus 'made'.*leave it out"):
        match(made, ["fa", "hi"])
    with pytest.raises(UsageError, match="no text in de, gl"):
        match(made, ["fa", "de", "gl"])
    with pytest.raises(UsageError, match=r"'hi' has only 14 pairs .* \(domain 'names'\)"):
        match(made, ["fa", "hi"], domain="names")
