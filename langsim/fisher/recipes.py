"""Recipes: what a paper says about estimating Fisher information, and what its authors' code does instead."""

from dataclasses import dataclass

from langsim.errors import UsageError
from langsim.suggest import did_you_mean


@dataclass(frozen=True)
class Recipe:
    """The choices that turn "the gradient of the log-likelihood, squared" into numbers.

    Attributes:
        name: goes into the vector's record.
        label_smoothing: epsilon of the smoothed cross-entropy whose gradient is squared, as fairseq defines it:
            1 - epsilon on the observed label, epsilon / (V - 1) on each other one. 0 is the log-likelihood.
        dropout: estimate in training mode, with the dropout and layer-drop probabilities that the loaded model
            carries; random, but seeded. Otherwise evaluation mode.
        batches_per_update: how many mini-batches make one squared gradient: their gradients are summed and divided
            by the number of their target tokens. A last, smaller update counts as one.
        clip_norm: scale each parameter tensor's gradient, apart from the others, down to this norm before squaring.
    """

    name: str
    label_smoothing: float = 0.0
    dropout: bool = False
    batches_per_update: int = 1
    clip_norm: float | None = None

    @property
    def needs_batches(self) -> bool:
        """Whether it is about the gradient of a mini-batch, and says nothing of single examples."""
        return self.batches_per_update > 1 or self.clip_norm is not None


PAPER = Recipe("paper")

# Pseudo language families: 2 GPUs x update-freq 2 make an update of four mini-batches. Its dropout is 0.3, attention
# dropout 0.1 and layer-drop 0.05: load the model with `dropout=0.3, attention_dropout=0.1, encoder_layerdrop=0.05,
# decoder_layerdrop=0.05` to have them; the hub's M2M100 configurations carry 0.1, 0.1 and 0.05.
PSEUDO_FAMILIES_CODE = Recipe("authors_code", label_smoothing=0.2, dropout=True, batches_per_update=4)

# X-SNS: the mean loss of a mini-batch of four, every tensor's gradient clipped to norm 1 by itself.
XSNS_CODE = Recipe("xsns_authors_code", dropout=True, clip_norm=1.0)

RECIPES = {recipe.name: recipe for recipe in (PAPER, PSEUDO_FAMILIES_CODE, XSNS_CODE)}


def recipe_named(recipe: str | Recipe) -> Recipe:
    """The recipe of that name; a `Recipe` of your own is returned as it is.

    Raises:
        UsageError: an unknown name.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise UsageError(f"unknown recipe {recipe!r}: {did_you_mean(recipe, RECIPES)}")
    return RECIPES[recipe]
