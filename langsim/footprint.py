"""How much memory the estimation of one Fisher vector takes, from the shapes of a model's parameters alone."""

from collections.abc import Iterable
from math import prod

from langsim.corpora.base import Pair

CHARACTERS_PER_TOKEN = 3.0
LONGEST = 1024  # tokens: models cut what is longer, most of them earlier
PROCESS_BYTES = 0.8e9  # Python with torch and transformers
PARAMETER_BYTES = 4  # float32, each time a number is held for every parameter
# A token leaves its image by every weight matrix behind for the backward pass, R numbers each, and as much again in
# norms, attention and activation functions; the last one, into the vocabulary, is held as logits, their softmax and
# its gradient.
ROW_BYTES = 12


def peak_bytes(shapes: Iterable[tuple[int, ...]], tokens: int) -> float:
    """Peak memory of one process, give or take a factor of two.

    Weights and sums of squares are held all the time. At the turn from forward to backward pass, what the tokens left
    behind comes on top; at its end that is gone, and the gradients have come instead.

    Args:
        shapes: of all parameters. All count as selected: embeddings mostly are not, and leave room for what loading
            takes, or a second model.
        tokens: of one side of the largest mini-batch, padding included.
    """
    shapes = list(shapes)
    weights = PARAMETER_BYTES * sum(map(prod, shapes))
    rows = sum(shape[0] for shape in shapes if len(shape) == 2)
    return PROCESS_BYTES + 2 * weights + max(weights, ROW_BYTES * rows * tokens)


def largest_batch(pairs: Iterable[Pair], batch_size: int) -> int:
    """Tokens of one side of the largest mini-batch that can be made of some pairs, padding included."""
    characters = max((max(len(pair.source_text), len(pair.target_text)) for pair in pairs), default=0)
    return round(batch_size * min(LONGEST, characters / CHARACTERS_PER_TOKEN))
