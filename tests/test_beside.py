"""Results of other profiles beside this run's: what is shown, what is left out, and the numbers in the sentences."""

import re

import numpy as np
import pandas as pd
import pytest

from langsim import agreement, beside, exhibits, models, paths, profiles, readings, results
from langsim.centring import centre
from langsim.errors import Failure, UsageError

CODES = ["bg", "sr", "hr", "uk", "sk", "be"]
MINI = profiles.resolve("mini")


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """A function that commits a result at a profile, made with the shipped model or with another version of it."""
    exhibits.all_exhibits()  # cached before the data folder changes
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    (tmp_path / "data" / "results").mkdir(parents=True)

    def commit(exhibit, frame, profile="open", digest="", **parts):
        digest = digest or models.shipped_digest("mini-m2m")
        known = {"model": results.named("mini-m2m", digest), "corpus": "ntrex@0123456789ab", "items": "401", **parts}
        folder = tmp_path / "data" / "results" / profile
        return results.write_result(exhibit, frame, signature=results.signature(known), folder=folder)

    return commit


def matrix(seed):
    values = pd.DataFrame(np.random.default_rng(seed).random((6, 6)), CODES, CODES)
    np.fill_diagonal(diagonal := values.to_numpy(copy=True), 1.0)
    return pd.DataFrame(diagonal, CODES, CODES)


def tidy(values, *, cross=False, published=None):
    columns = {"value": values, "centred": centre(values, cross=cross).residuals}
    columns |= {} if published is None else {"published": published}
    pairs = [(t, a) for t in CODES for a in CODES]
    rows = {name: [table.loc[pair] for pair in pairs] for name, table in columns.items()}
    return pd.DataFrame({"target": [t for t, _ in pairs], "auxiliary": [a for _, a in pairs], **rows})


def rank_correlation(a, b):
    return pd.Series(agreement.off_diagonal(a.to_numpy())).corr(
        pd.Series(agreement.off_diagonal(b.to_numpy())), method="spearman"
    )


def test_nothing_is_shown_where_nothing_is_committed(committed):
    assert beside.shown("pf-fig5", tidy(matrix(0)), MINI) is None
    assert beside.panels("pf-fig5", MINI) == {} and beside.newick("pf-fig4", MINI) == {}
    with pytest.raises(UsageError, match="unknown exhibit 'pf-fig55'"):
        beside.shown("pf-fig55", tidy(matrix(0)), MINI)


def test_a_matrix_is_a_panel_and_a_correlation(committed):
    here, there = matrix(0), matrix(1)
    committed("pf-fig5", tidy(there))
    (panel,) = beside.panels("pf-fig5", MINI).items()
    assert panel[0] == "At open (ntrex)" and np.allclose(panel[1], there) and list(panel[1].index) == CODES
    (centred,) = beside.panels("pf-fig5", MINI, centred=True).values()
    assert np.allclose(centred, centre(there).residuals, equal_nan=True)
    shown = beside.shown("pf-fig5", tidy(here), MINI)
    assert shown.tables == [] and shown.text.startswith("At `open` (`ntrex`, 401 items): ")
    raw = readings.number(rank_correlation(here, there))
    both = readings.number(rank_correlation(centre(here).residuals, centre(there).residuals))
    assert f"with the matrix of `mini` is, raw, {raw} (95%" in shown.text and f"centred, {both} (95%" in shown.text
    assert "published" not in shown.text and "diagonal" not in shown.text
    assert "Signature: `model:mini-m2m@" in shown.text


def test_p_values_are_adjusted_for_the_sentence(committed):
    here, there, printed = matrix(0), 0.2 * matrix(0) + matrix(1), matrix(2)
    committed("pf-fig5", tidy(there, published=printed))
    text = beside.shown("pf-fig5", tidy(here), MINI).text
    own = [agreement.association(a, there, centred=c).p_value for a in (here, printed) for c in (False, True)]
    assert re.findall(r"p [=<] 0\.\d+|p = 1\.00", text) == [readings.p(p) for p in agreement.holm(own)]
    assert f"with the published one is, raw, {readings.number(rank_correlation(printed, there))}" in text
    assert "What the nulls reach there is not among the committed results" in text
    committed("pf-fig5-halves", tidy(there, cross=True))
    assert "What the nulls reach" not in beside.shown("pf-fig5", tidy(here), MINI).text


