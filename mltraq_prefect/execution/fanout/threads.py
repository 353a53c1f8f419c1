"""Execution of batches by threads of this process: themselves, or in worker processes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from typing import Any

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution.batch import Batch, Outcome
from mltraq_prefect.execution.batch_size import BATCHES_IN_FLIGHT, Work
from mltraq_prefect.execution.cores import worker_count
from mltraq_prefect.execution.fanout.batch_attempt import BatchAttempt
from mltraq_prefect.execution.fanout.calls import Serve
from mltraq_prefect.execution.fanout.executed import Executed, StepResult
from mltraq_prefect.execution.fanout.executor import Collector
from mltraq_prefect.execution.fanout.fanout import fan_out
from mltraq_prefect.execution.fanout.log import SUBJECT, execution_logger
from mltraq_prefect.execution.fanout.progress import LogReporter, ProgressDisplay
from mltraq_prefect.execution.options import ExecutionOptions
from mltraq_prefect.execution.pool.child import Job
from mltraq_prefect.execution.pool.parent import Workers, WorkersClosed, workers_of_this_process
from mltraq_prefect.execution.serialization import Chunk
from mltraq_prefect.execution.steps import Step


def execute_in_threads(
    steps: Sequence[Step],
    work: Work,
    collector: Collector,
    options: ExecutionOptions,
    progress: ProgressDisplay,
    reason: str,
) -> BaseException | None:
    """Execute steps on runs without Prefect, and log that once in each process.

    Args:
        steps: The steps, in order.
        work: The runs; they are not changed.
        collector: Receives the results.
        options: Options of the execution.
        progress: Shows the progress.
        reason: Why Prefect takes no part.

    Returns:
        The exception of the first run that failed, if known, or None.

    Raises:
        InvalidInput: A step, the kwargs or a run cannot be pickled.
    """
    logger = execution_logger()
    if not _said:
        _said.append(reason)
        logger.info(_WITHOUT_PREFECT, reason)
    executor = ThreadExecutor(options, logger)
    return fan_out(executor, steps, work, collector, options, progress)


_said: list[str] = []

_WITHOUT_PREFECT = (
    "%s: steps are executed without it, and not shown in its UI; for task runs set "
    'PREFECT_API_URL, or give backend="prefect"'
)


def execute_job(
    workers: Workers | None, job: Job, priority: int, chunk: Chunk
) -> Iterator[Outcome]:
    """Execute a job on a chunk in worker processes of this machine."""
    return (workers or workers_of_this_process()).execute(job, chunk, priority=priority)


class ThreadExecutor:
    """Executes batches in threads of this process: a `BatchExecutor`.

    Args:
        options: Options of the execution.
        logger: Logger of the execution.
    """

    is_local = True
    flow_run_id = None
    execute_job = staticmethod(execute_job)

    def __init__(self, options: ExecutionOptions, logger: logging.Logger) -> None:
        self.runs_in_threads = options.backend == "threads"
        self.concurrency = worker_count(options.n_jobs)
        self.logger = logger
        self.reporter = LogReporter(logger)
        self._options = options
        self._steps: Sequence[Step] = ()
        self._attempts: Sequence[BatchAttempt] = ()
        self._closed = threading.Event()

    def __enter__(self) -> ThreadExecutor:
        # Threads need time before and after each batch; workers must not wait meanwhile.
        ahead = 1 if self.runs_in_threads else BATCHES_IN_FLIGHT
        self._threads = ThreadPoolExecutor(ahead * self.concurrency, "mltraq")
        return self

    def __exit__(self, *_exception: object) -> None:
        self._closed.set()
        self._threads.shutdown(cancel_futures=True)

    def check(self) -> None:
        """Check nothing: all is in this process, or started by it."""

    def when_known(self, note: Callable[[str], None]) -> None:
        """Call nothing: there is no flow run."""

    def answered_calls(self, _stack: ExitStack, _serve: Serve) -> None:
        """Return nothing: batches are executed in this process."""

    def prepare(
        self,
        _stack: ExitStack,
        steps: Sequence[Step],
        attempts: Sequence[BatchAttempt],
        _handover: object,
    ) -> None:
        """Prepare for the steps of the execution."""
        self._steps, self._attempts = steps, attempts

    def submit(
        self, position: int, batch: Batch, _after: object, done: Callable[[], None]
    ) -> _Submitted:
        """Submit a batch to the threads."""
        future = self._threads.submit(copy_context().run, self._execute, position, batch)
        future.add_done_callback(lambda _: done())
        return _Submitted(future)

    def _execute(self, position: int, batch: Batch) -> Batch:
        """Attempt a batch until no run fails, or there are no more retries."""
        subject = f"{self._steps[position].name} {batch.label}"
        logger = logging.LoggerAdapter(self.logger, {SUBJECT: subject})
        with_frames = self._options.on_error == "keep"  # or else the program ends with them
        attempt = partial(self._attempts[position], with_frames=with_frames, check=self._check_open)
        for left in range(self._options.retries, -1, -1):
            try:
                attempt(batch, logger, is_last=not left)
            except InvalidInput:  # would be refused again
                raise
            except Exception as error:
                if not left:
                    raise
                logger.warning("%s: %s; tried again", type(error).__name__, error)
            else:
                if not batch.failures:
                    break
            if left and self._closed.wait(self._options.retry_delay_seconds):
                self._check_open()
        return batch

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise WorkersClosed("the execution was interrupted")


class _Submitted:
    task_run_id = None

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def result(self) -> Executed | BaseException:
        error = self._future.exception()
        if error is not None:
            return error
        return Executed([StepResult(self._future.result(), None)])
