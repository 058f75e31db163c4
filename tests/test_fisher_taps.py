"""Tied and repeated uses, uses without a rule, and a model that is handed back as it was found."""

import numpy as np
import pytest
import torch
from fisher_oracle import distance, loop_per_example, tiny_batch, tiny_model, worst_distance
from torch import nn
from torch.nn import functional as F
from transformers.modeling_outputs import MaskedLMOutput

from langsim import groups
from langsim.errors import Failure, UsageError
from langsim.fisher import collector, estimate
from langsim.fisher.contributions import add_squares


class Small(nn.Module):
    """A tagger whose body is given: ids (B, T) to hidden (B, T, 8), with a loss as transformers models have."""

    def __init__(self, body, **parameters):
        super().__init__()
        torch.manual_seed(0)
        self.config = type("Config", (), {"is_encoder_decoder": False})()
        self.embed = nn.Embedding(50, 8)
        self.linear = nn.Linear(8, 8)
        self.norm = nn.RMSNorm(8)
        self.head = nn.Linear(8, 50, bias=False)
        for name, shape in parameters.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))
        self.body = body
        self.double().eval()

    def forward(self, input_ids, labels=None):
        logits = self.head(self.body(self, self.embed(input_ids)))
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten()) if labels is not None else None
        return MaskedLMOutput(loss=loss, logits=logits)


def small_batch(examples=4, length=6):
    generator = torch.Generator().manual_seed(1)
    ids, labels = torch.randint(0, 50, (2, examples, length), generator=generator)
    labels[:, ::3] = -100
    return {"input_ids": ids, "labels": labels}


BODIES = {
    "called twice": (lambda m, h: m.linear(torch.tanh(m.linear(h))), {}),
    "rms norm": (lambda m, h: m.norm(m.linear(h)), {}),
    "vector, either side": (lambda m, h: (m.scale * h) * m.other, {"scale": (8,), "other": (8,)}),
    "four dimensions": (lambda m, h: m.linear(h.view(*h.shape[:2], 1, 8).expand(-1, -1, 3, -1)).sum(2), {}),
    "bias alone": (lambda m, h: F.linear(h, torch.eye(8).to(h) / 2, m.shift), {"shift": (8,)}),
    "unused result": (lambda m, h: (m.linear(h), m.linear(torch.tanh(h)))[1], {}),
    "no batch in the positions": (lambda m, h: h + F.embedding(torch.arange(6)[None], m.place), {"place": (9, 8)}),
    "padding row": (lambda m, h: h + F.embedding(torch.arange(6).expand(len(h), 6), m.place, 1), {"place": (9, 8)}),
}


@pytest.mark.parametrize("name", BODIES)
def test_every_way_of_using_a_parameter(name):
    body, parameters = BODIES[name]
    model = Small(body, **parameters)
    batch = small_batch()
    vector = estimate(model, [batch], estimator="per_example", selection="all")
    reference = loop_per_example(model, [batch], groups.select(model, "all"))
    assert worst_distance(vector, reference) < 1e-10


def test_a_bias_without_its_weight():
    model = tiny_model("m2m100")
    batch = tiny_batch(model)
    for selection in (r"re:bias$", r"re:fc1\.bias", r"re:layer_norm\.weight"):
        vector = estimate(model, [batch], estimator="per_example", selection=selection)
        assert worst_distance(vector, loop_per_example(model, [batch], groups.select(model, selection))) < 1e-8


def test_a_tied_weight_is_summed_before_it_is_squared(monkeypatch):
    """The planted error, squares of the uses summed, must be told from the right answer."""
    model = tiny_model("m2m100")
    batch = tiny_batch(model)
    selection = r"re:^model\.shared\.weight$"
    reference = loop_per_example(model, [batch], groups.select(model, selection))
    right = estimate(model, [batch], estimator="per_example", selection=selection)
    assert distance(right.values, reference) < 1e-10

    def apart(out, contributions):
        assert len(contributions) == 3  # encoder, decoder, output layer
        for each in contributions:
            add_squares(out, [each])

    monkeypatch.setattr(collector, "add_squares", apart)
    wrong = estimate(model, [batch], estimator="per_example", selection=selection)
    assert distance(wrong.values, reference) > 0.01


