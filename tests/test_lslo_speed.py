"""The benchmark of LSLo runs, at a toy size, and its peers find the same numbers. Nothing here looks at a time."""

import importlib
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from langsim import paths


def test_lslo_speed(one_thread, monkeypatch, tmp_path):
    pytest.importorskip("peft")
    monkeypatch.syspath_prepend(paths.ROOT / "benchmarks")
    small = {"width": 16, "languages": 3, "batch": 4, "tokens": 3, "rank": 2, "rounds": 1}
    arguments = [str(word) for name, n in small.items() for word in (f"--{name}", n)]
    monkeypatch.setattr(sys, "argv", ["lslo_speed", *arguments, "--csv", str(tmp_path / "it.csv")])
    monkeypatch.setattr("gc.collect", lambda: 0)  # which takes longest by far in a process full of tests
    script = importlib.import_module("lslo_speed")
    script.main()
    rows = pd.read_csv(tmp_path / "it.csv")
    peers = ["plain LoRA (peft)", "frozen base", "weight learning", "loop with masks", "loop over parts of the batch"]
    assert rows["peer"].tolist() == [*peers, "peft, adapters mixed"] and set(rows["ours"]) == {"LSLo"}
    np.testing.assert_allclose(rows["ratio"], rows["peer_seconds"] / rows["ours_seconds"], rtol=0.01)
    with pytest.raises(AssertionError, match="loop with masks differs by"):
        script.check({"LSLo": torch.ones(3), "loop with masks": torch.full((3,), 1.01)})
