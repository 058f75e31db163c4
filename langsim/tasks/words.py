"""Text into words, by one rule for every language.

1. Spaces of any kind end a word.
2. In scripts that don't part words by spaces (Han, kana, Thai, Lao, Khmer, Myanmar, Tibetan) each character, with
   its combining marks, is a word: no segmenter is needed, and none can be better for one language than for another.
3. Digits (of any script) with points, commas or apostrophes between them are one word ("5km" is two).
4. Elsewhere a run of letters, marks and joiners is a word.
5. Any other character is a word of its own.

Invisible marks of direction are removed before; spaces of any width become plain ones.
"""

from collections.abc import Sequence

import regex

_BIDI = regex.compile(r"[\u200b\u200e\u200f\u061c\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_NO_SPACES = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
_UNSPACED = regex.compile(rf"[{_NO_SPACES}\u3000-\u303f\uff00-\uffef]")
_WORDS = regex.compile(
    r"\p{Nd}+(?:[.,٫٬'’]\p{Nd}+)*"
    rf"|[\p{{L}}\p{{Nl}}--[\p{{Nd}}]&&[{_NO_SPACES}]][\p{{M}}]*"
    rf"|(?:[[\p{{L}}\p{{M}}]--[{_NO_SPACES}]]|(?<=\p{{L}}\p{{M}}*)[\u200c\u200d'’](?=\p{{L}}))+"
    r"|\S\p{M}*",
    regex.V1,
)
_SYMBOL = regex.compile(r"[\p{L}\p{M}\p{N}\p{S}%٪‰]")


def clean(text: str) -> str:
    """The text on one line without marks of direction, with plain single spaces."""
    return " ".join(_BIDI.sub("", text).split())


def split(text: str) -> list[str]:
    """The words of a text."""
    return _WORDS.findall(_BIDI.sub("", text))


def joined(words: Sequence[str]) -> str:
    """Words as raw text: parted by spaces, but for those next to a character of a script that has none.

    The scripts are told by the characters, not by the language, so that a Latin name in a Chinese sentence keeps its
    spaces and "2022" + "\u5e74" is one run. Marks of such scripts (full-width ones) count as theirs.
    """
    text = ""
    for word in words:
        apart = text and not (_UNSPACED.match(text[-1]) or _UNSPACED.match(word[0]))
        text += f" {word}" if apart else word
    return text


def is_punctuation(word: str) -> bool:
    """Whether a word has no letter, digit or symbol."""
    return not _SYMBOL.search(word)
