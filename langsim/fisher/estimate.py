"""Estimate the diagonal Fisher information of a model's parameters on a stream of batches."""

import math
from collections.abc import Callable, Iterable
from math import prod

import torch
from torch import Tensor, nn

from langsim import groups
from langsim.errors import Failure, UsageError
from langsim.fisher.batch import BatchSquares
from langsim.fisher.borrowing import borrowed
from langsim.fisher.objective import Batch, Prediction, on_device, predict
from langsim.fisher.per_example import ExampleSquares
from langsim.fisher.recipes import Recipe, recipe_named
from langsim.fisher.vector import FisherVector
from langsim.layout import Layout
from langsim.suggest import did_you_mean

ESTIMATORS = ("batch", "per_example", "sampled")
_AUTOCAST = {"float32": None, "bfloat16": torch.bfloat16}


def estimate(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    estimator: str = "batch",
    recipe: str | Recipe = "paper",
    selection: str = "layers",
    dtype: str | torch.dtype = "float32",
    progress: Callable[[Iterable[Batch]], Iterable[Batch]] | None = None,
    seed: int = 0,
    key: str = "",
) -> FisherVector:
    """Diagonal Fisher information of the selected parameters. No parameter changes: no optimiser takes a step.

    The estimators are different quantities:

    - `batch`: the mean over mini-batches of the squared gradient of the mean log-likelihood per target token
      (Algorithm 1 and Equation 3 of the first paper). It depends on how the text is cut into batches.
    - `per_example`: the mean over examples of the squared gradient of the example's log-likelihood, summed over its
      target tokens (Equation 2; Section 3 of X-SNS). It doesn't: batches only make it fast.
    - `sampled`: the same with labels drawn from the model itself. It estimates the Fisher information without bias;
      observed labels give what is called the empirical one.

    A batch, or an example, without any scored token has gradient zero and counts in the mean.

    Args:
        model: a transformers model with a language-modelling or classification head, on any device. It is handed
            back as it was found: mode, `requires_grad`, gradients, random numbers.
        batches: dicts of tensors fit for `model(**batch)`, with `labels`, -100 where nothing is scored. Read once,
            one at a time; a generator will do.
        recipe: "paper", "authors_code" (pseudo families), "xsns_authors_code", or a `Recipe`; see there.
        selection: which parameters; see `langsim.groups.select`.
        dtype: what the forward and backward pass compute in: "float32", in fact the type of the weights, or
            "bfloat16" by autocast. Squares are summed in float32 in either case, in float64 for a float64 model.
        progress: is given the batches and yields them, showing how far it has come, as `tqdm` does.
        seed: of dropout and of drawn labels.
        key: what is estimated, a language for example; for messages.

    Memory: the sums, the gradients of the selected parameters (`batch`) or the inputs and result gradients of their
    layers (the others), and one tile of products; never examples x parameters.

    Raises:
        UsageError: an unknown name, an empty stream, nothing scored in it, a batch that the model can't take, or
            (`per_example`, `sampled`) a selected parameter used in a way that has no per-example rule.
        Failure: a loss or a gradient that isn't finite, with the number of its batch, counted from 1.
    """
    recipe = _checked(estimator, recipe_named(recipe))
    autocast = _autocast_type(dtype)
    chosen = set(groups.select(model, selection))
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in chosen}
    values, layout, sums = _accumulators(parameters)
    n_batches = n_examples = n_tokens = 0
    nll = 0.0

    with borrowed(model, training=recipe.dropout, trainable=chosen if estimator == "batch" else (), seed=seed):
        if estimator == "batch":
            squares = BatchSquares(parameters, sums, recipe)
        else:
            squares = ExampleSquares(model, parameters, sums, _loss(estimator, recipe, values.device, seed))
        for batch in progress(batches) if progress else batches:
            n_batches += 1
            batch = on_device(batch, values.device)
            with squares.watching(batch), torch.autocast(values.device.type, autocast, enabled=autocast is not None):
                prediction = predict(model, batch)
            nll += _finite(prediction.nll.detach(), "loss", n_batches, key)
            squares.add(prediction)
            _finite(values.sum(), "gradient", n_batches, key)  # a sum of squares hides no NaN or Inf of its terms
            n_examples += len(batch["labels"])
            n_tokens += prediction.n_tokens
            del prediction  # and with it the logits, before the next batch needs the memory
        if n_batches:
            squares.finish()
            _finite(values.sum(), "gradient", n_batches, key)

    of_key = f" of {key!r}" if key else ""
    if n_batches == 0:
        raise UsageError(f"no batches{of_key}; give at least one")
    if n_tokens == 0:
        raise UsageError(f"nothing is scored in the {n_batches} batches{of_key}: every label is -100")
    return FisherVector(
        values=values.div_(squares.n_terms).cpu().numpy(),
        layout=layout,
        n_batches=n_batches,
        n_examples=n_examples,
        n_tokens=n_tokens,
        n_terms=squares.n_terms,
        nll=nll / n_tokens,
        estimator=estimator,
        recipe=recipe.name,
        selection=selection,
        seed=seed,
    )


def _checked(estimator: str, recipe: Recipe) -> Recipe:
    if estimator not in ESTIMATORS:
        raise UsageError(f"unknown estimator {estimator!r}: {did_you_mean(estimator, ESTIMATORS)}")
    if estimator != "batch" and recipe.needs_batches:
        raise UsageError(f"recipe {recipe.name!r} squares the gradient of mini-batches; use estimator='batch'")
    if estimator == "sampled" and recipe.label_smoothing:
        raise UsageError(f"recipe {recipe.name!r} smooths labels, and drawn ones aren't; use estimator='per_example'")
    return recipe


def _autocast_type(dtype: str | torch.dtype) -> torch.dtype | None:
    name = str(dtype).removeprefix("torch.")
    if name not in _AUTOCAST:
        raise UsageError(f"can't compute in {name!r}; use float32 or bfloat16, or convert the model: model.double()")
    return _AUTOCAST[name]


def _loss(estimator: str, recipe: Recipe, device: torch.device, seed: int) -> Callable[[Prediction], Tensor]:
    if estimator == "per_example":
        return lambda prediction: prediction.smoothed(recipe.label_smoothing)
    generator = torch.Generator(device).manual_seed(seed)
    return lambda prediction: prediction.drawn(generator).nll


def _accumulators(parameters: dict[str, Tensor]) -> tuple[Tensor, Layout, dict[str, Tensor]]:
    """A flat vector of zeros, where each parameter lies in it, and its views in the parameters' shapes."""
    layout: Layout = []
    size = 0
    for name, parameter in parameters.items():
        layout.append((name, tuple(parameter.shape), size))
        size += parameter.numel()
    first = next(iter(parameters.values()))
    dtype = torch.float64 if first.dtype == torch.float64 else torch.float32
    values = torch.zeros(size, dtype=dtype, device=first.device)
    sums = {name: values[offset : offset + prod(shape)].view(shape) for name, shape, offset in layout}
    return values, layout, sums


def _finite(value: Tensor, what: str, n_batches: int, key: str) -> float:
    number = float(value)
    if not math.isfinite(number):
        where = f"batch {n_batches}" + (f" of {key!r}" if key else "")
        raise Failure(f"the {what} of {where} is {number}; look at that batch and the weights, or compute in float32")
    return number
