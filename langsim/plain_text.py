"""What a masked model is trained on: rows of one length, each filled with texts of one language.

A batch is a function of its number and the seed alone, so that a training that goes on is one that never stopped.
"""

from collections.abc import Callable, Sequence

import numpy as np

from langsim import languages
from langsim.corpora import Corpus
from langsim.errors import UsageError

SHORTEST = 16  # tokens of the shortest rows: tasks have short texts, and each place in a row is to be learnt


class Rows:
    """Draws rows: a language, then item after item (a domain, an item of it) until the row is full.

    Args:
        encode: texts -> ids of each, without special tokens.
        separator: id between two texts of a row; None: nothing is.
    """

    def __init__(
        self,
        text: Corpus,
        settings: dict,
        encode: Callable[[Sequence[str]], list[list[int]]],
        separator: int | None = None,
    ) -> None:
        sampling = settings["sampling"]
        self.longest, self.seed = settings["training"]["max_tokens"], settings["training"]["seed"]
        members = [member for member in languages.role_members(settings["role"]) if text.texts.get(member.code)]
        if not members:
            raise UsageError("training needs text in at least one language")
        weights = np.array([sampling["language"][member.resource_class] for member in members])
        self.codes, self.weights = [member.code for member in members], weights / weights.sum()
        self.shares = dict(sampling["domain"])
        domain, after = text.items["domain"].to_dict(), [] if separator is None else [separator]
        self.ids: dict[str, dict[str, list[list[int]]]] = {}  # language -> domain -> items
        for code in self.codes:
            own = text.texts[code]
            by_domain: dict[str, list[list[int]]] = {}
            for item, ids in zip(sorted(own), encode([own[item] for item in sorted(own)]), strict=True):
                by_domain.setdefault(domain[item], []).append([*ids, *after])
            self.ids[code] = dict(sorted(by_domain.items()))

    def row(self, rng: np.random.Generator, length: int) -> tuple[str, list[int]]:
        """A language, and texts of it of `length` tokens together; the last is cut."""
        code = self.codes[rng.choice(len(self.codes), p=self.weights)]
        domains = list(self.ids[code])
        weights = np.array([self.shares[domain] for domain in domains])
        bounds, found = np.cumsum(weights / weights.sum()), []
        while len(found) < length:
            items = self.ids[code][domains[min(int(np.searchsorted(bounds, rng.random())), len(domains) - 1)]]
            found += items[int(rng.integers(len(items)))]
        return code, found[:length]

    def rows(self, step: int, tokens: int, added: int) -> tuple[list[list[int]], np.random.Generator]:
        """The rows of batch number `step`, all of one length that is drawn anew, and the generator for what follows.

        About `tokens` tokens in all, `added` special ones a row among them, which are still to be put in.
        """
        rng = np.random.default_rng([self.seed, step])
        length = int(rng.integers(min(SHORTEST, self.longest), self.longest + 1))
        return [self.row(rng, length - added)[1] for _ in range(max(1, tokens // length))], rng
