"""What every labelled task offers: examples of one kind, in splits, by language, with a metric and a digest.

Three kinds of example, each with the head that a model needs for it (`HEADS`):

    tokens   words and a tag for each (NER, POS)                       head "token"
    pair     one or two texts and a label (NLI, PI, classification)    head "sequence"
    answer   a question and a span of a context that answers it (QA)   head "span"
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property

import numpy as np

from langsim import languages as registry
from langsim.errors import UsageError
from langsim.suggest import unknown
from langsim.tasks import words
from langsim.tasks.metrics import METRICS

SPLITS = ("train", "validation", "test")
HEADS = {"tokens": "token", "pair": "sequence", "answer": "span"}


@dataclass(frozen=True)
class Tokens:
    """A sentence of words with one tag a word. `unit` is what resampling draws."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    unit: str

    @property
    def text(self) -> str:
        """Raw text: scripts without spaces are joined without any (`words.joined`)."""
        return words.joined(self.words)

    def labels(self) -> tuple[str, ...]:
        return self.tags

    def problem(self) -> str:
        """Why this is no example, or an empty string."""
        if not self.words:
            return "no words"
        if len(self.words) != len(self.tags):
            return f"{len(self.words)} words but {len(self.tags)} tags"
        return "an empty word" if not all(word.strip() for word in self.words) else ""


@dataclass(frozen=True)
class Pair:
    """Two texts (`second` is empty for the classification of one text) and a label."""

    first: str
    second: str
    label: str
    unit: str

    @property
    def text(self) -> str:
        return f"{self.first} {self.second}".strip()

    def labels(self) -> tuple[str, ...]:
        return (self.label,)

    def problem(self) -> str:
        """Why this is no example, or an empty string."""
        return "an empty text" if not self.first.strip() else "" if self.label else "no label"


@dataclass(frozen=True)
class Answer:
    """A question, a context, and the answer: `context[start:start + len(answer)]` (`start` in characters)."""

    question: str
    context: str
    answer: str
    start: int
    unit: str

    @property
    def text(self) -> str:
        return f"{self.question} {self.context}"

    def labels(self) -> tuple[str, ...]:
        return ()

    def problem(self) -> str:
        """Why this is no example, or an empty string."""
        if not self.answer.strip() or not self.question.strip():
            return "an empty question or answer"
        found = self.context[self.start : self.start + len(self.answer)] if self.start >= 0 else ""
        return "" if found == self.answer else f"the context has {found!r} at {self.start}, not {self.answer!r}"


Example = Tokens | Pair | Answer
KINDS: dict[str, type] = {"tokens": Tokens, "pair": Pair, "answer": Answer}


