"""Weight learning against a loop over samples and against merged weights; what is learned, saved and used again."""

import copy
import json

import pytest
import torch
from lslo_models import LANGUAGES, RANKS, apart, batch, tiny
from torch import nn

from langsim.errors import Failure, UsageError
from langsim.lslo import architecture, wrap
from langsim.lslo.routing import Routing
from langsim.lslo.weight_learning import Learned, WeightedLinear, learn

SOURCES, TARGETS = ["en", "fa", "de", "ja", "ja", "en"], ["fa", "ja", "en", "de", "fa", "ja"]
TOTAL = sum(RANKS.values())


def learner(kind="m2m100", seed=0, scale=0.3, **options):
    """Weight learning with B matrices and weights at random."""
    it = learn(tiny(kind), LANGUAGES, RANKS, seed=seed, **options)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for _, layer in it.layers():
            layer.lora_B.copy_(scale * torch.randn(layer.lora_B.shape, generator=generator, dtype=torch.float64))
        for stack in it.logits.values():
            stack.copy_(torch.randn(stack.shape, generator=generator, dtype=torch.float64))
    return it.eval()


def parts(layer):
    """(side, language) -> A, B transposed, from the order in which they are said to stand."""
    found, start = {}, 0
    for side in ("source", "target"):
        for language, rank in RANKS.items():
            found[side, language] = layer.lora_A[start : start + rank], layer.lora_B[start : start + rank]
            start += rank
    assert start == len(layer.lora_A)
    return found


def one_by_one(layer, x, sources, targets, weights):
    """The equation of section 4.1, sample by sample."""
    of, (inputs, outputs), found = parts(layer), layer.widths, []
    for row, source, target in zip(x, sources, targets, strict=True):
        change = torch.zeros(layer.out_features, layer.in_features, dtype=x.dtype)
        for weight, key in ((weights[0], ("source", source)), (weights[1], ("target", target))):
            a, b = of[key]
            change[:outputs, :inputs] = change[:outputs, :inputs] + weight * (b.T @ a)
        found.append(row @ (layer.weight + change).T + layer.bias)
    return torch.stack(found)


