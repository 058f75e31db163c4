"""Time and peak memory of one call, for the benchmarks of this folder."""

import gc
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


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
    before = _peak(reset=True)
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    return Measured(result, seconds, max(0.0, _peak() - before))


def _peak(reset: bool = False) -> float:
    """Peak resident memory in MB since the last reset; after a reset, what is resident now."""
    if sys.platform == "linux":
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def machine() -> str:
    """The machine in one line."""
    model = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        names = [line.split(":")[1].strip() for line in cpus.read_text().splitlines() if line.startswith("model name")]
        model = f"{len(names)} x {names[0]}" if names else model
    return f"{model}, Python {platform.python_version()}"
