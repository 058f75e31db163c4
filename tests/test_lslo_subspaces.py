"""Eq. 5 against loops over what is stored; sums, means, and which way the sign goes."""

import pytest
import torch
from lslo_models import RANKS, tiny, wrapped

from langsim.errors import UsageError
from langsim.lslo.pruning import Pruning
from langsim.lslo.subspaces import ISE, LSP, averaged, scores

RANKED = [language for language, rank in RANKS.items() if rank]


def pruned(pruning, ratio=0.7, kind="m2m100", span="full"):
    lslo = wrapped(tiny(kind), span=span)
    pruning.apply(lslo, ratio)
    return lslo


@pytest.mark.parametrize("span", ["full", "slice"])
@pytest.mark.parametrize("kind", ["m2m100", "mt5"])
@pytest.mark.parametrize("pruning", [ISE, LSP, Pruning.of("tensor", "A and B")], ids=["ISE", "LSP", "tensor"])
def test_scores_are_eq_5(pruning, kind, span):
    lslo = pruned(pruning, kind=kind, span=span)
    found = scores(lslo, pruning, 0.7)
    wanted = {}
    for name, layer in lslo.layers():
        start = 0
        for language, rank in RANKS.items():
            if rank:
                b = (layer.lora_B_orig * layer.lora_B_mask)[start : start + rank]
                wanted[name, language] = (b.numel(), sum(value == 0 for row in b.tolist() for value in row))
            start += rank
    assert len(found) == len(wanted)
    for row in found.itertuples():
        size, zeros = wanted[row.module, row.language]
        assert (row.size, row.pruned) == (size, zeros)
        assert row.score == pytest.approx(zeros - 0.7 * size) and row.share == pytest.approx(zeros / size - 0.7)
        assert f".{row.stack}." in f".{row.module}" and f".{row.layer}." in row.module


@pytest.mark.parametrize("ratio", [0.1, 1 / 3, 0.7])
@pytest.mark.parametrize(("pruning", "by", "groups"), [(ISE, ["stack", "layer"], 4), (LSP, ["language"], 3)])
def test_they_sum_to_zero_in_each_group_but_for_rounding(pruning, by, groups, ratio):
    found = scores(pruned(pruning, ratio), pruning, ratio)
    totals = found.groupby(by)["score"].sum()
    assert len(totals) == groups and totals.abs().max() <= 0.5 + 1e-9
    assert found["score"].abs().max() > 1, "the test could not fail"


def test_a_language_with_small_weights_needs_less():
    lslo = wrapped(tiny(), ["en", "fa"], 4)
    with torch.no_grad():
        for _, layer in lslo.layers():
            layer.adapter("fa")[1].mul_(5)
    ISE.apply(lslo, 0.5)
    by_language = averaged(scores(lslo, ISE, 0.5), ["layer"]).groupby("language")["share"].mean()
    assert by_language["en"] > 0.2 and by_language["fa"] < -0.2


def test_means():
    lslo = pruned(ISE, kind="mt5")
    found = scores(lslo, ISE, 0.7)
    both = averaged(found, ["layer", "language"])
    assert list(both.columns) == ["stack", "kind", "score", "share"] and len(both) == 5 + 8
    one = found[(found["stack"] == "encoder") & (found["kind"] == "fc1")]
    assert len(one) == 2 * 2 * len(RANKED), "a pair in each layer"
    mean = both[(both["stack"] == "encoder") & (both["kind"] == "fc1")]
    assert mean["score"].item() == pytest.approx(one["score"].mean())
    assert averaged(found, ["layer"])["language"].tolist()[:3] == RANKED
    assert len(averaged(found, ["language"])) == 2 * (5 + 8)
    every = averaged(found, [])
    assert len(every) == 2 * (5 + 8) * 3 and list(every.columns)[:4] == ["stack", "layer", "kind", "language"]
    with pytest.raises(UsageError, match="average over: unknown 'kind'"):
        averaged(found, ["kind"])


def test_masks_of_something_else():
    with pytest.raises(UsageError, match=r"0 of 560 weights of encoder 0 are pruned, ratio 0\.7 is 392: apply"):
        scores(wrapped(tiny()), ISE, 0.7)
    with pytest.raises(UsageError, match=r"are pruned, ratio 0\.5 is"):
        scores(pruned(ISE), ISE, 0.5)
    with pytest.raises(UsageError, match="weights of en are pruned"):
        scores(pruned(ISE), LSP, 0.7)
