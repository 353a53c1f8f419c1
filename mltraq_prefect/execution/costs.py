"""What attempts cost: CPU time, memory, and which worker has borne it."""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_SLACK_BYTES = 2**20
"""A peak that is no further above what a process uses now is not reset: that takes time."""

_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
"""Of `ru_maxrss`."""


class Meter:
    """Measures one attempt from its construction on.

    Args:
        is_own_process: Whether the process executes nothing else: only then memory is known.
        is_alone: Whether the process executes one attempt at a time, so that all threads count.
    """

    def __init__(self, *, is_own_process: bool, is_alone: bool) -> None:
        self._has_memory = is_own_process and resource is not None
        self._cpu = _process_seconds if is_alone else time.thread_time
        if self._has_memory:
            _reset_peak()
        self._began, self._cpu_began = time.perf_counter(), self._cpu()

    def facts(self) -> dict[str, float]:
        """Return what the attempt has taken, as the ledger calls it."""
        facts: dict[str, float] = {
            "duration_s": time.perf_counter() - self._began,
            "cpu_s": self._cpu() - self._cpu_began,
        }
        if self._has_memory:
            facts["peak_rss_bytes"] = _peak_bytes()
        return facts


def worker_name() -> str:
    """Return what the ledger calls this process: host and process id."""
    return f"{_host()}:{os.getpid()}"


@cache
def _host() -> str:
    return socket.gethostname()


def _process_seconds() -> float:
    """Return the CPU time of this process, and of those that it has waited for."""
    if resource is None:
        return time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT_BYTES


def _reset_peak() -> None:
    """Forget what earlier attempts have used, where the system lets a process do that."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
        if _peak_bytes() - pages * resource.getpagesize() > _SLACK_BYTES:
            Path("/proc/self/clear_refs").write_bytes(b"5")
