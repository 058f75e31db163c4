"""What the authors' code does differently, against the same written out by hand; and labels drawn from the model."""

from itertools import product

import numpy as np
import pytest
import torch
import transformers as hf
from fisher_oracle import BERT, distance, gradient, tiny_batch, tiny_model

from langsim import groups
from langsim.errors import UsageError
from langsim.fisher import RECIPES, Recipe, estimate


def fairseq_smoothed_sum(logits, labels, epsilon):
    """Label-smoothed cross-entropy summed over the scored tokens, one token and one label at a time."""
    total = 0.0
    for row, label in zip(logits.flatten(0, -2), labels.flatten().tolist(), strict=True):
        if label != -100:
            log_p = row.log_softmax(0)
            for v in range(len(row)):
                weight = 1 - epsilon if v == label else epsilon / (len(row) - 1)
                total = total - weight * log_p[v]
    return total


def test_the_named_recipes_are_the_switches_of_the_facts():
    assert RECIPES["paper"] == Recipe("paper", 0.0, False, 1, None)
    assert RECIPES["authors_code"] == Recipe("authors_code", 0.2, True, 4, None)
    assert RECIPES["xsns_authors_code"] == Recipe("xsns_authors_code", 0.0, True, 1, 1.0)


@pytest.mark.parametrize("name", ["m2m100", "bert"])
def test_label_smoothing(name):
    model = tiny_model(name)
    batch = tiny_batch(model)
    names = groups.select(model, "layers")
    smoothed = fairseq_smoothed_sum(model(**batch).logits, batch["labels"], 0.2)
    reference = (gradient(model, smoothed, names) / int((batch["labels"] != -100).sum())) ** 2
    vector = estimate(model, [batch], recipe=Recipe("smooth", label_smoothing=0.2))
    assert distance(vector.values, reference) < 1e-10
    assert distance(estimate(model, [batch]).values, reference) > 0.01
    assert vector.nll == pytest.approx(model(**batch).loss.item())  # the record is of the likelihood all the same
    assert vector.recipe == "smooth"


def test_an_update_sums_gradients_and_divides_by_its_tokens():
    model = tiny_model("m2m100")
    batches = [tiny_batch(model, examples=n, seed=n) for n in (2, 5, 3, 4, 2)]
    names = groups.select(model, "all")

    def summed(batch):
        n_tokens = int((batch["labels"] != -100).sum())
        return gradient(model, model(**batch).loss * n_tokens, names), n_tokens

    squares = []
    for update in (batches[:2], batches[2:4], batches[4:]):
        gradients, tokens = zip(*(summed(batch) for batch in update), strict=True)
        squares.append((sum(gradients) / sum(tokens)) ** 2)
    vector = estimate(model, batches, recipe=Recipe("updates", batches_per_update=2), selection="all")
    assert distance(vector.values, np.mean(squares, axis=0)) < 1e-10
    assert (vector.n_terms, vector.n_batches) == (3, 5)


@pytest.mark.parametrize("clip_norm", [1.0, 1e-3])
def test_every_tensor_is_clipped_by_itself(clip_norm):
    """Against torch's own clipping, tensor by tensor, of the mean loss of a masked language model."""
    model = tiny_model("xlm-r")
    batches = [tiny_batch(model, examples=4, seed=seed) for seed in (0, 1)]
    chosen = groups.select(model, "layers+bias")
    total = 0.0
    for batch in batches:
        model.zero_grad()
        model(**batch).loss.backward()
        flat = []
        for name in chosen:
            parameter = model.get_parameter(name)
            torch.nn.utils.clip_grad_norm_([parameter], clip_norm)
            flat.append(parameter.grad.numpy().ravel().copy())
        total = total + np.concatenate(flat) ** 2
    model.zero_grad()
    vector = estimate(model, batches, recipe=Recipe("clipped", clip_norm=clip_norm), selection="layers+bias")
    assert distance(vector.values, total / 2) < 1e-8
    if clip_norm < 1:
        assert all(part.sum() < 1.01 * clip_norm**2 for _, part in vector.items())
        assert distance(estimate(model, batches, selection="layers+bias").values, total / 2) > 0.1


