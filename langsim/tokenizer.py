"""The tokenizer of the shipped models: SentencePiece with byte fallback and one token a language.

M2M-100's own layout: <s> <pad> </s> <unk> are 0-3, then the pieces, then the language tokens. A source is
`[__xx__] pieces </s>`, and so is a target; the decoder starts from `</s>`.
"""

import io
import json
from pathlib import Path

import sentencepiece

from langsim import languages
from langsim.errors import Failure, UsageError
from langsim.paths import atomic_write

BOS, PAD, EOS, UNK = range(4)
PIECES, CODES = "sentencepiece.model", "languages.json"


def seed_segmentation(seed: int) -> None:
    """Seed the segmentations that are drawn in this process (SentencePiece keeps one generator a thread)."""
    sentencepiece.set_random_generator_seed(seed)


class Tokenizer:
    """Text to ids and back. `languages` is the order of the language tokens, which is part of the model."""

    def __init__(self, pieces: bytes, codes: list[str]) -> None:
        self._pieces = pieces
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=pieces)
        self.codes = codes
        self._lang_id = {code: len(self.processor) + i for i, code in enumerate(codes)}
        self.pad_token_id, self.eos_token_id, self.unk_token_id = PAD, EOS, UNK

    def __len__(self) -> int:
        return len(self.processor) + len(self.codes)

    @classmethod
    def train(cls, sentences: list[str], *, vocab_size: int, character_coverage: float) -> "Tokenizer":
        """A unigram model with byte fallback; a language token for every language of the registry."""
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            vocab_size=vocab_size,
            character_coverage=character_coverage,
            model_type="unigram",
            normalization_rule_name="nfkc",  # the default rule makes spaces of the joiners of Persian and Bengali
            byte_fallback=True,
            bos_id=BOS,
            pad_id=PAD,
            eos_id=EOS,
            unk_id=UNK,
            num_threads=1,  # the result depends on it
            minloglevel=2,
        )
        return cls(model.getvalue(), [language.code for language in languages.all_languages()])

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """The tokenizer in a model's folder.

        Raises:
            Failure: its files are missing or damaged.
        """
        try:
            codes = json.loads((folder / CODES).read_text(encoding="utf-8"))
            return cls((folder / PIECES).read_bytes(), codes)
        except (OSError, ValueError, RuntimeError) as error:
            raise Failure(f"the tokenizer in {folder} is missing or damaged: {error}") from error

    def save(self, folder: Path) -> None:
        """Write the pieces and the order of the language tokens."""
        with atomic_write(folder / PIECES) as temporary:
            temporary.write_bytes(self._pieces)
        with atomic_write(folder / CODES) as temporary:
            temporary.write_text(json.dumps(self.codes), encoding="utf-8")

    def lang_id(self, code: str) -> int:
        """Id of a language's token.

        Raises:
            UsageError: the model has no token for it.
        """
        code = languages.get(code).code
        if code not in self._lang_id:
            raise UsageError(f"the model has no token for '{code}'")
        return self._lang_id[code]

    def encode(self, text: str, language: str) -> list[int]:
        """`[__xx__] pieces </s>`."""
        return [self.lang_id(language), *self.processor.encode(text), EOS]

    def sample(self, text: str, language: str, alpha: float) -> list[int]:
        """Like `encode`, in a segmentation drawn with probability proportional to p(segmentation)^alpha."""
        pieces = self.processor.encode(text, enable_sampling=True, alpha=alpha, nbest_size=-1)
        return [self.lang_id(language), *pieces, EOS]

    def decode(self, ids: list[int]) -> str:
        """Text of a sequence of ids; special and language tokens are left out."""
        return self.processor.decode([i for i in ids if UNK < i < len(self.processor)])
