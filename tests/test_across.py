"""Two texts compared: the cross matrix against masks from plain autograd and sorting, and what must be refused."""

import itertools
import math

import babel
import numpy as np
import pandas as pd
import pytest
import torch
from tiny import save_tiny_m2m

from langsim import (
    across,
    across_study,
    agreement,
    comparison,
    diagonals,
    fisher,
    instrument,
    models,
    profiles,
    results,
    splits,
)
from langsim.centring import centre
from langsim.errors import UsageError
from langsim.instrument import RANDOM, SHUFFLED, TOKENS, TRAINED, Check

CODES = ["fa", "hi", "de", "sv"]
ITEMS = 40  # of each kind
BOTH = 3  # items of the first text that are in the second too


def rows():
    """Names of territories and of languages as CLDR has them; the first few territories stand among the languages."""
    locales = {code: babel.Locale.parse(code) for code in ("en", *CODES)}
    found = []
    for domain, kind in (("places", "territories"), ("tongues", "languages")):
        names = {code: getattr(locale, kind) for code, locale in locales.items()}
        shared = sorted(set.intersection(*(set(table) for table in names.values())))[:ITEMS]
        found += [[f"{domain}:{key}", domain, "FINETUNE", *(names[code][key] for code in names)] for key in shared]
    twice = [[f"again:{row[0]}", "tongues", "FINETUNE", row[3].upper() + "!", *row[4:]] for row in found[:BOTH]]
    return [*found, *twice]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    table = "\n".join("\t".join(row) for row in [["item", "domain", "pool", "en", *CODES], *rows()]) + "\n"
    data = folder / "names.tsv"
    data.write_text(table, encoding="utf-8")
    model = save_tiny_m2m(folder / "model", table.replace("\t", "\n").splitlines(), seed=7)
    text = {"corpus": "files", "data": str(data), "domain": "places"}
    other = {"corpus_b": "files", "data_b": str(data), "domain_b": "tongues"}
    return {"model": str(model), "languages": CODES, **text, **other}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANGSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def settings(given):
    return profiles.resolve("mini", kind=profiles.TwoCorpora, **given)


@pytest.fixture(scope="module")
def found(settings):
    return across.compare(settings)


def naive_mask(loaded, pairs, code, settings):
    """K of all layer weights by plain autograd and sorting, then the feed-forward ones of them."""
    inside = {n: p for n, p in loaded.model.named_parameters() if ".layers." in n and p.ndim == 2}
    total = {name: 0.0 for name in inside}
    for start in range(0, len(pairs), settings.batch_size):
        encoded = [
            loaded.encode(p.source_text, p.target_text, code, "en") for p in pairs[start:][: settings.batch_size]
        ]
        loaded.model.zero_grad()
        loaded.model(**loaded.pad(encoded)).loss.backward()
        for name, weight in inside.items():
            total[name] = total[name] + weight.grad.double() ** 2
    flat = torch.cat([total[name].flatten() for name in inside]).numpy()
    kept = np.concatenate([np.full(weight.numel(), ".fc" in name) for name, weight in inside.items()])
    active = np.zeros(flat.size, bool)
    active[np.argsort(-flat, kind="stable")[: round(settings.k * flat.size)]] = True
    return active & kept


def test_the_cross_matrix_is_that_of_naive_masks(found, settings):
    loaded = models.load(settings.model)
    masks = [
        {code: naive_mask(loaded, vectors.matched.pairs[code], code, settings) for code in CODES}
        for vectors in (found.first, found.second)
    ]
    for target, auxiliary in itertools.product(CODES, CODES):
        row, column = masks[0][target], masks[1][auxiliary]
        overlap = (row & column).sum() / row.sum()  # one entry of a mask may fall the other way in float32
        assert found.cross.loc[target, auxiliary] == pytest.approx(overlap, abs=2e-3)
    assert (np.diag(found.cross) < 1).all() and not found.cross.equals(found.cross.T)
    own = [found.columns()[name] for name in ("within_first", "within_second")]
    for matrix, side in zip(own, masks, strict=True):
        assert matrix.loc["fa", "sv"] == pytest.approx((side["fa"] & side["sv"]).sum() / side["fa"].sum(), abs=2e-3)
        assert (np.diag(matrix) == 1).all()


def test_what_is_in_both_texts_is_left_out_of_the_second(found):
    first, second = found.first.matched, found.second.matched
    assert found.left_out == BOTH and (first.size, second.size) == (ITEMS, ITEMS)
    english = [{splits.normalise(p.target_text) for p in m.pairs["fa"]} for m in (first, second)]
    assert not english[0] & english[1]
    assert f"{BOTH} items were left out" in across_study.apart_reading(found).text
    assert list(across_study.sizes(found).index) == ["names.tsv, places", "names.tsv, tongues"]
    assert list(across_study.sizes(found)["pairs a language"]) == [ITEMS, ITEMS]