@pytest.mark.parametrize(("name", "recipe"), [("m2m100", "authors_code"), ("bert", "xsns_authors_code")])
def test_dropout_is_on_and_seeded(name, recipe):
    model = tiny_model(name)
    batches = [tiny_batch(model, seed=seed) for seed in range(4)]
    first, again = (estimate(model, batches, recipe=recipe, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.values, again.values)
    other = estimate(model, batches, recipe=recipe, seed=2)
    assert distance(other.values, first.values) > 1e-3
    assert not model.training


def test_a_dropped_layer_has_no_gradient_in_that_update():
    torch.manual_seed(0)
    config = hf.M2M100Config(
        vocab_size=50, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, encoder_layerdrop=1.0,
        decoder_layerdrop=0.0,
    )  # fmt: skip
    model = hf.M2M100ForConditionalGeneration(config).double()
    vector = estimate(model, [tiny_batch(model)], recipe="authors_code", selection="ffn")
    assert not any(part.any() for name, part in vector.items() if "encoder.layers" in name)
    assert all(part.any() for name, part in vector.items() if "decoder.layers" in name)


def test_dropout_per_example_keeps_the_examples_apart():
    """In training mode too, a batch's per-example gradients sum to its gradient: checked on one example."""
    model = tiny_model("m2m100")
    one = tiny_batch(model, examples=1)
    noisy = Recipe("noisy", dropout=True)
    by_example = estimate(model, [one], estimator="per_example", recipe=noisy, selection="all", seed=3)
    by_batch = estimate(model, [one], estimator="batch", recipe=noisy, selection="all", seed=3)
    assert distance(by_example.values, by_batch.values * by_batch.n_tokens**2) < 1e-10


def test_drawn_labels_cannot_be_smoothed():
    model = tiny_model("m2m100")
    with pytest.raises(UsageError, match="smooths labels"):
        estimate(model, [tiny_batch(model)], estimator="sampled", recipe=Recipe("smooth", label_smoothing=0.1))


def exact_fisher(model, one, names):
    """E[g^2] and E[g^4] over every labelling of the scored positions, weighted by the model's own probabilities."""
    places = (one["labels"][0] != -100).nonzero().squeeze(1).tolist()
    log_p = model(input_ids=one["input_ids"]).logits[0].detach().log_softmax(-1)
    second = fourth = 0.0
    for labels in product(range(log_p.shape[1]), repeat=len(places)):
        likelihood = sum(
            model(input_ids=one["input_ids"]).logits[0, place].log_softmax(-1)[label]
            for place, label in zip(places, labels, strict=True)
        )
        g = gradient(model, likelihood, names)
        p = float(sum(log_p[place, label] for place, label in zip(places, labels, strict=True)).exp())
        second, fourth = second + p * g**2, fourth + p * g**4
    return second, fourth


def test_drawn_labels_estimate_the_exact_fisher_information():
    torch.manual_seed(0)
    model = hf.BertForMaskedLM(hf.BertConfig(**BERT | {"vocab_size": 6, "num_hidden_layers": 1})).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    one = {"input_ids": torch.tensor([[1, 2, 3, 4]]), "labels": torch.tensor([[-100, 5, -100, 2]])}
    names = groups.select(model, "ffn")
    exact, fourth = exact_fisher(model, one, names)
    n_draws = 2000
    many = [{name: tensor.expand(200, -1) for name, tensor in one.items()}] * (n_draws // 200)
    standard_error = np.sqrt(np.maximum(fourth - exact**2, 0) / n_draws)
    known = standard_error > 1e-6 * exact.max()

    def z(vector):
        return np.abs(vector.values - exact)[known] / standard_error[known]

    drawn = z(estimate(model, many, estimator="sampled", selection="ffn", seed=5))
    assert np.sqrt(np.mean(drawn**2)) < 2
    assert drawn.max() < 6
    observed = z(estimate(model, many, estimator="per_example", selection="ffn"))
    assert np.sqrt(np.mean(observed**2)) > 4  # observed labels are another quantity, and the test can tell


def test_drawing_is_seeded():
    model = tiny_model("m2m100")
    batch = tiny_batch(model)
    first, again, other = (
        estimate(model, [batch], estimator="sampled", seed=seed, selection="ffn").values for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert distance(other, first) > 1e-3
