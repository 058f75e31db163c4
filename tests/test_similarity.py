"""All pairs in one pass against the formulas written out pair by pair in float64."""

import math
import tracemalloc
from types import SimpleNamespace
from unittest.mock import patch

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from langsim import allpairs
from langsim.errors import Failure, UsageError
from langsim.similarity import MEASURES, Similarities, similarities
from langsim.store import FisherStore


def exact_sum(terms):
    return math.fsum(terms.tolist())


def naive_mse(t, a):
    return exact_sum((t.astype(float) - a.astype(float)) ** 2) / t.size


def naive_kl_terms(t, a):
    """F_a log(F_a / F_t) with 0 log 0 = 0 and F_t = 0 counted as 1e-16."""
    t, a = t.astype(float), a.astype(float)
    there = a > 0
    return a[there] * np.log(a[there] / np.where(t[there] > 0, t[there], 1e-16))


def naive_masks(vectors, k):
    """Sorted, best first, lowest index first among equals."""
    masks = {}
    for name, values in vectors.items():
        order = sorted(range(values.size), key=lambda i: (-float(values[i]), i))
        masks[name] = np.zeros(values.size, bool)
        masks[name][order[: math.floor(round(k * values.size, 9) + 0.5)]] = True
    return masks


def fishers(count=4, size=500, seed=0, zeros=0.0):
    generator = np.random.default_rng(seed)
    base = generator.standard_normal(size) ** 2 * np.exp(2 * generator.standard_normal(size))
    found = {}
    for index, name in enumerate(["bg", "sr", "hr", "uk", "sk", "be", "fa"][:count]):
        values = base * generator.gamma(2.0, size=size) * 1e-9 * (1 + index)
        values[generator.random(size) < zeros] = 0
        found[name] = values.astype(np.float32)
    return found


def close(ours, oracle, scale, relative=1e-10):
    assert abs(ours - oracle) <= relative * float(scale) + 1e-300, f"{ours} != {oracle} (scale {scale})"


def check_against_naive(vectors, k=0.4):
    result = similarities(vectors, k=k)
    masks = naive_masks(vectors, k)
    for t, ft in vectors.items():
        for a, fa in vectors.items():
            mse, terms = naive_mse(ft, fa), naive_kl_terms(ft, fa)
            close(result.raw["mse"].loc[t, a], mse, mse)
            close(result.raw["kl"].loc[t, a], abs(exact_sum(terms)), exact_sum(np.abs(terms)) + 1e-6 * exact_sum(fa))
            p, q = ft.astype(float) / exact_sum(ft.astype(float)), fa.astype(float) / exact_sum(fa.astype(float))
            normal = naive_mse(p, q)
            # p and q are themselves rounded to 1e-16 of their size, which their difference can't be better than
            rounding = 1e-5 * math.sqrt(normal * (p @ p + q @ q) / p.size) + 1e-21 / p.size
            close(result.normalised["mse"].loc[t, a], normal, normal + rounding)
            shared = (masks[t] & masks[a]).sum()
            assert result.raw["overlap"].loc[t, a] == shared / masks[t].sum()
            assert result.raw["jaccard"].loc[t, a] == shared / (masks[t] | masks[a]).sum()
    return result


values32 = st.sampled_from([0.0, 2.0**-149, 2.0**-126, 1e-9, 2.0**-20, 1.0]).map(lambda x: float(np.float32(x)))
spread = values32 | st.floats(0, 2.0**10, width=32)


@settings(max_examples=80, deadline=None)
@given(matrix=arrays(np.float32, st.tuples(st.integers(2, 4), st.integers(4, 150)), elements=spread), k=st.data())
def test_every_measure_equals_its_formula(matrix, k):
    if not (matrix.sum(axis=1) > 0).all():
        return
    vectors = {f"l{index}": row for index, row in enumerate(matrix)}
    with patch.multiple(allpairs, _ROW=8, _TILE=64, _RELEASE=128):  # many tiles, and a ragged last one
        check_against_naive(vectors, k.draw(st.sampled_from([0.15, 0.4, 0.9])))