def test_nulls_are_other_numbers_on_the_same_texts(found, settings):
    checks = {check.name: check.cross for check in found.checks}
    assert list(checks) == [TRAINED, SHUFFLED, RANDOM, TOKENS]
    for one, other in itertools.combinations(checks.values(), 2):
        assert list(one.index) == list(one.columns) == CODES and not one.equals(other)
    counts = {}
    loaded = models.load(settings.model)
    for side, vectors in enumerate((found.first, found.second)):
        ids = [loaded.encode(p.source_text, p.target_text, "fa", "en")[0] for p in vectors.matched.pairs["fa"]]
        common = set.intersection(*map(set, ids))
        counts[side] = pd.Series([i for each in ids for i in each if i not in common]).value_counts(normalize=True)
    affinity = sum(math.sqrt(counts[0][i] * counts[1][i]) for i in set(counts[0].index) & set(counts[1].index))
    assert checks[TOKENS].loc["fa", "fa"] == pytest.approx(affinity)


def test_a_second_call_estimates_nothing(found, settings, monkeypatch):
    monkeypatch.setattr(fisher, "estimate", None)
    again = across.compare(settings)
    assert again.cross.equals(found.cross) and again.signature == found.signature


def test_signature_and_result_hold_both_texts(found, settings, tmp_path):
    parts = results.parse_signature(found.signature)
    assert (parts["domain"], parts["domain_b"]) == ("places", "tongues")
    assert parts["corpus_b"].startswith("files@") and parts["items_b"] == str(ITEMS) and parts["measure"] == "overlap"
    path = results.write_result(
        "pf-fig6", found.frame(), signature=found.signature, folder=tmp_path, tolerances=found.tolerances
    )
    saved = results.read_result(path).frame.set_index(["target", "auxiliary"])
    assert len(saved) == 16 and saved["value"].notna().all() and saved["centred"].notna().all()
    assert saved.loc[("de", "hi"), "value"] == pytest.approx(found.cross.loc["de", "hi"])
    residual = centre(found.cross, cross=True).residuals.loc["de", "de"]
    assert saved.loc[("de", "de"), "centred"] == pytest.approx(residual)
    assert all(0 < limit < 0.1 for limit in found.tolerances.values())


def test_distances_are_turned_round(settings):
    nearest = across.compare(settings.model_copy(update={"measure": "mse"}))
    assert (nearest.cross.to_numpy() < 0).all() and nearest.label == "− MSE"
    assert "k" not in results.parse_signature(nearest.signature)


def message(**parameters):
    with pytest.raises(UsageError) as error:
        across.compare(profiles.resolve("mini", kind=profiles.TwoCorpora, **parameters))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_same_text_twice_is_refused(given):
    assert "both texts are the same (corpus 'files'" in message(**{**given, "domain_b": "places"})
    twice = message(model=given["model"], languages=CODES, domain_b="interface")
    assert "corpus 'catalogs' domain 'interface' pool 'FINETUNE'" in twice and "domain_b" in twice


def test_a_second_text_inside_the_first_is_refused(given):
    assert "all of the second text is in the first too" in message(**{**given, "domain": ""})


def test_a_language_that_one_corpus_lacks_is_named(given, tmp_path, monkeypatch):
    monkeypatch.setattr(fisher, "estimate", None)  # before anything is estimated
    less = tmp_path / "less.tsv"
    table = [["item", "domain", "pool", "en", *CODES], *rows()]
    less.write_text("\n".join("\t".join(row[:-1]) for row in table) + "\n", encoding="utf-8")
    assert "'files' has no text in sv; leave it out" in message(**{**given, "data_b": str(less)})
    assert "'files' has no text in sv; leave it out" in message(**{**given, "data": str(less)})


def test_two_languages_are_refused(given):
    assert "at least 3 languages, not 2 (fa hi)" in message(**{**given, "languages": ["fa", "hi"]})


def check(matrix, name="x"):
    codes = [f"l{i}" for i in range(len(matrix))]
    return Check(name, pd.DataFrame(matrix, codes, codes))


def test_p_values_are_adjusted_for_the_whole_table(found):
    adjusted = across_study.diagonals(found.checks)
    own = [diagonals.diagonal(c, centred=view).p_value for c in found.checks for view in (False, True)]
    assert [one.p_value for one in adjusted.values()] == pytest.approx(list(agreement.holm(own)))
    lines = across_study.table(adjusted).text.splitlines()
    assert lines[0] == "| finds itself | raw | centred |"
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {n}" for n in (TRAINED, SHUFFLED, RANDOM, TOKENS)]
    assert f"| {adjusted[TRAINED, False].hits} of 4 (p" in lines[2]


