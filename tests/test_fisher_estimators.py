"""The estimators against plain loops over autograd, and the properties that tell them apart."""

import numpy as np
import pytest
import torch
from fisher_oracle import (
    MODELS,
    distance,
    examples_of,
    loop_batch,
    loop_per_example,
    tiny_batch,
    tiny_model,
    worst_distance,
)
from torch.utils._python_dispatch import TorchDispatchMode

from langsim import groups
from langsim.errors import UsageError
from langsim.fisher import FisherVector, estimate
from langsim.fisher.objective import predict

ORACLES = {"batch": loop_batch, "per_example": loop_per_example}


def two_batches(model):
    return [tiny_batch(model), tiny_batch(model, examples=3, source=6, target=4, seed=1)]


@pytest.mark.parametrize("selection", ["all", "ffn", "layers"])
@pytest.mark.parametrize("estimator", ORACLES)
@pytest.mark.parametrize("name", MODELS)
def test_equals_a_plain_loop_in_float64(name, estimator, selection):
    model = tiny_model(name)
    batches = two_batches(model)
    reference = ORACLES[estimator](model, batches, groups.select(model, selection))
    vector = estimate(model, batches, estimator=estimator, selection=selection)
    assert vector.values.dtype == np.float64
    assert distance(vector.values, reference) < 1e-8
    assert worst_distance(vector, reference) < 1e-8


@pytest.mark.parametrize("estimator", ORACLES)
@pytest.mark.parametrize("name", MODELS)
def test_equals_a_plain_loop_in_float32(name, estimator):
    double, single = tiny_model(name), tiny_model(name, torch.float32)
    single.load_state_dict({key: value.float() for key, value in double.state_dict().items()})
    double.load_state_dict({key: value.double() for key, value in single.state_dict().items()})
    batches = two_batches(double)
    vector = estimate(single, batches, estimator=estimator, selection="all")
    assert vector.values.dtype == np.float32
    assert distance(vector.values, ORACLES[estimator](double, batches, groups.select(double, "all"))) < 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_the_likelihood_is_that_of_transformers(name):
    model = tiny_model(name)
    batch = tiny_batch(model)
    assert estimate(model, [batch], selection="ffn").nll == pytest.approx(model(**batch).loss.item(), rel=1e-12)


def padded(model, batch, more=3):
    """The same examples, every one with `more` further positions of padding."""
    fill = {"input_ids": model.config.pad_token_id, "attention_mask": 0, "labels": -100}
    return {name: torch.nn.functional.pad(tensor, (0, more), value=fill[name]) for name, tensor in batch.items()}


@pytest.mark.parametrize("estimator", ORACLES)
@pytest.mark.parametrize("name", MODELS)
def test_padding_changes_nothing(name, estimator):
    model = tiny_model(name)
    batch = tiny_batch(model)
    short = estimate(model, [batch], estimator=estimator, selection="all")
    long = estimate(model, [padded(model, batch)], estimator=estimator, selection="all")
    assert worst_distance(long, short.values) < 1e-10
    assert long.n_tokens == short.n_tokens


@pytest.mark.parametrize("name", ["m2m100", "mt5", "bert"])
def test_per_example_does_not_depend_on_the_batches_and_batch_does(name):
    model = tiny_model(name)
    whole = tiny_batch(model, examples=12)
    cut = {size: [{k: v[i : i + size] for k, v in whole.items()} for i in range(0, 12, size)] for size in (1, 4, 7)}
    by_size = {size: estimate(model, cut[size], estimator="per_example", selection="all") for size in cut}
    for size in (4, 7):
        assert worst_distance(by_size[size], by_size[1].values) < 1e-10
        assert by_size[size].n_terms == 12
    assert distance(estimate(model, cut[4]).values, estimate(model, cut[1]).values) > 0.1


@pytest.mark.parametrize("name", ["m2m100", "t5", "xlm-r"])
def test_a_batch_of_one_is_its_example_over_the_squared_token_count(name):
    model = tiny_model(name)
    for one in examples_of(tiny_batch(model)):
        by_batch = estimate(model, [one], estimator="batch", selection="all")
        by_example = estimate(model, [one], estimator="per_example", selection="all")
        assert by_batch.n_tokens > 1
        assert worst_distance(by_batch, by_example.values / by_batch.n_tokens**2) < 1e-10


@pytest.mark.parametrize("estimator", ORACLES)
def test_examples_and_batches_without_scored_tokens_count_as_zero(estimator):
    model = tiny_model("m2m100")
    batch = tiny_batch(model)
    silent = {**batch, "labels": torch.full_like(batch["labels"], -100)}
    alone = estimate(model, [batch], estimator=estimator)
    both = estimate(model, [batch, silent], estimator=estimator)
    np.testing.assert_allclose(both.values, alone.values / 2, rtol=1e-12)
    assert (both.n_batches, both.n_examples, both.n_tokens) == (2, 10, alone.n_tokens)
    batch["labels"][2] = -100
    mixed = estimate(model, [batch], estimator=estimator)
    assert worst_distance(mixed, ORACLES[estimator](model, [batch], groups.select(model, "layers"))) < 1e-8


@pytest.mark.parametrize("estimator", ORACLES)
def test_labels_of_whole_sequences(estimator):
    """A classifier's labels are one a sequence; the head has no tokens."""
    import transformers as hf
    from fisher_oracle import BERT

    torch.manual_seed(0)
    model = hf.XLMRobertaForSequenceClassification(hf.XLMRobertaConfig(**BERT, num_labels=3)).double().eval()
    batch = tiny_batch(model) | {"labels": torch.tensor([0, 2, 1, 1, 0])}
    vector = estimate(model, [batch], estimator=estimator, selection="all")
    assert worst_distance(vector, ORACLES[estimator](model, [batch], groups.select(model, "all"))) < 1e-8


