"""Results to hand on: what a run at `paper` leaves, its bundle, and bundles that somebody has changed."""

import json
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from langsim import archive, bundle, cells, exhibits, paths, profiles, results
from langsim.centring import centre
from langsim.errors import LangsimError

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


def machines(tmp_path, monkeypatch):
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


def pack(machine, tmp_path):
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
    assert str(Path(tempfile.gettempdir(), "langsim-")) not in str(error.value), "where it was unpacked is ours alone"
    assert committed() == before
