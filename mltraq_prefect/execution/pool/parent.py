"""Warm worker processes, each of them leased for one chunk at a time.

These are not `concurrent.futures` pools: a worker records which run it executes. So a worker that
dies or hangs fails only that run, and is replaced without affecting others.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache

from mltraq_prefect.execution.batch import Outcome, outcome_of_lost
from mltraq_prefect.execution.lazy_context import LazyContext
from mltraq_prefect.execution.pool.child import Job
from mltraq_prefect.execution.pool.crash_report import NO_RUN
from mltraq_prefect.execution.pool.fork_server import fork_server
from mltraq_prefect.execution.pool.preparation import check_processes
from mltraq_prefect.execution.pool.priority_semaphore import PrioritySemaphore
from mltraq_prefect.execution.pool.worker_handle import Worker, WorkerDied
from mltraq_prefect.execution.run_logs import with_logs
from mltraq_prefect.execution.serialization import Chunk

DISMISSED_SECONDS = 5.0
"""Time that a dismissed worker has to clean up, in seconds."""


class WorkersClosed(BaseException):
    """The workers were closed while there was work: the execution was interrupted.

    It is a `BaseException`, like `KeyboardInterrupt`: it must not count as a failure.
    """


class Workers:
    """A set of worker processes; many threads may use it. Whoever made it closes it.

    Args:
        count: Number of workers that work at the same time; each starts when it is first needed.
            None means one for each thread that asks.

    Raises:
        InvalidInput: There can be no worker processes here.
    """

    def __init__(self, count: int | None) -> None:
        check_processes()
        self._semaphore = None if count is None else PrioritySemaphore(count)
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._is_closed = False

    def execute(
        self, job: Job, chunk: Chunk, *, priority: int = 0, lazy_context: LazyContext | None = None
    ) -> Iterator[Outcome]:
        """Execute a job on the runs of a chunk, waiting for a worker if all are busy.

        If a worker dies or exceeds the time limit, the run that it executed fails, and another
        worker continues with the remaining runs.

        Args:
            job: The job.
            chunk: The runs.
            priority: The caller with the lowest value gets a worker first, then the first to ask.
            lazy_context: Context of the steps, or None.

        Yields:
            Outcomes as they arrive; their counts add up to the number of runs.

        Raises:
            WorkersClosed: The workers were closed.
        """
        with nullcontext() if self._semaphore is None else self._semaphore.acquired(priority):
            yield from self._execute(job, chunk, lazy_context)

    def _execute(
        self, job: Job, chunk: Chunk, lazy_context: LazyContext | None
    ) -> Iterator[Outcome]:
        remaining = chunk
        is_second = False
        while remaining:
            handled = 0
            try:
                with self._leased() as worker:
                    for outcome in worker.execute(job, remaining, lazy_context):
                        handled += outcome.count
                        yield outcome
                    return
            except WorkerDied as death:
                self._check_open()
                if not (death.has_begun or is_second):
                    is_second = True
                    continue
                outcome, remaining = _fail_lost_run(remaining, handled, death)
                if job.files is not None and job.files.keeps_logs:
                    outcome = with_logs(outcome, job.name, death.logs, job.files)
                yield outcome

    @contextmanager
    def _leased(self) -> Iterator[Worker]:
        """Lease a worker; it is returned unless it died or was interrupted."""
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
        """End all processes: kill busy ones; idle ones get some time to end by themselves."""
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

    def __exit__(self, *_exception: object) -> None:
        self.close()


def prepare_workers() -> None:
    """Start the fork server, so that the first workers start soon; do not wait.

    Raises:
        InvalidInput: There can be no worker processes here.
    """
    fork_server.start()


def _fail_lost_run(chunk: Chunk, handled: int, death: WorkerDied) -> tuple[Outcome, Chunk]:
    """Return the outcome of the run at which a worker died, and the remaining runs."""
    remaining = chunk[handled:]
    if death.index == NO_RUN:
        return outcome_of_lost(remaining, str(death)), []
    culprit = remaining.pop(max(0, death.index - handled))
    return outcome_of_lost([culprit], str(death)), remaining


@cache
def workers_of_this_process() -> Workers:
    """Return workers that are kept: nobody tells a process of a cluster when it is done.

    They end after being idle for a while, or with this process.
    """
    return Workers(None)


# Workers belong to the process that has made them.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=workers_of_this_process.cache_clear)
