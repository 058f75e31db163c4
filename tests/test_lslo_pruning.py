"""Masks against torch's own pruning of matrices that stand apart; counts, ties, nesting, training, files."""

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lslo_models import LANGUAGES, RANKS, apart, batch, tiny, wrapped
from torch import nn
from torch.nn.utils import prune

from langsim.errors import UsageError
from langsim.lslo import load, merge, save
from langsim.lslo.peft_format import export_adapter, import_adapter
from langsim.lslo.pruning import Pruning, make_permanent, smallest
from langsim.lslo.schedule import Schedule

SOURCES, TARGETS = ["en", "fa", "de", "ja"], ["fa", "ja", "en", "de"]
RANKED = [language for language, rank in RANKS.items() if rank]
NAMES = {"B": ["lora_B"], "A and B": ["lora_A", "lora_B"]}


def lines(language):
    start = 0
    for other, rank in RANKS.items():
        if other == language:
            return slice(start, start + rank)
        start += rank
    raise AssertionError


def apart_matrices(lslo, languages, names):
    """(module, matrix, language) -> a module of torch that holds a copy of this matrix alone."""
    found = {}
    for module, layer in lslo.layers():
        for name in names:
            for language in languages:
                alone = nn.Module()
                alone.w = nn.Parameter(getattr(layer, name).detach()[lines(language)].clone())
                found[module, name, language] = alone
    return found


def group_of(scope, key):
    module, name, language = key
    words = module.split(".")
    if scope == "tensor":
        return key
    if scope == "language":
        return name, language
    return name, "encoder" if "encoder" in words else "decoder", next(word for word in words if word.isdigit())


@pytest.mark.parametrize("kind", ["m2m100", "mt5"])
@pytest.mark.parametrize("matrices", ["B", "A and B"])
@pytest.mark.parametrize("languages", [None, ("ja", "en", "de")])
@pytest.mark.parametrize("scope", ["tensor", "language", "layer"])
def test_equals_torch_on_matrices_apart(scope, languages, matrices, kind):
    lslo = wrapped(tiny(kind))
    chosen = [language for language in RANKED if languages is None or language in languages]
    expected = apart_matrices(lslo, chosen, NAMES[matrices])
    untouched = apart_matrices(lslo, RANKED, ["lora_A", "lora_B"])
    groups = {}
    for key, alone in expected.items():
        groups.setdefault(group_of(scope, key), []).append(alone)
    pruning = Pruning.of(scope, matrices, languages)
    for ratio in (0.15, 0.62):
        for members in groups.values():
            # torch counts from what is left; so each ratio begins anew with all, of which the pruned are 0
            for alone in members:
                if prune.is_pruned(alone):
                    prune.remove(alone, "w")
            if len(members) == 1:
                prune.l1_unstructured(members[0], "w", amount=ratio)
            else:
                prune.global_unstructured([(alone, "w") for alone in members], prune.L1Unstructured, amount=ratio)
        pruning.apply(lslo, ratio)
        for (module, name, language), before in untouched.items():
            found = lslo.model.get_submodule(module).used(name)[lines(language)]
            wanted = expected.get((module, name, language), before).w
            assert torch.equal(found, wanted), (module, name, language)
        counts = pruning.counts(lslo).set_index(["module", "matrix", "language"])
        assert len(counts) == len(expected)
        for (module, name, language), alone in expected.items():
            row = counts.loc[(module, name[-1], language)]
            assert (row["size"], row["pruned"]) == (alone.w.numel(), int((alone.w == 0).sum()))


values = st.lists(st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.0]), min_size=1, max_size=40)


