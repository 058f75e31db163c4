"""Pseudo families by every measure beside the printed ones, with chance beside both."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from studies import ROMANCE, TED, similarity_matrix

from langsim import family_study
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
    assert family_study.agreements_with_print(rows) == {}
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
    assert agreed.mean == 1 and agreed.exact == 5 and agreed.p_value < 0.001
    none = {t: tuple(c for c in TED if c not in (t, *m))[:2] for t, m in overlap.printed.items()}
    agreed = family_study.agreements_with_print([members(overlap, {**rest, **none})])["Overlap"]
    assert agreed.mean == 0 and agreed.p_value == 1
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
