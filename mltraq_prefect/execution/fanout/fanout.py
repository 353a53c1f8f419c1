"""Fan-out of runs in batches: each batch is submitted to one step after the other.

The next step of a batch is submitted when its previous step is done; no step waits for another
batch. Only as many batches are in flight as keep the workers busy. So a batch is finished and
collected while others have not started, and memory holds only the batches in flight.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from math import ceil

from mltraq_prefect.execution.attempt import return_warning
from mltraq_prefect.execution.batch import Batch, DeliverRows, execute_in_thread
from mltraq_prefect.execution.batch_size import (
    BATCH_SECONDS,
    CHECKPOINTED_SECONDS,
    TASK_RUNS_PER_STEP,
    BatchSizer,
    Divide,
    split,
)
from mltraq_prefect.execution.by_value import note_modules
from mltraq_prefect.execution.cores import worker_count
from mltraq_prefect.execution.failures import FailureLimit
from mltraq_prefect.execution.fanout.batch_attempt import BatchAttempt, Execute
from mltraq_prefect.execution.fanout.executor import BatchExecutor, Collector, Submission
from mltraq_prefect.execution.fanout.progress import ProgressDisplay
from mltraq_prefect.execution.file_desk import Desk
from mltraq_prefect.execution.inputs import Inputs, frozen_kwargs, pickled_kwargs
from mltraq_prefect.execution.judge import Judge, Reply, SharedVerdicts, judge_of
from mltraq_prefect.execution.module_state import restored_warning
from mltraq_prefect.execution.options import ExecutionOptions
from mltraq_prefect.execution.pool.child import Job
from mltraq_prefect.execution.pool.parent import Workers, WorkersClosed
from mltraq_prefect.execution.pool.worker_handle import make_job
from mltraq_prefect.execution.program_state import ProgramState
from mltraq_prefect.execution.serialization import Chunk, consume_runs, freeze_runs, pickle_runs
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import LoggedRows

POLL_SECONDS = 0.2

ROWS_IN_FLIGHT = 8
"""Messages with logged rows that are waiting; who has another one waits, and so does its worker."""


def fan_out(
    executor: BatchExecutor,
    steps: Sequence[Step],
    runs: Sequence[Run],
    collector: Collector,
    options: ExecutionOptions,
    progress: ProgressDisplay,
    divide: Divide = split,
) -> BaseException | None:
    """Execute steps on runs.

    Args:
        executor: Executes the batches.
        steps: The steps, in order.
        runs: The runs; they are not changed.
        collector: Receives the results.
        options: Options of the execution.
        progress: Shows the progress.
        divide: Divides the runs into batches.

    Returns:
        The exception of the first run that failed, if known, or None.

    Raises:
        InvalidInput: A step, the kwargs or a run cannot be pickled.
    """
    has_processes = not executor.runs_in_threads
    if has_processes:
        note_modules()
    with ExitStack() as stack:
        stack.enter_context(executor)
        workers = None
        if has_processes and executor.is_local:
            workers = stack.enter_context(Workers(worker_count(options.n_jobs)))
        stack.enter_context(progress.shown(executor.reporter))
        sizer = _sizer(executor, options, workers is not None, len(runs))
        judge = judge_of(options, runs, steps)
        fanout = _Fanout(executor, collector, progress, sizer, steps, options, judge)
        if has_processes:
            executions = _in_processes(executor, steps, options, workers, collector.files)
        else:
            rows = fanout.log if executor.is_local else None
            executions = _in_threads(stack, executor, steps, options, rows, collector.files)
        executor.prepare(stack, steps, [*fanout.attempts(executions)])
        fanout.run(_batches(divide(runs, sizer), pickled=has_processes))
    return fanout.cause


def _sizer(
    executor: BatchExecutor, options: ExecutionOptions, has_own: bool, total: int
) -> BatchSizer:
    """Return the pace of an execution; a cluster gets all batches at once, unless it may stop."""
    fixed = None if executor.is_local else ceil(total / TASK_RUNS_PER_STEP)
    if not isinstance(options.runs_per_task, str):
        fixed = options.runs_per_task
    seconds = CHECKPOINTED_SECONDS if options.checkpoint else BATCH_SECONDS
    at_once = worker_count(options.n_jobs) if has_own else executor.concurrency
    starts_small = options.failure_limit is not None
    if options.synchronous:  # who waits for others must not keep them from a worker
        at_once, fixed = min(at_once, executor.concurrency), 1
    return BatchSizer(
        total,
        at_once,
        seconds,
        fixed,
        starts_small=starts_small,
        in_lockstep=options.synchronous,
        is_shared=options.shared,
    )


def _in_threads(
    stack: ExitStack,
    executor: BatchExecutor,
    steps: Sequence[Step],
    options: ExecutionOptions,
    deliver: DeliverRows | None,
    files: Desk,
) -> Sequence[Execute]:
    """Return a function for each step that executes it in a thread; warn of shared state."""
    kwargs = frozen_kwargs(options.kwargs)
    verdicts = None
    if options.stop:
        verdicts = SharedVerdicts(are_awaited=options.synchronous)
        stack.callback(verdicts.close)
    if executor.is_local:
        warn = partial(executor.logger.warning, "%s")
        stack.enter_context(ProgramState(steps, kwargs, is_alone=False, warn=warn))
    more = deliver, verdicts, options.monitor, files
    return [partial(execute_in_thread, step, kwargs, *more) for step in steps]


def _in_processes(
    executor: BatchExecutor,
    steps: Sequence[Step],
    options: ExecutionOptions,
    workers: Workers | None,
    files: Desk,
) -> Sequence[Execute]:
    """Return a function for each step that executes it in workers; the kwargs are pickled once."""
    inputs = pickled_kwargs(options.kwargs, on_this_machine=executor.is_local)
    jobs = [_job(step, inputs, options, files) for step in steps]
    # Later steps go first: results arrive early, and few batches are in memory.
    return [
        partial(executor.execute_job, workers, job, -position) for position, job in enumerate(jobs)
    ]


def _job(step: Step, inputs: Inputs, options: ExecutionOptions, files: Desk) -> Job:
    level = min(logging.INFO, logging.getLogger().level or logging.INFO)
    awaited = options.synchronous if options.stop else None
    job = make_job(step, inputs, level, options.timeout_seconds)
    return job._replace(awaits=awaited, monitors=options.monitor, files=files, name=step.name)


def _batches(
    divided: Iterator[tuple[str, list[Run]] | None], *, pickled: bool
) -> Iterator[Batch | None]:
    for divided_off in divided:
        if divided_off is None:
            yield None
            continue
        label, members = divided_off
        chunk = pickle_runs(members) if pickled else freeze_runs(members)
        yield Batch(label, len(members), [chunk])


@dataclass(frozen=True, slots=True)
class _Stage:
    """A batch in a step.

    Attributes:
        position: Index of the step.
        submission: The submitted batch.
        task_runs: Ids of the task runs of this step and of the previous ones.
    """

    position: int
    submission: Submission
    task_runs: tuple[str | None, ...]


class _End:
    """Ends the batches."""


_END = _End()


class _Fanout:
    """The batches of one execution, and the step in which each of them is."""

    def __init__(
        self,
        executor: BatchExecutor,
        collector: Collector,
        progress: ProgressDisplay,
        sizer: BatchSizer,
        steps: Sequence[Step],
        options: ExecutionOptions,
        judge: Judge | None,
    ) -> None:
        self._executor = executor
        self._judge = judge
        self._limit = FailureLimit(options.failure_limit)
        self._sizer = sizer
        self._collector = collector
        self._progress = progress
        self._is_draining = False
        self._arrived: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._room = threading.Semaphore(ROWS_IN_FLIGHT)
        self._steps = steps
        self.cause: BaseException | None = None
        self._numbers = itertools.count()
        self._stages: dict[int, _Stage] = {}
        self._in_flight: set[int] = set()
        self._logged: set[str] = set()
        self._unnamed: dict[str, LedgerEntry] = {}

    def attempts(self, executions: Sequence[Execute]) -> Iterator[BatchAttempt]:
        """Yield a function for each step that attempts it on a batch."""
        deliver = self._deliver if self._executor.is_local else None
        rows = self.log if self._executor.is_local else None
        *others, last = executions
        yield from (BatchAttempt(execute, None, rows) for execute in others)
        yield BatchAttempt(last, deliver, rows)

    def _deliver(self, batch: Batch) -> None:
        """Take completed runs out of a batch; any thread may call it."""
        chunks, batch.done, batch.stopped = batch.done + batch.stopped, [], []
        self._arrived.put(partial(self._gather, batch.number, chunks))

    def log(self, rows: list[LoggedRows], reply: Reply | None) -> None:
        """Take rows that runs log; any thread may call it, and waits if too many have arrived.

        Raises:
            WorkersClosed: The execution was interrupted; a run without its rows has not ended.
        """
        while not self._room.acquire(timeout=POLL_SECONDS):
            if self._is_draining:
                raise WorkersClosed("the execution was interrupted")
        self._arrived.put(partial(self._log, rows, reply))

    def _log(self, rows: list[LoggedRows], reply: Reply | None) -> None:
        self._room.release()
        self._collector.log(rows)
        if self._judge is not None:
            self._judge.take(rows, reply)

    def run(self, batches: Iterator[Batch | None]) -> None:
        """Submit and collect until all runs have ended, or the limit of failures is reached."""
        try:
            while self._fill(batches) or self._in_flight:
                self._wait()
        finally:
            self._drain()
            if self._unnamed:
                self._executor.when_known(self._name_flow_run)

    def _fill(self, batches: Iterator[Batch | None]) -> bool:
        """Submit batches while there is room; return whether more may come later."""
        while self._has_room():
            batch = next(batches, _END)
            if batch is None or isinstance(batch, _End):
                return batch is None
            self._submit(0, batch, after=None)
        return False

    def _has_room(self) -> bool:
        return not self._limit.is_reached and len(self._in_flight) < self._sizer.max_in_flight()

    def _wait(self) -> None:
        try:
            handle = self._arrived.get(timeout=POLL_SECONDS)
        except queue.Empty:
            pass
        else:
            handle()
        self._collector.tick()
        self._progress.tick()
        self._executor.check()
        _raise_if_asyncio_cancelled()

    def _drain(self) -> None:
        """Collect what has arrived before an interruption."""
        self._is_draining = True
        while not self._arrived.empty():
            self._arrived.get()()

    def _submit(self, position: int, batch: Batch, after: _Stage | None) -> None:
        batch.number = number = next(self._numbers)
        before = None if after is None else after.submission
        submission = self._executor.submit(
            position, batch, before, lambda: self._arrived.put(partial(self._advance, number))
        )
        task_runs = () if after is None else after.task_runs
        self._stages[number] = _Stage(position, submission, (*task_runs, submission.task_run_id))
        self._in_flight.add(number)

    def _advance(self, number: int) -> None:
        stage = self._stages[number]
        self._in_flight.discard(number)
        batch = stage.submission.result()
        if isinstance(batch, BaseException):
            if self._is_draining:  # the interruption is raised
                return
            raise batch
        self._warn_once(self._steps[stage.position].name, batch)
        if batch.rows:
            self._collector.log(batch.rows)
        self.cause, batch.exception = self.cause or batch.exception, None
        last = stage.position + 1 == len(self._steps)
        following = None if last or self._is_draining else batch.next()
        if self._judge is not None:
            ids = [frozen.id_run for chunk in batch.done for frozen in chunk]
            self._judge.end(ids, [self._steps[stage.position].name])
        if following is not None:
            self._submit(stage.position + 1, following, after=stage)
        self._gather(number, batch.todo + batch.stopped + (batch.done if last else []))
        # Prefect keeps the result of each task until the flow run ends: leave it empty.
        batch.todo, batch.done, batch.stopped, batch.rows = [], [], [], []

    def _gather(self, number: int, chunks: list[Chunk]) -> None:
        runs = [run for chunk in chunks for run in consume_runs(chunk)]
        task_runs = self._stages[number].task_runs
        for run in runs:
            self._note(run, task_runs)
        if runs and self._judge is not None:
            self._judge.end([run.id_run for run in runs])
        if runs:
            self._sizer.observe(runs)
            self._limit.note(runs)
            self._progress.add(runs)
            self._collector.collect(runs)

    def _name_flow_run(self, flow_run_id: str) -> None:
        """Note the flow run of runs that have ended before there was one."""
        for entry in self._unnamed.values():
            entry.flow_run_id = flow_run_id
            for executed in entry.executed.values():
                if executed.task_run_id is not None and executed.flow_run_id is None:
                    executed.flow_run_id = flow_run_id
        self._collector.name_flow_run(flow_run_id, list(self._unnamed))

    def _note(self, run: Run, task_runs: Sequence[str | None]) -> None:
        """Record the task run of each step, up to the last or failed one."""
        entry, last = run.ledger, self._steps[len(task_runs) - 1]
        flow_run_id = self._executor.flow_run_id
        if entry.state == "failed":
            entry.fail(last.name, last.fingerprint)
        for step, task_run_id in zip(self._steps, task_runs, strict=False):
            if (executed := entry.executed.get(step.name)) is not None:
                executed.flow_run_id, executed.task_run_id = flow_run_id, task_run_id
        entry.flow_run_id, entry.task_run_id = flow_run_id, task_runs[-1]
        if flow_run_id is None and entry.task_run_id is not None:
            self._unnamed[run.id_run] = entry

    def _warn_once(self, step: str, batch: Batch) -> None:
        warnings = {
            f"{step} changed {name}": restored_warning(step, name) for name in batch.changed
        }
        if batch.returned is not None:
            warnings[f"{step} returned"] = return_warning(step, batch.returned)
        for key in sorted(warnings.keys() - self._logged):
            self._executor.logger.warning("%s", warnings[key])
        self._logged |= warnings.keys()


def _raise_if_asyncio_cancelled() -> None:
    """Raise if the current asyncio task was cancelled, for example by Ctrl-C.

    Without this, an async function that calls a blocking one would notice only at its end.

    Raises:
        CancelledError: The task was cancelled.
    """
    with suppress(RuntimeError):  # no event loop in this thread
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
