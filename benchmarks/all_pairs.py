"""All similarities of all pairs: one streaming pass against pair by pair in NumPy.

    python benchmarks/all_pairs.py --languages 17 --parameters 1e7 1e8 --peer-pairs 20

Both sides read the same memory-mapped files and make the same four matrices, thresholds included. The peer computes
each formula on whole float64 vectors, the symmetric measures once a pair, with thresholds from `np.partition`. All its
pairs would take long, so it is given `--peer-pairs` of them (and the thresholds of their languages only), and the
ratio is of the times *a pair*: nothing is scaled up. Their values are compared with ours.
"""

import argparse
import itertools
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import joblib
import numpy as np
from measure import Row, compared, measured, parser_of, started, write_csv

from langsim.similarity import similarities

DISK = 0.6  # share of the free disk that may be used
_BLOCK = 1 << 22


class Mapped:
    """A Fisher vector in a bare file, as far as a similarity asks for one."""

    def __init__(self, path: Path):
        self.values = np.memmap(path, np.float32, "r")

    def release(self) -> None:
        self.values._mmap.madvise(4)  # MADV_DONTNEED: the pages are read again when needed


def make_vectors(folder: Path, languages: int, parameters: int) -> dict[str, Mapped]:
    """Fisher-like vectors: a shared skewed profile times each language's own noise, from a pool of random numbers that
    every language walks through in its own place."""
    generator = np.random.default_rng(0)
    pool = generator.standard_exponential(_BLOCK * 3 + languages * 4099, np.float32)
    shared = np.float32(1e-9) * generator.standard_normal(_BLOCK, np.float32) ** 2
    for number in range(languages):
        with open(folder / f"l{number}", "wb") as stream:
            for block, start in enumerate(range(0, parameters, _BLOCK)):
                size = min(_BLOCK, parameters - start)
                first = (block * 7919 * 31 + number * 4099) % (2 * _BLOCK)
                vector = np.roll(shared, block)[:size] * pool[first : first + size]
                stream.write(np.maximum(vector, np.float32(1e-18)).data)  # no zeros: the peer takes the logarithm
    return {f"l{number}": Mapped(folder / f"l{number}") for number in range(languages)}


def pairwise(vectors: dict[str, np.ndarray], pairs: Iterable[tuple[str, str]], k: float = 0.4) -> dict:
    """The same four measures, pair by pair on whole vectors; measure -> {(t, a): value}."""
    found: dict[str, dict] = {"mse": {}, "kl": {}, "overlap": {}, "jaccard": {}}
    masks = {}
    for name in dict.fromkeys(itertools.chain.from_iterable(pairs)):
        place = vectors[name].size - round(k * vectors[name].size)
        masks[name] = vectors[name] >= np.partition(vectors[name], place)[place]
    for t, a in pairs:
        f, g = vectors[t].astype(np.float64), vectors[a].astype(np.float64)
        found["mse"][t, a] = np.mean((f - g) ** 2)
        logs = np.log(g) - np.log(f)
        found["kl"][t, a], found["kl"][a, t] = abs(g @ logs), abs(f @ logs)
        shared = np.count_nonzero(masks[t] & masks[a])
        found["overlap"][t, a] = shared / np.count_nonzero(masks[t])
        found["overlap"][a, t] = shared / np.count_nonzero(masks[a])
        found["jaccard"][t, a] = shared / np.count_nonzero(masks[t] | masks[a])
    return found


def some_pairs(names: list[str], count: int) -> list[tuple[str, str]]:
    """The first `count` pairs among as few languages as have so many: fewest thresholds, in the peer's favour."""
    size = next(n for n in range(2, len(names) + 1) if n * (n - 1) // 2 >= count or n == len(names))
    return list(itertools.combinations(names[:size], 2))[:count]


def worst(ours: dict, peer: dict) -> float:
    """The largest relative difference between two sides."""
    return max(
        abs(ours[measure].loc[pair] - value) / max(abs(value), 1e-300)
        for measure, values in peer.items()
        for pair, value in values.items()
    )


def compare(folder: Path, languages: int, parameters: int, options: argparse.Namespace) -> Row:
    """One row for so many languages and parameters."""
    vectors = make_vectors(folder, languages, parameters)
    values = {name: vector.values for name, vector in vectors.items()}
    total = languages * (languages - 1) // 2
    pairs = some_pairs(list(values), min(options.peer_pairs, total))
    with joblib.parallel_config(n_jobs=options.threads):
        ours = measured(lambda: similarities(vectors))
    for vector in vectors.values():
        vector.release()
    peer = measured(lambda: pairwise(values, pairs))
    print(f"largest relative difference from the peer: {worst(ours.result.raw, peer.result):.1e}")
    return compared(
        "all pairs",
        f"{languages} languages, {parameters:.0e} parameters, {total} pairs".replace("e+0", "e"),
        ("one pass", ours.seconds, ours.megabytes),
        (f"pairwise, {len(pairs)} pairs", peer.seconds, peer.megabytes),
        ratio=(peer.seconds / len(pairs)) / (ours.seconds / total),
        threads=options.threads,
    )


def fits(folder: str, languages: int, parameters: int) -> bool:
    """Whether the vectors take at most the share `DISK` of the free disk."""
    return 4 * languages * parameters <= DISK * shutil.disk_usage(folder).free


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--languages", type=int, nargs="+", default=[17])
    parser.add_argument("--parameters", type=lambda text: int(float(text)), nargs="+", default=[10_000_000])
    parser.add_argument("--peer-pairs", type=int, default=20, help="how many pairs the peer is timed on")
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where the vectors lie for a while")
    options = started(parser)
    rows = []
    for languages, parameters in itertools.product(options.languages, options.parameters):
        if not fits(options.folder, languages, parameters):
            gigabytes = 4e-9 * languages * parameters
            parser.error(
                f"{gigabytes:.0f} GB are more than {DISK:.0%} of what is free: take fewer, or another --folder"
            )
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            rows.append(compare(Path(folder), languages, parameters, options))
    write_csv(options.csv, rows)


if __name__ == "__main__":
    main()
