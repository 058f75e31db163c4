"""What sub-networks are made from: the text of a task or general text, as much of it in every language.

Text comes from the training split, of targets too, as in the authors' code: no label of a target is read, but for
`task-head`. Of a pair both texts are read; the authors' code reads the premise alone for inference.

Items of a corpus can be much shorter than a task's examples, and Table 1 would then compare amounts of text. So several
of them make one text: the same items in every language, and as many to a text as bring its mean length in tokens, over
all languages, next to that of the task's examples (`packing`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from langsim.corpora import load as load_corpus
from langsim.corpora.base import Corpus
from langsim.errors import UsageError
from langsim.matching import SMALL, rank
from langsim.tasks import words
from langsim.tasks.base import Example, Task
from langsim.xsns import labelled
from langsim.xsns.settings import XSNSSettings
from langsim.xsns.subnetworks import drawn

Count = Callable[[Sequence[str]], Sequence[int]]  # texts -> tokens of each


@dataclass(frozen=True)
class Texts:
    """Equal amounts for every language; `examples` where the text is a task's. `warnings` for the reader."""

    texts: dict[str, list[str]]
    examples: dict[str, list[Example]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """|D|."""
        return min(map(len, self.texts.values()))


def of_task(task: Task, codes: Sequence[str], size: int, *, seed: int = 0, recipe: str = "paper") -> Texts:
    """Text of a task, `size` examples or what the language with the fewest has; the same units in every language where
    the task has them. A language without a training split gives its test text (without labels it is raw text)."""
    own = {code: task.examples(code, _split(task, code)) for code in codes}
    size = min([size, *map(len, own.values())])
    examples = {code: drawn(given, [one.unit for one in given], size, seed) for code, given in own.items()}
    premise = recipe == "authors_code" and set(task.labels) == {"entailment", "neutral", "contradiction"}
    texts = {code: [one.first if premise else one.text for one in given] for code, given in examples.items()}
    without = [code for code in codes if _split(task, code) != "train"]
    said = [f"The text of {', '.join(without)} is test text: there is no training split."] if without else []
    return Texts(texts, examples, said)


def of_corpus(
    corpus: Corpus,
    codes: Sequence[str],
    size: int,
    *,
    domain: str = "",
    pool: str = "",
    seed: int = 0,
    pack: int = 1,
) -> Texts:
    """General text: the same items in every language, or, where fewer than `SMALL` are shared, equal numbers of each
    one's own, with a warning. `pack` items make one text.

    Raises:
        UsageError: a language without text here.
    """
    items = corpus.select(domain=domain, pool=pool)
    own = {code: [item for item in items if item in corpus.texts.get(code, {})] for code in codes}
    if missing := [code for code, found in own.items() if not found]:
        raise UsageError(f"corpus '{corpus.name}' has no text in {', '.join(missing)}; leave it out or add the text")
    shared = set.intersection(*map(set, own.values()))
    said = []
    if len(shared) >= SMALL:
        everyones = [item for item in items if item in shared]
        own = {code: everyones for code in codes}
    else:
        said = [f"Only {len(shared)} items are there in all {len(codes)} languages: each is read in texts of its own."]
    size = min([size, *(max(1, len(found) // pack) for found in own.values())])
    found = {}
    for code, items in own.items():
        ranked = sorted(items, key=lambda item: rank(str(item), seed))[: size * pack]
        given = [corpus.texts[code][item] for item in ranked]
        found[code] = [words.joined(given[i : i + pack]) for i in range(0, len(given), pack)]
    return Texts(found, {}, said)


def packing(own: Mapping[str, Sequence[str]], general: Mapping[str, Sequence[str]], count: Count) -> int:
    """How many items of general text make one that is about as long as a task's, in tokens; the same for all
    languages: the ratio of the mean lengths over all of them, rounded, and one at least."""
    means = [sum(map(sum, map(count, texts.values()))) / sum(map(len, texts.values())) for texts in (own, general)]
    return max(1, round(means[0] / max(means[1], 1e-9)))


def of_settings(
    settings: XSNSSettings, task: str, corpus_kind: str, count: Count, *, seed: int = 0, size: int = 0
) -> Texts:
    """D for the languages of a task: its own text (`task`) or general text (`general`); `size` 0: `text_items`.
    `count` gives texts their lengths in the model's tokens.

    General text leaves out the languages that are targets only: few items would be left that all have.
    """
    loaded, size = labelled.load(settings, task), size or settings.text_items
    if corpus_kind == "task":
        return of_task(loaded, loaded.languages, size, seed=seed, recipe=settings.recipe)
    without = set(settings.targets_only(task))
    codes = [code for code in loaded.languages if code not in without]
    if settings.general_task:
        other = labelled.load(settings, settings.general_task)
        known = [code for code in codes if code in other.languages]
        found = of_task(other, known, size, seed=seed)
        lost = [code for code in codes if code not in known]
        said = [f"General text ({other.name}) has nothing in {', '.join(lost)}."] if lost else []
        return Texts(found.texts, {}, [*found.warnings, *said])
    corpus = corpus_of(settings)
    known = [code for code in codes if corpus.texts.get(code)]
    options = {"domain": settings.domain, "pool": settings.pool, "seed": seed}
    own = of_task(loaded, known, size, seed=seed, recipe=settings.recipe).texts
    pack = packing(own, of_corpus(corpus, known, len(corpus.items), **options).texts, count)
    found = of_corpus(corpus, known, size, pack=pack, **options)
    lost = [code for code in codes if code not in known]
    said = [f"Corpus '{corpus.name}' has no text in {', '.join(lost)}."] if lost else []
    said += [f"A text is {pack} items of general text, to be about as long as the task's."] if pack > 1 else []
    return Texts(found.texts, {}, [*found.warnings, *said])


def corpus_of(settings: XSNSSettings) -> Corpus:
    """The corpus of the general text, read once."""
    return _corpus(settings.corpus, settings.data)


@lru_cache(maxsize=2)
def _corpus(name: str, path: str) -> Corpus:
    return load_corpus(name, **({"path": path} if path else {}))


def _split(task: Task, code: str) -> str:
    return "train" if "train" in task.splits[code] else "test"


def counts(texts: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Language -> characters, for tables."""
    return {code: sum(map(len, own)) for code, own in texts.items()}
