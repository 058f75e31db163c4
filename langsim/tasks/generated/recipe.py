"""How a generated task is put together: meanings that every language can tell, each told in all of them."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from langsim import languages
from langsim.errors import Failure, UsageError
from langsim.tasks.base import Example, Task
from langsim.tasks.generated.meanings import Draw, Unlucky

TRIAL = 40  # items that show whether a language can tell a task's meanings
LEAST = 0.6  # share of them that it has to be able to
PATIENCE = 200  # draws for one item before giving up


@dataclass(frozen=True)
class Sizes:
    """Number of examples of each split, for every language: as many as UD's smallest treebank leaves."""

    train: int = 450
    validation: int = 50
    test: int = 200

    def __post_init__(self) -> None:
        for split, n in vars(self).items():
            if not isinstance(n, int) or n < 1:
                raise UsageError(f"size of {split}: {n!r} is not a positive whole number")


@dataclass(frozen=True)
class Recipe:
    """One generated task.

    Attributes:
        draw: (draws of one split, number of the item) -> a meaning, which has no language. The number cycles through
            the labels, so that they are equally many.
        render: (language, meaning, unit) -> the example, or None where the language does not tell it apart.
    """

    name: str
    kind: str
    metric: str
    labels: tuple[str, ...]
    draw: Callable[[Draw, int], Hashable]
    render: Callable[[str, Any, str], Example | None]
    notes: tuple[str, ...] = ()


def build(
    make: Callable[[Sequence[str]], Recipe],
    unavailable: Callable[[str], str],
    codes: Iterable[str],
    sizes: Sizes,
    seed: int,
) -> Task:
    """The task in the given languages, the same meanings in each; those that can't have it are named with the reason.

    Raises:
        UsageError: an unknown language, or none that has the data.
        Failure: too few meanings for the sizes.
    """
    wanted = languages.resolve(codes)
    reasons = {code: why for code in wanted if (why := unavailable(code))}
    left = [code for code in wanted if code not in reasons]
    if left:
        reasons |= _speechless(make(left), left, seed)
        left = [code for code in left if code not in reasons]
    if not left:
        listed = "; ".join(f"{code}: {why}" for code, why in reasons.items())
        raise UsageError(f"no language has the data for this task: {listed or 'none was given'}")
    recipe = make(left)
    found: dict[str, dict[str, tuple[Example, ...]]] = {code: {} for code in left}
    for split, n in vars(sizes).items():
        for code, examples in _tell(recipe, left, split, n, seed).items():
            found[code][split] = tuple(examples)
    return Task(recipe.name, recipe.kind, recipe.metric, found, recipe.labels, reasons, list(recipe.notes))


def _speechless(recipe: Recipe, codes: list[str], seed: int) -> dict[str, str]:
    draw = Draw(f"{recipe.name}:trial", "train", seed)
    trial = [_meaning(recipe, draw, number) for number in range(TRIAL)]
    told = {code: sum(recipe.render(code, meaning, "") is not None for meaning in trial) for code in codes}
    return {code: f"it tells only {n} of {TRIAL} trial items apart" for code, n in told.items() if n < LEAST * TRIAL}


def _meaning(recipe: Recipe, draw: Draw, number: int) -> Hashable:
    for _ in range(PATIENCE):
        with suppress(Unlucky):
            return recipe.draw(draw, number)
    raise Failure(f"task '{recipe.name}', {draw.split}: no meaning for item {number + 1}")


def _tell(recipe: Recipe, codes: list[str], split: str, n: int, seed: int) -> dict[str, list[Example]]:
    draw, seen = Draw(recipe.name, split, seed), set()
    told: dict[str, list[Example]] = {code: [] for code in codes}
    failed: Counter = Counter()
    for number in range(n):
        unit = f"{recipe.name}:{split}:{number}"
        for _ in range(PATIENCE):
            meaning = _meaning(recipe, draw, number)
            if meaning in seen:
                failed["is a repetition"] += 1
                continue
            examples = {}
            for code in codes:
                examples[code] = recipe.render(code, meaning, unit)
                if examples[code] is None:
                    failed[f"is not told apart in '{code}'"] += 1
                    break
            else:
                break
        else:
            why = failed.most_common(1)[0][0]
            raise Failure(f"task '{recipe.name}', {split}: no item {number + 1}, most often because it {why}")
        seen.add(meaning)
        for code, example in examples.items():
            told[code].append(example)
    return told
