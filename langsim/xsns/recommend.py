"""Which source language to fine-tune on: candidates ranked by the similarity of their sub-networks to the target's.

The text of every language is cut into parts that share no text. Each part gives a Fisher vector, and the vector of a
language is their mean. The interval is a jackknife's: the parts are left out in turn, the same one in all languages,
and the spread of what comes out, times (n - 1) / n, is the variance. It says how far the *text* decides; it says
nothing of how far similarity predicts transfer, which only gold scores do (`ranking_study`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

from langsim import languages
from langsim.errors import UsageError
from langsim.fisher import FisherVector
from langsim.models import LoadedModel
from langsim.xsns import measuring, subnetworks
from langsim.xsns.subnetworks import Recipe, chance

PARTS = 8
FEWEST = 16  # texts of a language; two for each part
TOKENS = 150  # of a part in the mean: of fewer a mask of 15% may by chance hide none


@dataclass(frozen=True)
class Recommendation:
    """Candidates, best first.

    Attributes:
        table: one row a candidate: source, similarity (Jaccard's coefficient), low, high (95%), tied (whether a
            jackknife's interval of its difference from the best one holds 0).
        chance: what two random masks have.
        items: texts of each language. p: share of parameters. warnings: for the reader.
    """

    target: str
    table: pd.DataFrame
    chance: float
    items: int
    p: float
    warnings: list[str] = field(default_factory=list)

    @property
    def best(self) -> str:
        """The first candidate."""
        return str(self.table["source"].iloc[0])

    @property
    def trust(self) -> str:
        """How much to trust the ranking, in a sentence or two."""
        tied = list(self.table["source"][self.table["tied"]])
        first = (
            f"The text tells {self.best} from every other candidate."
            if not tied
            else f"The text does not tell {self.best} from {', '.join(tied)}: any of these may be as good."
        )
        if self.table["low"].iloc[0] <= self.chance:
            first += " Even the best is hardly more similar than two random masks."
        return first + " How well such rankings meet gold transfer: `langsim exhibits` (X-SNS, Table 2)."

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        rows = [
            {key: (bool(v) if key == "tied" else v) for key, v in row.items()} for row in self.table.to_dict("records")
        ]
        return {
            "target": self.target,
            "ranking": rows,
            "chance": self.chance,
            "items": self.items,
            "p": self.p,
            "warnings": self.warnings,
        }


def recommend(
    loaded: LoadedModel,
    target: str,
    texts: Mapping[str, Sequence[str]],
    *,
    candidates: Sequence[str] = (),
    p: float = 0.15,
    items: int = 1024,
    recipe: Recipe = "paper",
    parts: int = PARTS,
    batch_size: int = 4,
    max_length: int = 512,
    seed: int = 0,
) -> Recommendation:
    """Rank candidate sources for a target.

    Args:
        texts: language -> sentences, of the target and of every candidate; no labels.
        candidates: default: all languages of `texts` but the target.
        items: texts of a language at most; all are cut to as many as the one with the fewest has.
        parts: of the jackknife, at most: fewer of short texts.

    Raises:
        UsageError: the target among its own candidates, one candidate or none, a language without (enough) text, a
            model that has no language-modelling objective here.
    """
    target = languages.get(target).code
    given = {languages.get(code).code: [line for line in own if line.strip()] for code, own in texts.items()}
    chosen = languages.resolve(candidates) if candidates else [code for code in given if code != target]
    check(target, chosen)
    codes = [target, *chosen]
    size = _size(given, codes, items, parts)
    vectors, warnings = {}, _notes(loaded, given, codes, items, size)
    chosen_texts = {}
    for code in codes:
        order = np.random.default_rng(seed).permutation(len(given[code]))[:size]
        chosen_texts[code] = [given[code][i] for i in order]
    parts = _parts(loaded, chosen_texts, parts)
    cuts = np.linspace(0, size, parts + 1).round().astype(int).tolist()
    for code, some in chosen_texts.items():
        vectors[code] = [
            subnetworks.of_text(
                loaded,
                some[begin:end],
                recipe=recipe,
                seed=1000 * seed + begin,
                batch_size=batch_size,
                max_length=max_length,
                key=code,
            )
            for begin, end in pairwise(cuts)
        ]
    return Recommendation(target, _table(vectors, target, chosen, p, recipe), chance(p), size, p, warnings)


def check(target: str, candidates: Sequence[str]) -> None:
    """Before any text is read or model loaded.

    Raises:
        UsageError: the target among its own candidates, fewer than two candidates.
    """
    if target in candidates:
        raise UsageError(f"the target {target!r} is among its own candidates; leave it out")
    if len(candidates) < 2:
        raise UsageError(f"{len(candidates)} candidate source{'' if len(candidates) == 1 else 's'}: give two at least")


def _size(given: Mapping[str, Sequence[str]], codes: Sequence[str], items: int, parts: int) -> int:
    for code in codes:
        n = len(given.get(code, ()))
        if n < max(FEWEST, parts):
            raise UsageError(f"the text of {code!r} has {n} lines, at least {max(FEWEST, parts)} are needed; add text")
    return min(items, *(len(given[code]) for code in codes))


def _parts(loaded: LoadedModel, texts: Mapping[str, Sequence[str]], parts: int) -> int:
    """At most so many, each with enough tokens in every language.

    Raises:
        UsageError: not enough for two.
    """
    if loaded.tokenizer is None:  # the estimator says so
        return parts
    tokens = {
        code: sum(map(len, loaded.tokenizer(list(own), add_special_tokens=False)["input_ids"]))
        for code, own in texts.items()
    }
    least = min(tokens, key=tokens.__getitem__)
    if tokens[least] < 2 * TOKENS:
        raise UsageError(
            f"the text of {least!r} has {tokens[least]} tokens in {len(texts[least])} lines, at least {2 * TOKENS} are "
            "needed; add text, or allow more items"
        )
    return min(parts, tokens[least] // TOKENS)


def _notes(
    loaded: LoadedModel, given: Mapping[str, Sequence[str]], codes: Sequence[str], items: int, size: int
) -> list[str]:
    found = subnetworks.warnings_of(subnetworks.unknown_rates(loaded, {code: given[code] for code in codes}))
    if untrained := loaded.untrained(codes):
        found.append(f"The model was not trained on {', '.join(untrained)}.")
    if size < items:
        least = min(codes, key=lambda code: len(given[code]))
        found.append(f"{size} texts of each language: {least!r} has no more.")
    return found


def _table(
    vectors: Mapping[str, list[FisherVector]], target: str, candidates: Sequence[str], p: float, recipe: Recipe
) -> pd.DataFrame:
    n = len(vectors[target])
    whole = _similar(vectors, target, candidates, p, recipe, range(n))  # (S,)
    without = np.stack(
        [_similar(vectors, target, candidates, p, recipe, [i for i in range(n) if i != j]) for j in range(n)]
    )  # (n, S)
    quantile = float(stats.t.ppf(0.975, n - 1))
    margin = quantile * _error(without)
    best = int(whole.argmax())
    apart = quantile * _error(without[:, [best]] - without)
    table = pd.DataFrame(
        {
            "source": list(candidates),
            "similarity": whole,
            "low": np.clip(whole - margin, 0, 1),
            "high": np.clip(whole + margin, 0, 1),
            "tied": (whole[best] - whole <= apart) & (np.arange(len(whole)) != best),
        }
    )
    return table.sort_values("similarity", ascending=False, kind="stable", ignore_index=True)


def _similar(
    vectors: Mapping[str, list[FisherVector]],
    target: str,
    candidates: Sequence[str],
    p: float,
    recipe: Recipe,
    parts: Sequence[int],
) -> np.ndarray:
    sums = {}
    for code in (target, *candidates):
        chosen = [vectors[code][i] for i in parts]
        sums[code] = chosen[0]
        for one in chosen[1:]:
            sums[code] = measuring.added(sums[code], one)
    return subnetworks.jaccard(sums, p, recipe).raw["jaccard"].loc[target, list(candidates)].to_numpy()


def _error(values: np.ndarray) -> np.ndarray:
    """(n, ...) values with a part left out in turn -> standard error of the whole."""
    n = len(values)
    return np.sqrt((n - 1) / n * ((values - values.mean(0)) ** 2).sum(0))
