"""Warm worker processes, each leased to one parcel at a time.

Processes of our own rather than a shared pool: a worker tells where it is, so one that dies or
hangs costs the run that it executed, is replaced alone, and touches no other.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from types import TracebackType

from mltraq_prefect.execution.batch import Outcome, lost
from mltraq_prefect.execution.pool.child import Job
from mltraq_prefect.execution.pool.crash_report import NO_RUN
from mltraq_prefect.execution.pool.fork_server import fork_server
from mltraq_prefect.execution.pool.preparation import check_processes
from mltraq_prefect.execution.pool.priority_semaphore import Turns
from mltraq_prefect.execution.pool.worker import Worker, WorkerDied
from mltraq_prefect.execution.serialization import Parcel
from mltraq_prefect.execution.surroundings import Surroundings

DISMISSED_SECONDS = 5.0
"""A worker that is done has so long to clean up."""


class WorkersClosed(BaseException):
    """The workers were closed while there was work: the execution was interrupted.

    No `Exception`, as `KeyboardInterrupt` is none: nobody shall take it for a failure and retry.
    """


class Workers:
    """A set of worker processes; may be used by many threads, and is closed by who made it.

    Args:
        count: How many work at the same time; each starts when it is first needed. As many as
            threads ask for one if None.

    Raises:
        InvalidInput: There can be no worker processes here.
    """

    def __init__(self, count: int | None) -> None:
        check_processes()
        self._turns = None if count is None else Turns(count)
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._is_closed = False

    def execute(
        self, job: Job, parcel: Parcel, *, rank: int = 0, surroundings: Surroundings | None = None
    ) -> Iterator[Outcome]:
        """Execute a job on the runs of a parcel, waiting for a worker if all are busy.

        A worker that dies or exceeds the time fails the run that it executed; another one goes on
        with the rest.

        Args:
            job: What to execute.
            parcel: On what.
            rank: Who waits goes by rank, the lowest first, then in order of arrival.
            surroundings: What the step finds around it when it needs it.

        Yields:
            Outcomes, as they come; their counts add up to the number of runs.

        Raises:
            WorkersClosed: The workers were closed.
        """
        with nullcontext() if self._turns is None else self._turns.turn(rank):
            yield from self._execute(job, parcel, surroundings)

    def _execute(
        self, job: Job, parcel: Parcel, surroundings: Surroundings | None
    ) -> Iterator[Outcome]:
        left = parcel
        is_second = False
        while left:
            handled = 0
            try:
                with self._leased() as worker:
                    for outcome in worker.execute(job, left, surroundings):
                        handled += outcome.count
                        yield outcome
                    return
            except WorkerDied as death:
                self._check_open()
                if not (death.has_begun or is_second):
                    is_second = True
                    continue
                outcome, left = _bury(left, handled, death)
                yield outcome

    @contextmanager
    def _leased(self) -> Iterator[Worker]:
        """A worker that comes back, unless it died or is left in the middle of something."""
        worker = self._lease()
        try:
            yield worker
        except BaseException:
            with self._lock:
                self._busy.discard(worker)
            worker.close()
            raise
        with self._lock:
            self._busy.discard(worker)
            self._idle.append(worker)

    def _lease(self) -> Worker:
        with self._lock:
            self._check_open()
            while self._idle:
                worker = self._idle.pop()
                if worker.is_ready():
                    break
                worker.close()
            else:
                worker = Worker()
            self._busy.add(worker)
            return worker

    def _check_open(self) -> None:
        if self._is_closed:
            raise WorkersClosed("the execution was interrupted")

    def close(self) -> None:
        """End all processes: busy ones at once, idle ones by themselves, if that takes not long."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            for worker in self._busy:
                worker.end()
        for worker in idle:
            worker.dismiss()
        until = time.monotonic() + DISMISSED_SECONDS
        for worker in idle:
            worker.close(until)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def prepare_workers() -> None:
    """Start what workers are forked from, so that the first ones start soon; does not wait.

    Raises:
        InvalidInput: There can be no worker processes here.
    """
    fork_server.start()


def _bury(parcel: Parcel, handled: int, death: WorkerDied) -> tuple[Outcome, Parcel]:
    """Return what became of the run at which a worker died, and the runs that are left."""
    left = parcel[handled:]
    if death.place == NO_RUN:
        return lost(left, str(death)), []
    culprit = left.pop(max(0, death.place - handled))
    return lost([culprit], str(death)), left


@cache
def workers_of_this_process() -> Workers:
    """Return workers that stay: for a process of a cluster, which nobody tells when it is done.

    They end when they have been idle for a while, or with this process.
    """
    return Workers(None)


# They belong to the process that has made them.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=workers_of_this_process.cache_clear)
