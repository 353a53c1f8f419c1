"""The machine and the Python that execute this program."""

from __future__ import annotations

import functools
import importlib
import os
import platform
from collections import Counter
from contextlib import suppress
from pathlib import Path

from mltraq_prefect.requirements import is_importable


@functools.cache
def facts() -> dict[str, str | None]:
    """Return what is known of Python, system, CPU and GPU."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "cpu": _cpu(),
        "gpu": _counted(_gpus()),
    }


def _cpu() -> str | None:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip().lower() in ("model name", "hardware") and value.strip():
                return f"{os.cpu_count() or 1} x {value.strip()}"
    model = platform.processor() or platform.machine()
    return f"{os.cpu_count() or 1} x {model}" if model else None


def _gpus() -> list[str]:
    """Return the models of the GPUs, by the driver or by pynvml, if it is installed."""
    found = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with suppress(OSError):
            for line in file.read_text(errors="replace").splitlines():
                if line.startswith("Model:"):
                    found.append(line.partition(":")[2].strip())
    return found or _by_pynvml()


def _by_pynvml() -> list[str]:
    if not is_importable("pynvml"):
        return []
    with suppress(Exception):  # of the driver, which may not be there
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        handles = map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
        names = [nvml.nvmlDeviceGetName(handle) for handle in handles]
        return [name.decode() if isinstance(name, bytes) else str(name) for name in names]
    return []


def _counted(models: list[str]) -> str | None:
    parts = [f"{count} x {model}" for model, count in Counter(models).items()]
    return ", ".join(parts) or None
