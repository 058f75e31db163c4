"""The one split file: which text is in which pool, for every corpus that the project trains or tests on.

`data/splits.tsv` has a row for each English text of the catalogs (a 64-bit hash of its normalised form, never the
text), and one for each NTREX document, with its cluster and its pool. Pools are disjoint by cluster, so a message
and its near copies ("Please log in." / "Please, log in") never stand on two sides of a split.

    PRETRAIN   the shipped models' training text
    FINETUNE   adaptation data, and the text that Fisher vectors are estimated on
    DEV, TEST  choosing and scoring
    TASKS      reserved for the labelled tasks: in no model's training text

Django's interface text is the adaptation domain: a cluster with one Django message in it is never in PRETRAIN.
"""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd
import regex
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import TfidfVectorizer

from langsim.errors import Failure
from langsim.paths import DATA, atomic_write

FILE = DATA / "splits.tsv"
POOLS = ("PRETRAIN", "FINETUNE", "DEV", "TEST", "TASKS")

# Shares of clusters per domain. A cluster of several domains follows the first of them in this order.
SHARES = {
    "interface": {"FINETUNE": 0.65, "DEV": 0.10, "TEST": 0.25},
    "names": {"PRETRAIN": 0.35, "FINETUNE": 0.30, "DEV": 0.05, "TEST": 0.05, "TASKS": 0.25},
    "software": {"PRETRAIN": 0.85, "DEV": 0.03, "TEST": 0.03, "TASKS": 0.09},
    "news": {"PRETRAIN": 0.60, "FINETUNE": 0.20, "DEV": 0.07, "TEST": 0.13},
}
NEAR = 0.85  # cosine of character-trigram TF-IDF vectors above which two English texts share a cluster

_NOISE = regex.compile(r"\{\d*\}|[^\p{L}\p{M}\s]")


def normalise(text: str) -> str:
    """The form that is compared and hashed: case, digits, punctuation and placeholders do not count.

    A text without any letter keeps its characters, so that "1,000" and "2,000" stay different.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    letters = " ".join(_NOISE.sub(" ", folded).split())
    return letters or " ".join(folded.split())


def text_hash(text: str) -> int:
    """64-bit hash of the normalised text."""
    return int.from_bytes(hashlib.blake2b(normalise(text).encode(), digest_size=8).digest(), "big")


def segment_hash(language: str, text: str) -> int:
    """64-bit hash of a text as text of one language: what ships with a model for the leak test.

    The language counts, because short texts of different items coincide across languages ("Administrator", "Tunis").
    """
    marked = f"{language}\t{normalise(text)}"
    return int.from_bytes(hashlib.blake2b(marked.encode(), digest_size=8).digest(), "big")


def clusters(texts: list[str]) -> np.ndarray:
    """Cluster number of each text: connected components of near-identical texts (cosine above `NEAR`).

    Single-link, so the relation is closed: no text of one cluster is near a text of another.
    """
    normalised = [normalise(text) for text in texts]
    unique, inverse = np.unique(normalised, return_inverse=True)
    if len(unique) == 1:
        return np.zeros(len(texts), dtype=int)
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), dtype=np.float32).fit_transform(unique)
    near = csr_matrix(grams @ grams.T > NEAR)
    return connected_components(near, directed=False)[1][inverse]


def draw(key: str, shares: dict[str, float]) -> str:
    """A pool for `key`, by its hash: stable whatever else is in the corpus."""
    u = int.from_bytes(hashlib.blake2b(f"langsim splits 1:{key}".encode(), digest_size=8).digest(), "big") / 2**64
    bounds = np.cumsum(list(shares.values()))
    return list(shares)[int(np.searchsorted(bounds / bounds[-1], u, side="right"))]


def assign(items: pd.DataFrame) -> pd.DataFrame:
    """The rows of the split file for catalog items with columns `english` and `domain`.

    A cluster is named by the smallest hash in it, and its pool is drawn by that name.
    """
    table = pd.DataFrame({"domain": items["domain"], "hash": [f"{text_hash(t):016x}" for t in items["english"]]})
    table["number"] = clusters(list(items["english"]))
    rank = {domain: i for i, domain in enumerate(SHARES)}
    grouped = table.groupby("number")
    table["cluster"] = grouped["hash"].transform("min")
    table["follows"] = table["number"].map(grouped["domain"].agg(lambda d: min(d, key=rank.__getitem__)))
    table["pool"] = [draw(c, SHARES[d]) for c, d in zip(table["cluster"], table["follows"], strict=True)]
    rows = table.rename(columns={"hash": "key"})[["key", "cluster", "pool"]]
    return rows.drop_duplicates().sort_values("key").reset_index(drop=True)


def assign_documents(documents: list[str]) -> pd.DataFrame:
    """The rows of the split file for NTREX documents; a document is its own cluster."""
    keys = [f"ntrex:{name}" for name in sorted(set(documents))]
    return pd.DataFrame({"key": keys, "cluster": keys, "pool": [draw(k, SHARES["news"]) for k in keys]})


def write(rows: pd.DataFrame) -> None:
    """Write the split file. Done once: shipped models and results are signed with what follows from it."""
    with atomic_write(FILE) as temporary:
        rows.to_csv(temporary, sep="\t", index=False)


@cache
def table() -> pd.DataFrame:
    """The split file, indexed by key (16 hex digits of a text's hash, or `ntrex:<document>`)."""
    if not FILE.exists():
        raise Failure(f"the split file {FILE} is missing; restore it with `git checkout data/splits.tsv`")
    rows = pd.read_csv(FILE, sep="\t", dtype=str).set_index("key")
    if not rows.index.is_unique or not set(rows["pool"]) <= set(POOLS):
        raise Failure(f"the split file {FILE} is damaged; restore it with `git checkout data/splits.tsv`")
    return rows


def pool_and_unit(english: list[str]) -> pd.DataFrame:
    """Pool and cluster of each English text.

    A text that the split file does not know gets the pool `UNSPLIT`, and is a cluster of its own.
    """
    keys = pd.Series([f"{text_hash(text):016x}" for text in english], dtype=str)
    found = table().reindex(keys)
    unit = found["cluster"].reset_index(drop=True).fillna(keys)
    return pd.DataFrame({"pool": found["pool"].fillna("UNSPLIT").to_numpy(), "unit": unit.to_numpy()})


def leaks(texts: Mapping[str, Sequence[str]], pretrain: np.ndarray) -> dict[str, list[str]]:
    """Held-out texts whose `segment_hash` is among a model's PRETRAIN hashes (sorted uint64), by language.

    An empty dict means no leak.
    """
    found = {}
    for language, segments in texts.items():
        if not segments:
            continue
        hashes = np.array([segment_hash(language, segment) for segment in segments], dtype=np.uint64)
        at = np.clip(np.searchsorted(pretrain, hashes), 0, max(len(pretrain) - 1, 0))
        hit = (pretrain[at] == hashes) if len(pretrain) else np.zeros(len(hashes), bool)
        if hit.any():
            found[language] = [segment for segment, is_leak in zip(segments, hit, strict=True) if is_leak]
    return found
