"""Number of workers that a machine can keep busy."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""CPU time a period in a control group; https://docs.kernel.org/admin-guide/cgroup-v2.html."""


def worker_count(n_jobs: int) -> int:
    """Return the number of workers for `n_jobs`: -1 is one a usable core, -2 all but one, ..."""
    return n_jobs if n_jobs > 0 else max(1, usable_cores() + 1 + n_jobs)


def usable_cores() -> int:
    """Return the number of cores that this process may use, by affinity and control group."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota()))


def _quota() -> int:
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):
        return sys.maxsize
