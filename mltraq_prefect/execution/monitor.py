"""What a step uses while it is executed: CPU, memory and GPU, as rows of the series."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

SAMPLE_SECONDS = 1.0
"""Interval of the rows, in seconds; another one comes at the end."""

Note = Callable[[dict[str, Any]], None]
"""Takes a row."""


@contextmanager
def monitored(note: Note) -> Iterator[None]:
    """Note what this process and its children use, within a context.

    Args:
        note: Takes a row at each interval, with some of `mltraq_prefect.stop.MONITORED`.
    """
    usage, ended = _Usage(), threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            note(usage.now())

    thread = threading.Thread(target=sample, name="mltraq monitor", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        note(usage.now())


class _Usage:
    """What this process and its children use."""

    def __init__(self) -> None:
        self._psutil = importlib.import_module("psutil")
        self._known: dict[int, Any] = {}
        self._gpus = _gpus()
        self._cpu_percent()

    def now(self) -> dict[str, Any]:
        """Return a row: the CPU since the last one, and the memory now."""
        return {"cpu_percent": self._cpu_percent(), "rss_bytes": self._rss(), **self._gpu()}

    def _processes(self) -> list[Any]:
        own = self._psutil.Process()
        found = [own]
        with suppress(self._psutil.Error):
            found += own.children(recursive=True)
        # CPU is measured since the last question to the same object
        self._known = {each.pid: self._known.get(each.pid, each) for each in found}
        return list(self._known.values())

    def _cpu_percent(self) -> float:
        total = 0.0
        for process in self._processes():
            with suppress(self._psutil.Error):
                total += process.cpu_percent()
        return total

    def _rss(self) -> int:
        total = 0
        for process in self._known.values():
            with suppress(self._psutil.Error):
                total += process.memory_info().rss
        return total

    def _gpu(self) -> dict[str, Any]:
        """Return the use of all GPUs of the machine, if NVIDIA's library is there."""
        if self._gpus is None:
            return {}
        nvml, handles = self._gpus
        try:
            rates = [nvml.nvmlDeviceGetUtilizationRates(handle).gpu for handle in handles]
            memory = [nvml.nvmlDeviceGetMemoryInfo(handle).used for handle in handles]
        except nvml.NVMLError:
            return {}
        return {"gpu_percent": float(sum(rates)), "gpu_memory_bytes": int(sum(memory))}


def _gpus() -> tuple[ModuleType, list[Any]] | None:
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
        return nvml, [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    except Exception:  # no library, no driver, or no GPU
        return None
