"""What the tests of the pages' studies share: languages, a made similarity matrix, associations."""

import numpy as np

from langsim import pipeline, profiles
from langsim.agreement import Association
from langsim.corpora.base import Pair
from langsim.similarity import similarities

TED = ["bg", "sr", "hr", "uk", "sk", "be", "fa", "hi", "bn", "id", "ms", "kk", "tr", "de", "sv", "ja", "ko"]
ROMANCE = ["gl", "es", "pt", "ca", "fr", "it", "eu"]


def similarity_matrix(codes, seed=0, **overrides):
    """A SimilarityMatrix of random Fisher vectors, in which relatives share a part."""
    from langsim import reference

    rng = np.random.default_rng(seed)
    shared = {family: rng.random(600) for family in set(reference.families(codes).values())}
    vectors = {
        code: (rng.random(600) + shared[reference.families([code])[code]]).astype(np.float32) ** 4 for code in codes
    }
    settings = profiles.resolve("mini", languages=codes, **overrides)
    return pipeline.SimilarityMatrix(settings, similarities(vectors, k=0.4), {"model": "test"}, [])


def association(value, low=None, high=None, p=0.001, languages=17):
    low, high = (value - 0.1 if low is None else low), (value + 0.1 if high is None else high)
    return Association(value, p, low, high, languages, 4999, False)


def pairs_of(units):
    return [Pair(f"{unit}-{i}", f"s{i}", f"t{i}", "text", unit) for i, unit in enumerate(units)]
