"""A semaphore for more threads than permits, by priority."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PrioritySemaphore:
    """A semaphore that is acquired by priority, and in order of arrival for equal priorities.

    Args:
        value: Number of threads that may hold it at the same time.
    """

    def __init__(self, value: int) -> None:
        self._lock = threading.Lock()
        self._free = value
        self._waiting: list[tuple[int, int, threading.Event]] = []
        self._arrivals = itertools.count()

    @contextmanager
    def acquired(self, priority: int) -> Iterator[None]:
        """Acquire the semaphore, and release it at the end.

        Args:
            priority: The thread with the lowest value goes first.
        """
        self._acquire(priority)
        try:
            yield
        finally:
            self._release()

    def _acquire(self, priority: int) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            acquired_event = threading.Event()
            entry = (priority, next(self._arrivals), acquired_event)
            heapq.heappush(self._waiting, entry)
        try:
            acquired_event.wait()
        except BaseException:  # Prefect interrupts threads: the permit must not be lost
            self._withdraw(entry)
            raise

    def _withdraw(self, entry: tuple[int, int, threading.Event]) -> None:
        with self._lock:
            if entry in self._waiting:
                self._waiting.remove(entry)
                heapq.heapify(self._waiting)
                return
        self._release()

    def _release(self) -> None:
        with self._lock:
            if self._waiting:
                heapq.heappop(self._waiting)[-1].set()
            else:
                self._free += 1
