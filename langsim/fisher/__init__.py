"""Diagonal Fisher information of a model on text: estimators, recipes, and the vectors they give."""

from langsim.fisher.estimate import ESTIMATORS, estimate
from langsim.fisher.recipes import RECIPES, Recipe
from langsim.fisher.vector import FisherVector

__all__ = ["ESTIMATORS", "RECIPES", "FisherVector", "Recipe", "estimate"]
