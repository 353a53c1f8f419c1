"""Warm worker processes, each leased to one batch at a time.

One single-worker executor each rather than one shared pool: a worker that dies then names its
batch, is replaced alone, and touches no other.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import loky
from loky.process_executor import BrokenProcessPool

from mltraq_prefect.errors import InvalidInput

P = ParamSpec("P")
T = TypeVar("T")


class WorkerDied(Exception):
    """A worker process ended in the middle of a call (killed, out of memory, a crash in C code)."""


def worker_count(n_jobs: int) -> int:
    """Return the number of workers for `n_jobs`: -1 is one a usable core, -2 all but one, ...

    Raises:
        InvalidInput: `n_jobs` is 0 or no integer.
    """
    if not isinstance(n_jobs, int) or isinstance(n_jobs, bool) or n_jobs == 0:
        raise InvalidInput(f"n_jobs is {n_jobs!r}; use a positive number, or -1 for one a core")
    cores: int = loky.cpu_count()
    return n_jobs if n_jobs > 0 else max(1, cores + 1 + n_jobs)


class Workers:
    """A set of worker processes; may be used by many threads, and is closed by who made it.

    Args:
        count: Number of processes; each starts when it is first needed.
    """

    def __init__(self, count: int) -> None:
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(count):
            self._idle.put(None)
        self._started: list[Any] = []

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a worker process, waiting for one if all are busy.

        Raises:
            WorkerDied: The process ended before it answered; another takes its place.
        """
        executor = self._idle.get()
        try:
            if executor is None:
                executor = loky.ProcessPoolExecutor(max_workers=1)
                self._started.append(executor)
            answer: T = executor.submit(function, *args, **kwargs).result()
            return answer
        except BrokenProcessPool as error:
            self._started.remove(executor)
            executor.shutdown(wait=False, kill_workers=True)
            executor = None
            raise WorkerDied(_cause(error)) from None
        finally:
            self._idle.put(executor)

    def close(self) -> None:
        """End all processes, busy ones too."""
        for executor in list(self._started):
            executor.shutdown(wait=True, kill_workers=True)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _cause(error: BaseException) -> str:
    text = str(error)
    for signal in ("SIGKILL", "SIGSEGV", "SIGTERM", "SIGABRT"):
        if signal in text:
            return f"the worker process was ended by {signal}" + (
                ", perhaps because the machine ran out of memory" if signal == "SIGKILL" else ""
            )
    return "the worker process ended"
