"""Results that travel as one file: the round trip, every damage, and imports that take over all or nothing."""

import errno
import json
import os
import signal
import stat
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langsim import archive, beside, bundle, cells, cli, exhibits, models, paths, profiles, results, vetting
from langsim.centring import centre
from langsim.errors import Failure, LangsimError, UsageError

PAPER = profiles.resolve("paper")
CODES = ["bg", "sr", "hr", "uk", "sk", "be"]
LANGS = results.named("17", results.digest_of([*PAPER.languages, "en"]))
PARTS = {"model": "facebook/m2m100_418M@0123456789ab", "corpus": "ted@ba9876543210", "items": "5000", "langs": LANGS}
PARTS |= {"fisher": "batch", "batch": "32", "recipe": "paper", "params": "ffn", "k": "0.4", "seed": "0"}
SIGNATURE = results.signature({**PARTS, "measure": "overlap"})
TREE = "((bg,sr),hr);\n"


def similarity(seed=0):
    values = pd.DataFrame(np.random.default_rng(seed).random((6, 6)), CODES, CODES)
    np.fill_diagonal(diagonal := values.to_numpy(copy=True), 1.0)
    values = pd.DataFrame(diagonal, CODES, CODES)
    centred = centre(values).residuals
    rows = [(t, a, values.loc[t, a], centred.loc[t, a]) for t in CODES for a in CODES]
    return pd.DataFrame(rows, columns=["target", "auxiliary", "value", "centred"])


TABLES = {"pf-fig5": similarity(), "pf-fig4": pd.DataFrame({"tree": ["Ours"], "correlation": [0.5]})}


def trained(cell):
    return {"bleu": float(len(cell.id)), "hypotheses": ["a b", "über"]}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that goes to a machine of this name, with a procedure and with no results at first."""
    exhibits.all_exhibits()  # cached before the data folder changes
    monkeypatch.setattr(cells, "REGISTRY", {})
    monkeypatch.setattr(cells, "PROCEDURE_MODULES", ())
    plan = {
        f"fa.{name}": {"model": "facebook/m2m100_418M@0123456789ab"} for name in ("vanilla", "equal=bn+hi,alone.s0")
    }
    cells.procedure("tuned", version=2, minutes=1, plan=lambda profile: plan)(trained)

    def go(name):
        monkeypatch.setattr(results, "DATA", tmp_path / name / "data")
        monkeypatch.setattr(paths, "DATA", tmp_path / name / "data")
        monkeypatch.setenv("LANGSIM_RESULTS", str(tmp_path / name / "fresh"))
        monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / name / "cache"))
        (tmp_path / name / "data" / "results").mkdir(parents=True, exist_ok=True)
        return tmp_path / name

    return go


@pytest.fixture
def packed(machine, tmp_path):
    """The bundle of a run at `paper`; we are on another machine now."""
    computed = machine("there")
    for exhibit, frame in TABLES.items():
        results.write_result(exhibit, frame, signature=SIGNATURE, folder=computed / "fresh" / "paper")
    (computed / "fresh" / "paper" / "pf-fig4.nwk").write_text(TREE)
    cells.reproduce("paper")
    path = bundle.export("paper", tmp_path / "b.zip").path
    machine("here")
    return path


def committed():
    """Everything in the folder of results: path -> content."""
    root = results.DATA / "results"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def unzip(path):
    with zipfile.ZipFile(path) as archive_:
        return {name: archive_.read(name) for name in archive_.namelist()}


def rezip(path, files):
    """The files (name or ZipInfo -> content) as a zip file, whatever is in them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive_:
        for name, content in files.items() if isinstance(files, dict) else files:
            archive_.writestr(name, content)


def signed_again(path, files):
    """The same with a manifest that fits: what a careful forger, or a broken exporter, would hand over."""
    manifest = json.loads(files.pop(archive.MANIFEST))
    manifest["files"] = {name: archive._entry(content).model_dump() for name, content in files.items()}
    rezip(path, {archive.MANIFEST: json.dumps(manifest), **files})