@pytest.mark.parametrize("zeros", [0.0, 0.3])
@pytest.mark.parametrize("size", [1, 63, 64, 1024, 5000])
def test_sizes_around_words_and_rows(size, zeros):
    vectors = fishers(3, size, zeros=zeros if size > 1 else 0.0)
    with patch.multiple(allpairs, _TILE=3 * 2048):
        check_against_naive(vectors, k=1.0 if size == 1 else 0.4)


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-7, 0.0])
def test_near_copies_do_not_cancel(distance):
    base = fishers(1, 3000)["bg"].astype(float)
    generator = np.random.default_rng(3)
    vectors = {"bg": base, "sr": base * (1 + distance * generator.random(3000)), "hr": base * 40}
    result = similarities(vectors, measures=["mse", "kl"])
    for t, a in [("bg", "sr"), ("sr", "bg"), ("bg", "hr")]:
        mse, terms = naive_mse(vectors[t], vectors[a]), naive_kl_terms(vectors[t], vectors[a])
        close(result.raw["mse"].loc[t, a], mse, mse)
        # log of a ratio near 1 is known to 1e-16 absolutely, whichever way it is computed
        close(result.raw["kl"].loc[t, a], abs(exact_sum(terms)), abs(exact_sum(terms)) + 1e-5 * base.sum())


def test_normalised_kl_is_the_divergence_of_the_normalised_vectors():
    vectors = fishers(4, 2000)
    result = similarities(vectors, measures=["kl"])
    for t, ft in vectors.items():
        for a, fa in vectors.items():
            p, q = ft.astype(float) / ft.astype(float).sum(), fa.astype(float) / fa.astype(float).sum()
            oracle = exact_sum(q * np.log(q / p))
            assert result.normalised["kl"].loc[t, a] == pytest.approx(abs(oracle), rel=1e-9, abs=1e-13)
    assert list(result.raw) == ["kl"] and not result.chance


def test_zero_in_the_target_counts_as_eps_and_zero_in_the_auxiliary_as_nothing():
    vectors = {"t": np.float32([0, 2, 0]), "a": np.float32([1, 0, 0])}
    kl = similarities(vectors, measures=["kl"]).raw["kl"]
    assert kl.loc["t", "a"] == pytest.approx(math.log(1 / 1e-16))
    assert kl.loc["a", "t"] == pytest.approx(2 * math.log(2 / 1e-16))
    assert kl.loc["t", "t"] == 0


def layered(vectors, shapes):
    """Vectors with a layout, as a store or an estimator hands them out."""
    layout, offset = [], 0
    for name, size in shapes:
        layout.append((name, (size,), offset))
        offset += size
    return {key: SimpleNamespace(values=values, layout=layout) for key, values in vectors.items()}


SHAPES = [("q", 200), ("fc1", 300), ("k", 100), ("fc2", 250), ("norm", 50)]


def test_threshold_over_the_scope_comparison_over_the_kept():
    vectors = fishers(4, 900, zeros=0.2)
    scope, keep = ["q", "fc1", "k", "fc2"], ["fc1", "fc2"]
    with patch.multiple(allpairs, _ROW=8, _TILE=256):
        result = similarities(layered(vectors, SHAPES), k=0.4, scope=scope, keep=keep)
    inside = np.r_[0:850]
    kept = np.r_[200:500, 600:850]
    masks = {}
    for name, mask in naive_masks({key: values[inside] for key, values in vectors.items()}, 0.4).items():
        masks[name] = mask[kept]
    for t in vectors:
        for a in vectors:
            assert result.raw["overlap"].loc[t, a] == (masks[t] & masks[a]).sum() / masks[t].sum()
            assert result.raw["mse"].loc[t, a] == pytest.approx(naive_mse(vectors[t][kept], vectors[a][kept]))
    active = result.languages["active"]
    assert active.to_dict() == {name: mask.sum() for name, mask in masks.items()}
    assert active.nunique() > 1, "a global K leaves different numbers of active entries: the asymmetry of Figure 5"
    assert not np.allclose(result.raw["overlap"], result.raw["overlap"].T)
    counts = result.raw["overlap"].mul(active, axis=0)
    assert np.allclose(counts, counts.T), "one mask size a language explains the whole asymmetry"
    assert result.parameters == kept.size
    assert result.languages["mass"].to_dict() == pytest.approx({n: v[kept].sum() for n, v in vectors.items()}, rel=1e-6)


def test_ties_at_the_threshold_go_to_the_lowest_index_of_the_scope():
    values = np.full(900, 1e-9, np.float32)
    other = fishers(1, 900)["bg"]
    result = similarities(layered({"bg": values, "sr": other}, SHAPES), k=0.4, keep=["fc1", "fc2"])
    assert result.languages.loc["bg", "active"] == 160  # 360 of 900 in index order: fc1 holds 200..499
    last = similarities(layered({"bg": values, "sr": other}, SHAPES), k=0.4, scope=["k", "fc2"], keep=["fc2"])
    assert last.languages.loc["bg", "active"] == 140 - 100


