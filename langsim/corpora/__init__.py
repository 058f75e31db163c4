"""Corpora: one module a source, all behind the small interface of `langsim.corpora.base.Corpus`."""

from langsim.corpora.base import FROM_HUB, NAMES, OPTIONS, Corpus, Pair, load

__all__ = ["FROM_HUB", "NAMES", "OPTIONS", "Corpus", "Pair", "load"]
