"""Cleaning a catalog entry: placeholders, mnemonics, markup, scripts."""

import html
from functools import cache

import regex

# What a program puts in at run time: %(name)s %s %d %(n)d, {name} {0} {}, ${name} $name.
_PLACEHOLDER = regex.compile(
    r"%\((?P<a>\w+)\)[#0\- +]*\d*\.?\d*[a-zA-Z]"
    r"|\$?\{(?P<b>[\w./:!]*)\}"
    r"|\$(?P<c>[a-zA-Z_]\w*)"
    r"|%(?P<d>\d*\.?\d*[sdifrgGu])(?![a-zA-Z])"
)
_TAG = regex.compile(r"<[^<>]{1,200}>")
_ROLE = regex.compile(r":[a-z:]+:`([^`<]*)[^`]*`")  # reStructuredText roles
_EAST_ASIAN_MNEMONIC = regex.compile(r"\s*\(\s*[_&]\w\s*\)")
_MNEMONIC = regex.compile(r"(?<![\p{L}\p{N}_&])[_&](?=\p{L})|(?<=\p{L})_(?=\p{Ll})")

LABEL = 60  # characters; longer texts are no labels, and "_" in them belongs to a name such as blocks_written
SLOT = regex.compile(r"\{(\d+)\}")
_LETTER = regex.compile(r"\p{L}")
_SCRIPTS = {"Hans": "Hani", "Hant": "Hani", "Jpan": "Hani Hira Kana", "Kore": "Hang Hani", "Mymr": "Mymr"}


def clean(text: str, *, mnemonics: bool = False) -> tuple[str, list[str]]:
    """The text as a person reads it, on one line, with placeholders as {0}, {1}, ... and their names.

    `mnemonics=True` also removes the marks of keyboard shortcuts ("_File" -> "File", "文件(_F)" -> "文件").
    """
    text = html.unescape(_TAG.sub(" ", text))
    text = _ROLE.sub(r"\1", text)
    if mnemonics and len(text) <= LABEL:
        text = _MNEMONIC.sub("", _EAST_ASIAN_MNEMONIC.sub("", text))
    names: list[str] = []

    def number(match: regex.Match) -> str:
        name = match["a"] or match["b"] or match["c"] or f"#{len(names)}"
        if name not in names:
            names.append(name)
        return f"{{{names.index(name)}}}"

    text = _PLACEHOLDER.sub(number, text.replace("%%", "%"))
    return " ".join(text.split()), names


def renumber(text: str, own: list[str], english: list[str]) -> str | None:
    """The translation's placeholders under the English numbers; None where the two differ in them."""
    if set(own) != set(english):
        return None
    return SLOT.sub(lambda m: f"{{{english.index(own[int(m[1])])}}}", text) if own else text


def script_share(text: str, script: str) -> float:
    """Share of the letters of `text` that are of an ISO 15924 script (1.0 where there are no letters)."""
    letters = len(_LETTER.findall(text))
    return len(_letters_of(script).findall(text)) / letters if letters else 1.0


@cache
def _letters_of(script: str) -> regex.Pattern:
    classes = "".join(rf"\p{{sc={name}}}" for name in _SCRIPTS.get(script, script).split())
    return regex.compile(rf"(?=\p{{L}})[{classes}ー]")