def test_cross_matrices_have_a_measured_diagonal():
    rows, columns = fishers(3, 800), fishers(4, 800, seed=9)
    result = similarities(rows, columns)
    assert result.cross
    masks_t, masks_a = naive_masks(rows, 0.4), naive_masks(columns, 0.4)
    for t, ft in rows.items():
        for a, fa in columns.items():
            assert result.raw["mse"].loc[t, a] == pytest.approx(naive_mse(ft, fa), rel=1e-10)
            assert result.raw["kl"].loc[t, a] == pytest.approx(abs(naive_kl_terms(ft, fa).sum()), rel=1e-10)
            assert result.raw["overlap"].loc[t, a] == (masks_t[t] & masks_a[a]).sum() / masks_t[t].sum()
    assert result.raw["overlap"].shape == (3, 4) and 0 < result.raw["overlap"].loc["bg", "bg"] < 1
    assert result.centred("overlap").notna().all(axis=None)
    assert result.chance["overlap"].notna().all(axis=None)
    assert result.languages["role"].tolist() == ["target"] * 3 + ["auxiliary"] * 4
    one = similarities({"bg": rows["bg"]}, columns, measures=["overlap"])
    assert one.raw["overlap"].equals(result.raw["overlap"].loc[["bg"]])


def test_orientation_and_labels():
    result = similarities(fishers(3))
    for matrix in result.raw.values():
        assert matrix.index.name == "target" and matrix.columns.name == "auxiliary"
        assert list(matrix.index) == list(matrix.columns) == ["bg", "sr", "hr"]
    assert (np.diag(result.raw["overlap"]) == 1).all() and (np.diag(result.raw["kl"]) == 0).all()
    assert result.larger_is_similar == {"mse": False, "kl": False, "overlap": True, "jaccard": True}


def test_authors_code_recipe():
    vectors = {name: values * 1e3 for name, values in fishers(4, 700, zeros=0.1).items()}
    result = similarities(vectors, recipe="authors_code")
    masks = {n: v >= np.percentile(v.astype(float), 60) for n, v in vectors.items()}
    for t, ft in vectors.items():
        for a, fa in vectors.items():
            f, g = ft.astype(float), fa.astype(float)
            kl = abs(round(float((g * (np.log(g + 1e-16) - np.log(f + 1e-16))).sum()), 5))
            assert result.raw["kl"].loc[t, a] == pytest.approx(kl, abs=1.1e-5)
            assert result.raw["kl"].loc[t, a] == round(result.raw["kl"].loc[t, a], 5)
            assert result.raw["mse"].loc[t, a] == pytest.approx(((f - g) ** 2).sum(), rel=1e-10)
            assert result.raw["overlap"].loc[t, a] == round((masks[t] & masks[a]).sum() / masks[t].sum(), 5)
    with pytest.raises(UsageError, match="no normalised 'kl'"):
        result.matrix("kl", "normalised")


def test_chance_is_what_random_masks_share():
    generator = np.random.default_rng(5)
    size = 60_000
    vectors = {f"l{i}": generator.random(size, dtype=np.float32) for i in range(6)}
    result = similarities(vectors, k=0.4, measures=["overlap", "jaccard"])
    assert result.chance_line("overlap") == pytest.approx(0.4)
    assert result.chance_line("jaccard") == pytest.approx(0.4 / 1.6)
    off = ~np.eye(6, dtype=bool)
    for measure in ("overlap", "jaccard"):
        assert result.raw[measure].to_numpy()[off].mean() == pytest.approx(result.chance_line(measure), abs=0.005)
        assert result.chance[measure].isna().to_numpy().sum() == 6
    assert similarities(vectors, k=0.15, measures=["jaccard"]).chance_line("jaccard") == pytest.approx(0.081, abs=5e-4)
    assert math.isnan(result.chance_line("mse"))


def test_chance_with_unequal_masks():
    generator = np.random.default_rng(6)
    vectors = layered({n: generator.random(900, dtype=np.float32) for n in ("bg", "sr")}, SHAPES)
    vectors["sr"].values[200:500] += 1  # sr is active in the kept part above all
    result = similarities(vectors, keep=["fc1"], measures=["overlap", "jaccard"])
    sizes = result.languages["active"]
    assert sizes["sr"] > sizes["bg"]
    assert result.chance["overlap"].loc["bg", "sr"] == pytest.approx(sizes["sr"] / 300)
    shared = sizes["sr"] * sizes["bg"] / 300
    assert result.chance["jaccard"].loc["bg", "sr"] == pytest.approx(shared / (sizes.sum() - shared))


def test_threads_change_nothing():
    vectors = fishers(4, 40_000)
    with patch.multiple(allpairs, _TILE=4 * 1024):
        alone = similarities(vectors)
        with joblib.parallel_config(n_jobs=2):
            together = similarities(vectors)
    for measure in MEASURES:
        assert alone.raw[measure].equals(together.raw[measure])


