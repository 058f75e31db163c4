"""What a shipped model is trained on, as batches: a direction, two languages, a domain, an item, a segmentation."""

from collections.abc import Iterator

import numpy as np
import torch

from langsim import languages
from langsim.corpora import Corpus
from langsim.errors import Failure, UsageError
from langsim.tokenizer import PAD, Tokenizer, seed_segmentation

CHUNK = 8192  # examples that are drawn and sorted by length together
DRAWS = 10_000  # draws in a row that give no example, before the text is held to have none


class Examples:
    """Draws training examples: a direction, two languages, a domain, an item."""

    def __init__(self, text: Corpus, settings: dict, tokenizer: Tokenizer, seed: int) -> None:
        self.sampling, self.tokenizer = settings["sampling"], tokenizer
        self.max_tokens = settings["training"]["max_tokens"]
        self.rng = np.random.default_rng(seed)
        members = [m for m in languages.role_members(settings["role"]) if m.code != "en" and text.texts.get(m.code)]
        weights = {m.code: self.sampling["language"][m.resource_class] for m in members}
        if len(weights) < 2:
            raise UsageError("training needs text in at least two languages beside English")
        self.codes = list(weights)
        self.weights = np.array(list(weights.values())) / sum(weights.values())
        self.texts, self.alpha = text.texts, settings["sampling"]["segmentation"]
        domain = text.items["domain"]
        self.items: dict[str, dict[str, set[str]]] = {}
        for code, texts in text.texts.items():
            self.items[code] = {}
            for item in texts:
                self.items[code].setdefault(domain[item], set()).add(item)
        self._common: dict[tuple[str, str], dict[str, list[str]]] = {}

    def common(self, source: str, target: str) -> dict[str, list[str]]:
        """Items that both languages have, by domain."""
        key = (source, target) if source < target else (target, source)
        if key not in self._common:
            a, b = self.items[key[0]], self.items[key[1]]
            shared = {domain: sorted(a[domain] & b[domain]) for domain in a.keys() & b.keys()}
            self._common[key] = {domain: items for domain, items in sorted(shared.items()) if items}
        return self._common[key]

    def draw(self) -> tuple[list[int], list[int]]:
        """Ids of one source and one target, each in a segmentation drawn anew (subword regularisation, Kudo 2018).

        Raises:
            Failure: the languages share no text that is short enough.
        """
        for _ in range(DRAWS):
            one, other = self.rng.choice(len(self.codes), size=2, replace=False, p=self.weights)
            u = self.rng.random()
            source, target = self.codes[one], self.codes[other]
            if u < self.sampling["into_english"]:
                target = "en"
            elif u < self.sampling["into_english"] + self.sampling["from_english"]:
                source = "en"
            domains = self.common(source, target)
            if not domains:
                continue
            weights = np.array([self.sampling["domain"][domain] for domain in domains])
            domain = list(domains)[self.rng.choice(len(domains), p=weights / weights.sum())]
            item = domains[domain][self.rng.integers(len(domains[domain]))]
            seed_segmentation(int(self.rng.integers(2**31)))  # of this object's own stream, whatever else draws
            source_ids, target_ids = (
                self.tokenizer.sample(self.texts[code][item], code, self.alpha) for code in (source, target)
            )
            if max(len(source_ids), len(target_ids)) <= self.max_tokens:
                return source_ids, target_ids
        raise Failure(f"no example in {DRAWS} draws: the languages share no text of at most {self.max_tokens} tokens")

    def batches(self, tokens: int) -> Iterator[dict[str, torch.Tensor]]:
        """Endless batches of like lengths, at most `tokens` target positions each, padding counted."""
        while True:
            groups = grouped([self.draw() for _ in range(CHUNK)], tokens)
            for i in self.rng.permutation(len(groups)):
                yield collate(groups[i])


def held_out(text: Corpus, tokenizer: Tokenizer, *, items: int, max_tokens: int) -> list[tuple[list[int], list[int]]]:
    """Ids of source and target, into English and from it, of each language's first `items` items of each domain."""
    english, found = text.texts["en"], []
    for code, own in text.texts.items():
        shared = text.items.loc[[item for item in own if item in english and code != "en"]]
        for item in shared.groupby("domain").head(items).index:
            pair = tokenizer.encode(own[item], code), tokenizer.encode(english[item], "en")
            if max(map(len, pair)) <= max_tokens:
                found += [pair, pair[::-1]]
    return found


def grouped(pairs: list[tuple[list[int], list[int]]], tokens: int) -> list[list[tuple[list[int], list[int]]]]:
    """Pairs of like lengths together, at most `tokens` positions a group on either side, padding counted."""
    pairs = sorted(pairs, key=lambda pair: (len(pair[1]) // 4, len(pair[0])))
    groups, start = [], 0
    for end in range(1, len(pairs) + 1):
        widest = max(max(len(s), len(t)) for s, t in pairs[start : end + 1])
        if end == len(pairs) or widest * (end + 1 - start) > tokens:
            groups.append(pairs[start:end])
            start = end
    return groups


def collate(pairs: list[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
    """Padded tensors of a batch; labels hold -100 where nothing is scored."""
    width = [max(len(pair[side]) for pair in pairs) for side in (0, 1)]
    source = torch.tensor([s + [PAD] * (width[0] - len(s)) for s, _ in pairs])
    labels = torch.tensor([t + [-100] * (width[1] - len(t)) for _, t in pairs])
    return {"input_ids": source, "attention_mask": source.ne(PAD).long(), "labels": labels}