def refused(path, words, kind=LangsimError):
    """The import ends in one line that has these words, and nothing was written."""
    before = committed()
    with warnings.catch_warnings(action="error"), pytest.raises(kind) as error:  # one line, and nothing beside it
        bundle.import_(path, force=True)
    assert words in str(error.value) and "\n" not in str(error.value), str(error.value)
    assert "/tmp/langsim-" not in str(error.value)
    assert committed() == before


# The way there and back ------------------------------------------------------------------------------------------


def test_what_was_computed_there_is_here(packed, machine):
    done = bundle.import_(packed)
    assert (len(done.written), done.replaced, done.removed, done.kept) == (7, [], [], 0)
    here, there = results.reference_dir("paper"), packed.parent / "there"
    for name in ("pf-fig5.csv", "pf-fig5.json", "pf-fig4.csv", "pf-fig4.json", "pf-fig4.nwk"):
        assert (here / name).read_bytes() == (there / "fresh" / "paper" / name).read_bytes()
    pd.testing.assert_frame_equal(results.read_result(here / "pf-fig5.csv").frame, TABLES["pf-fig5"])
    assert [cells.read(cell) for cell in cells.planned("tuned", "paper")] == [
        trained(cell) for cell in cells.planned("tuned", "paper")
    ]
    again = bundle.import_(packed)
    assert (again.written, again.kept) == ([], 7)
    assert sorted(committed()) == sorted(f"paper/{name}" for name in bundle.load(packed).files)


def test_pages_show_it_beside_their_own_numbers(packed):
    open_parts = {
        **PARTS,
        "corpus": "ntrex@ba9876543210",
        "model": f"mini-m2m@{models.shipped_digest('mini-m2m')[:12]}",
    }
    bundle.import_(packed)
    folder = results.reference_dir("open")
    results.write_result("pf-fig5", similarity(1), signature=results.signature(open_parts), folder=folder)
    mini = profiles.resolve("mini")
    assert list(beside.panels("pf-fig5", mini)) == ["At open (ntrex)", "At paper (ted)"]
    shown = beside.shown("pf-fig5", similarity(2), mini)
    assert [text.split(":")[0] for text, _ in shown.parts] == [
        "At `open` (`ntrex`, 5000 items)",
        "At `paper` (`ted`, 5000 items)",
    ]
    assert f"`{SIGNATURE}`" in shown.text
    assert list(beside.newick("pf-fig4", mini)) == ["At paper (ted)"]
    listed = {entry["id"]: list(entry["results"]) for entry in exhibits.listing() if entry["results"]}
    assert listed == {"pf-fig4": ["paper"], "pf-fig5": ["open", "paper"]}


def test_profiles_have_their_order():
    assert profiles.names()[:3] == ["mini", "open", "paper"]


def test_the_same_results_give_the_same_bytes(packed, machine, tmp_path):
    computed = machine("there")
    for path in (computed / "fresh" / "paper").iterdir():
        os.utime(path, (1e9, 1e9))
    assert bundle.export("paper", tmp_path / "again.zip").path.read_bytes() == packed.read_bytes()
    moved = tmp_path / "moved"
    (computed / "fresh" / "paper").rename(moved)
    assert bundle.export("paper", tmp_path / "moved.zip", moved).path.read_bytes() == packed.read_bytes()
    machine("here")
    bundle.import_(packed)
    handed_on = bundle.export("paper", tmp_path / "on.zip", results.reference_dir("paper"))
    assert handed_on.path.read_bytes() == packed.read_bytes()


def test_the_manifest_says_what_is_in_it(packed):
    files = unzip(packed)
    manifest = json.loads(files.pop(archive.MANIFEST))
    assert (manifest["format"], manifest["profile"]) == (1, "paper")
    assert {name: entry["size"] for name, entry in manifest["files"].items()} == {n: len(c) for n, c in files.items()}
    assert list(files) == sorted(files)
    listing = dict(bundle.load(packed).listing())
    assert listing == {"pf-fig4": SIGNATURE, "pf-fig5": SIGNATURE, "cells/tuned": "2 cells"}


