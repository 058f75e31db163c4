"""Compare languages on the same content (data rule 2): which pairs each language's Fisher vector is made from.

`intersection`: the items that *all* compared languages have, so that only the language differs. `sizes`: each
language's own items, as many as the poorest has. An intersection too small to estimate from falls back to sizes,
and says so in `warnings`: data to be shown beside the numbers, not Python warnings that scroll away.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from langsim.corpora.base import Corpus, Pair
from langsim.errors import UsageError

SMALL = 100  # items; below this an intersection is not estimated from
POOR = 30  # items; below this even matched sizes are refused


@dataclass(frozen=True)
class Matched:
    """The pairs of each language, in the order in which they are batched.

    Attributes:
        pairs: language -> pairs (language -> target language); equal numbers for all languages.
        matching: the rule that was applied in the end.
        available: language -> pairs it had before matching.
        shared: how many items all languages have.
        warnings: what a reader has to know.
    """

    pairs: dict[str, list[Pair]]
    matching: str
    available: dict[str, int]
    shared: int
    warnings: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Pairs per language."""
        return len(next(iter(self.pairs.values())))


def match(
    corpus: Corpus,
    languages: Sequence[str],
    target: str = "en",
    *,
    domain: str = "",
    pool: str = "",
    matching: str = "intersection",
    max_items: int = 0,
    seed: int = 0,
) -> Matched:
    """Equal amounts of text for every language, at most `max_items` pairs each (0: no limit).

    Items are drawn by a hash of seed and id, and ordered by the length of the target text give or take a fifth, so
    that a batch holds texts of like length and little padding (in the target, the same text for all languages). The
    order doesn't depend on what else is compared: a language keeps it (and, where the items agree, its Fisher vector)
    in another set of languages.

    Raises:
        UsageError: a language without text here, or fewer than `POOR` pairs for one.
    """
    missing = [code for code in (*languages, target) if not corpus.texts.get(code)]
    if missing:
        raise UsageError(f"corpus '{corpus.name}' has no text in {', '.join(missing)}; leave it out or add the text")
    items = corpus.select(domain=domain, pool=pool)
    own = {
        code: [item for item in items if item in corpus.texts[code] and item in corpus.texts[target]]
        for code in languages
    }
    available = {code: len(found) for code, found in own.items()}
    poorest = min(available, key=available.__getitem__)
    if available[poorest] < POOR:
        where = " ".join(f"{key} {value!r}" for key, value in (("domain", domain), ("pool", pool)) if value)
        raise UsageError(
            f"languages: {poorest!r} has only {available[poorest]} pairs with {target!r} in corpus '{corpus.name}'"
            f"{f' ({where})' if where else ''}, at least {POOR} are needed; leave it out or add text"
        )
    shared = set(own[poorest]).intersection(*map(set, own.values()))
    warnings = []
    most = min(available[poorest], max_items) if max_items else available[poorest]
    if matching == "intersection" and len(shared) < SMALL:
        matching = "sizes"
        warnings.append(
            f"Only {len(shared)} items are there in all {len(own)} languages (at least {SMALL} are wanted), so each "
            f"language is measured on {most} items of its own: contents differ between languages."
        )
    size = min(len(shared), most) if matching == "intersection" else most
    chosen = {}
    for code, found in own.items():
        usable = [item for item in found if item in shared] if matching == "intersection" else found
        drawn = sorted(usable, key=lambda item: rank(item, seed))[:size]
        chosen[code] = sorted(drawn, key=lambda item: _about(len(corpus.texts[target][item]), item, seed))
    pairs = {code: corpus.pairs_of(ids, code, target) for code, ids in chosen.items()}
    return Matched(pairs, matching, available, len(shared), warnings)


def digest(pairs: Sequence[Pair]) -> str:
    """Hex sha256 of the texts of some pairs, in their order."""
    total = hashlib.sha256()
    for pair in pairs:
        total.update(f"{pair.source_text}\t{pair.target_text}\n".encode())
    return total.hexdigest()


def rank(item: str, seed: int) -> bytes:
    """Where an item stands when some are drawn: those of the lowest ranks are."""
    return hashlib.blake2b(f"{seed}:{item}".encode(), digest_size=16).digest()


def _about(length: int, item: str, seed: int) -> float:
    """The length times a random factor between 0.8 and 1.2, which makes the batches depend on the seed."""
    return length * (0.8 + 0.4 * int.from_bytes(rank(item, seed)[:8], "big") / 2**64)
