"""Kwargs for worker processes: sent once to each worker; large buffers once to each machine."""

from __future__ import annotations

import itertools
import mmap
import os
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution.frozen_values import (
    FrozenValues,
    LocalValues,
    Pickled,
    dumps,
    is_unchangeable,
)

_numbers = itertools.count()

_PAGE = mmap.ALLOCATIONGRANULARITY


def new_key() -> str:
    """Return text that is unique among all processes of a cluster."""
    return f"{os.getpid()}-{time.time_ns()}-{next(_numbers)}"


class Inputs(NamedTuple):
    """The kwargs of an execution.

    Attributes:
        key: Identifies them.
        kwargs: A pickle of the kwargs; bytes if all values are immutable.
        memory: Shared memory with their large buffers; None if these are part of the pickle.
    """

    key: str
    kwargs: bytes | Pickled
    memory: SharedMemory | None = None


class SharedMemory:
    """Memory that processes of this machine can map; it is freed with this object.

    Args:
        buffers: The buffers to copy into it.
    """

    def __init__(self, buffers: Sequence[Any]) -> None:
        descriptor, self.path = _new_file()
        self._close = weakref.finalize(self, _closed, descriptor, self.path)
        self.spans: list[tuple[int, int]] = []
        end = 0
        for buffer in buffers:
            view = memoryview(buffer).cast("B")
            self.spans.append((end, view.nbytes))
            _write(descriptor, view, end)
            end += -(-view.nbytes // _PAGE) * _PAGE

    def __reduce__(self) -> tuple[Any, ...]:
        return _Mapped, (self.path, self.spans)


class _Mapped:
    """The same memory, mapped in another process.

    Args:
        path: Path of the file.
        spans: Start and size of each buffer, in bytes.
    """

    def __init__(self, path: str, spans: Sequence[tuple[int, int]]) -> None:
        with Path(path).open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        view = memoryview(self._map)
        self.buffers = [view[start : start + size] for start, size in spans]


def _new_file() -> tuple[int, str]:
    if hasattr(os, "memfd_create"):
        with suppress(OSError):
            descriptor = os.memfd_create("mltraq_prefect")
            return descriptor, f"/proc/{os.getpid()}/fd/{descriptor}"
    return tempfile.mkstemp(prefix="mltraq_prefect")


def _write(descriptor: int, view: memoryview, offset: int) -> None:
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _closed(descriptor: int, path: str) -> None:
    os.close(descriptor)
    if not path.startswith("/proc/"):
        Path(path).unlink(missing_ok=True)


def frozen_kwargs(kwargs: Mapping[str, Any]) -> FrozenValues:
    """Freeze kwargs for runs in this process."""
    values = dict(kwargs)
    return values if is_unchangeable(values) else LocalValues(values, shares_buffers=True).freeze()


def pickled_kwargs(kwargs: Mapping[str, Any], *, on_this_machine: bool) -> Inputs:
    """Pickle kwargs for worker processes.

    Args:
        kwargs: The kwargs.
        on_this_machine: Whether all workers are on this machine, and can share memory.

    Raises:
        InvalidInput: A value cannot be pickled.
    """
    buffers: list[Any] = []
    values = dict(kwargs)
    try:
        data = dumps(values, buffers)
    except Exception as error:
        raise InvalidInput(
            f"{_unpicklable(kwargs)} cannot be sent to a worker process ({error}); "
            'create what it needs inside the step, or use backend="threads"'
        ) from None
    if is_unchangeable(values):
        return Inputs(new_key(), data)
    views = [buffer.raw() for buffer in buffers]
    if on_this_machine and views:
        return Inputs(new_key(), Pickled(data), SharedMemory(views))
    return Inputs(new_key(), Pickled(data, [bytes(view) for view in views]))


def received(inputs: Inputs) -> FrozenValues:
    """Return the frozen kwargs in the worker process that has received them."""
    if isinstance(inputs.kwargs, bytes):
        return Pickled(inputs.kwargs).copy()
    if isinstance(inputs.memory, _Mapped):
        return inputs.kwargs._replace(buffers=inputs.memory.buffers)
    return inputs.kwargs


def _unpicklable(kwargs: Mapping[str, Any]) -> str:
    for key, value in dict(kwargs).items():
        try:
            dumps(value)
        except Exception:
            return f"kwargs.{key} (of type {type(value).__name__})"
    return "kwargs"
