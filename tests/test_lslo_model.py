"""LSLo on whole models: against peft and merged weights, mixed batches, generation, checkpointing, autocast."""

import copy

import peft
import pytest
import torch
from lslo_models import LANGUAGES, RANKS, apart, batch, tiny, wrapped

from langsim import models
from langsim.errors import UsageError
from langsim.lslo import architecture, merge, wrap

KINDS = ["m2m100", "mbart", "t5", "mt5"]
SOURCES, TARGETS = ["en", "fa", "de", "ja", "ja", "en"], ["fa", "ja", "en", "de", "fa", "ja"]


def peft_of(base, lslo, language):
    """peft's LoRA on a copy of the base, with the numbers of one language."""
    rank = lslo.settings.ranks[language]
    names = list(lslo.settings.architecture.modules)
    config = peft.LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=names)
    theirs = peft.get_peft_model(base, config, autocast_adapter_dtype=False).double().eval()
    for name, layer in lslo.layers():
        a, b = layer.adapter(language)
        module = theirs.base_model.model.get_submodule(name)
        module.lora_A["default"].weight.data.copy_(a)
        module.lora_B["default"].weight.data.copy_(b.T)
    return theirs


@pytest.mark.parametrize("kind", KINDS)
def test_one_language_equals_peft(kind):
    base = tiny(kind)
    lslo = wrapped(copy.deepcopy(base), ["en"], 3)
    theirs = peft_of(base, lslo, "en")
    data = batch()
    ours, other = lslo(**data, source="en", target="en"), theirs(**data)
    assert apart(ours.logits, other.logits) < 1e-6
    ours.loss.backward()
    other.loss.backward()
    for name, layer in lslo.layers():
        module = theirs.base_model.model.get_submodule(name)
        assert apart(layer.lora_A.grad, module.lora_A["default"].weight.grad) < 1e-6
        assert apart(layer.lora_B.grad.T, module.lora_B["default"].weight.grad) < 1e-6
    assert all(p.grad is None for p in lslo.parameters() if not p.requires_grad)


