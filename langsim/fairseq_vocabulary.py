"""The vocabulary of a fairseq translation model as a tokenizer of transformers: `dict.txt` and a SentencePiece model.

fairseq numbers tokens by the lines of `dict.txt`, after <s> <pad> </s> <unk> (0-3): pieces, one token a language
(`__fa__`), and words that fill the matrix up (`madeupword0000`). The ids stay what they are. The class is
`NllbTokenizer`, whose layout `[language] pieces </s>`, on both sides, is that of `--encoder-langtok src
--decoder-langtok`; M2M100's own class has a fixed list of a hundred languages.

A language's token is spelled by its FLORES-200 code (`pes_Arab`), as NLLB's are; one without keeps fairseq's name.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import sentencepiece
from babel import Locale
from sentencepiece import sentencepiece_model_pb2

from langsim import languages
from langsim.errors import UsageError

DICTIONARY, PIECES = "dict.txt", "sentencepiece.bpe.model"
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
SORANI = {"ku": "ckb"}  # FLORES-101's table of codes: its Central Kurdish is this model's `ku`
BPE = 2  # TrainerSpec.ModelType
NORMAL, UNKNOWN, CONTROL = 1, 2, 3  # SentencePiece.Type
MISSING = 0.01  # share of the pieces that a dictionary may lack; beyond it is another model's
SAMPLE = 50  # names of a language that the tokenizer is tried on
_LANGUAGE = re.compile(r"__(\w+?)__")


@dataclass(frozen=True)
class Vocabulary:
    """What a fairseq dictionary holds.

    Attributes:
        tokens: in the order of their ids, the four special ones first, as fairseq spells them.
        names: fairseq's code of a language -> what its token is called in the tokenizer.
    """

    tokens: tuple[str, ...]
    names: dict[str, str]

    def spelled(self) -> list[str]:
        """The tokens as the tokenizer spells them, in the order of their ids."""
        return [self.names.get(_code(token), token) for token in self.tokens]


def read(path: Path) -> Vocabulary:
    """The dictionary in a file of lines `token count`.

    Raises:
        UsageError: no such file, a line of another form, a token twice, or no token of a language.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UsageError(f"no {path.name} beside the checkpoint ({path}): put fairseq's dictionary there") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 (byte {error.start}): is it fairseq's dictionary?") from error
    tokens: dict[str, int] = dict.fromkeys(SPECIAL, 0)
    for number, line in enumerate(lines[:-1] if lines[-1] == "" else lines, start=1):
        token, space, count = line.removesuffix(" #fairseq:overwrite").rpartition(" ")
        if not space or not count.lstrip("-").isdigit():
            raise UsageError(f"{path}:{number}: expected a token and a count, got {line[:40]!r}")
        if token in tokens:
            raise UsageError(f"{path}:{number}: the token {token!r} is there twice")
        tokens[token] = number
    codes = [code for code in map(_code, tokens) if code]
    if not codes:
        raise UsageError(f"{path} has no token of a language, such as __en__: is it the model's own dictionary?")
    return Vocabulary(tuple(tokens), _names(codes))


def tokenizer(vocabulary: Vocabulary, path: Path) -> Any:
    """`NllbTokenizer` with the vocabulary's ids and the pieces of the SentencePiece model in `path`.

    A piece that the dictionary lacks is cut further (to fairseq it is unknown).

    Raises:
        UsageError: no such file, a model that is not byte-pair encoding, or a dictionary that lacks many pieces.
    """
    from transformers import NllbTokenizer

    model = _model(path)
    spelled = vocabulary.spelled()
    ids = {token: number for number, token in enumerate(spelled)}
    scores = {piece.piece: piece.score for piece in model.pieces if piece.type == NORMAL}
    lacking = [piece for piece in scores if piece not in ids]
    if len(lacking) > MISSING * len(scores):
        raise UsageError(f"{len(lacking)} pieces of {path} are not in {DICTIONARY}, such as {lacking[0]!r}")
    first = vocabulary.names.get("en") or next(iter(vocabulary.names.values()))
    return NllbTokenizer(
        vocab=ids,
        merges=_merges({piece: score for piece, score in scores.items() if piece in ids}),
        extra_special_tokens=list(vocabulary.names.values()),
        mask_token=SPECIAL[3],  # it would get a row of its own, which the model has not
        src_lang=first,
        tgt_lang=first,
        _spm_precompiled_charsmap=model.normalizer_spec.precompiled_charsmap or None,
    )


def sample(vocabulary: Vocabulary) -> list[str]:
    """Names of countries in the model's languages, as Unicode CLDR has them: what to try a tokenizer on."""
    names: list[str] = []
    for token in vocabulary.names.values():
        locale = next((x.cldr for x in languages.all_languages() if x.cldr and x.flores == token), "")
        names += islice(Locale.parse(locale).territories.values(), SAMPLE) if locale else []
    return names


def unlike(made: Any, vocabulary: Vocabulary, path: Path, texts: Sequence[str]) -> list[str]:
    """Those of `texts` that the tokenizer cuts otherwise than SentencePiece and the dictionary do."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ids = {token: number for number, token in enumerate(vocabulary.tokens)}
    found = []
    for text in texts:
        wanted = [ids.get(piece, ids["<unk>"]) for piece in pieces.encode(text, out_type=str)]
        if made(text, add_special_tokens=False)["input_ids"] != wanted:
            found.append(text)
    return found


def _code(token: str) -> str:
    match = _LANGUAGE.fullmatch(token)
    return match[1] if match else ""


def _names(codes: Sequence[str]) -> dict[str, str]:
    """A name for each language's token, no two the same."""
    names: dict[str, str] = {}
    for code in codes:
        other = SORANI.get(code, code)
        try:
            name = languages.get(code if other in codes else other).flores
        except UsageError:  # the model knows more languages than the registry
            name = ""
        names[code] = name if name and name not in names.values() else f"__{code}__"
    return names


def _model(path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"no {path.name} beside the checkpoint ({path}): put its SentencePiece model there")
    model = sentencepiece_model_pb2.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's own class of error differs between its implementations
        raise UsageError(f"{path} is not a SentencePiece model; fetch it again") from error
    other = {piece.type for piece in model.pieces} - {NORMAL, UNKNOWN, CONTROL}
    if model.trainer_spec.model_type != BPE or other or not model.normalizer_spec.add_dummy_prefix:
        raise UsageError(
            f"{path} is not a plain byte-pair encoding, and only such pieces fit a tokenizer with these languages"
        )
    return model


def _merges(scores: dict[str, float]) -> list[tuple[str, str]]:
    """Every two pieces that make a third, the likeliest third first: what SentencePiece merges, in its order."""
    found = []
    for piece, score in scores.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in scores and right in scores:
                found.append((-score, cut, left, right))
    return [(left, right) for _, _, left, right in sorted(found)]