def test_a_measured_diagonal_is_counted(committed):
    values = matrix(3).to_numpy() * 0.5
    values[[0, 1, 2], [0, 1, 2]] = 2.0
    values[[3, 4, 5], [0, 0, 0]] = 3.0
    there = pd.DataFrame(values, CODES, CODES)
    committed("pf-fig6", tidy(there, cross=True), corpus_b="catalogs@ba9876543210", items_b="152", domain_b="names")
    text = beside.shown("pf-fig6", tidy(matrix(0), cross=True), profiles.resolve("mini", kind=profiles.TwoCorpora)).text
    assert "(`ntrex`, 401 items against `catalogs`, domain `names`, 152 items)" in text
    centred = int((centre(there, cross=True).residuals.to_numpy().argmax(axis=1) == np.arange(6)).sum())
    assert f"The diagonal is the maximum in 3 of 6 rows raw, in {centred} centred." in text


def test_a_run_at_one_profile_shows_the_others(committed):
    committed("pf-fig5", tidy(matrix(1)))
    committed("pf-fig5", tidy(matrix(2)), profile="mini", corpus="catalogs@0123456789ab", items="366")
    assert list(beside.panels("pf-fig5", MINI)) == ["At open (ntrex)"]
    at_open = profiles.resolve("open")
    assert list(beside.panels("pf-fig5", at_open)) == ["At mini (catalogs)"]
    text = beside.shown("pf-fig5", tidy(matrix(1)), at_open).text
    assert text.startswith("At `mini` (`catalogs`, 366 items)") and "with the matrix of `open`" in text


def test_other_parameters_are_compared_with_nothing(committed):
    committed("pf-fig5", tidy(matrix(1)))
    for changed in ({"languages": CODES}, {"k": 0.3}, {"measure": "kl"}):
        settings = profiles.resolve("mini", **changed)
        assert beside.shown("pf-fig5", tidy(matrix(0)), settings) is None and beside.panels("pf-fig5", settings) == {}


def test_a_result_of_a_replaced_model_is_named_and_not_shown(committed):
    path = committed("pf-fig4", pd.DataFrame({"tree": ["Ours"], "correlation": [0.123456]}), digest="f" * 64)
    path.with_suffix(".nwk").write_text("((a,b),c);\n")
    committed("pf-fig5", tidy(matrix(1)), digest="f" * 64)
    assert beside.panels("pf-fig5", MINI) == {} and beside.newick("pf-fig4", MINI) == {}
    shown = beside.shown("pf-fig4", pd.DataFrame({"tree": ["Ours"], "correlation": [0.5]}), MINI)
    assert shown.tables == [] and "0.123" not in shown.text
    now = models.shipped_digest("mini-m2m")[:12]
    assert shown.text.startswith(
        "> **Note.** The committed result at `open` is not shown: it was made with mini-m2m@ff"
    )
    assert shown.text.endswith(f"the shipped model is mini-m2m@{now} now.")


def test_rows_stand_beside_each_other(committed):
    there = pd.DataFrame({"tree": ["Ours", "Other"], "kind": ["a", "a"], "size": [3, 4], "correlation": [0.5, 0.9]})
    here = pd.DataFrame({"tree": ["Gone", "Other", "Ours"], "correlation": [0.0, 0.85, 0.25], "size": [1, 4, 5]})
    committed("pf-fig4", there)
    shown = beside.shown("pf-fig4", here, MINI)
    assert shown.tables[0].to_dict() == {"mini": {"Other": 0.85, "Ours": 0.25}, "open": {"Other": 0.9, "Ours": 0.5}}
    assert (
        "the correlation with the reference tree differs from that at `mini` by 0.15 on average, by 0.25 at most. "
        "1 of the 3 rows are not there." in shown.text
    )
    both = beside.shown("pf-fig4", here, MINI, values=["size", "correlation"])
    tree = "correlation with the reference tree"
    assert list(both.tables[0].columns) == ["size, mini", f"{tree}, mini", "size, open", f"{tree}, open"]
    assert f"*Size and {tree}, at mini and at open*\n\n<div" in both._repr_markdown_()
    equal = beside.shown("pf-fig4", there, MINI, values=["correlation"]).text
    assert "the correlation with the reference tree is the same as at `mini`." in equal
    assert both.tables[0].loc["Ours", "size, open"] == 3
    assert "<table" in both._repr_markdown_() and both.text in both._repr_markdown_()