@dataclass
class Task:
    """One labelled task in several languages.

    Attributes:
        name: what the task is called in a signature.
        kind: `tokens`, `pair` or `answer`.
        metric: a name of `metrics.METRICS`.
        splits: language -> split -> examples. Every language has a `test`; one that is only a target has no more.
        labels: the label set in the order of the head's outputs; empty: taken from the examples, which then have to
            have the same labels in every language.
        unavailable: language -> why this task has no data for it. Shown, never hidden.
        notes: what a reader of any number made from this task has to know.
    """

    name: str
    kind: str
    metric: str
    splits: Mapping[str, Mapping[str, Sequence[Example]]]
    labels: tuple[str, ...] = ()
    unavailable: Mapping[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"kind of task '{self.name}': {unknown(self.kind, KINDS)}")
        if self.metric not in METRICS:
            raise UsageError(f"metric of task '{self.name}': {unknown(self.metric, METRICS)}")
        if not self.splits:
            raise UsageError(f"task '{self.name}' has no language{_reasons(self.unavailable)}")
        self.splits = {registry.get(code).code: dict(own) for code, own in self.splits.items()}
        for code, own in self.splits.items():
            self._check(code, own)
        self.labels = self._label_set()

    @property
    def head(self) -> str:
        """Which head a model needs: `token`, `sequence` or `span`."""
        return HEADS[self.kind]

    @property
    def languages(self) -> list[str]:
        """Registry codes of the languages with data, sorted."""
        return sorted(self.splits)

    @property
    def sources(self) -> list[str]:
        """Languages that a model can be fine-tuned on: those with a training and a validation split."""
        return [code for code in self.languages if {"train", "validation"} <= set(self.splits[code])]

    @cached_property
    def digest(self) -> str:
        """Hex sha256 of name, metric, label set and every example of every language: equal digests, equal tasks."""
        total = hashlib.sha256(json.dumps([self.name, self.kind, self.metric, self.labels]).encode())
        for code in self.languages:
            total.update(self.digest_of(code).encode())
        return total.hexdigest()

    def digest_of(self, language: str) -> str:
        """Hex sha256 of the examples of one language."""
        total = hashlib.sha256(language.encode())
        for split, examples in sorted(self._of(language).items()):
            total.update(f"[{split}]\n".encode())
            for one in examples:
                total.update(json.dumps(astuple(one), ensure_ascii=False).encode() + b"\n")
        return total.hexdigest()

    def examples(self, language: str, split: str) -> Sequence[Example]:
        """The examples of one language and split.

        Raises:
            UsageError: an unknown split or language, or one that this task has no data for.
        """
        if split not in SPLITS:
            raise UsageError(f"split: {unknown(split, SPLITS)}")
        own = self._of(language)
        if split not in own:
            raise UsageError(f"task '{self.name}' has no {split} split in '{language}'; it has {', '.join(own)}")
        return own[split]

    def text(self, language: str, split: str = "train") -> list[str]:
        """Plain text of one language and split, one string an example: the task's own text for Fisher vectors."""
        return [one.text for one in self.examples(language, split)]

    def sizes(self) -> dict[str, dict[str, int]]:
        """language -> split -> number of examples."""
        return {code: {split: len(self.splits[code].get(split, ())) for split in SPLITS} for code in self.languages}

    def only(self, codes: Iterable[str]) -> "Task":
        """The same task with fewer languages."""
        return self._with({code: self._of(code) for code in registry.resolve(codes)})

    def equal_sizes(self, *, seed: int = 0) -> "Task":
        """The same task with as many examples in every language as the smallest has, split by split.

        Where all languages have the same units (a multi-parallel task), the same units are kept in each; elsewhere
        each language's examples are drawn without replacement from `seed`.
        """
        kept: dict[str, dict[str, Sequence[Example]]] = {code: {} for code in self.languages}
        for split in SPLITS:
            having = [code for code in self.languages if split in self.splits[code]]
            least = min((len(self.splits[code][split]) for code in having), default=0)
            for code in having:
                examples = self.splits[code][split]
                order = np.random.default_rng([seed, SPLITS.index(split)]).permutation(len(examples))
                kept[code][split] = tuple(examples[i] for i in sorted(order[:least]))
        return self._with(kept)

    def _with(self, splits: Mapping[str, Mapping[str, Sequence[Example]]]) -> "Task":
        return Task(self.name, self.kind, self.metric, splits, self.labels, self.unavailable, self.notes)

    def _of(self, language: str) -> Mapping[str, Sequence[Example]]:
        code = registry.get(language).code
        if code in self.splits:
            return self.splits[code]
        why = self.unavailable.get(code, f"it has {', '.join(self.languages)}")
        raise UsageError(f"task '{self.name}' has no data in '{code}': {why}")

    def _check(self, code: str, own: Mapping[str, Sequence[Example]]) -> None:
        for split, examples in own.items():
            where = f"task '{self.name}', language '{code}', {split}"
            if split not in SPLITS:
                raise UsageError(f"{where}: {unknown(split, SPLITS)}")
            if not len(examples):
                raise UsageError(f"{where}: the split is empty; add examples, or leave the language out")
            for number, one in enumerate(examples):
                if not isinstance(one, KINDS[self.kind]):
                    raise UsageError(f"{where}: example {number + 1} is a {type(one).__name__}, not '{self.kind}'")
                if one.problem():
                    raise UsageError(f"{where}: example {number + 1}: {one.problem()}")
        if "test" not in own:
            raise UsageError(f"task '{self.name}', language '{code}': no test split")

    def _label_set(self) -> tuple[str, ...]:
        used = {
            code: {label for examples in own.values() for one in examples for label in one.labels()}
            for code, own in self.splits.items()
        }
        if self.labels:
            for code, own in used.items():
                strange = sorted(own - set(self.labels))
                if strange:
                    raise UsageError(
                        f"task '{self.name}', language '{code}': labels not in the set: {_listed(strange)}"
                    )
            return tuple(self.labels)
        everything = set().union(*used.values())
        for code, own in used.items():
            lacking = sorted(everything - own)
            if lacking:
                raise UsageError(
                    f"task '{self.name}': label sets differ between languages: '{code}' lacks {_listed(lacking)}; "
                    "rename them, or give the whole set as labels (for files: labels.txt, a label a line)"
                )
        return tuple(sorted(everything))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _reasons(unavailable: Mapping[str, str]) -> str:
    return ": " + "; ".join(f"{code}: {why}" for code, why in list(unavailable.items())[:3]) if unavailable else ""
