"""How often each language is read in training on several at once: sampling rules by name, and the size of an epoch.

`proportional` reads every language as often as it has text, `temperature(T)` with p_i ~ n_i^(1/T) (Part I trains LF,
the conventional family, with T = 1.5), `equal` gives every language an equal share of every mini-batch (the paper's
methods).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from langsim import languages
from langsim.errors import UsageError
from langsim.suggest import unknown

NAMES = ("equal", "proportional", "temperature")
SCALE_UP = 1.5  # an epoch is at most so many times all text there is


@dataclass(frozen=True)
class SamplingRule:
    """A rule: p_i ~ n_i^(1/T) over the languages; `proportional` is T = 1, `equal` is T without bound."""

    name: str
    temperature: float

    @classmethod
    def parse(cls, text: str) -> "SamplingRule":
        """The rule that a text such as `equal` or `temperature(1.5)` names.

        Raises:
            UsageError: no such rule, or a temperature that is missing, out of place or not at least 1.
        """
        name, argument = _parts(text)
        if name not in NAMES:
            raise UsageError(f"sampling: {unknown(name, NAMES)}")
        if name != "temperature":
            if argument is not None:
                raise UsageError(f"sampling: {name!r} takes no number; write {name} alone")
            return cls(name, 1.0 if name == "proportional" else float("inf"))
        try:
            temperature = float(argument or "")
        except ValueError:
            raise UsageError(f"sampling: {text!r} needs a number, as in temperature(1.5)") from None
        if not (isfinite(temperature) and temperature >= 1):
            raise UsageError(f"sampling: {text!r}: the temperature is at least 1, as in temperature(1.5)")
        return cls(name, temperature)

    def __str__(self) -> str:
        return f"temperature({self.temperature:g})" if self.name == "temperature" else self.name

    def shares(self, sizes: Sequence[int]) -> np.ndarray:
        """Each language's share of what is read, float64 that sum to 1, from how many examples each has (each > 0)."""
        logits = np.log(np.asarray(sizes, dtype=np.float64)) / self.temperature
        weights = np.exp(logits - logits.max())
        return weights / weights.sum()

    def counts(self, sizes: Sequence[int]) -> np.ndarray:
        """How many examples of each language an epoch holds, int64, from how many each has.

        An epoch is as long as reading the largest language once makes it at these shares, but at most 1.5 times all
        text: min(n x largest, 1.5 x total) under `equal`, which is the authors' rule, and all text once under
        `proportional`. Shares are rounded to whole examples (largest remainders; under `equal` all counts are equal).
        """
        sizes, shares = np.asarray(sizes, dtype=np.int64), self.shares(sizes)
        largest = int(np.argmax(sizes))
        total = min(sizes[largest] / shares[largest], SCALE_UP * sizes.sum())
        if self.name == "equal":
            return np.full(len(sizes), max(1, int(total / len(sizes) + 1e-9)), dtype=np.int64)
        whole = int(total + 1e-6)
        counts = np.floor(shares * whole + 1e-6).astype(np.int64)
        left = np.argsort(counts - shares * whole, kind="stable")[: max(0, whole - counts.sum())]
        counts[left] += 1
        return counts


def draw(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` of `size` examples by chance: each at most once where there are enough, else with replacement."""
    return rng.choice(size, size=count, replace=bool(count > size))


def check_pairs(target: str, auxiliaries: Iterable[str], *, into: str = "en") -> list[str]:
    """The canonical codes of a training set: the target language (translated from, as Part I has it), then auxiliaries.

    Raises:
        UsageError: an unknown language; an auxiliary that is the target, stands there twice, or is the language
            translated into; a target that is the language translated into.
    """
    codes, into = [languages.get(target).code], languages.get(into).code
    for given in auxiliaries:
        code = languages.get(given).code
        if code == codes[0]:
            raise UsageError(f"auxiliary {given!r} is the target language itself; leave it out of the auxiliaries")
        if code in codes:
            raise UsageError(f"auxiliary {given!r} is there twice; name every language once")
        codes.append(code)
    if into in codes:
        raise UsageError(f"cannot train on {into}-{into}: {into!r} is the language translated into; leave it out")
    return codes


def _parts(text: str) -> tuple[str, str | None]:
    """Name and argument: `temperature(1.5)` -> (`temperature`, `1.5`), `equal` -> (`equal`, None)."""
    found = re.fullmatch(r"\s*([^()]*?)\s*(?:\(\s*([^()]*?)\s*\))?\s*", text) if isinstance(text, str) else None
    if found is None:
        raise UsageError(f"sampling: cannot read {text!r}; write equal, proportional or temperature(1.5)")
    return found[1], found[2]
