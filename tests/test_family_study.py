"""Pseudo families by every measure beside the printed ones, with chance beside both."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from studies import ROMANCE, TED, similarity_matrix

from langsim import family_study, instrument, profiles, readings
from langsim.agreement import SAME, UNDECIDED
from langsim.families import select


def test_families_by_every_measure(ted):
    rows = {row.name: row for row in family_study.rows(ted)}
    assert list(rows) == ["KL", "KL, normalised", "MSE", "MSE, normalised", "Overlap", "Overlap, centred"]
    expected = select(ted.matrix.loc["hi"], True, target="hi")
    assert rows["Overlap"].families["hi"].members == expected.members
    best = ted.centred.loc["hi"].drop("hi").idxmax()
    assert rows["Overlap, centred"].families["hi"].members[0] == best
    assert rows["MSE"].printed["fa"] == ("tr", "ko", "id") and not rows["Overlap, centred"].printed


def test_table_1_is_laid_out_as_printed(ted):
    table = family_study.table(family_study.rows(ted))
    assert list(table.columns) == ["fa", "hi", "bn", "id", "ms"]
    assert table.loc["Overlap, published", "bn"] == "hi fa tr"


def test_printed_families_need_all_their_members():
    rows = family_study.rows(similarity_matrix(["fa", "tr", "ko", "id", "hi"], targets=["fa", "hi"]))
    overlap = next(row for row in rows if row.name == "Overlap")
    assert set(overlap.printed) == {"fa"}  # Hindi's needs Bengali


def test_other_targets_have_nothing_printed(romance):
    rows = family_study.rows(romance)
    assert "nothing to compare with" in family_study.reading(rows).text
    assert family_study.tidy(rows, ROMANCE)["jaccard"].isna().all()


def members(row, families):
    """The row with other families, for the targets and the other languages alike."""
    everyone = {code: replace(row.everyone[code], members=tuple(m)) for code, m in families.items()}
    return replace(row, families={t: everyone[t] for t in row.families}, everyone=everyone)


def test_agreement_with_print_has_chance_beside_it(ted):
    overlap = next(row for row in family_study.rows(ted) if row.name == "Overlap")
    rest = {code: overlap.everyone[code].members for code in TED}
    same = members(overlap, {**rest, **overlap.printed})
    agreed = family_study.agreements_with_print([same])["Overlap"]
    assert agreed.mean == 1 and agreed.exact == 5 and agreed.p_value < 0.001 and agreed.verdict == SAME
    none = {t: tuple(c for c in TED if c not in (t, *m))[:2] for t, m in overlap.printed.items()}
    agreed = family_study.agreements_with_print([members(overlap, {**rest, **none})])["Overlap"]
    assert agreed.mean == 0 and agreed.p_value == 1 and agreed.verdict == UNDECIDED
    assert (family_study.tidy([overlap], TED)["chance"] < 0.5).all()


def test_the_null_of_families_is_a_permutation_of_the_whole_matrix(ted):
    """The slow way: permute the matrix, run A.2 on it again for every target."""
    overlap = next(row for row in family_study.rows(ted) if row.name == "Overlap")
    targets = list(overlap.printed)
    orders = np.array([np.random.default_rng(seed).permutation(17) for seed in range(20)])
    slow = []
    for order in orders:
        moved = pd.DataFrame(ted.matrix.to_numpy()[np.ix_(order, order)], TED, TED)
        picked = {t: set(select(moved.loc[t], True, target=t).members) for t in targets}
        both = [len(picked[t] & set(m)) / len(picked[t] | set(m)) for t, m in overlap.printed.items()]
        slow.append(np.mean(both))
    ours = family_study._indicators({c: f.members for c, f in overlap.everyone.items()}, TED, TED)
    printed = family_study._indicators(overlap.printed, targets, TED)
    fast = family_study.permuted_jaccard(ours, printed, [TED.index(t) for t in targets], orders)
    assert fast == pytest.approx(slow) and np.ptp(slow) > 0


def test_dependent_families_are_no_independent_evidence(ted):
    """Languages that all pick the same ones hit or miss together: one lucky permutation in a few, not in millions."""
    overlap = next(row for row in family_study.rows(ted) if row.name == "Overlap")
    hub = members(overlap, {code: ["tr", "de"] if code != "tr" else ["de"] for code in TED})
    printed = replace(hub, printed={t: ("tr", "de") for t in overlap.printed})
    agreed = family_study.agreements_with_print([printed])["Overlap"]
    assert agreed.mean == 1 and agreed.p_value > 1 / (17 * 16)


def test_families_are_tested_for_all_measures_together(ted):
    rows = family_study.rows(ted)
    agreed = family_study.agreements_with_print(rows)
    assert list(agreed) == ["KL", "MSE", "Overlap"]
    smallest = min(agreed.values(), key=lambda one: one.p_value)
    assert smallest.adjusted == pytest.approx(min(1, 3 * smallest.p_value))
    assert replace(smallest, p_value=0.02, adjusted=0.06).verdict == UNDECIDED
    assert readings.p(smallest.adjusted) in family_study.reading(rows).text


def test_families_from_token_counts_are_a2_on_token_affinity(monkeypatch):
    from langsim import family_study

    affinity = pd.DataFrame(np.random.default_rng(0).random((17, 17)), TED, TED)
    settings = profiles.resolve("mini", languages=TED)
    vectors = SimpleNamespace(settings=settings, matched=SimpleNamespace(pairs={code: [] for code in TED}))
    monkeypatch.setattr(family_study, "model_of", lambda settings: None)
    monkeypatch.setattr(family_study.instrument, "token_affinity", lambda *given: affinity)
    row = family_study.token_counts(vectors)
    assert row.name == instrument.TOKENS and list(row.families) == settings.targets
    for code in TED:  # the target itself comes first in the walk, with similarity 1, and is no member
        assert row.everyone[code].members == select(affinity.loc[code].drop(code), True, target=code).members
    assert row.printed["hi"] == ("bn", "fa")
    assert f"- {instrument.TOKENS}: " in family_study.reading([row]).text


def test_kin_table_counts_relatives(ted):
    rows = family_study.rows(ted)
    table = family_study.kin_table(rows, TED)
    by_hand = sum(
        len(set(row.families[t].members) & set(kin.split()))
        for row in rows
        if row.name == "Overlap"
        for t, kin in {"fa": "hi bn", "hi": "fa bn", "bn": "fa hi", "id": "ms", "ms": "id"}.items()
    )
    assert table.loc["Overlap", "relatives among them"] == by_hand
    assert (table["relatives there are"] == 8).all()


def test_figure_1_is_the_registry():
    from langsim import reference

    assert family_study.figure1_reading(reference.families(TED)).text.startswith("17 of the 17 languages")
    assert "none of these" in family_study.figure1_reading(reference.families(ROMANCE)).text
    assert "The other language has" in family_study.figure1_reading(reference.families(["de", "fr"])).text


def test_walk_reading_says_why_it_ended():
    family = select({"a": 0.9, "b": 0.85, "c": 0.84, "d": 0.7}, True, target="t")
    assert "a b c" in family_study.walk_reading(family).text and "ends at d" in family_study.walk_reading(family).text
    assert "never met" in family_study.walk_reading(select({"a": 0.9}, True, target="t")).text