def test_what_is_no_exhibit_stays_behind_and_is_named(machine, tmp_path):
    folder = machine("there") / "fresh" / "paper"
    for name in ("pf-fig5", "my-own"):
        results.write_result(name, similarity(), signature=SIGNATURE, folder=folder)
    done = bundle.export("paper", tmp_path / "b.zip")
    assert done.files == ["pf-fig5.csv", "pf-fig5.json"]
    assert [path.name for path in done.left_out] == ["my-own.csv", "my-own.json"]


def test_what_notebooks_save_beside_exhibits_is_known_by_the_reference_results(machine, tmp_path):
    folder = machine("there") / "fresh" / "paper"
    for place in (folder, results.reference_dir("mini")):
        results.write_result("pf-gains", similarity(), signature=SIGNATURE, folder=place)
    assert bundle.export("paper", tmp_path / "b.zip").files == ["pf-gains.csv", "pf-gains.json"]


def test_there_must_be_something_to_export(machine, tmp_path):
    machine("there")
    with pytest.raises(UsageError, match=r"no results in .* make them with: langsim run --all --profile paper"):
        bundle.export("paper")
    with pytest.raises(UsageError, match="no folder nowhere"):
        bundle.export("paper", folder=Path("nowhere"))
    with pytest.raises(UsageError, match="unknown 'papre'"):
        bundle.export("papre")
    with pytest.raises(UsageError, match=r"'mini' are not handed on: .*make accept"):
        bundle.export("mini")
    results.write_result("pf-fig5", similarity(), signature=SIGNATURE, folder=results.output_root() / "paper")
    with pytest.raises(UsageError, match="is a folder; name a file"):
        bundle.export("paper", tmp_path)


def test_a_damaged_cell_is_not_exported(packed, machine, tmp_path):
    machine("there")
    cell = cells.planned("tuned", "paper")[0]
    cell.path.write_text(cell.path.read_text().replace("bleu", "blue"))
    with pytest.raises(
        Failure, match=r"^cells/tuned/.* is damaged; make it again with: langsim reproduce --profile paper"
    ):
        bundle.export("paper", tmp_path / "c.zip")
    assert not (tmp_path / "c.zip").exists()


# Replacing ---------------------------------------------------------------------------------------------------------


def test_what_differs_is_named_and_replaced_only_by_force(packed):
    bundle.import_(packed)
    folder = results.reference_dir("paper")
    results.write_result("pf-fig5", similarity(7), signature=SIGNATURE, folder=folder)
    (folder / "pf-fig5.nwk").write_text(TREE)  # of the table that will be replaced
    (folder / "pf-table1.csv").write_text("not of this bundle\n")
    before = committed()
    with pytest.raises(
        UsageError, match=r"would replace 2 files in .* \(pf-fig5.csv, pf-fig5.nwk\); nothing .* --force"
    ):
        bundle.import_(packed)
    assert committed() == before
    done = bundle.import_(packed, force=True)
    assert [path.name for path in done.written] == ["pf-fig5.csv"]
    assert [path.name for path in done.replaced] == ["pf-fig5.csv", "pf-fig5.nwk"]
    assert [path.name for path in done.removed] == ["pf-fig5.nwk"]
    assert (folder / "pf-fig5.csv").read_bytes() == bundle.load(packed).files["pf-fig5.csv"]
    assert sorted(before) == sorted([*committed(), "paper/pf-fig5.nwk"])


@pytest.fixture
def standing(packed):
    """Results that an import by force replaces in part."""
    bundle.import_(packed)
    folder = results.reference_dir("paper")
    results.write_result("pf-fig5", similarity(7), signature=SIGNATURE + "x", folder=folder)
    (folder / "pf-fig4.nwk").unlink()
    (folder / "pf-fig5.nwk").write_text(TREE)
    cells.planned("tuned", "paper")[0].path.write_text("damaged")
    return committed()


