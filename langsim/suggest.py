"""The nearest known names to a mistyped one, for error messages."""

import difflib
from collections.abc import Iterable


def nearest(word: str, choices: Iterable[str], n: int = 3) -> list[str]:
    """The `n` choices most like `word` (case aside), best first; equal ones in the order given."""
    word = word.casefold()

    def likeness(choice: str) -> float:
        return difflib.SequenceMatcher(None, word, choice.casefold()).ratio()

    return sorted(dict.fromkeys(choices), key=likeness, reverse=True)[:n]


def did_you_mean(word: str, choices: Iterable[str], n: int = 3) -> str:
    """`did you mean a, b or c?`, or `there are none yet` when there is nothing to choose from."""
    found = nearest(word, choices, n)
    if not found:
        return "there are none yet"
    listed = found[0] if len(found) == 1 else f"{', '.join(found[:-1])} or {found[-1]}"
    return f"did you mean {listed}?"


def unknown(given: object, known: Iterable[str]) -> str:
    """`unknown 'minni' (did you mean 'mini'?)`, or the first dozen known names where nothing is near."""
    known = sorted(set(known))
    cased = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(str(given).casefold(), cased, n=3, cutoff=0.6)
    if near:
        return f"unknown {str(given)!r} (did you mean {' or '.join(repr(cased[name]) for name in near)}?)"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"unknown {str(given)!r} (known: {shown or 'none'})"
