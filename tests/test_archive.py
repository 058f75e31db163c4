"""Bundles that are damaged or forged: whatever was done to the file, nothing is taken from it."""

import json
import stat
import struct
import zipfile

import pytest
from bundles import PARTS, refused, rezip, signed_again, similarity, unzip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langsim import archive, models, results
from langsim.errors import Failure, LangsimError, UsageError


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
