"""What can be seen of two texts without reading them: lengths, and the numbers in them as numbers."""

import math
import unicodedata

import regex

from langsim.tasks.base import Pair
from langsim.tasks.metrics import normalise_answer

_GROUP = regex.compile(r"\p{Nd}+(?:[.,٫٬'’]\p{Nd}{3})*")  # with the marks of thousands


def features(one: Pair) -> list[float]:
    """Of each text its length in characters and words, how many numbers it has, the first one, and the last one less
    the first; of both the differences in length, and how many numbers and words are shared."""
    first, second = (_seen(text) for text in (one.first, one.second))
    numbers = set(first[1]) & set(second[1])
    words = set(first[2]) & set(second[2])
    union = set(first[1]) | set(second[1])
    together = [first[0][0] - second[0][0], first[0][1] - second[0][1], len(words), len(numbers)]
    return [*first[0], *second[0], *together, len(numbers) / max(1, len(union)), _width(second[1]) - _width(first[1])]


def numbers(text: str) -> list[float]:
    """The numbers of a text in any script's digits, without marks of thousands."""
    return [float("".join(str(unicodedata.digit(c)) for c in group if c.isdigit())) for group in _GROUP.findall(text)]


def _seen(text: str) -> tuple[list[float], list[float], list[str]]:
    words, found = normalise_answer(text), numbers(text)
    seen = [len(text), len(words), len(found), found[0] if found else -1.0, _width(found)]
    return seen, found, words


def _width(found: list[float]) -> float:
    """A number that float32 holds, as the tree wants it."""
    return max(-1e30, min(1e30, found[-1] - found[0])) if found and math.isfinite(found[-1]) else 0.0
