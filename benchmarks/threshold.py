"""The exact top-K threshold against np.partition and torch.kthvalue.

    python benchmarks/threshold.py --parameters 1e7 1e8

All three find the same number, which is checked. The peers copy the vector; `langsim` reads it twice.
"""

import argparse
from functools import partial

import numpy as np
import torch
from measure import Row, best, compared, parser_of, started, write_csv

from langsim.thresholds import active_count, kth_largest


def vectors(size: int) -> dict[str, np.ndarray]:
    """The shapes of real Fisher vectors: skewed; with many zeros; with a block that is far larger."""
    generator = np.random.default_rng(0)
    skewed = generator.standard_normal(size, np.float32) ** 2
    skewed *= generator.standard_exponential(size, np.float32) ** 3
    zeros = skewed.copy()
    zeros[generator.random(size, np.float32) < 0.7] = 0
    block = skewed.copy()
    block[: size // 10] *= 1e6
    return {"skewed": skewed, "70% zeros": zeros, "one block large": block}


def ours(values: np.ndarray, k: int) -> float:
    return float(kth_largest(values, k).value)


def with_numpy(values: np.ndarray, k: int) -> float:
    place = values.size - k
    return float(np.partition(values, place)[place])


def with_torch(values: np.ndarray, k: int) -> float:
    return torch.from_numpy(values).kthvalue(values.size - k + 1).values.item()


def rows_of(name: str, values: np.ndarray, options: argparse.Namespace) -> list[Row]:
    """Ours against each peer on one vector."""
    k = active_count(options.share, values.size)
    ways = {"langsim": ours, "np.partition": with_numpy, "torch.kthvalue": with_torch}
    calls = {way: partial(call, values, k) for way, call in ways.items()}
    assert len({call() for call in calls.values()}) == 1, "the thresholds differ"
    results = {way: (way, *result) for way, result in best(calls, options.rounds).items()}
    case = f"{values.size:.0e} entries, {name}".replace("e+0", "e")
    return [
        compared("threshold", case, results["langsim"], results[way], threads=options.threads)
        for way in ways
        if way != "langsim"
    ]


def main() -> None:
    parser = parser_of(__doc__, rounds=3)
    parser.add_argument("--parameters", type=lambda text: int(float(text)), nargs="+", default=[10_000_000])
    parser.add_argument("--share", type=float, default=0.4, help="K")
    options = started(parser)
    rows = []
    for size in options.parameters:
        for name, values in vectors(size).items():
            rows += rows_of(name, values, options)
    write_csv(options.csv, rows)


if __name__ == "__main__":
    main()
