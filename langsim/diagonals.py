"""How often the diagonal of a cross matrix is the maximum of its row: is a language found again in other text?

The rows are languages in one text, the columns the same languages in another. Chance gives one hit on average. Two
instruments on the same texts are compared by a sign test on the languages that only one of them finds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from langsim import agreement
from langsim.agreement import OPPOSITE, SAME, UNDECIDED
from langsim.instrument import TRAINED, Check


@dataclass(frozen=True)
class Diagonal:
    """How often the diagonal of a cross matrix is the maximum of its row.

    Attributes:
        low, high: exact binomial interval (95%) of the share, as if rows were independent.
        p_value: the chance of as many or more when the columns' languages are exchanged. Unlike the interval it
            knows that several rows may have their maximum in the same column.
        columns: in how many different columns the maxima are.
    """

    hits: int
    languages: int
    low: float
    high: float
    p_value: float
    columns: int

    @property
    def verdict(self) -> str:
        """On "most similarities remain highest for the same language": is it more than half of the rows?"""
        return SAME if self.low > 0.5 else OPPOSITE if self.high < 0.5 else UNDECIDED


def diagonal(check: Check, *, centred: bool, permutations: int = agreement.DRAWS, seed: int = 0) -> Diagonal:
    """Count the rows whose maximum is on the diagonal; chance gives one on average."""
    best, places = check.best(centred=centred), np.arange(len(check.cross))
    hits = int((best == places).sum())
    orders = np.random.default_rng(seed).permuted(np.tile(places, (permutations, 1)), axis=1)
    as_many = int(((orders[:, best] == places).sum(axis=1) >= hits).sum())
    interval = binomtest(hits, len(places)).proportion_ci(0.95, method="exact")
    p_value = (as_many + 1) / (permutations + 1)
    return Diagonal(hits, len(places), float(interval.low), float(interval.high), p_value, len(set(best.tolist())))


def rivals(checks: Sequence[Check], *, centred: bool) -> dict[str, float]:
    """Null to the p-value of a sign test against the trained model: on the languages that only one of the two finds,
    two-sided, Holm's over the nulls."""
    trained = next(check for check in checks if check.name == TRAINED)
    own, chances = trained.found(centred=centred), {}
    for check in checks:
        if check.name == TRAINED:
            continue
        theirs = check.found(centred=centred)
        only = int((own & ~theirs).sum()), int((theirs & ~own).sum())
        chances[check.name] = float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0
    return dict(zip(chances, agreement.holm(list(chances.values())).tolist(), strict=True))


def best_null(hits: Mapping[str, float]) -> str:
    """The null with the largest number; of equal ones the first."""
    return max((name for name in hits if name != TRAINED), key=lambda name: hits[name])
