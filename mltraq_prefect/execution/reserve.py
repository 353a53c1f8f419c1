"""Worker processes that have nothing to do, kept for the next execution of this process.

A process takes a third of a second to start, of which a short execution has two. It is used again
only where a new one would be no different, and ends by itself if it is not needed soon.
"""

from __future__ import annotations

import atexit
import threading

from mltraq_prefect.execution.worker import Worker, surroundings


class Reserve:
    """Idle workers; may be used by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[Worker] = []

    def take(self) -> Worker:
        """Return a worker that is as good as new, or is new."""
        wanted = surroundings()
        while (worker := self._pop()) is not None:
            if worker.surroundings == wanted and worker.is_ready() and worker.is_as_new():
                return worker
            worker.close()
        return Worker()

    def keep(self, worker: Worker) -> None:
        """Keep a worker that is idle, unless its steps have left something behind."""
        if not worker.is_ready() or not worker.is_as_new():
            worker.close()
            return
        with self._lock:
            self._kept.append(worker)

    def close(self) -> None:
        """End all that are kept."""
        while (worker := self._pop()) is not None:
            worker.close()

    def _pop(self) -> Worker | None:
        with self._lock:
            return self._kept.pop() if self._kept else None


RESERVE = Reserve()
atexit.register(RESERVE.close)