def test_stored_vectors_give_the_same_and_are_never_loaded_whole(tmp_path):
    store = FisherStore(tmp_path)
    vectors = fishers(3, 900)
    layout = layered(vectors, SHAPES)["bg"].layout
    for key, values in vectors.items():
        store.put(key, values, layout)
    stored = {key: store.get(key) for key in vectors}
    result = similarities(stored, keep=["fc1"])
    expected = similarities(layered(vectors, SHAPES), keep=["fc1"])
    for measure in MEASURES:
        assert result.raw[measure].equals(expected.raw[measure])


def test_memory_does_not_grow_with_the_model():
    def peak(size):
        vectors = {name: np.random.default_rng(i).random(size, dtype=np.float32) for i, name in enumerate("abc")}
        tracemalloc.start()
        similarities(vectors)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    small, large = peak(800_000), peak(3_200_000)
    one_vector_more = 4 * 2_400_000  # what holding a single one of them would add, in bytes
    assert large - small < one_vector_more / 2, "the candidates for the threshold are a few per cent of a vector"
    assert large < 80e6


def test_csv_files_read_back_exactly(tmp_path):
    result = similarities(fishers(4), signature="model:x@1|fisher:batch")
    written = {path.name for path in result.to_csv(tmp_path / "out")}
    assert {"overlap.raw.csv", "overlap.centred.csv", "mse.normalised.csv", "kl.normalised_centred.csv"} <= written
    assert "overlap.normalised.csv" not in written
    for name, matrix in [("mse.raw", result.raw["mse"]), ("kl.centred", result.centred("kl"))]:
        back = pd.read_csv(tmp_path / "out" / f"{name}.csv", index_col=0)
        assert np.array_equal(back.to_numpy(), matrix.to_numpy(), equal_nan=True)
    assert (tmp_path / "out" / "signature.txt").read_text() == "model:x@1|fisher:batch\n"
    assert list(pd.read_csv(tmp_path / "out" / "languages.csv", index_col=0).index) == ["bg", "sr", "hr", "uk"]
    two = similarities(fishers(2))
    assert "overlap.centred.csv" not in {path.name for path in two.to_csv(tmp_path / "two")}


def with_entry(value, name="sr"):
    vectors = fishers(3)
    vectors[name][17] = value
    return vectors


@pytest.mark.parametrize("measures", [["mse"], ["overlap"], list(MEASURES)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e-9])
def test_bad_entries_name_the_language(bad, measures):
    with pytest.raises(Failure) as caught:
        similarities(with_entry(bad), measures=measures)
    assert "sr" in str(caught.value) and "estimate" in str(caught.value) and "\n" not in str(caught.value)


def test_misuse_ends_with_one_line():
    vectors = fishers(3, 900)
    rich = layered(vectors, SHAPES)
    other = {**rich, "hr": SimpleNamespace(values=vectors["hr"], layout=[("x", (900,), 0)])}
    cases = [
        ("at least two", lambda: similarities({"bg": vectors["bg"]})),
        ("no language", lambda: similarities({}, {})),
        ("'hr' and 'bg' have different layouts", lambda: similarities(other)),
        ("different layouts", lambda: similarities({**vectors, "hr": vectors["hr"][:-1]})),
        ("no parameter 'fc9'", lambda: similarities(rich, keep=["fc9"])),
        ("must lie in the scope", lambda: similarities(rich, scope=["fc1"], keep=["fc1", "fc2"])),
        ("no measure 'cosine'", lambda: similarities(vectors, measures=["cosine"])),
        ("no measure asked", lambda: similarities(vectors, measures=[])),
        ("bg: the share K = 1.4", lambda: similarities(vectors, k=1.4)),
        ("not 1-D float32", lambda: similarities({**vectors, "hr": vectors["hr"].astype(np.float16)})),
        ("no active entry", lambda: similarities(rich_but_silent(vectors), keep=["fc1"], k=0.3)),
        ("no variant", lambda: similarities(vectors).matrix("kl", "centered")),
        ("at least 3 languages", lambda: similarities(fishers(2)).centred("mse")),
    ]
    for message, call in cases:
        with pytest.raises(UsageError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    with pytest.raises(Failure, match="'hr' is zero"):
        similarities({**vectors, "hr": np.zeros(900, np.float32)}, measures=["kl"])


def rich_but_silent(vectors):
    silent = {name: values.copy() for name, values in vectors.items()}
    silent["sr"][200:500] = 1e-30
    return layered(silent, SHAPES)


def test_result_type_is_public():
    assert isinstance(similarities(fishers(2)), Similarities)
