"""Sentences of treebanks as a task: training and validation from dev, test from test, no sentence in two of them.

The train splits of most treebanks are too large to be copied about, and their sizes would decide the ranking of
sources: so every language has 450 and 50 sentences of its dev split at most, drawn by a hash of their text. A
sentence whose normalised text is in the test split of any language is in no training or validation split of any.
"""

from collections.abc import Mapping, Sequence

from langsim import languages as registry
from langsim.matching import rank
from langsim.splits import normalise
from langsim.tasks.base import Tokens

TRAIN, VALIDATION = 450, 50
LEAST = 300  # training sentences; a language with fewer is a target only
SCRIPTS = {"sr_set": "sr-Latn"}  # treebanks in another script than their language's first


def divided(
    dev: Mapping[str, Sequence[Tokens]], test: Mapping[str, Sequence[Tokens]], *, seed: int = 0
) -> dict[str, dict[str, tuple[Tokens, ...]]]:
    """language -> split -> sentences. A language with too few dev sentences is a target only."""
    reserved = {normalise(one.text) for examples in test.values() for one in examples}
    found: dict[str, dict[str, tuple[Tokens, ...]]] = {}
    for code, examples in test.items():
        found[code] = {"test": tuple(examples)}
        own: dict[str, Tokens] = {}
        for one in dev.get(code, ()):
            text = normalise(one.text)
            if text not in reserved:
                own.setdefault(text, one)  # once, however often it is there
        drawn = [own[text] for text in sorted(own, key=lambda text: rank(text, seed))]
        if len(drawn) >= LEAST + VALIDATION:
            end = VALIDATION + TRAIN
            found[code] |= {"train": tuple(drawn[VALIDATION:end]), "validation": tuple(drawn[:VALIDATION])}
    return found


def code_of(name: str, treebank: str) -> str:
    """Registry code of a treebank by the first part of its name, which is UD's for the language; empty if unknown."""
    if f"{name}_{treebank}" in SCRIPTS:
        return SCRIPTS[f"{name}_{treebank}"]
    codes = [language.code for language in registry.all_languages() if language.ud == name]
    return name if name in codes else next(iter(codes), "")


def wanted(codes: Sequence[str], there: Mapping[str, object], what: str) -> tuple[list[str], dict[str, str]]:
    """Those of `codes` (all that there are for none) with data, and why the others have none."""
    asked = registry.resolve(codes) if codes else sorted(there)
    return [code for code in asked if code in there], {
        code: f"{what} has no files in it here" for code in asked if code not in there
    }
