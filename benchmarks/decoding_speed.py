"""Beam search by CTranslate2 against Hugging Face's generation, of the same model on the same sentences.

    python benchmarks/decoding_speed.py --sentences 64 --sources hi id

Held-out catalog text into English by the shipped model, beam 5, fp32, batches of like length; the time of CTranslate2
includes converting the model. Both translate nearly alike, which is checked: all but a few translations are equal, and
the others are as likely.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

from measure import Row, best, compared, parser_of, started, write_csv

from langsim import models, translation
from langsim.corpora import Pair
from langsim.corpora import load as load_corpus
from langsim.models import LoadedModel

ALIKE = 0.9  # share of translations that have to be equal


def check(case: str, pairs: list[Pair], found: dict[str, Any]) -> None:
    """Both engines give nearly the same translations; how many is printed."""
    same = sum(a == b for a, b in zip(*found.values(), strict=True))
    assert same >= ALIKE * len(pairs), f"{len(pairs) - same} of {len(pairs)} translations differ"
    print(f"{case}: {same} of {len(pairs)} translations are equal")


def timed(loaded: LoadedModel, source: str, pairs: list[Pair], size: int, options: argparse.Namespace) -> Row:
    """A row, of seconds for all sentences, and sentences a second printed."""
    case = f"{source}-en, {len(pairs)} sentences, batches of {size}"
    calls: dict[str, Callable] = {
        name: partial(translation.translate, loaded, pairs, source, engine=name, size=size)
        for name in ("ctranslate2", "transformers")
    }
    results = {name: (name, *one) for name, one in best(calls, options.rounds, partial(check, case, pairs)).items()}
    row = compared("decoding", case, results["ctranslate2"], results["transformers"], threads=options.threads)
    rates = [f"{len(pairs) / seconds:.1f} by {name}" for name, (_, seconds, _) in results.items()]
    print(f"{case}: sentences a second: {', '.join(rates)}")
    return row


def main() -> None:
    parser = parser_of(__doc__, rounds=3)
    parser.add_argument("--model", default="mini-m2m")
    parser.add_argument("--sources", nargs="+", default=["hi", "id"])
    parser.add_argument("--sentences", type=int, default=128)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32])
    options = started(parser)
    loaded, corpus, rows = models.load(options.model), load_corpus("catalogs"), []
    for source in options.sources:
        pairs = corpus.pairs(source, pool="DEV")[: options.sentences]
        rows += [timed(loaded, source, pairs, size, options) for size in options.sizes]
    write_csv(options.csv, rows)


if __name__ == "__main__":
    main()
