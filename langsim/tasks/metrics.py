"""Scores of predictions against gold labels, all in percent (0 to 100, larger is better).

`entity_f1` is for BIO tags; `token_f1` for one tag a token; `sentence_accuracy` is what the third paper's code
computes for NER and POS (the mean over sentences of the share of right tags, `O` included); `accuracy` for classes;
`squad_f1` and `squad_em` for answers.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import regex

from langsim.errors import UsageError
from langsim.suggest import unknown

_CHARACTERS = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Khmer}\p{Lao}\p{Myanmar}\p{Tibetan}]\p{M}*")

TagRows = Sequence[Sequence[str]]


def score(metric: str, gold: Sequence, predicted: Sequence) -> float:
    """The named metric, after checking that gold and predictions belong together.

    Raises:
        UsageError: an unknown metric, nothing to score, or lengths that differ.
    """
    if metric not in METRICS:
        raise UsageError(f"metric: {unknown(metric, METRICS)}")
    if not len(gold):
        raise UsageError(f"{metric}: nothing to score")
    if len(gold) != len(predicted):
        raise UsageError(f"{metric}: {len(gold)} gold but {len(predicted)} predicted")
    if metric in OF_TAGS:
        for i, (right, own) in enumerate(zip(gold, predicted, strict=True)):
            if len(right) != len(own):
                raise UsageError(f"{metric}: sentence {i + 1} has {len(right)} tags but {len(own)} predicted")
    return METRICS[metric](gold, predicted)


def entity_f1(gold: TagRows, predicted: TagRows) -> float:
    """Micro F1 over whole entities (type and both ends right), by seqeval; 0 where neither has an entity."""
    from seqeval.metrics import f1_score

    return 100 * float(f1_score([list(row) for row in gold], [list(row) for row in predicted], zero_division=0))


def token_f1(gold: TagRows, predicted: TagRows) -> float:
    """Micro F1 over tokens: with one gold and one predicted tag for every token, the share of right tags."""
    pairs = [(g, p) for right, own in zip(gold, predicted, strict=True) for g, p in zip(right, own, strict=True)]
    return 100 * float(np.mean([g == p for g, p in pairs]))


def sentence_accuracy(gold: TagRows, predicted: TagRows) -> float:
    """Mean over sentences of the share of right tags: the measure of the third paper's code."""
    rows = zip(gold, predicted, strict=True)
    return 100 * float(np.mean([np.mean([g == p for g, p in zip(*row, strict=True)]) for row in rows]))


def accuracy(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Share of right labels."""
    return 100 * float(np.mean([g == p for g, p in zip(gold, predicted, strict=True)]))


def squad_f1(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Mean over answers of the F1 of the two bags of words, after `normalise_answer`."""
    return 100 * float(np.mean([_bag_f1(g, p) for g, p in zip(gold, predicted, strict=True)]))


def squad_em(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Share of answers that equal the gold one, after `normalise_answer`."""
    return 100 * float(
        np.mean([normalise_answer(g) == normalise_answer(p) for g, p in zip(gold, predicted, strict=True)])
    )


def normalise_answer(text: str) -> list[str]:
    """The words that two answers are compared by.

    NFKC, case folded, punctuation and invisible marks removed, split at spaces; scripts without spaces are split
    into characters. No articles are removed: SQuAD's rule is for English, and a rule for one language alone would
    score languages differently. A point or comma between two digits stays, so 3.5 is not 35.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = regex.sub(r"(?<!\p{Nd})[\p{P}\p{Cf}]|[\p{P}\p{Cf}](?!\p{Nd})", " ", folded)
    return _CHARACTERS.sub(r" \g<0> ", kept).split()


def _bag_f1(gold: str, predicted: str) -> float:
    right, own = Counter(normalise_answer(gold)), Counter(normalise_answer(predicted))
    if not right or not own:
        return float(right == own)
    return 2 * (right & own).total() / (right.total() + own.total())


METRICS: dict[str, Callable[[Sequence, Sequence], float]] = {
    "entity_f1": entity_f1,
    "token_f1": token_f1,
    "sentence_accuracy": sentence_accuracy,
    "accuracy": accuracy,
    "squad_f1": squad_f1,
    "squad_em": squad_em,
}
OF_TAGS = ("entity_f1", "token_f1", "sentence_accuracy")
