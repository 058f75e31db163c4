"""How good a model with or without LSLo is on each direction: likelihood of the translations, and scores of its own."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from langsim import translation
from langsim.corpora.base import Pair
from langsim.errors import Failure
from langsim.lslo.directions import Model, base, called
from langsim.lslo.merging import merge
from langsim.lslo.model import LSLo, Routed
from langsim.models import LoadedModel
from langsim.sampling import SamplingRule
from langsim.token_batches import BatchStream, Direction, EncodedPairs
from langsim.training_loss import scored_logits


def losses(loaded: LoadedModel, model: Model, pairs: EncodedPairs, *, tokens: int = 4096) -> pd.DataFrame:
    """Negative log-likelihood of the targets of every direction.

    Args, Raises: as of `likelihoods`.

    Returns:
        one row a direction: source, target, nll (mean, nats per token, end of sentence scored), tokens.
    """
    return by_direction(pairs, *likelihoods(loaded, model, pairs, tokens=tokens))


def by_direction(pairs: EncodedPairs, total: np.ndarray, count: np.ndarray) -> pd.DataFrame:
    """`losses` from what `likelihoods` gives."""
    ends = np.cumsum(list(pairs.sizes.values()))
    sums, counts = (np.add.reduceat(values, [0, *ends[:-1]]) for values in (total, count))
    rows = [(*direction, sums[i] / counts[i], int(counts[i])) for i, direction in enumerate(pairs.sizes)]
    return pd.DataFrame(rows, columns=["source", "target", "nll", "tokens"])


def by_cluster(
    pairs: EncodedPairs,
    total: np.ndarray,
    count: np.ndarray,
    units: Sequence[str],
    groups: Mapping[Direction, str],
) -> dict[str, list[str]]:
    """What a bootstrap over texts needs of `likelihoods`, in little JSON.

    Args:
        units: (I,) the cluster of each item; every direction has the same items in the same order.
        groups: direction -> what it is added to: itself, or its pair of classes.

    Returns:
        units: the C clusters. groups: the G groups. sums, counts: one text of C numbers a group, the negative
        log-likelihood (nats, two decimals) and the tokens.
    """
    clusters, places = list(dict.fromkeys(units)), {}
    number = {unit: i for i, unit in enumerate(clusters)}
    columns = np.array([number[unit] for unit in units])
    sums = np.zeros((len(set(groups.values())), len(clusters)))
    counts = np.zeros_like(sums, dtype=np.int64)
    for i, direction in enumerate(pairs.sizes):
        place = places.setdefault(groups[direction], len(places))
        own = slice(i * len(units), (i + 1) * len(units))
        np.add.at(sums[place], columns, total[own])
        np.add.at(counts[place], columns, count[own])
    return {
        "units": clusters,
        "groups": list(places),
        "sums": [" ".join(f"{value:.2f}" for value in line) for line in sums],
        "counts": [" ".join(map(str, line)) for line in counts],
    }


@torch.inference_mode()
def likelihoods(
    loaded: LoadedModel, model: Model, pairs: EncodedPairs, *, tokens: int = 4096
) -> tuple[np.ndarray, np.ndarray]:
    """Negative log-likelihood of every target, teacher-forced: batches of at most `tokens` positions mix directions.

    The token of the target language, which begins a target, is not scored: translation is given it, and a LoRA of that
    language knows it, where a whole model can't know from the source which language is wanted.

    Args:
        loaded: whose texts the pairs are.
        model: in evaluation mode afterwards.

    Returns:
        (N,) nats of each pair, and (N,) how many tokens they are the sum of (end of sentence scored).

    Raises:
        Failure: a likelihood that is no number.
    """
    model.eval()
    size = sum(pairs.sizes.values())
    total, count = np.zeros(size), np.zeros(size, dtype=np.int64)
    given = {target: loaded.first_token(target) for target in dict.fromkeys(target for _, target in pairs.sizes)}
    inner, device = base(model), next(model.parameters()).device
    for indexes in BatchStream(pairs, SamplingRule.parse("proportional"), "mixed", tokens, 0).epoch(0):
        directions = pairs.groups(indexes)
        batch = {name: tensor.to(device) for name, tensor in pairs.batch(loaded, indexes).items()}
        call = called(model, directions, routed=isinstance(model, Routed))
        logits, observed = scored_logits(call, inner, batch)
        values = cross_entropy(logits.float(), observed, reduction="none").double()
        row, place = (batch["labels"] != -100).nonzero().unbind(1)
        known = torch.tensor([given[target] is not None for _, target in directions], device=device)
        scored = (place > 0) | ~known[row]
        of_rows = torch.zeros(len(indexes), dtype=torch.float64, device=device)
        of_rows.index_add_(0, row[scored], values[scored])
        total[indexes] = of_rows.cpu().numpy()
        count[indexes] = torch.bincount(row[scored], minlength=len(indexes)).cpu().numpy()
    if not np.isfinite(total).all():
        (direction,) = pairs.groups([int(np.flatnonzero(~np.isfinite(total))[0])])
        raise Failure(f"the likelihood of the {'-'.join(direction)} text is not finite: lower learning_rate")
    return total, count


def translate(
    loaded: LoadedModel,
    model: Model,
    direction: Direction,
    pairs: Sequence[Pair],
    *,
    beam_size: int = 5,
    engine: str = "transformers",
) -> list[str]:
    """Translations of one direction, as `langsim.translation.translate`.

    An LSLo is merged for `ctranslate2`, so it pays where a conversion costs less than a search by Hugging Face, as it
    does on the small models.

    Raises:
        UsageError: as `langsim.translation.translate`, or a language without LoRA.
    """
    source, target = direction
    model.eval()
    merged = isinstance(model, LSLo) and engine == "ctranslate2"
    plain = merge(model, source, target) if merged else base(model)
    routed = model.route(source, target) if isinstance(model, Routed) and not merged else nullcontext()
    with routed:
        return translation.translate(
            replace(loaded, model=plain), pairs, source, target, beam_size=beam_size, engine=engine
        )
