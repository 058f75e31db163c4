"""What a shipped model is trained to do: how text becomes batches, and a recipe a model and a tokenizer.

    translation       many-to-many, M2M-100 (`examples`)
    masked-lm         tokens of plain text are hidden (`corruption.masked_batch`): XLM-R, BERT
    span-corruption   spans of plain text are hidden (`corruption.span_batch`): mT5

The loop around it (`pretrain`), the shipping and the card are the same for all.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import transformers
from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedModel, PreTrainedTokenizerFast

from langsim import corruption, examples, subwords
from langsim.corpora import Corpus
from langsim.errors import UsageError
from langsim.plain_text import Rows
from langsim.suggest import unknown
from langsim.tokenizer import CODES, EOS, PAD, PIECES, Tokenizer

Batch = dict[str, torch.Tensor]


class Objective(Protocol):
    """How one kind of model is trained. `files` are those of its tokenizer."""

    files: tuple[str, ...]

    def train_tokenizer(self, sentences: list[str], settings: dict, folder: Path) -> Any:
        """A tokenizer by the recipe's `[tokenizer]`, saved in a folder."""

    def load_tokenizer(self, folder: Path) -> Any:
        """The tokenizer in a folder."""

    def pieces(self, tokenizer: Any, text: str) -> list[int]:
        """A text's ids without special tokens."""

    def new_model(self, settings: dict, tokenizer: Any) -> PreTrainedModel:
        """An untrained model of the recipe's shape, from its seed."""

    def prepare(self, model: PreTrainedModel, phase: dict) -> None:
        """Set in the model what a phase of the training changes in it."""

    def batches(self, text: Corpus, settings: dict, tokenizer: Any, step: int) -> Iterator[Batch]:
        """Endless batches of training text, from a step on."""

    def held_out(self, dev: Corpus, settings: dict, tokenizer: Any) -> list[Batch]:
        """The same batches of held-out text every time."""

    def count(self, batch: Batch) -> int:
        """By how many tokens a batch brings the training forward, as the recipe's `until` counts them."""


def of(settings: dict) -> Objective:
    """The objective of a recipe.

    Raises:
        UsageError: there is no such objective.
    """
    name = settings.get("objective", "translation")
    if name not in OBJECTIVES:
        raise UsageError(f"objective: {unknown(name, OBJECTIVES)}")
    return OBJECTIVES[name]


class Translation:
    """Between any two languages; target tokens are counted."""

    files = (PIECES, CODES)

    def train_tokenizer(self, sentences: list[str], settings: dict, folder: Path) -> Tokenizer:
        tokenizer = Tokenizer.train(sentences, **settings["tokenizer"])
        tokenizer.save(folder)
        return tokenizer

    def load_tokenizer(self, folder: Path) -> Tokenizer:
        return Tokenizer.load(folder)

    def pieces(self, tokenizer: Tokenizer, text: str) -> list[int]:
        return tokenizer.processor.encode(text)

    def new_model(self, settings: dict, tokenizer: Tokenizer) -> M2M100ForConditionalGeneration:
        torch.manual_seed(settings["training"]["seed"])
        config = M2M100Config(
            vocab_size=len(tokenizer),
            decoder_start_token_id=EOS,
            pad_token_id=PAD,
            eos_token_id=EOS,
            bos_token_id=0,
            **settings["model"],
        )
        return M2M100ForConditionalGeneration(config)

    def prepare(self, model: PreTrainedModel, phase: dict) -> None:
        """Drop this share of the outputs of embeddings, attention and feed-forward layers while training."""
        model.config.dropout = phase["dropout"]
        for module in model.modules():
            if isinstance(getattr(module, "dropout", None), float) and not hasattr(module, "head_dim"):
                module.dropout = phase["dropout"]  # in attention the name means that of the weights

    def batches(self, text: Corpus, settings: dict, tokenizer: Tokenizer, step: int) -> Iterator[Batch]:
        training = settings["training"]
        drawn = examples.Examples(text, settings, tokenizer, training["seed"] + step)
        return drawn.batches(training["tokens_per_batch"])

    def held_out(self, dev: Corpus, settings: dict, tokenizer: Tokenizer) -> list[Batch]:
        training = settings["training"]
        pairs = examples.held_out(dev, tokenizer, **settings["held_out"], max_tokens=training["max_tokens"])
        return [examples.collate(group) for group in examples.grouped(pairs, training["tokens_per_batch"])]

    def count(self, batch: Batch) -> int:
        return int((batch["labels"] != corruption.IGNORED).sum())


