"""The exact top-K threshold against np.partition and torch.kthvalue.

    python benchmarks/threshold.py --parameters 1e7
"""

import argparse

import numpy as np
import torch
from measure import machine, measured

from langsim.thresholds import active_count, kth_largest


def vectors(size):
    """The shapes of real Fisher vectors: skewed; with many zeros; with a block that is far larger."""
    generator = np.random.default_rng(0)
    skewed = generator.standard_normal(size, np.float32) ** 2 * generator.standard_exponential(size, np.float32) ** 3
    zeros = skewed.copy()
    zeros[generator.random(size, np.float32) < 0.7] = 0
    block = skewed.copy()
    block[: size // 10] *= 1e6
    return {"skewed": skewed, "70% zeros": zeros, "one block large": block}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=lambda text: int(float(text)), default=10_000_000)
    parser.add_argument("--share", type=float, default=0.4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"K = {options.share} of {options.parameters:,} entries, on {machine()}")
    for name, values in vectors(options.parameters).items():
        k = active_count(options.share, values.size)
        place = values.size - k
        runs = {
            "langsim": lambda v=values, k=k: kth_largest(v, k).value,
            "np.partition": lambda v=values, p=place: np.partition(v, p)[p],
            "torch.kthvalue": lambda v=values, p=place: torch.from_numpy(v).kthvalue(p + 1).values.item(),
        }
        results = {peer: measured(call) for peer, call in runs.items()}
        ours = results["langsim"]
        for peer, one in results.items():
            assert np.float32(one.result) == ours.result, f"{peer} found another threshold"
            ratio = one.seconds / ours.seconds
            print(f"{name:16s} {peer:15s} {one.seconds:8.3f} s {one.megabytes:7.0f} MB {ratio:7.1f} x")


if __name__ == "__main__":
    main()