@given(values, st.data())
def test_the_smallest_the_earlier_of_equal_ones_and_first_what_was_pruned(numbers, data):
    first = data.draw(st.lists(st.booleans(), min_size=len(numbers), max_size=len(numbers)))
    amount = data.draw(st.integers(sum(first), len(numbers)))
    mask = smallest(torch.tensor(numbers), torch.tensor(first), amount)
    order = sorted(range(len(numbers)), key=lambda i: (not first[i], abs(numbers[i]), i))
    assert set(mask.eq(0).nonzero().flatten().tolist()) == set(order[:amount])


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["tensor", "language", "layer"]), st.lists(st.floats(0, 1), min_size=1, max_size=4), st.data())
def test_counts_are_exact_and_masks_nested_with_ties(scope, ratios, data):
    """B matrices of few different numbers, which change between the steps as an optimizer would change them."""
    lslo = wrapped(
        tiny(), plan={f"model.{s}.layers.1.{k}": "target" for s in ("encoder", "decoder") for k in ("fc1", "fc2")}
    )
    pruning = Pruning.of(scope)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    before = None
    for ratio in sorted(ratios):
        with torch.no_grad():
            for _, layer in lslo.layers():
                stored = layer._parameters.get("lora_B_orig", layer._parameters.get("lora_B"))
                stored.copy_(torch.randint(-2, 3, stored.shape, generator=generator))
        pruning.apply(lslo, ratio)
        for parts in pruning.groups(lslo).values():
            pruned = torch.cat([part.pruned() for part in parts])
            assert int(pruned.sum()) == round(ratio * len(pruned))
        now = {name: getattr(layer, "lora_B_mask", torch.ones_like(layer.lora_B)) for name, layer in lslo.layers()}
        if before is not None:
            assert all((now[name] <= before[name]).all() for name in now)
        before = {name: mask.clone() for name, mask in now.items()}
        pruning.apply(lslo, ratio)
        for name, layer in lslo.layers():
            assert torch.equal(getattr(layer, "lora_B_mask", torch.ones_like(layer.lora_B)), before[name])


def trained(lslo, pruning, epochs=5, of_epoch=lambda epoch: None):
    """A schedule in a training with Adam, whose parameters are given once."""
    adam = torch.optim.Adam([p for p in lslo.parameters() if p.requires_grad], lr=0.02)
    schedule = Schedule.of(0.7, 1, 3, epochs)
    for epoch in range(1, epochs + 1):
        pruning.apply(lslo, schedule.at(epoch))
        for i in range(3):
            adam.zero_grad()
            lslo(**batch(seed=10 * epoch + i), source=SOURCES, target=TARGETS).loss.backward()
            adam.step()
        of_epoch(epoch)
    return lslo


@pytest.mark.parametrize("scope", ["tensor", "language", "layer"])
def test_along_a_training(scope):
    lslo, pruning, masks = wrapped(tiny()), Pruning.of(scope, languages=("en", "ja")), []

    def look(epoch):
        share = Schedule.of(0.7, 1, 3, 5).at(epoch)
        for parts in pruning.groups(lslo).values():
            values = torch.cat([part.values() for part in parts])
            assert int((values == 0).sum()) == round(share * len(values)), "no momentum moves what is masked"
        masks.append({name: layer.used("lora_B") != 0 for name, layer in lslo.layers()})

    trained(lslo, pruning, of_epoch=look)
    for before, after in pairwise(masks):
        assert all((after[name] <= before[name]).all() for name in after), "what was pruned stays pruned"
    assert all(mask[lines("fa")].all() for mask in masks[-1].values()), "another language is not touched"
    assert not any(layer.used("lora_A").eq(0).any() for _, layer in lslo.layers())


def test_what_is_masked_gets_no_gradient_and_the_rest_its_own():
    lslo = wrapped(tiny())
    Pruning.of("layer").apply(lslo, 0.5)
    plain = wrapped(tiny())
    with torch.no_grad():
        for (_, layer), (_, other) in zip(lslo.layers(), plain.layers(), strict=True):
            other.lora_B.copy_(layer.used("lora_B"))
    for it in (lslo, plain):
        it(**batch(), source=SOURCES, target=TARGETS).loss.backward()
    for (_, layer), (_, other) in zip(lslo.layers(), plain.layers(), strict=True):
        assert torch.equal(layer.lora_B_orig.grad, other.lora_B.grad * layer.lora_B_mask)
        torch.testing.assert_close(layer.lora_A.grad, other.lora_A.grad, rtol=0, atol=0)


