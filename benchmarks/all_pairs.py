"""All similarities of all pairs: one streaming pass against pair by pair in NumPy.

    python benchmarks/all_pairs.py --languages 17 --parameters 1e7

Both sides read the same memory-mapped store and make the same four matrices. The peer computes each formula on whole
float64 vectors, the symmetric measures once a pair, with thresholds from np.percentile. `--peer-pairs` times that many
pairs only and scales up.
"""

import argparse
import itertools
import tempfile

import joblib
import numpy as np
from measure import machine, measured

from langsim.similarity import similarities
from langsim.store import FisherStore


def make_store(folder, languages, parameters, seed=0):
    """Fisher-like vectors: a shared skewed profile times each language's own noise."""
    store = FisherStore(folder)
    for number in range(languages):
        vector = np.empty(parameters, np.float32)
        for start in range(0, parameters, 1 << 22):
            size = min(1 << 22, parameters - start)
            shared = np.random.default_rng((seed, start)).standard_normal(size, np.float32)
            own = np.random.default_rng((seed, start, number + 1)).standard_exponential(size, np.float32)
            vector[start : start + size] = np.maximum(shared**2 * own, 1e-9) * np.float32(1e-9)  # no zeros: log
        store.put(f"l{number}", vector, [("w", (parameters,), 0)])
    return store


def pairwise(vectors, pairs, k=0.4):
    """The same four measures, pair by pair on whole vectors; returns dict measure -> {(t, a): value}."""
    found = {"mse": {}, "kl": {}, "overlap": {}, "jaccard": {}}
    masks = {name: values >= np.percentile(values, 100 * (1 - k)) for name, values in vectors.items()}
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", type=int, default=17)
    parser.add_argument("--parameters", type=lambda text: int(float(text)), default=10_000_000)
    parser.add_argument("--peer-pairs", type=int, default=0, help="time this many pairs of the peer and scale up")
    parser.add_argument("--threads", type=int, default=1, help="threads of the streaming pass")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(folder, options.languages, options.parameters)
        stored = {key: store.get(key) for key in sorted(store.keys())}
        for vector in stored.values():
            vector.release()
        with joblib.parallel_config(n_jobs=options.threads):
            ours = measured(lambda: similarities(stored))
        pairs = list(itertools.combinations(stored, 2))
        some = pairs[: options.peer_pairs or len(pairs)]
        vectors = {name: vector.values for name, vector in stored.items()}
        thresholds = measured(lambda: pairwise(vectors, []))
        peer = measured(lambda: pairwise(vectors, some))
    whole = thresholds.seconds + max(0.0, peer.seconds - thresholds.seconds) * len(pairs) / len(some)
    for measure, values in peer.result.items():
        matrix = ours.result.raw[measure]
        worst = max(abs(matrix.loc[pair] - value) / max(abs(value), 1e-300) for pair, value in values.items())
        print(f"{measure:8s} largest relative difference from the peer {worst:.1e}")
    scaled = "" if len(some) == len(pairs) else f" (scaled up from {len(some)} of {len(pairs)} pairs)"
    print(f"{options.languages} languages, {options.parameters:,} parameters, on {machine()}")
    print(f"one pass  {ours.seconds:9.2f} s  {ours.megabytes:8.0f} MB  {options.threads} thread(s)")
    print(f"pairwise  {whole:9.2f} s  {peer.megabytes:8.0f} MB{scaled}")
    print(f"ratio     {whole / ours.seconds:9.1f} x")


if __name__ == "__main__":
    main()
