"""What is in a bundle: results and cells that cannot stand are refused, in one line."""

import json

import pytest
from bundles import LANGS, PARTS, SIGNATURE, TREE, refused, signed_again, similarity, unzip

from langsim import archive, bundle, profiles, results, vetting
from langsim.errors import Failure


def with_signature(**parts):
    return {"signature": results.signature({**PARTS, "measure": "overlap", **parts})}


def edited(files, name, **change):
    return {**files, name: json.dumps({**json.loads(files[name]), **change}).encode()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"signature": "none at all"}, "not a signature"),
        ({"signature": 3}, "pf-fig5.json cannot be read"),
        ({"signature": SIGNATURE + "|x:`<b>`"}, "its signature holds characters that no signature has"),
        ({"signature": SIGNATURE + "|x:a\nb"}, "its signature holds characters that no signature has"),
        ({"columns": ["target"]}, "pf-fig5.csv and its .json have different columns"),
        ({"tolerances": [1]}, "pf-fig5.json cannot be read"),
        ({"tolerances": {"other": 1.0}}, "a tolerance for 'other'"),
        ({"tolerances": {"value": float("nan")}}, "pf-fig5.json cannot be read"),
        ({"extra": 1}, "pf-fig5.json cannot be read"),
        (with_signature(k=0.3), "is no result of the profile 'paper' as it is: k 0.3, not 0.4"),
        (with_signature(langs="6@0123456789ab"), f"langs 6@0123456789ab, not {LANGS} or 17"),
        (with_signature(langs="17@0123456789ab"), "langs 17@0123456789ab"),
        (with_signature(domain="names"), "domain names, not any"),
        (with_signature(measure="kl", fisher="sampled"), "fisher sampled, not batch; measure kl, not overlap"),
    ],
)
def test_a_result_that_cannot_stand(packed, change, words):
    signed_again(packed, edited(unzip(packed), "pf-fig5.json", **change))
    refused(packed, words)


def test_how_much_was_measured_is_left_to_the_signature(packed):
    files = edited(unzip(packed), "pf-fig5.json", **with_signature(seed=3, batch=8, items=77, model="m2m100_418M@a"))
    signed_again(packed, files)
    assert len(bundle.import_(packed).written) == 7


def test_the_committed_results_are_results_of_their_profiles():
    found = [
        (path.stem, profile, vetting.differs(results.read_result(path).signature, profile))
        for profile in profiles.names()
        for path in results.reference_dir(profile).glob(f"{vetting.PART_1}*.csv")
    ]
    assert found and [entry for entry in found if entry[2]] == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("pf-fig5.csv", b"", "damaged result pf-fig5.csv"),
        ("pf-fig5.csv", b"\xff\xfe\x00", "damaged result pf-fig5.csv"),
        ("pf-fig5.csv", b'a,"b\n', "damaged result pf-fig5.csv"),
        ("pf-fig5.csv", b"target,auxiliary,value,centred\n", "pf-fig5.csv has no rows"),
        ("pf-fig5.json", b"[" * 100_000, "pf-fig5.json cannot be read"),
        ("pf-fig4.nwk", b"((a,b;", "is not a Newick tree"),
        ("pf-fig55.csv", b"a\n1\n", "unknown 'pf-fig55' (did you mean 'pf-fig5'"),
        ("pf-fig6.csv", b"a\n1\n", "pf-fig6.csv is there without pf-fig6.json"),
        ("pf-fig6.json", b"{}", "pf-fig6.json is there without pf-fig6.csv"),
        ("pf-fig6.nwk", TREE.encode(), "pf-fig6.nwk is there without pf-fig6.csv"),
        ("pf-fig6.pkl", b"x", "pf-fig6.pkl is no result and no cell"),
        ("cells", b"x", "cells is no result and no cell"),
        ("cells/x.json", b"{}", "cells/x.json is no result and no cell"),
        ("other/tuned/x.json", b"{}", "other/tuned/x.json is no result and no cell"),
        ("cells/tuned/x.json", b"{}", "cells/tuned/x.json cannot be read"),
        ("cells/tuned/x.json", b"[" * 100_000, "x.json cannot be read"),
    ],
)
def test_a_file_that_has_no_place_or_cannot_be_read(packed, name, content, words):
    signed_again(packed, {**unzip(packed), name: content})
    refused(packed, words)


def test_columns_and_numbers_are_those_of_the_exhibit(packed):
    reference = results.reference_dir("mini")
    results.write_result("pf-fig5", similarity(3).assign(published=0.5), signature=SIGNATURE, folder=reference)
    refused(packed, "has the columns target auxiliary value centred; those of this exhibit are", Failure)
    results.write_result("pf-fig5", similarity(3), signature=SIGNATURE, folder=reference)
    files = unzip(packed)
    lines = files["pf-fig5.csv"].split(b"\n")
    lines[2] = b"bg,sr,<b>,0"
    signed_again(packed, {**files, "pf-fig5.csv": b"\n".join(lines)})
    refused(packed, "pf-fig5.csv: value is to be a number in every row", Failure)
    signed_again(packed, files)
    assert len(bundle.import_(packed).written) == 7


def test_results_of_a_replaced_model_are_not_taken_over(packed):
    old = {"model": "mini-m2m@000000000000", "corpus": "ntrex@ba9876543210"}
    files = {name: content for name, content in unzip(packed).items() if "fig4" not in name}
    files[archive.MANIFEST] = json.dumps({**json.loads(files[archive.MANIFEST]), "profile": "open"}).encode()
    signed_again(packed, edited(files, "pf-fig5.json", **with_signature(**old)))
    refused(packed, "pf-fig5.csv: it was made with mini-m2m@000000000000, and the shipped model is", Failure)


CELL = "cells/tuned/fa.vanilla.json"


def resigned(files, **change):
    """The cell with another content, and the checksum that belongs to it."""
    content = json.loads(files[CELL]) | change
    del content["sha256"]
    content["sha256"] = results.digest_of(content)
    return {**files, CELL: json.dumps(content).encode()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda files: edited(files, CELL, scores={"bleu": 99.0}), "fa.vanilla.json is damaged; make it again"),
        (lambda files: edited(files, CELL, inputs={"model": "better"}), "fa.vanilla.json is damaged"),
        (lambda files: edited(files, CELL, sha256="0" * 64), "fa.vanilla.json is damaged"),
        (lambda files: edited(files, CELL, inputs={"model": 3}), "fa.vanilla.json cannot be read"),
        (lambda files: edited(files, CELL, scores={"bleu": float("nan")}), "fa.vanilla.json cannot be read"),
        (lambda files: resigned(files, id="fa.other"), f"{CELL} says that it is tuned/fa.other"),
        (lambda files: resigned(files, kind="other"), f"{CELL} says that it is other/fa.vanilla"),
        (lambda files: resigned(files, procedure_version=1), "is stale (procedure version 1 -> 2)"),
        (lambda files: resigned(files, inputs={"model": "mini-m2m@000000000000"}), "the shipped model is mini-m2m@"),
        (lambda files: resigned(files, inputs={"model": "a|b"}), "not a signature"),
        (lambda files: {**files, "cells/other/a.json": resigned(files, kind="other", id="a")[CELL]}, "unknown 'other'"),
    ],
)
def test_a_cell_that_cannot_stand(packed, change, words):
    signed_again(packed, change(unzip(packed)))
    refused(packed, words)


def test_a_resigned_cell_is_as_good_as_any(packed):
    """The changes above are refused for what they change, not for how the test makes them."""
    signed_again(packed, resigned(unzip(packed)))
    assert len(bundle.import_(packed).written) == 7
