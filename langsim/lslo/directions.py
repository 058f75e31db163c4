"""Directions between languages of resource classes: which there are, their text, their labels, and averages over them.

A row of Table 1 has one column a pair of classes, H2H to V2V, and AVG. The printed AVG is the mean over directions, not
over columns: of the 132 directions of twelve languages 12 are within a class and 16 between two.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import pandas as pd
import torch
from transformers import PreTrainedModel

from langsim import paths
from langsim.corpora.base import Corpus, Pair
from langsim.errors import UsageError
from langsim.lslo.model import Routed
from langsim.matching import rank
from langsim.tables import read_table
from langsim.token_batches import Direction

PATH = paths.DATA / "lslo" / "directions.csv"
COLUMNS = ("set", "source", "target")
EACH = 2  # directions of a pair of classes whose translations are scored at `mini`
Classes = Mapping[str, str]  # language -> resource class
Model = PreTrainedModel | Routed


def everything(codes: Iterable[str]) -> list[Direction]:
    """All directions between languages, in their order."""
    codes = list(codes)
    return [(source, target) for source in codes for target in codes if source != target]


def label(direction: Direction, classes: Classes) -> str:
    """Its pair of classes, as `H2V`: initials, or whole names where two classes have the same initial."""
    source, target = (classes[code] for code in direction)
    names = set(classes.values())
    if len({name[:1].upper() for name in names}) < len(names):
        return f"{source}2{target}"
    return f"{source[:1].upper()}2{target[:1].upper()}"


def labels(classes: Classes) -> dict[Direction, str]:
    """Of all directions, in the order of a table's columns: by class of the source, then of the target."""
    order = list(dict.fromkeys(classes.values()))
    by_classes = sorted(everything(classes), key=lambda d: tuple(order.index(classes[code]) for code in d))
    return {direction: label(direction, classes) for direction in by_classes}


def averages(values: Mapping[Direction, float], classes: Classes) -> pd.Series:
    """Means by pair of classes, and two over all.

    Args:
        values: of all directions, or of some of every pair of classes.

    Returns:
        H2H to V2V: means over the directions given; AVG: their mean weighted by how many directions there are of each
        pair of classes, as the paper prints it (FLORES: all are given); plain: their unweighted mean.

    Raises:
        UsageError: a pair of classes without a value.
    """
    found: dict[str, list[float]] = {}
    for direction, value in values.items():
        found.setdefault(label(direction, classes), []).append(value)
    counts = pd.Series(labels(classes)).value_counts(sort=False)
    if missing := [name for name in counts.index if name not in found]:
        raise UsageError(f"no direction {missing[0]} has a value: every pair of classes needs one")
    means = pd.Series({name: sum(found[name]) / len(found[name]) for name in counts.index})
    whole = {"AVG": (means * counts).sum() / counts.sum(), "plain": means.mean()}
    return pd.concat([means, pd.Series(whole)])


def watched(classes: Classes) -> list[Direction]:
    """The directions whose loss is taken after every epoch: all within the first class and all within the last, which
    Figure 3 is about, and those of `chosen`, so that every pair of classes has some."""
    named = labels(classes)
    first, *_, last = [*dict.fromkeys(named.values())] * 2
    some = chosen(classes)
    return [one for one, name in named.items() if name in (first, last) or one in some]


def chosen(classes: Classes) -> list[Direction]:
    """The directions whose translations are scored where not all are: `EACH` of every pair of classes, fewer where
    there are no more. Of the known sets they stand in `data/lslo/directions.csv`, of others they follow from `rule`."""
    for found in _fixed().values():
        if {code for direction in found for code in direction} == set(classes):
            return found
    return rule(classes)


def rule(classes: Classes, each: int = EACH) -> list[Direction]:
    """`each` directions of every pair of classes, by no result: as source always the language that has been one least
    often so far, as target likewise; of equals the first."""
    sources, targets = dict.fromkeys(classes, 0), dict.fromkeys(classes, 0)
    found: list[Direction] = []
    groups: dict[str, list[Direction]] = {}
    for direction, name in labels(classes).items():
        groups.setdefault(name, []).append(direction)
    for group in groups.values():
        left = list(group)
        for _ in range(min(each, len(group))):
            best = min(left, key=lambda d: (sources[d[0]] + targets[d[1]], sources[d[0]]))  # the first of equals
            left.remove(best)
            found.append(best)
            sources[best[0]] += 1
            targets[best[1]] += 1
    return found


@cache
def _fixed() -> dict[str, list[Direction]]:
    found: dict[str, list[Direction]] = {}
    for row in read_table(PATH, COLUMNS):
        found.setdefault(row["set"], []).append((row["source"], row["target"]))
    return found


def shared(
    corpus: Corpus,
    codes: Sequence[str],
    *,
    domain: str = "",
    pool: str = "",
    most: int = 0,
    without: Collection[str] = (),
) -> list[str]:
    """Items that all languages have: multi-parallel text, as FLORES is, of the same amount for each.

    Args:
        most: so many of them, drawn by their ids; 0 for all.
        without: items that are left out before.

    Raises:
        UsageError: a language without text, or no such item.
    """
    items = list(corpus.select(domain=domain, pool=pool))
    where = " ".join(f"{name} {value!r}" for name, value in (("domain", domain), ("pool", pool)) if value)
    where = f" ({where})" if where else ""
    counts = {}
    for code in codes:
        texts = corpus.texts.get(code, {})
        counts[code] = sum(item in texts for item in items)
        if not counts[code]:
            raise UsageError(f"languages: corpus '{corpus.name}' has no text in '{code}'{where}; leave it out")
    found = [item for item in items if item not in without and all(item in corpus.texts[code] for code in codes)]
    if not found:
        least = min(counts, key=counts.__getitem__)
        raise UsageError(
            f"languages: corpus '{corpus.name}' has no text that all {len(counts)} languages share{where}; leave out "
            f"the one with least, '{least}'"
        )
    return drawn(found, most)


def drawn(items: Sequence[str], most: int) -> list[str]:
    """So many items, those whose ids have the least hashes (0 for all), in their order."""
    kept = set(sorted(items, key=lambda item: rank(item, 0))[:most]) if most else set(items)
    return [item for item in items if item in kept]


def repeated(corpus: Corpus, items: Sequence[str], others: Sequence[str], codes: Sequence[str]) -> list[str]:
    """Those of the items whose text in one of the languages is that of one of the others in this language."""
    known = {code: {corpus.texts[code][item] for item in others} for code in codes}
    return [item for item in items if any(corpus.texts[code].get(item) in known[code] for code in codes)]


def pairs(corpus: Corpus, items: Sequence[str], directions: Iterable[Direction]) -> dict[Direction, list[Pair]]:
    """The items as pairs of every direction."""
    return {(source, target): corpus.pairs_of(list(items), source, target) for source, target in directions}


def called(model: torch.nn.Module, directions: Sequence[Direction], *, routed: bool) -> Callable[..., Any]:
    """What to call with a batch whose rows are of these directions: a model with LoRA wants to know their languages."""
    if not routed:
        return model
    return partial(model, source=[source for source, _ in directions], target=[target for _, target in directions])


def base(model: Model) -> PreTrainedModel:
    """The model of Hugging Face within, or itself."""
    return model.model if isinstance(model, Routed) else model
