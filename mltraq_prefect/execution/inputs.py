"""Kwargs on their way to worker processes: once a worker, large ones once a machine."""

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
from mltraq_prefect.execution.copies import AtRest, Held, Pickled, is_unchangeable, pack

_numbers = itertools.count()

_PAGE = mmap.ALLOCATIONGRANULARITY


def new_key() -> str:
    """Return a text that identifies something among all processes of a cluster."""
    return f"{os.getpid()}-{time.time_ns()}-{next(_numbers)}"


class Inputs(NamedTuple):
    """The kwargs of an execution.

    Attributes:
        key: Identifies them.
        kwargs: What runs get copies of, or a pickle of that.
        memory: What their large buffers are in, or None if they are part of the pickle.
    """

    key: str
    kwargs: bytes | Pickled
    memory: SharedMemory | None = None


class SharedMemory:
    """Memory that processes of this machine can map; it goes with this object.

    Args:
        buffers: What it holds.
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
    """The same memory in another process.

    Args:
        path: Of the file.
        spans: Start and size of each buffer.
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


def held_kwargs(kwargs: Mapping[str, Any]) -> AtRest:
    """Return kwargs for runs in this process."""
    values = dict(kwargs)
    return values if is_unchangeable(values) else Held(values, shares=True).keep()


def packed_kwargs(kwargs: Mapping[str, Any], *, on_this_machine: bool) -> Inputs:
    """Return kwargs for worker processes.

    Args:
        kwargs: What is sent.
        on_this_machine: Whether all workers are on this machine, and can share memory.

    Raises:
        InvalidInput: Something in them cannot be sent to another process.
    """
    buffers: list[Any] = []
    values = dict(kwargs)
    try:
        data = pack(values, buffers)
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


def received(inputs: Inputs) -> AtRest:
    """Return kwargs in the worker process to which they were sent."""
    if isinstance(inputs.kwargs, bytes):
        return Pickled(inputs.kwargs).copy()
    if isinstance(inputs.memory, _Mapped):
        return inputs.kwargs._replace(buffers=inputs.memory.buffers)
    return inputs.kwargs


def _unpicklable(kwargs: Mapping[str, Any]) -> str:
    for key, value in dict(kwargs).items():
        try:
            pack(value)
        except Exception:
            return f"kwargs.{key} (of type {type(value).__name__})"
    return "kwargs"
