"""Translate with any loaded sequence-to-sequence model, by one of two engines, and tell how likely the targets are.

`transformers` is the reference: Hugging Face's own generation. `ctranslate2` does the same search several times as fast
on a CPU, for the architectures that it converts; `fastest` says which of the two that is for a model. Scores are in
`scoring`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch.nn.functional import cross_entropy

from langsim import ctranslate
from langsim.corpora.base import Pair
from langsim.errors import Failure, UsageError
from langsim.models import Batch, LoadedModel
from langsim.scoring import scores
from langsim.suggest import unknown

__all__ = ["ENGINES", "fastest", "mean_nll", "scores", "translate"]

# model, (batch, most tokens of a translation of it), first token of every translation, beam size -> ids, batch by batch
Engine = Callable[[LoadedModel, Iterable[tuple[Batch, int]], int | None, int], Iterator[list[list[int]]]]


@torch.inference_mode()
def translate(
    loaded: LoadedModel,
    pairs: Sequence[Pair],
    source: str,
    target: str = "en",
    *,
    beam_size: int = 5,
    size: int = 32,
    engine: str = "transformers",
) -> list[str]:
    """Translations of the source side of `pairs`, in their order, by beam search (length penalty 1.0).

    A translation may have twice as many tokens as the longest source of its batch (`size` sentences of like length),
    plus ten, and no more than the model allows. A longer source is cut, and counted in `loaded.truncated`.

    Raises:
        UsageError: nothing to translate, an unknown engine or one that can't use the model, a model without a decoder,
            or one without a token for a language.
    """
    if not loaded.model.config.is_encoder_decoder:
        raise UsageError(f"the model '{loaded.name}' cannot translate: it has no decoder")
    if not pairs:
        raise UsageError(f"nothing to translate from '{source}' into '{target}': the test set is empty")
    if beam_size < 1 or size < 1:
        raise UsageError(f"beam_size={beam_size}, size={size}: both have to be at least 1")
    if engine not in ENGINES:
        raise UsageError(f"engine: {unknown(engine, list(ENGINES))}")
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i].source_text))  # like lengths pad little
    batches = loaded.batches([pairs[i] for i in order], source, target, size=size)
    work = ((batch, min(2 * batch["input_ids"].shape[1] + 10, loaded.max_tokens)) for batch in batches)
    found = [""] * len(pairs)
    first = loaded.first_token(target)
    rows = (row for done in ENGINES[engine](loaded, work, first, beam_size) for row in done)
    for i, row in zip(order, rows, strict=True):
        found[i] = loaded.decode([token for token in row if token != first])  # not every tokenizer calls it special
    return found


def fastest(loaded: LoadedModel) -> str:
    """The faster engine for a model: `ctranslate2` where it can translate as the reference does (on a CPU, measured by
    `benchmarks/decoding_speed.py`), else `transformers`."""
    return "transformers" if ctranslate.obstacle(loaded) else "ctranslate2"


@torch.inference_mode()
def mean_nll(loaded: LoadedModel, pairs: Sequence[Pair], source: str, target: str = "en") -> tuple[float, int]:
    """Mean negative log-likelihood of the targets, in nats per token (end of sentence scored), and the token count.

    Raises:
        Failure: it is not finite.
    """
    total, tokens = 0.0, 0
    for batch in loaded.batches(pairs, source, target, size=32):
        batch = {key: value.to(loaded.model.device) for key, value in batch.items()}
        logits = loaded.model(**batch).logits.float()
        total += cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum").item()
        tokens += int((batch["labels"] != -100).sum())
    if not tokens or total != total or total == float("inf"):
        raise Failure(f"the likelihood of the {source}-{target} text is not finite under '{loaded.name}'")
    return total / tokens, tokens


def _reference(
    loaded: LoadedModel, work: Iterable[tuple[Batch, int]], first: int | None, beam_size: int
) -> Iterator[list[list[int]]]:
    """Hugging Face's generation, on the device of the model."""
    for batch, limit in work:
        ids = batch["input_ids"].to(loaded.model.device)
        output = loaded.model.generate(
            input_ids=ids,
            attention_mask=batch["attention_mask"].to(ids.device),
            num_beams=beam_size,
            length_penalty=1.0,
            max_new_tokens=limit,
            **({} if first is None else {"forced_bos_token_id": first}),
        )
        yield output.tolist()


ENGINES: dict[str, Engine] = {"transformers": _reference, "ctranslate2": ctranslate.generate}