@pytest.mark.parametrize("matrices", ["B", "A and B"])
def test_saved_loaded_merged_exported_after_the_last_step(tmp_path, matrices):
    """After an optimizer's step and before the next forward pass: files have what the next pass uses."""
    pruning = Pruning.of("tensor", matrices, ("en", "ja"))
    lslo = trained(wrapped(tiny()), pruning)
    save(lslo, tmp_path / "it")
    merged = merge(lslo, "en", "ja")
    export_adapter(lslo, "ja", tmp_path / "ja")
    counted = pruning.counts(lslo)
    output = lslo(**batch(), source=SOURCES, target=TARGETS).logits
    again = load(tmp_path / "it", tiny()).eval()
    assert torch.equal(again(**batch(), source=SOURCES, target=TARGETS).logits, output)
    assert apart(merged(**batch()).logits, lslo(**batch(), source="en", target="ja").logits) < 1e-9
    other = wrapped(tiny())
    import_adapter(other, "ja", tmp_path / "ja")
    for (_, one), (_, two) in zip(lslo.layers(), other.layers(), strict=True):
        assert torch.equal(one.adapter("ja")[1], two.adapter("ja")[1])
    pruning.apply(again, 0.7)
    assert pruning.counts(again).equals(counted) and counted["pruned"].sum() > 0
    for (_, one), (_, two) in zip(lslo.layers(), again.layers(), strict=True):
        assert torch.equal(one.lora_B_mask, two.lora_B_mask)


def test_made_permanent():
    lslo = trained(wrapped(tiny()), Pruning.of("language", "A and B"))
    output = lslo(**batch(), source=SOURCES, target=TARGETS).logits
    names = {name for name, _ in wrapped(tiny()).named_parameters()}
    assert {name for name, _ in lslo.named_parameters()} != names
    make_permanent(lslo)
    assert {name for name, _ in lslo.named_parameters()} == names
    assert not any(prune.is_pruned(layer) for _, layer in lslo.layers())
    assert torch.equal(lslo(**batch(), source=SOURCES, target=TARGETS).logits, output)
    copy.deepcopy(lslo)


def test_gradient_checkpointing_and_inference_between():
    lslo = wrapped(tiny())
    Pruning.of("layer").apply(lslo, 0.4)

    def gradients():
        lslo.zero_grad()
        with torch.inference_mode():
            lslo(**batch(), source=TARGETS, target=SOURCES)
        lslo(**batch(), source=SOURCES, target=TARGETS).loss.backward()
        return [p.grad.clone() for p in lslo.parameters() if p.requires_grad]

    kept = gradients()
    lslo.gradient_checkpointing_enable()
    assert all(torch.equal(ours, other) for ours, other in zip(gradients(), kept, strict=True))
    with torch.inference_mode():
        lslo(**batch(), source=TARGETS, target=SOURCES)
    Pruning.of("layer").apply(lslo, 0.5)
    gradients()


def test_nothing_at_zero_and_all_at_one():
    lslo, base = wrapped(tiny()), tiny()
    Pruning.of("layer").apply(lslo, 0)
    assert not any(prune.is_pruned(layer) for _, layer in lslo.layers())
    Pruning.of("layer").apply(lslo, 1)
    assert torch.equal(lslo(**batch(), source=SOURCES, target=TARGETS).logits, base(**batch()).logits)


def test_refusals(tmp_path):
    lslo = wrapped(tiny())
    for arguments, message in [
        (("head",), "pruning: scope: "),
        (("layer", "A"), "pruning: matrices: "),
        (("layer", "B", ()), "pruning: languages: "),
    ]:
        with pytest.raises(UsageError, match=message):
            Pruning.of(*arguments)
    for pruning, ratio, message in [
        (Pruning.of("layer"), 1.5, "pruning ratio 1.5: "),
        (Pruning.of("layer"), float("nan"), "pruning ratio nan: "),
        (Pruning.of("layer", languages=["xx"]), 0.5, "language to prune: unknown 'xx'"),
        (Pruning.of("layer", languages=["de"]), 0.5, "none of the languages to prune has LoRA"),
    ]:
        with pytest.raises(UsageError, match=message):
            pruning.apply(lslo, ratio)
    assert not any(prune.is_pruned(layer) for _, layer in lslo.layers())
    Pruning.of("tensor").apply(lslo, 0.5)
    with pytest.raises(UsageError, match=r"weights of lora_B encoder 0, but \d+ are pruned already"):
        Pruning.of("layer").apply(lslo, 0.2)
    export_adapter(lslo, "fa", tmp_path)
    with pytest.raises(UsageError, match=r"call pruning\.make_permanent first"):
        import_adapter(lslo, "fa", tmp_path)
    outside = wrapped(tiny(), plan={"lm_head": "target"})
    with pytest.raises(UsageError, match="'lm_head' is no projection of a layer"):
        Pruning.of("tensor").apply(outside, 0.2)
    assert set(LANGUAGES) > set(RANKED)