@pytest.mark.parametrize(
    ("body", "parameters", "message"),
    [
        (lambda m, h: h @ m.matrix, {"matrix": (8, 8)}, "no per-example rule for .*matmul.* of matrix; leave"),
        (lambda m, h: h + m.shift, {"shift": (8,)}, "no per-example rule for .*add.* of shift; leave"),
        (lambda m, h: F.linear(h, m.matrix.T), {"matrix": (8, 8)}, "no per-example rule for .*T.* of matrix; leave"),
        (lambda m, h: torch.cat([h, m.matrix.expand(len(h), 1, 8)], 1)[:, :6], {"matrix": (1, 8)}, "of matrix"),
        (lambda m, h: m.linear(h.transpose(0, 1)).transpose(0, 1), {}, r"linear.weight is applied to .*\(6, 4, 8\)"),
        (lambda m, h: h + F.embedding(torch.arange(6), m.place), {"place": (9, 8)}, r"place is applied to .*\(6,\)"),
        (lambda m, h: h + F.embedding(torch.ones(4, 6).long(), m.place, max_norm=1.0), {"place": (9, 8)}, "of place"),
    ],
)
def test_a_use_without_a_rule_is_named(body, parameters, message):
    model = Small(body, **parameters)
    with pytest.raises(UsageError, match=message) as error:
        estimate(model, [small_batch()], estimator="per_example", selection="all")
    assert "\n" not in str(error.value)
    assert estimate(model, [small_batch()], estimator="batch", selection="all").total > 0
    assert estimate(model, [small_batch()], estimator="per_example", selection=r"re:^head").total > 0


def test_a_left_to_right_model_is_refused():
    import transformers as hf

    config = hf.GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=1)
    model = hf.GPT2LMHeadModel(config)
    with pytest.raises(UsageError, match="predicts the next token"):
        estimate(model, [small_batch()], selection="re:mlp")


def state(model):
    return {
        "training": [module.training for module in model.modules()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "grad": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "weights": [parameter.detach().clone() for parameter in model.parameters()],
        "random": torch.get_rng_state(),
        "hooks": [dict(module._forward_hooks) | dict(module._backward_hooks) for module in model.modules()],
        "attributes": [set(vars(module)) for module in model.modules()],
    }


def assert_same(before, after):
    for what in ("training", "requires_grad", "hooks", "attributes"):
        assert before[what] == after[what], what
    assert torch.equal(before["random"], after["random"])
    for what in ("grad", "weights"):
        for a, b in zip(before[what], after[what], strict=True):
            assert (a is None and b is None) or torch.equal(a, b), what


@pytest.mark.parametrize(
    ("estimator", "recipe"),
    [("batch", "paper"), ("batch", "authors_code"), ("per_example", "paper"), ("sampled", "paper")],
)
@pytest.mark.parametrize("name", ["m2m100", "t5"])
def test_the_model_is_handed_back_as_it_was(name, estimator, recipe):
    model = tiny_model(name)
    batch = tiny_batch(model)
    next(model.children()).train()  # a mixture of modes
    some = list(model.parameters())
    some[3].requires_grad_(False)
    some[5].grad = torch.full_like(some[5], 7.0)
    before = state(model)
    estimate(model, [batch], estimator=estimator, recipe=recipe, selection="all")
    assert_same(before, state(model))

    class Interrupted(Exception):
        pass

    def breaking():
        yield batch
        raise Interrupted

    with pytest.raises(Interrupted):
        estimate(model, breaking(), estimator=estimator, recipe=recipe, selection="all")
    assert_same(before, state(model))
    with torch.no_grad():  # the caller's mode is not ours
        estimate(model, [batch], estimator=estimator, recipe=recipe, selection="all")
    assert_same(before, state(model))


@pytest.mark.parametrize("estimator", ["batch", "per_example", "sampled"])
def test_a_loss_that_is_not_a_number_names_its_batch(estimator):
    model = tiny_model("m2m100")
    good, bad = tiny_batch(model), tiny_batch(model, seed=1)
    poisoned = 4  # a word that only the second batch has: other ids begin with 5
    bad["input_ids"][0, 0] = poisoned
    with torch.no_grad():
        model.model.shared.weight[poisoned] = float("nan")
    model.lm_head.weight = nn.Parameter(torch.randn_like(model.lm_head.weight))  # untied: the good batch stays good
    before = state(model)
    with pytest.raises(Failure, match="loss of batch 2 of 'fa' is nan") as caught:
        estimate(model, [good, bad], estimator=estimator, key="fa")
    assert "\n" not in str(caught.value)
    assert before["requires_grad"] == state(model)["requires_grad"]
    assert before["attributes"] == state(model)["attributes"]


@pytest.mark.parametrize("estimator", ["batch", "per_example"])
def test_a_gradient_that_is_not_finite_names_its_batch(estimator):
    model = tiny_model("m2m100", torch.float32)
    passes = []

    def spoil(module, inputs, output):
        passes.append(1)
        if len(passes) == 3 and output.requires_grad:
            output.register_hook(lambda g: g * float("inf"))

    model.model.decoder.layers[0].fc2.register_forward_hook(spoil)
    with pytest.raises(Failure, match="gradient of batch 3 "):
        estimate(model, [tiny_batch(model)] * 4, estimator=estimator, selection="ffn")


def test_parameters_without_a_part_in_the_loss_have_none():
    model = Small(lambda m, h: h, unused=(3, 3))
    for estimator in ("batch", "per_example"):
        vector = estimate(model, [small_batch()], estimator=estimator, selection="all")
        assert not vector.tensor("unused").any()
        assert not estimate(model, [small_batch()], estimator=estimator, selection="re:unused").values.any()
        assert np.isfinite(vector.values).all()
