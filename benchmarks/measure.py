"""Time and peak memory of calls, and the tidy rows that the benchmarks of this folder print and write."""

import argparse
import ctypes
import dataclasses
import gc
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch


class Measured(NamedTuple):
    """What a call returned, its wall-clock seconds, and how far it raised this process's resident memory (MB)."""

    result: Any
    seconds: float
    megabytes: float


def measured(call: Callable[[], Any]) -> Measured:
    """Run `call` once. Memory is the peak over the call minus what was resident before it; file pages that are
    mapped count as long as they are resident. Outside Linux the peak can't be reset, and a smaller one than an
    earlier call's reads as 0."""
    gc.collect()
    _give_back()
    before = _peak(reset=True)
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    return Measured(result, seconds, max(0.0, _peak() - before))


def best(
    calls: Mapping[str, Callable[[], Any]], rounds: int, check: Callable[[dict[str, Any]], None] = lambda found: None
) -> dict[str, tuple[float, float]]:
    """The smallest time (seconds) over rounds in which all calls take turns, and the memory (MB) of a round before.

    That round warms up, its times don't count (after giving back all memory the first pages cost time), and `check`
    looks at its results by name.
    """
    first = {name: measured(call) for name, call in calls.items()}
    check({name: one.result for name, one in first.items()})
    memory = {name: one.megabytes for name, one in first.items()}
    del first
    seconds = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            gc.collect()
            start = time.perf_counter()
            call()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return {name: (seconds[name], memory[name]) for name in calls}


def parser_of(doc: str | None, *, rounds: int = 0, threads: int = 1) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have; --rounds where there is a default for it."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if rounds:
        parser.add_argument("--rounds", type=int, default=rounds, help="in which all calls take turns")
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--csv", default="", help="write the rows to this file")
    return parser


def started(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options given, after setting torch's threads and printing the machine."""
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{machine()}, torch {torch.__version__}, {options.threads} thread(s)")
    return options


@dataclasses.dataclass(frozen=True)
class Row:
    """One of ours against one peer, on the same work. `ratio` is how many times as long the peer takes."""

    benchmark: str
    case: str
    ours: str
    ours_seconds: float
    peer: str
    peer_seconds: float
    ratio: float
    ours_peak_mb: float
    peer_peak_mb: float
    machine: str
    torch: str
    threads: int


def compared(
    benchmark: str,
    case: str,
    ours: tuple[str, float, float],
    peer: tuple[str, float, float],
    *,
    ratio: float = 0.0,
    threads: int = 1,
) -> Row:
    """A printed row: (name, seconds, MB) of either side; the ratio of the times unless another one is given."""
    name, seconds, megabytes = ours
    other, other_seconds, other_megabytes = peer
    ratio = ratio or other_seconds / seconds
    print(
        f"{case:44s} {name:11s} {seconds:9.3f} s {megabytes:6.0f} MB   "
        f"{other:28s} {other_seconds:9.3f} s {other_megabytes:6.0f} MB   {ratio:6.2f} x",
        flush=True,
    )
    times = (float(f"{seconds:.4g}"), float(f"{other_seconds:.4g}"), float(f"{ratio:.3g}"))
    peaks = (round(megabytes), round(other_megabytes))
    told = (benchmark, case, name, times[0], other, times[1], times[2], *peaks)
    return Row(*told, machine(), torch.__version__, threads)


def write_csv(file: str, rows: list[Row]) -> None:
    """The rows as one CSV, replacing what was there; nothing for an empty name."""
    if file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(file, index=False)


def peak_of_process() -> float:
    """Peak resident memory of this process (MB), since its start or the last `measured`."""
    return _peak()


def machine() -> str:
    """The machine in one line."""
    model = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        names = [line.split(":")[1].strip() for line in cpus.read_text().splitlines() if line.startswith("model name")]
        model = f"{len(names)} x {names[0]}" if names else model
    return f"{model}, Python {platform.python_version()}"


def _give_back() -> None:
    """Have the C library return freed memory, which would otherwise hide what the next call needs."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        if trim:
            trim(0)


def _peak(reset: bool = False) -> float:
    """Peak resident memory in MB since the last reset; after a reset, what is resident now."""
    if sys.platform == "linux":
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)
