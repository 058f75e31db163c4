"""Pseudo families of the nulls: what weight the agreement with the printed families has beside them."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from studies import ROMANCE, TED

from langsim import family_nulls, family_study, instrument, profiles
from langsim.families import select
from langsim.instrument import RANDOM, SHUFFLED, TOKENS, TRAINED, Check
from langsim.instrument_study import BELOW, CARRIES, CHANCE, LEVEL_WITH

TARGETS = ["fa", "hi", "bn", "id", "ms"]
FULL = family_study.FamilyAgreement(0.5, 0.1, 0.001, 0.003, 1, 5)


@dataclass(frozen=True)
class Vectors:
    settings: profiles.Settings


def weighed(trained, *nulls, p=0.003):
    named = dict(zip((TRAINED, SHUFFLED, RANDOM, TOKENS), (trained, *nulls), strict=False))
    halves = {name: pd.Series(values, TARGETS, dtype=float) for name, values in named.items()}
    return family_nulls.Weighed(replace(FULL, adjusted=p), halves)


def cross(seed):
    return pd.DataFrame(np.random.default_rng(seed).random((len(TED), len(TED))), TED, TED)


@pytest.fixture
def halves(monkeypatch):
    """Families on halves of made similarities; a check of a distance is larger for what is nearer, as real ones are."""

    def checks(vectors):
        seed = sum(map(ord, vectors.settings.measure))
        sign = 1 if vectors.settings.measure == "overlap" else -1
        tables = [sign * cross(seed + i) for i in range(3)]
        return [*map(Check, (TRAINED, SHUFFLED, RANDOM), tables), Check(TOKENS, cross(0))]

    monkeypatch.setattr(instrument, "checks", checks)
    return family_nulls.on_halves(Vectors(profiles.resolve("mini", languages=TED)))


def test_families_on_halves_are_a2_on_the_rows_of_the_checks(halves):
    assert list(halves) == ["KL", "MSE", "Overlap"]
    for measure, larger in (("kl", False), ("overlap", True)):
        picked = halves[family_study.NAMES[measure]]
        assert list(picked) == [TRAINED, SHUFFLED, RANDOM, TOKENS]
        table = cross(sum(map(ord, measure)) + 1)
        for target in TARGETS:
            slow = select(table.loc[target].drop(target).to_dict(), larger)
            assert picked[SHUFFLED][target].members == slow.members
    for measure in halves:  # a similarity also beside distances
        assert halves[measure][TOKENS]["fa"].members == select(cross(0).loc["fa"].drop("fa"), True).members


def test_the_side_is_that_of_all_flips_of_signs():
    rng = np.random.default_rng(0)
    for values in [*rng.normal(0.4, 0.5, (20, 5)), np.zeros(5), np.full(5, 0.1), np.full(5, -0.1)]:
        flips = [np.mean(np.array(signs) * values) for signs in product((1, -1), repeat=5)]
        above, below = (np.mean([flip >= s * values.mean() - 1e-12 for flip in flips]) for s in (1, -1))
        assert family_nulls._side(pd.Series(values)) == (1 if above < 0.05 else -1 if below < 0.05 else 0)


def test_the_words_are_those_of_the_instrument():
    high, low, mixed = [0.6] * 5, [0.1] * 5, [0.7, 0.1, 0.1, 0.1, 0.1]
    assert weighed(high, low, low, low).verdict == CARRIES
    assert weighed(high, low, low, low, p=0.06).verdict == CHANCE
    assert weighed(high, low, high, low).verdict == LEVEL_WITH
    assert weighed(high, low, low, mixed).verdict == LEVEL_WITH, "above in four of five, but below in one"
    assert weighed(low, high, low, low).verdict == BELOW
    one = weighed(high, low, mixed, low)
    assert one.best_null == RANDOM and one.above == {SHUFFLED: 1, RANDOM: 0, TOKENS: 1}


def test_the_page_says_what_carries_weight():
    both = {"KL": weighed([0.6] * 5, *[[0.1] * 5] * 3), "Overlap": weighed([0.3] * 5, *[[0.3] * 5] * 3)}
    text = family_nulls.reading(both).text
    assert text.startswith("The agreement with Table 1 **carries weight** by KL.")
    assert f"No chance, but {LEVEL_WITH.replace('a null', 'every null')}: Overlap." in text
    none = family_nulls.reading({"Overlap": both["Overlap"]}).text
    assert none.startswith("**By none of the 1 measures") and "Overlap 1 of 5" in none
    rows = family_nulls.table(both).text.splitlines()
    assert rows[2] == "| KL | **carries weight** | 0.50 (p = 0.003; by chance 0.10) | 0.60 | 0.10 (shuffled source) |"


def test_weights_of_a_run(ted, halves):
    found = family_study.rows(ted)
    one = family_nulls.weigh(found, halves)["Overlap"]
    printed = next(row.printed for row in found if row.name == "Overlap")
    by_hand = [len(set(m) & set(halves["Overlap"][RANDOM][t].members))
               / len(set(m) | set(halves["Overlap"][RANDOM][t].members)) for t, m in printed.items()]  # fmt: skip
    assert one.means[RANDOM] == pytest.approx(np.mean(by_hand)) and len(by_hand) == 5
    opened = family_nulls.details(family_nulls.weigh(found, halves), halves).text
    assert "MSE, random weights" in opened and " ".join(halves["MSE"][RANDOM]["fa"].members) in opened
    kin = family_study.kin_table(family_nulls.kin_rows(halves, "overlap"), TED)
    assert list(kin.index)[:2] == ["halves, trained model", "halves, shuffled source"]
    assert kin.loc["halves, trained model", "auxiliaries"] == sum(
        len(halves["Overlap"][TRAINED][t].members) for t in TARGETS
    )


def test_other_targets_have_nothing_printed(romance):
    found = family_study.rows(romance)
    assert family_nulls.weigh(found, {}) == {} and family_nulls.reading({}).text == ""
    assert "nothing to compare with" in family_nulls.table({}).text and set(ROMANCE).isdisjoint(TARGETS)
