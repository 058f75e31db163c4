"""What each method fine-tunes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsim import pools, systems
from langsim.errors import UsageError
from langsim.systems import Stage, System

POOL = pools.pool("ted17")
FAMILIES = {
    "overlap": {"fa": ["tr", "ko", "id"], "hi": ["bn", "fa"]},
    "mse": {"fa": ["tr"]},
    "kl": {"fa": ["sv", "id"]},
}

codes = st.lists(st.sampled_from(sorted(POOL)), unique=True, max_size=6)
rules = st.sampled_from(["equal", "proportional", "temperature(1.5)", "temperature(5)"])


@given(st.lists(st.builds(systems.stage, codes, rules), max_size=3), st.sampled_from(["fa", "ms"]), st.integers(0, 99))
def test_an_id_names_one_system(stages, target, seed):
    system = System(target, tuple(stages), seed if stages else 0)
    assert systems.parse(system.id) == system
    assert "/" not in system.id and " " not in system.id


def test_the_rows_of_table_2():
    def of(method, target="fa", **options):
        return systems.stages_of(method, target, POOL, FAMILIES, **options)

    assert of("Vanilla") == ()
    assert of("FT") == (Stage(),)
    assert of("LF") == (Stage(("bn", "hi"), "temperature(1.5)"),)
    assert of("LF+FT") == (Stage(("bn", "hi"), "temperature(1.5)"), Stage())
    assert of("MSE") == (Stage(("tr",), "equal"),)
    assert of("Overlap") == (Stage(("id", "ko", "tr"), "equal"),)
    assert len(of("All")[0].auxiliaries) == 16 and "fa" not in of("All")[0].auxiliaries
    assert of("Overlap", "hi", aligned=["hi"]) == (Stage(("bn", "fa"), "temperature(1.5)"),)
    assert of("Overlap", "hi") == (Stage(("bn", "fa"), "equal"),)


def test_a_target_without_relatives_is_fine_tuned_alone():
    assert systems.stages_of("LF", "ja", POOL, {}) == systems.stages_of("FT", "ja", POOL, {})
    assert systems.stages_of("LF+FT", "ja", POOL, {}) == systems.stages_of("FT", "ja", POOL, {})


def test_bad_input():
    with pytest.raises(UsageError, match="KL has no family for 'ms'; add it to targets"):
        systems.stages_of("KL", "ms", POOL, FAMILIES)
    with pytest.raises(UsageError, match="no method 'LFT'"):
        systems.stages_of("LFT", "ms", POOL, FAMILIES)


@given(st.integers(1, 16), st.integers(1, 6))
def test_random_families(size, draws):
    found = systems.random_families("fa", POOL, size, draws)
    assert found == systems.random_families("fa", list(reversed(POOL)), size, draws)
    assert len(set(found)) == len(found) == (1 if size == 16 else draws)
    assert all(len(set(family)) == size and "fa" not in family and set(family) <= set(POOL) for family in found)
    assert found[:1] == systems.random_families("fa", POOL, size, 1)
