"""Whose turn it is, where there are fewer places than threads that want one."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A semaphore that is given to the lowest rank first, and in order of arrival within a rank.

    Args:
        places: How many may have it at the same time.
    """

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()
        self._free = places
        self._waiting: list[tuple[int, int, threading.Event]] = []
        self._arrivals = itertools.count()

    @contextmanager
    def turn(self, rank: int) -> Iterator[None]:
        """Wait for a place, and keep it until the end."""
        self._take(rank)
        try:
            yield
        finally:
            self._leave()

    def _take(self, rank: int) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            called = threading.Event()
            entry = (rank, next(self._arrivals), called)
            heapq.heappush(self._waiting, entry)
        try:
            called.wait()
        except BaseException:  # Prefect interrupts threads: the place shall not be lost
            self._withdraw(entry)
            raise

    def _withdraw(self, entry: tuple[int, int, threading.Event]) -> None:
        with self._lock:
            if entry in self._waiting:
                self._waiting.remove(entry)
                heapq.heapify(self._waiting)
                return
        self._leave()

    def _leave(self) -> None:
        with self._lock:
            if self._waiting:
                heapq.heappop(self._waiting)[-1].set()
            else:
                self._free += 1