@pytest.mark.parametrize("widths", [(12, 20), (7, 7)])
@pytest.mark.parametrize(
    ("sources", "targets"),
    [
        (["en", "ja", "fa", "en", "ja"], ["de", "ja", "de", "fa", "en"]),
        (["de"] * 5, ["en", "ja", "fa", "en", "ja"]),
        (["fa"] * 5, ["ja"] * 5),
        (["de"] * 5, ["de"] * 5),
    ],
)
def test_equals_a_loop_over_samples(widths, sources, targets):
    torch.manual_seed(0)
    logits = nn.Parameter(torch.randn(3, 2, dtype=torch.float64))
    layer = WeightedLinear(nn.Linear(12, 20).double().requires_grad_(False), Routing(RANKS), widths, logits, 1)
    nn.init.normal_(layer.lora_A)
    nn.init.normal_(layer.lora_B)
    x = torch.randn(5, 3, 12, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 3, 20, dtype=torch.float64)
    with layer.routing.use(sources, targets):
        ours = layer(x)
    exponents = [logits[1, i].exp() for i in (0, 1)]
    slow = one_by_one(layer, x, sources, targets, [one / sum(exponents) for one in exponents])
    assert apart(ours, slow) < 1e-12
    inputs = (x, layer.lora_A, layer.lora_B, logits)
    for mine, other in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((slow * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["m2m100", "mbart", "t5", "mt5"])
def test_a_mixed_batch_equals_merged_weights(kind):
    """Each sample alone through a plain model whose weights have both changes added."""
    it, data, base = learner(kind), batch(6), tiny(kind)
    weights = {stack: logits.detach().softmax(-1) for stack, logits in it.logits.items()}
    mixed = it(**data, source=SOURCES, target=TARGETS).logits
    for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        plain = copy.deepcopy(base)
        with torch.no_grad():
            for name, layer in it.layers():
                words = name.split(".")
                number = next(int(word) for word in words if word.isdigit())
                pair = weights["encoder" if "encoder" in words else "decoder"][number]
                for weight, key in zip(pair, (("source", source), ("target", target)), strict=True):
                    a, b = parts(layer)[key]
                    plain.get_submodule(name).weight += weight * (b.T @ a)
        alone = plain(**{key: value[[row]] for key, value in data.items()}).logits[0]
        assert apart(mixed[row], alone) < 1e-9
    assert apart(it(**data, source=TARGETS, target=SOURCES).logits, mixed) > 1e-3, "the test could not fail"


def test_gradients_reach_the_weights_of_every_layer():
    it, data = learner(), batch(6)

    def loss():
        return it(**data, source=SOURCES, target=TARGETS).loss

    loss().backward()
    for logits in it.logits.values():
        assert logits.grad.all() and torch.allclose(logits.grad.sum(1), torch.zeros(2, dtype=torch.float64))
        step, estimated = 1e-6, torch.zeros_like(logits)
        for place in torch.cartesian_prod(torch.arange(2), torch.arange(2)).tolist():
            ends = []
            for sign in (1, -1):
                with torch.no_grad():
                    logits[*place] += sign * step
                    ends.append(loss())
                    logits[*place] -= sign * step
            estimated[*place] = (ends[0] - ends[1]) / (2 * step)
        torch.testing.assert_close(logits.grad, estimated, rtol=1e-4, atol=1e-9)
    assert {name for name, p in it.named_parameters() if p.grad is not None} == {
        name for name, p in it.named_parameters() if p.requires_grad
    }


def test_at_first_it_is_the_base_and_the_weights_are_equal():
    base, data = tiny(), batch(6)
    before = base(**data).logits.detach()
    it = learn(base, LANGUAGES)
    assert torch.equal(it(**data, source=SOURCES, target=TARGETS).logits, before)
    assert set(it.routing.ranks.values()) == {8}
    assert it.learned().encoder == ((0.5, 0.5), (0.5, 0.5))
    trained = [p for p in it.parameters() if p.requires_grad]
    assert sum(p.numel() for p in trained) == 2 * 4 * 8 * sum(sum(x.widths) for _, x in it.layers()) + 8
    a = dict(it.layers())["model.encoder.layers.0.fc1"].lora_A
    assert (a[:32] != a[32:]).any(1).all(), "both sides start apart"
    with pytest.raises(UsageError, match="layer 0 of the encoder has equal weights"):
        it.learned().architecture(base)


def test_it_learns_the_side_that_the_data_need():
    """The outputs of one with saturated weights are the aim; only the weights are trained."""
    it, data = learner(scale=0.2), batch(6)
    wanted = {"encoder": ["source", "target"], "decoder": ["target", "source"]}

    def call():
        return it(**data, source=SOURCES, target=TARGETS).logits

    with torch.no_grad():
        for stack, sides in wanted.items():
            it.logits[stack].copy_(torch.tensor([[9.0, -9.0] if side == "source" else [-9.0, 9.0] for side in sides]))
        aim = call()
        for logits in it.logits.values():
            logits.zero_()
    adam = torch.optim.Adam(it.logits.values(), lr=0.2)
    for _ in range(40):
        adam.zero_grad()
        (call() - aim).square().mean().backward()
        adam.step()
    learned = it.learned()
    assert {stack: list(learned.sides(stack)) for stack in wanted} == wanted
    assert learned.architecture(tiny()) == architecture.by_layer(tiny(), wanted["encoder"], wanted["decoder"])


def test_copied_and_cast_the_weights_stay_shared():
    for it in (copy.deepcopy(learner()), learner().float().double()):
        it(**batch(6), source=SOURCES, target=TARGETS).loss.backward()
        assert all(logits.grad.all() for logits in it.logits.values())
        names = [name for name in it.state_dict() if "logits" in name]
        assert names == ["logits.decoder", "logits.encoder"] or names == ["logits.encoder", "logits.decoder"]


def test_gradient_checkpointing_and_generation():
    it, data = learner().train(), batch(6)
    for module in it.modules():
        for name in ("dropout", "activation_dropout", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)

    def gradients():
        it.zero_grad()
        it(**data, source=SOURCES, target=TARGETS).loss.backward()
        return [p.grad.clone() for p in it.parameters() if p.requires_grad]

    kept = gradients()
    it.gradient_checkpointing_enable()
    assert all(apart(ours, other) < 1e-12 for ours, other in zip(gradients(), kept, strict=True))
    it.gradient_checkpointing_disable()
    it.eval()
    del data["labels"]
    mixed = it.generate(**data, source=SOURCES, target=TARGETS, num_beams=3, max_new_tokens=6)
    for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        part = {key: value[[row]] for key, value in data.items()}
        alone = it.generate(**part, source=source, target=target, num_beams=3, max_new_tokens=6)
        assert torch.equal(mixed[row, : alone.shape[1]], alone[0]) and (mixed[row, alone.shape[1] :] == 1).all()


def test_learned_saved_read_and_used_again(tmp_path):
    base = tiny()
    learned = Learned(
        model_type="m2m_100",
        kinds=("fc1", "fc2"),
        encoder=((0.75, 0.25), (0.4, 0.6)),
        decoder=((0.1, 0.9), (0.3, 0.7)),
    )
    learned.save(tmp_path / "learned.json")
    again = Learned.load(tmp_path / "learned.json")
    assert again == learned and json.loads((tmp_path / "learned.json").read_text())["encoder"][1] == [0.4, 0.6]
    plan = again.architecture(base)
    assert plan == architecture.strategy(base, "WL", ["fc1", "fc2"]), "1 of 2 layers by source, as 9 of 12"
    assert again.architecture(base, ["q"]) == architecture.strategy(base, "WL", ["q"])
    wrap(base, ["en"], 2, plan)
    frame = learned.frame()
    assert list(frame.columns) == ["stack", "layer", "side", "weight"] and len(frame) == 8
    one = frame[(frame["stack"] == "decoder") & (frame["layer"] == 1) & (frame["side"] == "target")]
    assert one["weight"].tolist() == [0.7]


def test_of_a_real_one_after_training(tmp_path):
    it = learner("t5")
    it.learned().save(tmp_path / "it.json")
    assert Learned.load(tmp_path / "it.json") == it.learned()
    with torch.no_grad():
        it.logits["encoder"][0, 0] = float("nan")
    with pytest.raises(Failure, match="are no numbers"):
        it.learned()


def test_refusals(tmp_path):
    base = tiny()
    cases = [
        (([], 4), {}, "no languages"),
        ((["en"], 0), {}, "every language has rank 0"),
        ((["en"], 4, ["cross_q"]), {}, "the encoder has no projections of the kinds cross_q"),
        ((["en"], 4, ["out"]), {}, "kind of projection: unknown 'out'"),
        ((["en"], 4), {"span": "half"}, "span: unknown 'half'"),
    ]
    for arguments, options, message in cases:
        with pytest.raises(UsageError, match=message):
            learn(base, *arguments, **options)
    assert all(p.requires_grad for p in base.parameters()), "a refusal leaves the model as it was"
    learn(base, ["en"])
    with pytest.raises(UsageError, match="has language-specific LoRA already"):
        wrap(base, ["en"], 4, architecture.default(base))
    learned = learner().learned()
    with pytest.raises(UsageError, match="learned on a 'm2m_100', the model is a 't5'"):
        learned.architecture(tiny("t5"))
    short = learned.model_copy(update={"encoder": learned.encoder[:1]})
    with pytest.raises(UsageError, match="the encoder has 2 layers, but 1 sides"):
        short.architecture(tiny())
    with pytest.raises(UsageError, match="no learned weights at"):
        Learned.load(tmp_path / "it.json")
    (tmp_path / "it.json").write_text(learned.model_dump_json().replace("encoder", "other"))
    with pytest.raises(Failure, match="holds no learned weights: "):
        Learned.load(tmp_path / "it.json")
    told = json.loads(learned.model_dump_json()) | {"encoder": [[0.8, 0.8]]}
    (tmp_path / "it.json").write_text(json.dumps(told))
    with pytest.raises(Failure, match=r"0\.8 and 0\.8 are not positive with sum 1"):
        Learned.load(tmp_path / "it.json")
