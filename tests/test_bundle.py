"""Results that travel as one file: the round trip, and imports that take over all or nothing."""

import errno
import json
import os
import signal
from pathlib import Path

import pandas as pd
import pytest
from bundles import PARTS, SIGNATURE, TABLES, TREE, committed, refused, similarity, trained, unzip

from langsim import archive, beside, bundle, cells, cli, exhibits, models, profiles, results
from langsim.errors import Failure, UsageError

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
