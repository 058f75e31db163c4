"""The layer against a loop over samples, and its initialisation."""

import pytest
import torch
from lslo_models import LANGUAGES, RANKS, apart, tiny
from torch import nn

from langsim.errors import UsageError
from langsim.lslo import architecture, model
from langsim.lslo.layer import LSLoLinear, widths
from langsim.lslo.routing import Routing

WIDTHS = {"full": (12, 20), "slice": (7, 7)}


def layer_of(ranks=RANKS, span="full", dtype=torch.float64):
    torch.manual_seed(0)
    layer = LSLoLinear(nn.Linear(12, 20).to(dtype).requires_grad_(False), "target", Routing(ranks), WIDTHS[span])
    nn.init.normal_(layer.lora_A)
    nn.init.normal_(layer.lora_B)
    return layer


def one_by_one(layer, x, codes):
    """Eq. 3, sample by sample, from the parts of the stored matrices."""
    start, parts = 0, {}
    for language, rank in layer.routing.ranks.items():
        parts[language] = (layer.lora_A[start : start + rank], layer.lora_B[start : start + rank])
        start += rank
    inputs, outputs = layer.widths
    found = []
    for row, code in zip(x, codes, strict=True):
        a, b = parts[code]
        change = torch.zeros(20, 12, dtype=x.dtype)
        change[:outputs, :inputs] = b.T @ a
        found.append(row @ (layer.weight + change).T + layer.bias)
    return torch.stack(found)


@pytest.mark.parametrize("span", ["full", "slice"])
@pytest.mark.parametrize(
    "codes", [["en", "ja", "fa", "en", "ja"], ["de", "ja", "de", "fa", "en"], ["fa"] * 5, ["de"] * 5]
)
@pytest.mark.parametrize("shape", [(5, 3, 12), (5, 12), (5, 2, 3, 12)])
def test_equals_a_loop_over_samples(span, codes, shape):
    layer = layer_of(span=span)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    inputs = (x, layer.lora_A, layer.lora_B)
    weight = torch.randn(*shape[:-1], 20, dtype=torch.float64)
    with layer.routing.use("en", codes):
        ours = layer(x)
    slow = one_by_one(layer, x, codes)
    assert apart(ours, slow) < 1e-12
    for mine, other in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((slow * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


def test_a_language_without_rank_has_the_base_alone_and_a_graph():
    layer = layer_of()
    x = torch.randn(2, 3, 12, dtype=torch.float64)
    with layer.routing.use("en", ["de", "de"]):
        found = layer(x)
    torch.testing.assert_close(found, nn.functional.linear(x, layer.weight, layer.bias), rtol=0, atol=0)
    found.sum().backward()  # an update of which no language has LoRA must not break a training
    assert not layer.lora_A.grad.any() and not layer.lora_B.grad.any()


def test_only_languages_of_the_batch_get_gradients():
    layer = layer_of()
    with layer.routing.use("en", ["fa", "ja"]):
        layer(torch.randn(2, 3, 12, dtype=torch.float64)).sum().backward()
    parts = {language: layer.lora_A.grad[layer.routing.part(language)] for language in LANGUAGES}
    assert parts["fa"].any() and parts["ja"].any() and not parts["en"].any() and parts["de"].numel() == 0


def test_nothing_is_stored_for_ranks_that_are_not_there():
    layer = layer_of(span="slice")
    assert layer.lora_A.shape == layer.lora_B.shape == (sum(RANKS.values()), 7)
    assert layer.adapter("ja")[0].shape == (5, 7) and layer.adapter("de")[0].shape == (0, 7)


def test_slices_are_as_wide_as_the_model():
    assert widths(nn.Linear(8, 24), "slice", 8) == (8, 8) == widths(nn.Linear(24, 8), "slice", 8)
    assert widths(nn.Linear(8, 24), "full", 8) == (8, 24) and widths(nn.Linear(8, 6), "slice", 8) == (8, 6)


def test_initialisations():
    drawn = {}
    for init in ("gaussian", "kaiming"):
        base = tiny()
        lslo = model.wrap(base, ["en", "fa"], {"en": 4, "fa": 400}, architecture.default(base), init=init, seed=3)
        for _, layer in lslo.layers():
            assert not layer.lora_B.any()
        drawn[init] = {
            name: [part.detach() for part in map(lambda code, it=layer: it.adapter(code)[0], ("en", "fa"))]
            for name, layer in lslo.layers()
        }
    wide = torch.cat([parts[1].flatten() for parts in drawn["gaussian"].values()])
    assert wide.std().item() == pytest.approx(1 / 400, rel=0.05) and abs(wide.mean().item()) < 1e-4
    uniform = torch.cat([parts[1].flatten() for parts in drawn["kaiming"].values()])
    assert uniform.abs().max().item() == pytest.approx(1 / 20, rel=1e-3)
    assert uniform.std().item() == pytest.approx(1 / 20 / 3**0.5, rel=0.05)
    first, second = list(drawn["gaussian"].values())[:2]
    assert (first[0] != second[0]).any(), "every module draws its own"


def test_a_language_starts_alike_whichever_others_there_are():
    found = []
    for languages, seed in ((["fa", "en"], 3), (["en", "ja", "fa"], 3), (["fa", "en"], 4)):
        base = tiny()
        lslo = model.wrap(base, languages, 3, architecture.default(base), seed=seed)
        found.append(next(lslo.layers())[1].adapter("fa")[0].detach())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_errors_name_the_language():
    layer = layer_of()
    x = torch.randn(2, 3, 12, dtype=torch.float64)
    with pytest.raises(UsageError, match="no languages are given for this batch"):
        layer(x)
    with pytest.raises(UsageError, match="target language: unknown 'xx'"), layer.routing.use("en", ["en", "xx"]):
        pass
    with pytest.raises(UsageError, match="source language: unknown 'xx'"), layer.routing.use("xx", "en"):
        pass
    with pytest.raises(UsageError, match="which target language"), layer.routing.use("en", None):
        pass
    with pytest.raises(UsageError, match="2 source languages, but 3 target languages"):
        layer.routing.use(["en"] * 2, ["fa"] * 3).__enter__()
    with layer.routing.use("en", ["fa"] * 3), pytest.raises(UsageError, match="3 target languages for 2 rows"):
        layer(x)
    with layer.routing.use("en", ["fa"], beams=False), pytest.raises(UsageError, match=r"call lslo\.generate"):
        layer(x)
    with pytest.raises(UsageError, match="unknown 'xx'"):
        layer.adapter("xx")


def test_languages_hold_only_within_and_errors_leave_nothing_behind():
    layer = layer_of()
    x = torch.randn(2, 3, 12, dtype=torch.float64)
    with layer.routing.use("en", "fa"):
        before = layer(x)
        with layer.routing.use("en", "ja"):
            assert apart(layer(x), before) > 1e-3
        assert torch.equal(layer(x), before)
        with pytest.raises(RuntimeError), layer.routing.use("en", "ja"):
            raise RuntimeError
        assert torch.equal(layer(x), before)
    with pytest.raises(UsageError, match="no languages"):
        layer(x)