def test_the_record_of_a_vector():
    model = tiny_model("m2m100", torch.float32)
    batches = two_batches(model)
    vector = estimate(model, iter(batches), estimator="per_example", selection="ffn", key="fa")
    assert isinstance(vector, FisherVector)
    assert (vector.n_batches, vector.n_examples, vector.n_terms) == (2, 8, 8)
    assert vector.n_tokens == sum(int((batch["labels"] != -100).sum()) for batch in batches)
    assert [name for name, _, _ in vector.layout] == groups.select(model, "ffn")
    assert vector.total == pytest.approx(vector.values.sum(), rel=1e-5)
    name, shape, offset = vector.layout[2]
    assert vector.tensor(name).shape == shape
    assert np.shares_memory(vector.tensor(name), vector.values)
    assert vector.tensor(name)[0, 0] == vector.values[offset]
    assert dict(vector.items()).keys() == {name for name, _, _ in vector.layout}
    assert {"estimator": "per_example", "recipe": "paper", "selection": "ffn"}.items() <= vector.metadata().items()
    assert not {"values", "layout"} & set(vector.metadata())
    with pytest.raises(UsageError, match="no parameter 'x'"):
        vector.tensor("x")


def test_progress_wraps_the_batches():
    model = tiny_model("m2m100")
    seen = []

    def watched(batches):
        for batch in batches:
            seen.append(len(batch["labels"]))
            yield batch

    estimate(model, two_batches(model), selection="ffn", progress=watched)
    assert seen == [5, 3]


class LargestTensor(TorchDispatchMode):
    """The most elements that any result of any operation has."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(each, torch.Tensor):
                self.numel = max(self.numel, each.numel())
        return result


def test_no_tensor_is_as_large_as_examples_times_a_matrix():
    import transformers as hf
    from fisher_oracle import BART

    config = BART | {"d_model": 32, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "decoder_layers": 1}
    model = hf.M2M100ForConditionalGeneration(hf.M2M100Config(**config)).eval()
    batch = tiny_batch(model, examples=24, source=6, target=6)
    with LargestTensor() as seen:
        estimate(model, [batch], estimator="per_example", selection="ffn")
    assert 0 < seen.numel < 24 * 128 * 32


def test_one_forward_pass_a_batch():
    model = tiny_model("m2m100")
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    estimate(model, two_batches(model), estimator="per_example")
    assert len(calls) == 2


@pytest.mark.parametrize("estimator", ORACLES)
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_bfloat16_computes_roughly_the_same_and_sums_in_float32(estimator, weights):
    model = tiny_model("m2m100", torch.float32)
    batch = tiny_batch(model)
    exact = estimate(model, [batch], estimator=estimator, selection="all")
    dtype = "bfloat16" if weights == torch.float32 else "float32"
    rough = estimate(model.to(weights), [batch], estimator=estimator, selection="all", dtype=dtype)
    assert rough.values.dtype == np.float32
    assert 1e-6 < distance(rough.values, exact.values) < 0.1


@pytest.mark.parametrize("name", MODELS)
def test_the_matrix_of_the_vocabulary_reads_what_is_scored_and_no_more(name):
    model, read = tiny_model(name), []
    batch = tiny_batch(model)
    scored = batch["labels"] != -100
    watching = model.get_output_embeddings().register_forward_hook(lambda _, inputs, out: read.append(out.shape[:2]))
    prediction = predict(model, batch)
    watching.remove()
    assert read == [(len(scored), int(scored.sum(1).max()))]
    every = model(**batch).logits
    assert every.shape[:2] == scored.shape  # the model is as it was
    torch.testing.assert_close(prediction.logits[prediction.labels != -100], every[scored])
    assert prediction.labels[prediction.labels != -100].equal(batch["labels"][scored])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"estimator": "per_exampel"}, "unknown estimator 'per_exampel'.*per_example"),
        ({"recipe": "papper"}, "unknown recipe 'papper'.*paper"),
        ({"selection": "ffm"}, "unknown selection"),
        ({"dtype": "float16"}, "can't compute in 'float16'"),
        ({"recipe": "authors_code", "estimator": "per_example"}, "mini-batches; use estimator='batch'"),
    ],
)
def test_wrong_names_end_in_one_line(wrong, message):
    model = tiny_model("m2m100")
    with pytest.raises(UsageError, match=message) as error:
        estimate(model, [tiny_batch(model)], **wrong)
    assert "\n" not in str(error.value)


def test_batches_that_cannot_be_used():
    model = tiny_model("m2m100")
    batch = tiny_batch(model)
    with pytest.raises(UsageError, match="no batches of 'fa'"):
        estimate(model, [], key="fa")
    with pytest.raises(UsageError, match="nothing is scored"):
        estimate(model, [{**batch, "labels": torch.full_like(batch["labels"], -100)}])
    with pytest.raises(UsageError, match="needs 'labels'"):
        estimate(model, [{"input_ids": batch["input_ids"]}])
    bert = tiny_model("bert")
    short = tiny_batch(bert)
    with pytest.raises(UsageError, match=r"labels \(5, 6\) do not fit logits at \(5, 7\)"):
        estimate(bert, [{**short, "labels": short["labels"][:, 1:]}])
