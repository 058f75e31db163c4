"""Corpora: one module a source, all behind the small interface of `langsim.corpora.base.Corpus`."""

from langsim.corpora.base import NAMES, Corpus, Pair, load

__all__ = ["NAMES", "Corpus", "Pair", "load"]