class _PlainText(ABC):
    """What the two objectives on plain text have in common; the tokens of the text are counted, special ones too."""

    files = subwords.FILES

    def train_tokenizer(self, sentences: list[str], settings: dict, folder: Path) -> PreTrainedTokenizerFast:
        tokenizer = subwords.train(sentences, **settings["tokenizer"])
        subwords.save(tokenizer, folder)
        return tokenizer

    def load_tokenizer(self, folder: Path) -> PreTrainedTokenizerFast:
        return subwords.load(folder)

    def pieces(self, tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    def new_model(self, settings: dict, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        torch.manual_seed(settings["training"]["seed"])
        architecture = getattr(transformers, settings["architecture"], None)
        if architecture is None:
            raise UsageError(f"architecture: transformers has no {settings['architecture']}")
        shape = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id} | self.ids(tokenizer)
        return architecture(architecture.config_class(**shape, **settings["model"]))

    def prepare(self, model: PreTrainedModel, phase: dict) -> None:
        """Drop this share of the outputs while training (none: the text is hardly ever seen twice). The configuration
        keeps its own, which fine-tuning has."""
        share = float(phase.get("dropout", 0.0))
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = share
            elif isinstance(getattr(module, "dropout", None), float):  # T5's attention has a number
                module.dropout = share

    def batches(self, text: Corpus, settings: dict, tokenizer: PreTrainedTokenizerFast, step: int) -> Iterator[Batch]:
        training = settings["training"]
        added = tokenizer.num_special_tokens_to_add()

        def encode(texts: Sequence[str]) -> list[list[int]]:
            return tokenizer(list(texts), add_special_tokens=False)["input_ids"]

        source = Rows(text, settings, encode, self.separator(tokenizer))
        hidden = settings["sampling"].get("hidden", corruption.RATE)
        while True:
            rows, rng = source.rows(step, training["tokens_per_batch"], added)
            batch = self.corrupted([self.framed(tokenizer, row) for row in rows], tokenizer, rng, hidden)
            torch.manual_seed(int(rng.integers(2**63)))  # of this step's dropout: the same after a stop as without
            yield batch
            step += 1

    def held_out(self, dev: Corpus, settings: dict, tokenizer: PreTrainedTokenizerFast) -> list[Batch]:
        training, encoded = settings["training"], []
        for own in dev.texts.values():
            items = dev.items.loc[[item for item in dev.items.index if item in own]]
            chosen = items.groupby("domain").head(settings["held_out"]["items"]).index
            texts = [own[item] for item in chosen]
            encoded += tokenizer(texts)["input_ids"] if texts else []
        encoded = sorted((ids for ids in encoded if len(ids) <= training["max_tokens"]), key=len)
        rng = np.random.default_rng(training["seed"])
        groups = grouped(encoded, training["tokens_per_batch"])
        return [self.corrupted(group, tokenizer, rng, corruption.RATE) for group in groups]

    @abstractmethod
    def framed(self, tokenizer: PreTrainedTokenizerFast, row: list[int]) -> list[int]:
        """A row with the special tokens of a text around it."""

    @abstractmethod
    def corrupted(
        self, encoded: list[list[int]], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, share: float
    ) -> Batch:
        """One batch of encoded texts with their special tokens, of which about this share is hidden."""

    @abstractmethod
    def separator(self, tokenizer: PreTrainedTokenizerFast) -> int | None:
        """What stands between two texts of a row."""

    @abstractmethod
    def ids(self, tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
        """The special tokens that the architecture's configuration names."""


class MaskedLM(_PlainText):
    """`corruption.masked_batch`; rows are `<s> text </s> text </s> ...`, as RoBERTa's across documents."""

    def framed(self, tokenizer: PreTrainedTokenizerFast, row: list[int]) -> list[int]:
        end = tokenizer.sep_token_id
        row = row[:-1] if row[-1] == end else row
        return [tokenizer.cls_token_id, *row, end]

    def corrupted(
        self, encoded: list[list[int]], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, share: float
    ) -> Batch:
        return corruption.masked_batch(encoded, tokenizer, rng, rate=share)

    def separator(self, tokenizer: PreTrainedTokenizerFast) -> int:
        return tokenizer.sep_token_id

    def ids(self, tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
        return {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id}

    def count(self, batch: Batch) -> int:
        return int(batch["attention_mask"].sum())


class SpanCorruption(_PlainText):
    """`corruption.span_batch`; rows are texts one after the other, as T5's."""

    def new_model(self, settings: dict, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """transformers draws the tied matrix of the vocabulary with standard deviation 1, for T5's own optimizer; here
        d^-0.5, so that an untrained model is about as good as chance."""
        model = super().new_model(settings, tokenizer)
        model.get_output_embeddings().weight.data.mul_(model.config.d_model**-0.5)
        return model

    def framed(self, tokenizer: PreTrainedTokenizerFast, row: list[int]) -> list[int]:
        return [*row, tokenizer.eos_token_id]

    def corrupted(
        self, encoded: list[list[int]], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, share: float
    ) -> Batch:
        return corruption.span_batch(encoded, tokenizer, rng, rate=share)

    def separator(self, tokenizer: PreTrainedTokenizerFast) -> None:
        return None

    def ids(self, tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
        return {"eos_token_id": tokenizer.eos_token_id, "decoder_start_token_id": tokenizer.pad_token_id}

    def count(self, batch: Batch) -> int:
        """Every hidden token is in the labels and every other in the input; sentinels count too."""
        return int(batch["attention_mask"].sum()) + int((batch["labels"] != corruption.IGNORED).sum())


def grouped(encoded: list[list[int]], tokens: int) -> list[list[list[int]]]:
    """Texts, shortest first, in groups of at most `tokens` positions, padding counted."""
    groups: list[list[list[int]]] = []
    for ids in encoded:
        if groups and len(ids) * (len(groups[-1]) + 1) <= tokens:
            groups[-1].append(ids)
        else:
            groups.append([ids])
    return groups


OBJECTIVES: dict[str, Objective] = {
    "translation": Translation(),
    "masked-lm": MaskedLM(),
    "span-corruption": SpanCorruption(),
}