@pytest.mark.parametrize("failing", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", range(4))
def test_an_error_while_renaming_leaves_everything_as_it_was(packed, standing, monkeypatch, failing, at):
    real, calls = os.replace, []

    def replace(old, new):
        calls.append(new)
        if len(calls) == at + 1:
            raise failing
        real(old, new)

    monkeypatch.setattr(bundle.os, "replace", replace)
    with pytest.raises(Failure if isinstance(failing, OSError) else KeyboardInterrupt) as error:
        bundle.import_(packed, force=True)
    assert committed() == standing
    if isinstance(failing, OSError):
        assert "No space left on device; nothing was taken over" in str(error.value)


def test_a_full_disk_is_noticed_before_anything_is_replaced(packed, standing, monkeypatch):
    real, written = os.fsync, []

    def fsync(handle):
        written.append(handle)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(bundle.os, "fsync", fsync)
    refused(packed, "No space left on device", Failure)
    assert committed() == standing


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_kill_the_same_call_finishes(packed, machine, at):
    child = os.fork()
    if not child:
        real, calls = os.replace, []

        def replace(old, new):
            if len(calls) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            calls.append(new)
            real(old, new)

        bundle.os.replace = replace
        try:
            bundle.import_(packed)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert len([name for name in committed() if name.startswith("paper/")]) == at
    done = bundle.import_(packed)
    assert (len(done.written), done.kept) == (7 - at, at)
    (leftover,) = (results.DATA / "results").glob(".paper.*.part")
    os.utime(leftover, (0, 0))
    cells.planned("tuned", "paper")[0].path.unlink()
    bundle.import_(packed)
    assert not leftover.exists()


# Damage ------------------------------------------------------------------------------------------------------------


def test_what_is_no_bundle(packed, tmp_path):
    refused(tmp_path / "nothing.zip", "no file", UsageError)
    refused(tmp_path, "no file", UsageError)
    for content in (b"", b"PK", b"target,auxiliary\n", packed.read_bytes()[:-30], packed.read_bytes()[:200]):
        packed.write_bytes(content)
        refused(packed, "damaged, or no zip file", Failure)
    rezip(packed, {"pf-fig5.csv": "target\n"})
    refused(packed, "no manifest.json", Failure)


@pytest.mark.parametrize(
    "change", [{"profile": 3}, {"format": "1"}, {"format": True}, {"more": 1}, {"files": {"a": 1}}]
)
def test_a_manifest_that_says_something_else(packed, change):
    files = unzip(packed)
    files[archive.MANIFEST] = json.dumps({**json.loads(files[archive.MANIFEST]), **change})
    rezip(packed, files)
    refused(packed, "manifest.json cannot be read", Failure)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"format": 1}', "[" * 100_000])
def test_a_manifest_that_is_none(packed, content):
    rezip(packed, {**unzip(packed), archive.MANIFEST: content})
    refused(packed, "manifest.json cannot be read", Failure)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "format 2, and this langsim reads 1; update langsim"),
        ({"profile": "papre"}, "unknown 'papre' (did you mean 'paper'?)"),
        ({"profile": "../paper"}, "unknown '../paper'"),
        ({"profile": "open"}, "is no result of the profile 'open' as it is: model facebook/m2m100_418M"),
    ],
)
def test_a_bundle_of_something_else(packed, change, words):
    files = unzip(packed)
    files[archive.MANIFEST] = json.dumps({**json.loads(files[archive.MANIFEST]), **change})
    rezip(packed, files)
    refused(packed, words, UsageError)


