"""Translate with any loaded sequence-to-sequence model, and score what comes out."""

from collections.abc import Sequence

import sacrebleu
import torch
from torch.nn.functional import cross_entropy

from langsim.corpora.base import Pair
from langsim.errors import Failure, UsageError
from langsim.models import LoadedModel


@torch.inference_mode()
def translate(
    loaded: LoadedModel, pairs: Sequence[Pair], source: str, target: str = "en", *, beam_size: int = 5, size: int = 32
) -> list[str]:
    """Translations of the source side of `pairs`, in their order, by beam search (length penalty 1.0).

    A translation may be at most twice as long as its source, plus ten tokens.

    Raises:
        UsageError: the model has no decoder.
    """
    if not loaded.model.config.is_encoder_decoder:
        raise UsageError(f"the model '{loaded.name}' cannot translate: it has no decoder")
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i].source_text))  # like lengths pad little
    found = [""] * len(pairs)
    forced = loaded.first_token(target)
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        batch = next(loaded.batches([pairs[i] for i in chosen], source, target, size=size))
        ids = batch["input_ids"].to(loaded.model.device)
        output = loaded.model.generate(
            input_ids=ids,
            attention_mask=batch["attention_mask"].to(ids.device),
            num_beams=beam_size,
            length_penalty=1.0,
            max_new_tokens=min(2 * ids.shape[1] + 10, loaded.max_tokens),
            **({} if forced is None else {"forced_bos_token_id": forced}),
        )
        for i, row in zip(chosen, output.tolist(), strict=True):
            found[i] = loaded.decode(row)
    return found


def scores(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float | str]:
    """Corpus BLEU and chrF2 (sacreBLEU, detokenised) with their signatures.

    Raises:
        UsageError: nothing to score, or unequal numbers of texts.
    """
    if not references or len(hypotheses) != len(references):
        raise UsageError(f"cannot score {len(hypotheses)} translations against {len(references)} references")
    bleu, chrf = sacrebleu.BLEU(), sacrebleu.CHRF()
    found = {
        "bleu": bleu.corpus_score(list(hypotheses), [list(references)]).score,
        "chrf": chrf.corpus_score(list(hypotheses), [list(references)]).score,
    }
    return {**found, "bleu_signature": str(bleu.get_signature()), "chrf_signature": str(chrf.get_signature())}


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
