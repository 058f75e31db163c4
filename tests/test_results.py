"""Signatures, saved results, and the comparison that must notice a changed number."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsim import __version__, profiles, results
from langsim.errors import Failure, UsageError

SIGNATURE = f"model:m@0123456789ab|corpus:c@ba9876543210|fisher:batch|params:ffn|k:0.4|seed:0|langsim:{__version__}"
TOLERANCES = {"value": 1e-3}


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "target": ["fa", "no", "nan"],
            "auxiliary": ["hi", "NA", "fa"],
            "value": [0.123456789012, np.nan, 2.0],
            "count": [1, 2, 3],
            "kept": [True, False, True],
        }
    )


def test_the_signature_is_the_one_of_the_house():
    parts = {"k": 0.4, "seed": 0, "params": "ffn", "fisher": "batch"}
    parts |= {"corpus": results.named("c", "ba98765432109"), "model": results.named("m", "0123456789abcdef")}
    assert results.signature(parts) == SIGNATURE
    assert results.named(str(Path.home() / "models" / "m"), "0123456789abcdef") == "m@0123456789ab"
    assert results.named("facebook/m2m100_418M", "0123456789abcdef") == "facebook/m2m100_418M@0123456789ab"


texts = st.text(st.characters(blacklist_characters="|:\n\r", blacklist_categories=["Cs", "Cc"]), min_size=1)


@given(st.dictionaries(texts.filter(lambda key: key != "langsim"), texts, max_size=8))
def test_a_signature_survives_the_round_trip(parts):
    written = results.signature(parts)
    assert results.parse_signature(written) == {**parts, "langsim": __version__}
    assert results.signature(results.parse_signature(written)) == written
    assert results.signature(dict(reversed(parts.items()))) == written


@pytest.mark.parametrize("text", ["", "model", "model:", ":x", "a:1|a:2", "a:1||b:2"])
def test_what_is_no_signature(text):
    with pytest.raises(UsageError, match="not a signature"):
        results.parse_signature(text)


def test_a_part_cannot_break_the_signature():
    with pytest.raises(UsageError, match="may not contain"):
        results.signature({"model": "a|b"})


def test_changes_name_the_part_and_ignore_the_version():
    other = SIGNATURE.replace("k:0.4", "k:0.5").replace(__version__, "9.9.9")
    assert results.signature_changes(SIGNATURE, SIGNATURE.replace(__version__, "9.9.9")) == []
    assert results.signature_changes(other, SIGNATURE) == ["k: 0.4 -> 0.5"]


def test_a_result_is_read_as_it_was_written(frame, tmp_path):
    path = results.write_result("pf-fig5", frame, signature=SIGNATURE, folder=tmp_path, tolerances=TOLERANCES)
    result = results.read_result(path)
    assert (result.exhibit, result.signature, result.tolerances) == ("pf-fig5", SIGNATURE, TOLERANCES)
    assert results.compare(result.frame, frame, {}) == []
    assert list(result.frame["target"]) == ["fa", "no", "nan"]


def test_the_same_numbers_give_the_same_bytes(frame, tmp_path):
    for name in ("a", "b"):
        results.write_result("x", frame, signature=SIGNATURE, folder=tmp_path / name)
    for suffix in ("csv", "json"):
        assert (tmp_path / "a" / f"x.{suffix}").read_bytes() == (tmp_path / "b" / f"x.{suffix}").read_bytes()


def test_a_tolerance_must_belong_to_a_number(frame, tmp_path):
    for column in ("nothing", "target", "kept"):
        with pytest.raises(UsageError, match=column):
            results.write_result("x", frame, signature=SIGNATURE, folder=tmp_path, tolerances={column: 1})


@pytest.mark.parametrize(
    ("column", "value", "differs"),
    [
        ("value", 0.1239, False),
        ("value", 0.1245, True),
        ("value", np.nan, True),
        ("value", np.inf, True),
        ("count", 2, True),
        ("target", "fa ", True),
        ("kept", False, True),
    ],
)
def test_a_perturbed_value_fails_exactly_beyond_its_tolerance(frame, column, value, differs):
    fresh = frame.copy()
    fresh.loc[0, column] = value
    found = results.compare(fresh, frame, TOLERANCES, exhibit="pf-fig5")
    assert bool(found) is differs
    if differs:
        assert found[0].where == f"row 1, {column}"
        assert "pf-fig5" in str(found[0]) and column in str(found[0])


def test_a_missing_number_that_appears_is_a_difference(frame):
    fresh = frame.copy()
    fresh.loc[1, "value"] = 0.0
    assert len(results.compare(fresh, frame, TOLERANCES)) == 1


def test_shape_is_compared_too(frame):
    assert results.compare(frame.iloc[:2], frame, {})[0].where == "number of rows"
    assert results.compare(frame.drop(columns="count"), frame, {})[0].where == "columns"
    assert results.compare(frame.iloc[::-1], frame, TOLERANCES)


@given(st.lists(st.floats(allow_nan=False, width=32), min_size=1, max_size=20), st.floats(0, 10))
def test_comparison_agrees_with_the_definition(values, tolerance):
    reference = pd.DataFrame({"x": values})
    fresh = reference + np.linspace(0, 20, len(values))[:, None]
    pairs = list(zip(fresh["x"], values, strict=True))
    outside = [row for row, (a, b) in enumerate(pairs, start=1) if a != b and not abs(a - b) <= tolerance]
    found = results.compare(fresh, reference, {"x": tolerance})
    assert [difference.where for difference in found] == [f"row {row}, x" for row in outside]


def test_folders_are_compared_file_by_file_and_accepted(frame, tmp_path):
    fresh, reference = tmp_path / "fresh", tmp_path / "reference"
    results.write_result("a", frame, signature=SIGNATURE, folder=fresh, tolerances=TOLERANCES)
    results.write_result("b", frame, signature=SIGNATURE, folder=fresh)
    assert [d.where for d in results.compare_folders(fresh, reference)] == ["file", "file"]
    assert len(results.accept(fresh, reference)) == 4
    assert results.compare_folders(fresh, reference) == []
    assert results.accept(fresh, reference) == []
    changed = frame.assign(value=frame["value"] + 0.01)
    results.write_result("a", changed, signature=SIGNATURE.replace("k:0.4", "k:0.5"), folder=fresh)
    assert [d.where for d in results.compare_folders(fresh, reference)] == [
        "signature, k: 0.4 -> 0.5", "row 1, value", "row 3, value",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="no folder of fresh results"):
        results.compare_folders(tmp_path / "nothing", reference)


def test_a_result_of_a_replaced_model_is_stale_and_not_accepted(frame, tmp_path):
    from langsim import models

    now = models.shipped_digest("mini-m2m")
    sound, old = (f"model:{results.named('mini-m2m', digest)}|k:0.4" for digest in (now, "0" * 64))
    assert results.stale(sound) == results.stale(SIGNATURE) == results.stale("k:0.4") == ""
    assert results.stale(old) == (
        f"it was made with mini-m2m@000000000000, and the shipped model is mini-m2m@{now[:12]} now"
    )
    fresh, reference = tmp_path / "fresh", tmp_path / "reference"
    results.write_result("a", frame, signature=sound, folder=fresh)
    results.write_result("b", frame, signature=old, folder=fresh)
    with pytest.raises(Failure, match=r"b\.csv: it was made with mini-m2m@0+, and .* make it again with: langsim run"):
        results.accept(fresh, reference)
    assert not reference.exists(), "nothing is taken over"
    results.write_result("b", frame, signature=sound, folder=fresh)
    assert len(results.accept(fresh, reference)) == 4


def test_damage_is_one_clear_line(frame, tmp_path):
    path = results.write_result("a", frame, signature=SIGNATURE, folder=tmp_path)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(Failure, match="damaged result"):
        results.read_result(path)
    sidecar = {"signature": SIGNATURE, "columns": ["other"], "tolerances": {}}
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    with pytest.raises(Failure, match="different columns"):
        results.read_result(path)
    with pytest.raises(Failure, match="no result"):
        results.read_result(tmp_path / "other.csv")


def test_a_changed_run_has_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("LANGSIM_RESULTS", str(tmp_path))
    values = {**profiles.defaults("mini"), "profile": "mini"}
    plain = profiles.Settings(**{**values, "languages": profiles.resolve(model="a/b").languages})
    assert results.output_dir(plain) == tmp_path / "mini"
    changed = results.output_dir(plain.model_copy(update={"k": 0.3}))
    assert changed.parent == tmp_path and changed.name.startswith("mini-")
    assert results.output_dir(plain.model_copy(update={"k": 0.2})) != changed


def test_nothing_is_written_of_nothing(tmp_path):
    frame = pd.DataFrame({"row": ["a"], "value": [0.5]})
    assert results.write_if_any("pf-fig5", frame[:0], signature=SIGNATURE, folder=tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    (path,) = results.write_if_any("pf-fig5", frame, signature=SIGNATURE, folder=tmp_path, tolerances=TOLERANCES)
    saved = results.read_result(path)
    assert saved.frame.equals(frame) and saved.tolerances == TOLERANCES