@pytest.mark.parametrize("span", ["full", "slice"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_mixed_batch_equals_one_language_at_a_time(kind, span):
    lslo = wrapped(tiny(kind), span=span)
    data = batch(6)
    mixed = lslo(**data, source=SOURCES, target=TARGETS).logits
    for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        alone = lslo(**{key: value[[row]] for key, value in data.items()}, source=source, target=target).logits[0]
        assert apart(mixed[row], alone) < 1e-9
    swapped = lslo(**data, source=TARGETS, target=SOURCES).logits
    assert apart(mixed, swapped) > 1e-3, "the test could not fail"


def test_gradients_of_a_mixed_batch_are_the_sum_of_its_samples():
    lslo, data = wrapped(tiny()), batch(6)
    parameters = [p for p in lslo.parameters() if p.requires_grad]

    def gradients(rows, source, target):
        part = {key: value[rows] for key, value in data.items()}
        logits = lslo(**part, source=source, target=target).logits
        return torch.autograd.grad(logits.square().sum(), parameters)

    mixed = gradients(list(range(6)), SOURCES, TARGETS)
    singly = [gradients([row], SOURCES[row], TARGETS[row]) for row in range(6)]
    for ours, *parts in zip(mixed, *singly, strict=True):
        assert apart(ours, sum(parts)) < 1e-9


@pytest.mark.parametrize("kind", ["m2m100", "t5"])
@pytest.mark.parametrize("beams", [1, 4])
def test_generation_with_mixed_targets_equals_single_runs(kind, beams):
    lslo = wrapped(tiny(kind), scale=0.6)
    data = batch(6)
    del data["labels"]
    start = lslo.model.generation_config.decoder_start_token_id
    firsts = torch.tensor([[start, 5 + LANGUAGES.index(target)] for target in TARGETS])
    options = {"num_beams": beams, "max_new_tokens": 8, "num_return_sequences": beams, "do_sample": False}
    mixed = lslo.generate(**data, decoder_input_ids=firsts, source=SOURCES, target=TARGETS, **options)
    plain = lslo.generate(**data, decoder_input_ids=firsts, source="de", target="de", **options)
    assert not torch.equal(pad(mixed, 12), pad(plain, 12)), "the test could not fail"
    for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        part = {key: value[[row]] for key, value in data.items()}
        alone = lslo.generate(**part, decoder_input_ids=firsts[[row]], source=source, target=target, **options)
        merged = merge(lslo, source, target).generate(**part, decoder_input_ids=firsts[[row]], **options)
        assert torch.equal(pad(mixed[row * beams : (row + 1) * beams], 12), pad(alone, 12))
        assert torch.equal(pad(alone, 12), pad(merged, 12))


def pad(rows, width):
    return torch.nn.functional.pad(rows, (0, width - rows.shape[1]), value=1)


def test_the_shipped_model_in_beam_search():
    mini = models.load("mini-m2m")
    lslo = wrapped(mini.model, LANGUAGES, 4, scale=0.02)
    texts = ["Datei öffnen", "Seite nicht gefunden", "Passwort vergessen?"]
    encoded = [mini.encode(text, "x", "de", "en") for text in texts]
    data = mini.pad(encoded)
    del data["labels"]
    targets = ["fa", "ja", "en"]
    firsts = torch.tensor([[lslo.model.generation_config.decoder_start_token_id, mini.first_token(t)] for t in targets])
    mixed = lslo.generate(**data, decoder_input_ids=firsts, num_beams=3, max_new_tokens=12, source="de", target=targets)
    for row, target in enumerate(targets):
        part = {key: value[[row]] for key, value in data.items()}
        with lslo.route("de", target):  # as any model is used
            alone = lslo.model.generate(**part, decoder_input_ids=firsts[[row]], num_beams=3, max_new_tokens=12)
        assert torch.equal(pad(mixed[[row]], 20), pad(alone, 20))


@pytest.mark.parametrize("kind", ["m2m100", "mbart", "t5"])
def test_gradient_checkpointing(kind):
    lslo, first, second = wrapped(tiny(kind)).train(), batch(6), batch(6, seed=1)
    for module in lslo.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for name in ("dropout", "activation_dropout", "attention_dropout"):
        for module in lslo.modules():
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)

    def gradients():
        lslo.zero_grad()
        # Two batches are under way at once: each is computed again by its own languages.
        losses = [
            lslo(**first, source=SOURCES, target=TARGETS).loss,
            lslo(**second, source=TARGETS, target=SOURCES).loss,
        ]
        with lslo.route("de", "de"):
            sum(losses).backward()
        return [p.grad.clone() for p in lslo.parameters() if p.requires_grad]

    kept = gradients()
    lslo.gradient_checkpointing_enable()
    calls = []
    watched = next(lslo.layers())[1]
    watched.register_forward_hook(lambda *_: calls.append(1))
    again = gradients()
    assert len(calls) == 4, "computed twice a batch"
    for ours, other in zip(again, kept, strict=True):
        assert torch.equal(ours, other) or apart(ours, other) < 1e-12
    lslo.gradient_checkpointing_disable()
    calls.clear()
    gradients()
    assert len(calls) == 2


def test_checkpoints_that_do_not_know_the_languages_are_noticed():
    lslo = wrapped(tiny()).train()
    lslo.model.activation_checkpointing_enable()
    loss = lslo(**batch(6), source=SOURCES, target=TARGETS).loss
    with pytest.raises(UsageError, match=r"lslo\.gradient_checkpointing_enable"):
        loss.backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    lslo, data = wrapped(tiny(dtype=torch.float32)), batch(6)
    exact = lslo(**data, source=SOURCES, target=TARGETS).logits
    with torch.autocast("cpu", dtype):
        found = lslo(**data, source=SOURCES, target=TARGETS)
    assert found.logits.dtype == dtype and apart(found.logits.float(), exact) < 0.05
    found.loss.backward()
    for _, layer in lslo.layers():
        assert layer.lora_A.grad.dtype == torch.float32 and layer.lora_A.grad.isfinite().all()


def test_a_base_in_half_precision():
    lslo = wrapped(tiny(dtype=torch.bfloat16))
    found = lslo(**batch(6), source=SOURCES, target=TARGETS)
    found.loss.backward()
    assert found.logits.dtype == torch.bfloat16
    assert {layer.lora_A.dtype for _, layer in lslo.layers()} == {torch.float32}


def test_at_first_it_is_the_base_and_training_moves_only_lora():
    base, data = tiny(), batch(6)
    before = base(**data).logits.detach()
    weights = {name: p.clone() for name, p in base.named_parameters()}
    lslo = wrap(base, LANGUAGES, RANKS, architecture.default(base))
    assert torch.equal(lslo(**data, source=SOURCES, target=TARGETS).logits, before)
    adam = torch.optim.Adam([p for p in lslo.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(5):
        loss = lslo(**data, source=SOURCES, target=TARGETS).loss
        losses.append(loss.item())
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert losses[-1] < losses[0]
    for name, parameter in base.named_parameters():
        if "lora_" not in name:
            assert torch.equal(parameter, weights[name]), name


def test_what_wrap_refuses():
    base = tiny()
    plan = architecture.default(base)
    cases = [
        (([], 4, plan), {}, "no languages"),
        ((["en", "en"], 4, plan), {}, "'en' is given twice"),
        ((["en", "fa"], {"en": 4}, plan), {}, "language 'fa' has no LoRA"),
        ((["en"], {"en": 4, "fa": 2}, plan), {}, "'fa', which is not among"),
        ((["en"], -1, plan), {}, "rank -1 of 'en'"),
        ((["en"], 1.5, plan), {}, "rank 1.5 of 'en'"),
        ((["en", "fa"], 0, plan), {}, "every language has rank 0"),
        ((["en"], 4, plan), {"span": "half"}, "span: unknown 'half'"),
        ((["en"], 4, plan), {"init": "zeros"}, "init: unknown 'zeros'"),
        ((["en"], 4, {"model.encoder.layers.7.fc1": "source"}), {}, r"no module 'model\.encoder\.layers\.7\.fc1'"),
        ((["en"], 4, {"model.encoder.layers.0": "source"}), {}, "M2M100EncoderLayer, no linear"),
        ((["en"], 4, {"model.encoder.layers.0.fc1": "both"}), {}, "no architecture: modules"),
    ]
    for arguments, options, message in cases:
        with pytest.raises(UsageError, match=message):
            wrap(base, *arguments, **options)
    assert all(p.requires_grad for p in base.parameters()), "a refusal leaves the model as it was"
    wrap(base, ["en"], 4, plan)
    with pytest.raises(UsageError, match="has language-specific LoRA already"):
        wrap(base, ["en"], 4, plan)


def test_training_after_inference_by_one_route():
    lslo = wrapped(tiny())
    with lslo.route(SOURCES, TARGETS):
        with torch.inference_mode():
            read = lslo.model(**batch(6)).loss
        loss = lslo.model(**batch(6)).loss
        loss.backward()
    assert loss.item() == read.item()


def test_calls_without_languages():
    lslo = wrapped(tiny())
    with pytest.raises(UsageError, match="which source language"):
        lslo(**batch(), target="en")
    with pytest.raises(UsageError, match="no languages are given"):
        lslo.model(**batch())
    with pytest.raises(UsageError, match="target language: unknown 'xx'"):
        lslo.generate(**batch(), source="en", target="xx")
    with pytest.raises(UsageError, match="3 target languages for 4 rows"):
        lslo(**batch(), source="en", target=["en"] * 3)
