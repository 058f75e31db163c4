"""Tokenizers of the shipped masked models, in the format of the hub (`tokenizer.json`): words, offsets, special tokens.

`unigram` is SentencePiece with byte fallback, as the translation model's, written as a tokenizer of the `tokenizers`
library (the same segmentation, but for ties); with `<mask>` for XLM-R, or with sentinels for mT5. `wordpiece` is
BERT's, over decomposed characters: otherwise the syllables of Korean alone would fill a small vocabulary.

`tokenizer(words, is_split_into_words=True).word_ids()` says which word a subword belongs to, and
`return_offsets_mapping=True` which characters.
"""

from collections import Counter
from pathlib import Path

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from langsim.errors import Failure, UsageError
from langsim.paths import atomic_write
from langsim.suggest import unknown
from langsim.tokenizer import Tokenizer

FILES = ("tokenizer.json", "tokenizer_config.json")
BERT = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
XLMR = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
XLMR |= {"cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
MT5 = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


def train(sentences: list[str], *, kind: str, **options: int | float) -> PreTrainedTokenizerFast:
    """A tokenizer of one of the `KINDS`, trained on sentences.

    Raises:
        UsageError: an unknown kind.
    """
    if kind not in KINDS:
        raise UsageError(f"tokenizer: {unknown(kind, KINDS)}")
    return KINDS[kind](sentences, **options)


def save(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write `FILES`."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / FILES[0]) as temporary:
        tokenizer.backend_tokenizer.save(str(temporary))
    tokenizer.save_pretrained(folder)


def load(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a model's folder.

    Raises:
        Failure: its files are missing or damaged.
    """
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # damaged files end in whatever the reader stumbles over, bare Exception included
        reason = str(error).strip().split("\n")[0][:200]
        raise Failure(f"the tokenizer in {folder} is missing or damaged: {reason}") from error


def _unigram(
    sentences: list[str], *, vocab_size: int, character_coverage: float, sentinels: int = 0
) -> PreTrainedTokenizerFast:
    """Pieces of SentencePiece, then `<mask>` or, where there are to be some, the sentinels."""
    pieces = Tokenizer.train(sentences, vocab_size=vocab_size, character_coverage=character_coverage).processor
    own = [f"<extra_id_{i}>" for i in range(sentinels)] or ["<mask>"]
    vocabulary = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(len(pieces))]
    backend = Backend(models.Unigram(vocabulary, unk_id=pieces.unk_id(), byte_fallback=True))
    spaces = [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    backend.normalizer = normalizers.Sequence(spaces)
    space = {"replacement": "▁", "prepend_scheme": "always"}
    backend.pre_tokenizer = pre_tokenizers.Metaspace(**space)
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(**space)])
    backend.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", *own])
    if sentinels:
        return _wrapped(backend, MT5 | {"extra_special_tokens": own}, "$A </s>", "$A </s> $B </s>")
    return _wrapped(backend, XLMR, "<s> $A </s>", "<s> $A </s> </s> $B </s>")


def _wordpiece(sentences: list[str], *, vocab_size: int, characters: int) -> PreTrainedTokenizerFast:
    """BERT's, case and accents kept, with so many characters; a word with another one is unknown."""
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    cleaned = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False
    )
    backend.normalizer = normalizers.Sequence([cleaned, normalizers.NFKD()])
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    first, later = _characters(backend, sentences, characters)
    special = [BERT[f"{name}_token"] for name in ("pad", "unk", "cls", "sep", "mask")]
    # Left to itself, the trainer numbers the continuing characters in the order of a hash map, anew each time.
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        limit_alphabet=len(first),
        initial_alphabet=first,
        special_tokens=[*special, *(f"##{character}" for character in later)],
        show_progress=False,
    )
    backend.train_from_iterator(sentences, trainer)
    vocabulary = dict(sorted(backend.get_vocab().items(), key=lambda entry: entry[1]))
    backend = _like(backend, models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    backend.add_special_tokens(special)
    return _wrapped(backend, BERT, "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1")


def _characters(backend: Backend, sentences: list[str], most: int) -> tuple[list[str], list[str]]:
    """The most frequent characters of the sentences' words, and those of them that a word goes on with."""
    counts: Counter[str] = Counter()
    going_on: set[str] = set()
    for sentence in sentences:
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(sentence)):
            counts.update(word)
            going_on.update(word[1:])
    first = sorted(counts, key=lambda character: (-counts[character], character))[:most]
    return sorted(first), sorted(going_on & set(first))


def _like(backend: Backend, model: models.Model) -> Backend:
    """Another model behind the same normalisation, splitting and decoding."""
    other = Backend(model)
    other.normalizer, other.pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    other.decoder = backend.decoder
    return other


def _wrapped(backend: Backend, special: dict, single: str, pair: str) -> PreTrainedTokenizerFast:
    names = {token for token in special.values() if isinstance(token, str)}
    ids = [(token, backend.token_to_id(token)) for token in sorted(names)]
    backend.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


KINDS = {"unigram": _unigram, "wordpiece": _wordpiece}