def test_reference_results_of_mini_are_not_imported(packed, machine):
    parts = {**PARTS, "model": f"mini-m2m@{models.shipped_digest('mini-m2m')[:12]}", "corpus": "catalogs@ba9876543210"}
    machine("there")
    folder = results.output_root() / "mini"
    path = results.write_result("pf-fig5", similarity(), signature=results.signature(parts), folder=folder)
    archive.write(packed, "mini", {p.name: p.read_bytes() for p in (path, path.with_suffix(".json"))})
    machine("here")
    refused(packed, "results of 'mini' are not handed on", UsageError)


def test_content_that_is_not_the_manifests(packed):
    files = unzip(packed)
    rezip(packed, {**files, "pf-fig5.csv": files["pf-fig5.csv"].replace(b"1", b"2", 1)})
    refused(packed, "pf-fig5.csv is not what its manifest.json says", Failure)
    rezip(packed, {**files, "pf-fig5.csv": files["pf-fig5.csv"] + b"\n"})
    refused(packed, "pf-fig5.csv is not what its manifest.json says", Failure)
    rezip(packed, {name: content for name, content in files.items() if name != "pf-fig4.nwk"})
    refused(packed, "pf-fig4.nwk is missing", Failure)
    rezip(packed, {**files, "pf-fig6.csv": "target\n"})
    refused(packed, "pf-fig6.csv is not in its manifest.json", Failure)


BAD_NAMES = [
    "../evil.csv", "/etc/evil.csv", "cells/../../evil.csv", "a\\..\\evil.csv", "C:evil.csv", "C:/evil.csv",
    "./evil.csv", ".evil.csv", "cells//evil.json", "evil/", "cells/tuned/", "a/b/c/d/e", "x" * 300, "new\nline.csv",
    "é.csv", "~/evil",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_leads_elsewhere(packed, name):
    signed_again(packed, {**unzip(packed), name: b"evil"})
    refused(packed, "is not the name of a file that may be unpacked", Failure)
    assert not list(packed.parent.rglob("*evil*"))


def test_a_name_that_ends_early(packed):
    """A zero byte ends a name for those who read it in C; the manifest would not say what is written."""
    signed_again(packed, {**unzip(packed), "pf-fig6.csvXevil": b"evil"})
    packed.write_bytes(packed.read_bytes().replace(b"pf-fig6.csvXevil", b"pf-fig6.csv\0evil"))
    refused(packed, "", Failure)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFBLK])
def test_an_entry_that_is_no_plain_file(packed, kind):
    info = zipfile.ZipInfo("pf-fig6.csv")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    rezip(packed, {**unzip(packed), info: b"/etc/passwd"})
    refused(packed, "pf-fig6.csv is a link or no plain file", Failure)


def test_an_entry_twice(packed):
    files = unzip(packed)
    with pytest.warns(UserWarning, match="Duplicate name"):
        rezip(packed, [*files.items(), ("pf-fig5.csv", b"other")])
    refused(packed, "pf-fig5.csv is there twice", Failure)
    rezip(packed, {**files, "PF-fig5.csv": b"other"})
    refused(packed, "PF-fig5.csv is there twice", Failure)


def test_unusual_packing(packed):
    files = unzip(packed)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as other:
        for name, content in files.items():
            other.writestr(name, content)
    refused(packed, "packed in an unusual way", Failure)


