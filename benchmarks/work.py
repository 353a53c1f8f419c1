"""The work of the benchmark of executions, the same in every package."""

from __future__ import annotations

import os
import time

CORES = len(os.sched_getaffinity(0))

LOOPS = 500
"""So many additions between two looks at the clock: 10 to 20 microseconds."""


def busy(seconds: float) -> None:
    """Compute in plain Python, for so many seconds of this thread on a core.

    The clock is read seldom: a step does not spend its time in the kernel, which leaves the
    processor's caches and predictors cold for what comes after it.
    """
    end = time.thread_time() + seconds
    total = 0
    while time.thread_time() < end:
        for i in range(LOOPS):
            total += i


def parsed(workload: str) -> tuple[int, float]:
    """Return runs, and seconds a run, of a workload such as ``1000x5``: runs times milliseconds."""
    runs, milliseconds = workload.split("x")
    return int(runs), int(milliseconds) / 1e3


def repeats_of(runs: int, seconds: float) -> int:
    """Return how often to measure a workload: what takes a few seconds, more often."""
    return 3 if runs * seconds <= 20 * CORES else 1