def test_some_rows_of_a_longer_result_are_compared_with_the_same_ones(committed):
    """Rows are told apart by what tells them apart in the whole result, missing numbers among it."""
    whole = pd.DataFrame(
        {
            "weights": ["trained"] * 4,
            "language": ["fa", "hi", "fa", "hi"],
            "layer": pd.array([None, None, 1, 1], dtype="Int64"),
            "mask": [0.5, 0.6, 0.7, 0.8],
        }
    )
    committed("pf-fig2", whole)
    part = whole[whole["layer"].isna()].assign(mask=[0.4, 0.9])
    shown = beside.shown("pf-fig2", part, MINI)
    told = (
        "the share of the mask in each group of weights differs from that at `mini` by 0.2 on average, by 0.3 at most."
    )
    assert told in shown.text and len(shown.tables[0]) == 2
    assert list(shown.tables[0]["open"]) == [0.5, 0.6]


def test_a_table_of_words_is_laid_out_by_one_of_its_columns(committed):
    here = pd.DataFrame(
        {
            "measure": ["KL", "KL", "MSE", "MSE"],
            "target": ["fa", "hi", "fa", "hi"],
            "members": ["tr ko", "bn", "tr", "de sv"],
        }
    )
    there = here.assign(members=["ko tr", "bn fa", "id", "de sv hr"])
    committed("pf-table1", there)
    shown = beside.shown("pf-table1", here, MINI, values=["members"], columns="target")
    alike = np.mean([1, 1 / 2, 0, 2 / 3])
    told = (
        f"of the 4 pseudo families 1 is the same as at `mini`; of the languages that are in either, {100 * alike:.0f}%"
    )
    assert told in shown.text and "*Pseudo families, at open*" in shown._repr_markdown_()
    assert list(shown.tables[0].columns) == ["fa", "hi"] and list(shown.tables[0].index) == ["KL", "MSE"]
    assert shown.tables[0].loc["MSE", "hi"] == "de sv hr"


def test_what_is_of_different_kinds_is_not_averaged(committed):
    here = pd.DataFrame({"vectors": ["a", "a", "b", "b"], "name": ["fa", "hi"] * 2, "similarity": [80.0, 82, 2, 3]})
    committed("pf-a3", here.assign(similarity=[86.25, 87.75, 12.5, 3.0]))
    shown = beside.shown("pf-a3", here, MINI, values=["similarity"], columns="vectors", by="vectors")
    told = "data similarity to the target, in percent"
    assert f"the {told} (a) differs from that at `mini` by 6 on average, by 6.25 at most; the {told} (b)" in shown.text
    html = shown._repr_markdown_()
    assert "<td>86.2</td>" in html and "<td>12.5</td>" in html and "<td>3.0</td>" in html
    assert "vectors" not in html.split("<table")[1], "no name of an index that would look like a row"


def test_numbers_of_a_table_have_three_digits_and_long_tables_open_with_a_click(committed):
    rows = [f"r{i}" for i in range(12)]
    here = pd.DataFrame({"tree": rows, "correlation": np.linspace(0.0123456, 0.2, 12), "size": range(12)})
    committed("pf-fig4", here)
    shown = beside.shown("pf-fig4", here, MINI)
    html = shown._repr_markdown_()
    assert "<td>0.012</td>" in html and "<td>0.200</td>" in html and "0.0123" not in html
    assert "<details><summary>Correlation with the reference tree, at mini and at open</summary>" in html
    committed("pf-fig4", here[:3])
    assert "<details>" not in beside.shown("pf-fig4", here[:3], MINI)._repr_markdown_()


def test_frames_are_the_committed_tables_also_of_what_the_paper_lacks(committed):
    there = tidy(matrix(1), cross=True)
    committed("pf-fig5-halves", there)
    (title, frame), *more = beside.frames("pf-fig5-halves", MINI).items()
    assert title == "At open (ntrex)" and not more and np.allclose(frame["value"], there["value"])
    assert list(beside.panels("pf-fig5-halves", MINI, centred=True)) == [title]
    assert beside.frames("pf-fig5-halves", profiles.resolve("mini", k=0.3)) == {}


def test_trees_come_along(committed):
    path = committed("pf-fig4", pd.DataFrame({"tree": ["Ours"], "correlation": [0.5]}))
    path.with_suffix(".nwk").write_text("((a,b),c);\n")
    (tree,) = beside.newick("pf-fig4", MINI).values()
    assert {tip.name for tip in tree.tips()} == set("abc")


def test_a_damaged_result_is_one_line(committed):
    committed("pf-fig5", tidy(matrix(1))).write_text("target\n")
    with pytest.raises(Failure, match=r"pf-fig5\.csv and its \.json have different columns"):
        beside.panels("pf-fig5", MINI)