def test_a_zip_bomb(packed, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST", 1 << 20)
    signed_again(packed, {**unzip(packed), "pf-fig6.csv": bytes(2 << 20)})
    assert packed.stat().st_size < 1 << 16
    refused(packed, "more than 20000 files or 1 MB unpacked", Failure)
    size = struct.pack("<L", 2 << 20)  # what the headers announce is now small; what is packed is not
    packed.write_bytes(packed.read_bytes().replace(size, struct.pack("<L", 20)))
    refused(packed, "damaged, or no zip file", Failure)
    monkeypatch.setattr(archive, "LARGEST", 1000)
    refused(packed, "larger than 0 MB", Failure)


def test_a_million_files(packed, monkeypatch):
    monkeypatch.setattr(archive, "MOST", 20)
    rezip(packed, {f"x{number}": b"" for number in range(21)})
    refused(packed, "more than 20 files", Failure)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small archive, as bytes, and what is in it."""
    path = tmp_path_factory.mktemp("small") / "a.zip"
    files = {"pf-fig5.csv": b"a,b\n1,2\n" * 20, "pf-fig5.json": b"{}", "cells/tuned/fa.json": b"[1]"}
    return archive.write(path, "paper", files).read_bytes(), files


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_damaged_archive_is_never_read_as_something_else(small, tmp_path, data):
    content, files = bytearray(small[0]), small[1]
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["set", "cut", "drop", "insert"])):
            case "set":
                content[place] = data.draw(st.integers(0, 255))
            case "cut":
                content = content[: place + 1]
            case "drop":
                content = content[:place] + content[place + 1 :] or bytearray(b"x")
            case "insert":
                content[place:place] = data.draw(st.binary(min_size=1, max_size=4))
    path = tmp_path / "damaged.zip"
    path.write_bytes(content)
    try:
        manifest, read = archive.read(path)
    except LangsimError as error:
        assert "\n" not in str(error)
    else:
        assert read == files and manifest.profile == "paper"


part = st.text("abcXYZ019._=+,@-", min_size=1, max_size=12).filter(lambda text: text[0].isalnum())
names = st.lists(part, min_size=1, max_size=3).map("/".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(names, st.binary(max_size=200), max_size=8))
def test_an_archive_holds_any_files(tmp_path, files):
    files = {name: content for name, content in files.items() if name != archive.MANIFEST}
    if len({name.casefold() for name in files}) < len(files):
        return
    path = archive.write(tmp_path / "a.zip", "open", files)
    manifest, read = archive.read(path)
    assert read == files and set(manifest.files) == set(files)
    first = path.read_bytes()
    assert archive.write(path, "open", dict(reversed(files.items()))).read_bytes() == first


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=30).filter(lambda name: not archive._NAME.fullmatch(name)))
def test_no_other_name_is_packed(tmp_path, name):
    with pytest.raises(UsageError, match="cannot pack"):
        archive.write(tmp_path / "a.zip", "open", {name: b""})
    assert not (tmp_path / "a.zip").exists()


# Content -----------------------------------------------------------------------------------------------------------


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


# The command -------------------------------------------------------------------------------------------------------


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(arguments))
    printed = capsys.readouterr()
    return stopped.value.code, printed.out, printed.err


def test_the_commands(capsys, packed, machine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    machine("there")
    assert call(capsys, "results", "export", "--profile", "paper") == (0, "langsim-paper.zip: 7 files\n", "")
    assert (tmp_path / "langsim-paper.zip").read_bytes() == packed.read_bytes()
    machine("here")
    status, out, err = call(capsys, "results", "show", "b.zip")
    assert (status, err) == (0, "") and "profile paper, packed by langsim" in out and SIGNATURE in out
    assert committed() == {}
    status, out, err = call(capsys, "results", "import", "b.zip")
    assert (status, out) == (0, "") and err.endswith("7 files taken over, 0 were there already\n")
    results.write_result("pf-fig5", similarity(7), signature=SIGNATURE, folder=results.reference_dir("paper"))
    status, out, err = call(capsys, "results", "import", "b.zip")
    assert (status, out, err.count("\n")) == (2, "", 1) and "would replace 1 files" in err
    status, _, err = call(capsys, "results", "import", "b.zip", "--force")
    assert (
        status == 0 and "pf-fig5.csv (replaced)" in err and err.endswith("1 files taken over, 6 were there already\n")
    )
    (tmp_path / "b.zip").write_bytes(b"PK")
    for command in ("show", "import"):
        status, out, err = call(capsys, "results", command, "b.zip")
        assert (status, out, err.count("\n")) == (1, "", 1) and err.startswith("langsim: b.zip: damaged")
    assert call(capsys, "results", "export", "--profile", "mini")[0] == 2