def test_agreements_are_those_of_the_three_matrices(found):
    told = across_study.agreements(found)
    first, second = found.within
    assert {(a, b) for a, b, _ in told} == {
        (first, second),
        (first, across_study.ACROSS),
        (second, across_study.ACROSS),
    }
    slow = pd.Series(agreement.off_diagonal(found.within[first].to_numpy())).corr(
        pd.Series(agreement.off_diagonal(found.cross.to_numpy())), method="spearman"
    )
    assert told[first, across_study.ACROSS, False].value == pytest.approx(slow)
    matrices = {**found.within, across_study.ACROSS: found.cross}
    own = [agreement.association(matrices[a], matrices[b], centred=view).p_value for a, b, view in told]
    assert [one.p_value for one in told.values()] == pytest.approx(list(agreement.holm(own)))
    text = across_study.agreement_reading(told).text
    assert text.count("\n") == 4 and text.count("**") >= 12
    assert list(across_study.points(found, told)) == ["Raw", "Centred"]


def crossed(*hits, size=17):
    """An `Across` whose four instruments find the first so many languages again."""
    checks = []
    for name, count in zip((TRAINED, SHUFFLED, RANDOM, TOKENS), hits, strict=True):
        matrix = np.random.default_rng(0).random((size, size)) * 0.01
        matrix[np.arange(size), np.where(np.arange(size) < count, np.arange(size), (np.arange(size) + 1) % size)] += 1
        checks.append(check(matrix, name))
    return across.Across(None, None, 0, {}, checks, "Overlap", "model:x")


@pytest.mark.parametrize(
    ("hits", "words"),
    [
        ((17, 2, 1, 0), "every null finds measurably fewer"),
        ((17, 16, 1, 0), "finds measurably fewer: random weights and token counts; not told apart: shuffled source"),
        ((2, 2, 17, 17), "finds measurably more: random weights and token counts; not told apart: shuffled source"),
    ],
)
def test_what_nulls_do_as_well_is_said_of_both_views(hits, words):
    checks = crossed(*hits).checks
    found = across_study.diagonals(checks)
    text = across_study.diagonal_reading(checks, found).text
    assert f"Raw, {words}." in text and "Centred, " in text and "most similarities remain highest" in text
    assert ("may come from the texts alone" in text) == (hits != (17, 2, 1, 0))
    lines = across_study.diagonal_table(checks, found).text.splitlines()
    assert lines[2].startswith(f"| found again | {hits[0]} of 17 ({hits[0] / 17:.0%}) |")
    assert lines[-1].startswith("| against token counts | ") and len(lines) == 10


def test_a_saved_result_gives_the_same_tables(found, tmp_path):
    path = results.write_result("pf-fig6", found.frame(), signature=found.signature, folder=tmp_path)
    saved = results.read_result(path).frame
    assert [check.name for check in instrument.read(saved)] == [check.name for check in found.checks]
    told = across_study.elsewhere({"At open": saved}).text
    own = across_study.diagonals(found.checks)
    for part in (across_study.table(own), across_study.diagonal_table(found.checks, own)):
        assert part.text.splitlines()[2] in told
    without_nulls = saved.drop(columns=["shuffled_source", "random_weights", "token_counts"])
    assert across_study.elsewhere({"At open": without_nulls}).text == "" == across_study.elsewhere({}).text


def test_predictors_look_at_both_texts(found):
    alike = across_study.predictors(found)["alike in length"]
    lengths = [comparison.mean_lengths(vectors) for vectors in (found.first, found.second)]
    assert alike.loc["fa", "de"] == pytest.approx(-abs(math.log(lengths[0]["fa"] / lengths[1]["de"])))
    followed = comparison.follows({"across": found.cross}, across_study.predictors(found))
    assert comparison.follows_table(followed).shape == (4, 2)  # kinship a second time, script held fixed


def test_titles_tell_the_texts_apart(given):
    def named(**changes):
        return across.titles(profiles.resolve("mini", kind=profiles.TwoCorpora, **{**given, **changes}))

    assert named() == ["names.tsv, places", "names.tsv, tongues"]
    catalogs = {"corpus": "catalogs", "data": "", "corpus_b": "catalogs", "data_b": ""}
    assert named(**catalogs, domain="names", domain_b="names", pool_b="DEV") == [
        "catalogs, names, FINETUNE",
        "catalogs, names, DEV",
    ]


def test_the_setting_names_both_texts(settings, monkeypatch):
    from langsim import gate, readings

    monkeypatch.setattr(gate, "verdict", lambda model: None)
    text = readings.setting(settings).text
    assert (
        "corpus `files`, pool FINETUNE, domain `places`; against corpus `files`, pool FINETUNE, domain `tongues`"
        in text
    )
