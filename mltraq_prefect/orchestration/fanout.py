"""Fan-out of runs as task runs: one for each batch and step.

The next step of a batch is submitted when its previous step is done; no step waits for another
batch. Only as many batches are in flight as keep the workers busy. So a batch is finished and
collected while others have not started, and memory holds only the batches in flight.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from math import ceil
from typing import Any, Protocol

from prefect import allow_failure
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner

from mltraq_prefect.execution import (
    Batch,
    BatchSizer,
    ExecutionOptions,
    FailureLimit,
    Outcome,
    Step,
    Workers,
    split,
    worker_count,
    workers_of_this_process,
)
from mltraq_prefect.execution.attempt import return_warning
from mltraq_prefect.execution.batch import execute_in_thread
from mltraq_prefect.execution.batch_size import (
    BATCH_SECONDS,
    BATCHES_IN_FLIGHT,
    CHECKPOINTED_SECONDS,
    TASK_RUNS_PER_STEP,
)
from mltraq_prefect.execution.by_value import note_modules
from mltraq_prefect.execution.inputs import Inputs, frozen_kwargs, pickled_kwargs
from mltraq_prefect.execution.module_state import restored_warning
from mltraq_prefect.execution.pool.child import Job
from mltraq_prefect.execution.pool.worker import make_job
from mltraq_prefect.execution.program_state import ProgramState
from mltraq_prefect.execution.serialization import Chunk, consume_runs, freeze_runs, pickle_runs
from mltraq_prefect.model.run import Run
from mltraq_prefect.orchestration.broadcast import broadcast
from mltraq_prefect.orchestration.clusters import set_cluster_address
from mltraq_prefect.orchestration.flows import portable_flow, raise_if_asyncio_cancelled
from mltraq_prefect.orchestration.prefect_compat import current_flow_run
from mltraq_prefect.orchestration.progress import ProgressDisplay
from mltraq_prefect.orchestration.run_context import lazy_run_context
from mltraq_prefect.orchestration.runners import (
    AnyRunner,
    choose_runner,
    concurrency,
    runs_in_threads,
    submission_error,
)
from mltraq_prefect.orchestration.step_tasks import Deliver, Execute, StepTask, step_task

POLL_SECONDS = 0.2


class Collector(Protocol):
    """Receiver of the results, in the thread of the flow."""

    def collect(self, runs: list[Run]) -> None:
        """Take runs that have completed or failed, with their ledger entries."""

    def tick(self) -> None:
        """Do periodic work; called several times a second."""


def execute_in_tasks(
    steps: Sequence[Step],
    runs: Sequence[Run],
    collector: Collector,
    options: ExecutionOptions,
    progress: ProgressDisplay,
) -> BaseException | None:
    """Execute steps on runs as task runs of the current flow run.

    Args:
        steps: The steps, in order; each becomes a task.
        runs: The runs; they are not changed.
        collector: Receives the results.
        options: Options of the execution.
        progress: Shows the progress.

    Returns:
        The exception of the first run that failed, if known, or None.

    Raises:
        CancelledRun: The flow run was cancelled.
        InvalidInput: A step, the kwargs or a run cannot be pickled.
    """
    count = worker_count(options.n_jobs)
    is_threaded = runs_in_threads(options)
    if not is_threaded:
        note_modules()
    with ExitStack() as stack:
        # Prefect needs time before and after each task run; workers must not wait meanwhile.
        threads = count if is_threaded else BATCHES_IN_FLIGHT * count
        runner = choose_runner(stack, options.task_runner, threads)
        local = isinstance(runner, ThreadPoolTaskRunner)
        workers = stack.enter_context(Workers(count)) if local and not is_threaded else None
        stack.enter_context(progress)
        sizer = _sizer(options, runner, count if workers is not None else None, len(runs))
        limit = FailureLimit(options.failure_limit)
        fanout = _Fanout(runner, collector, progress, sizer, steps, limit)
        deliver = fanout.deliver if local else None
        if is_threaded:
            executions = _in_threads(stack, steps, options, local)
        else:
            executions = _in_workers(steps, options, workers, local)
        if not local:
            executions = broadcast(stack, runner, executions)
        tasks = [
            _task(step, execute, options, is_threaded, deliver if step is steps[-1] else None)
            for step, execute in zip(steps, executions, strict=True)
        ]
        batches = _batches(runs, sizer, pickled=not is_threaded)
        if not local:
            stack.enter_context(portable_flow())
        fanout.run(tasks, batches)
    return fanout.cause


def _sizer(
    options: ExecutionOptions, runner: AnyRunner, workers: int | None, total: int
) -> BatchSizer:
    """Return the pace of an execution; a cluster gets all batches at once, unless it may stop."""
    fixed = None if isinstance(runner, ThreadPoolTaskRunner) else ceil(total / TASK_RUNS_PER_STEP)
    if not isinstance(options.runs_per_task, str):
        fixed = options.runs_per_task
    seconds = CHECKPOINTED_SECONDS if options.checkpoint else BATCH_SECONDS
    starts_small = options.failure_limit is not None
    at_once = concurrency(runner) if workers is None else workers
    return BatchSizer(total, at_once, seconds, fixed, starts_small=starts_small)


def _in_threads(
    stack: ExitStack, steps: Sequence[Step], options: ExecutionOptions, local: bool
) -> Sequence[Execute]:
    """Return what executes each step in the threads of a runner; what they share is told."""
    kwargs = frozen_kwargs(options.kwargs)
    if local:
        warn = partial(get_run_logger().warning, "%s")
        stack.enter_context(ProgramState(steps, kwargs, is_alone=False, warn=warn))
    return [partial(execute_in_thread, step, kwargs) for step in steps]


def _in_workers(
    steps: Sequence[Step], options: ExecutionOptions, workers: Workers | None, local: bool
) -> Sequence[Execute]:
    """Return what executes each step in worker processes; the kwargs are packed once for all."""
    inputs = pickled_kwargs(options.kwargs, on_this_machine=local)
    jobs = [_job(step, inputs, options) for step in steps]
    return [_execution(job, workers, priority=-position) for position, job in enumerate(jobs)]


def _job(step: Step, inputs: Inputs, options: ExecutionOptions) -> Job:
    level = min(logging.INFO, logging.getLogger().level or logging.INFO)
    return make_job(step, inputs, level, options.timeout_seconds)


def _execution(job: Job, workers: Workers | None, priority: int) -> Execute:
    if workers is None:
        return partial(_execute_on_cluster, job)
    return partial(_execute_in_workers, workers, job, priority)


def _execute_in_workers(
    workers: Workers, job: Job, priority: int, chunk: Chunk
) -> Iterator[Outcome]:
    # Later steps go first: results arrive early, and few batches are in memory.
    return workers.execute(job, chunk, priority=priority, lazy_context=lazy_run_context())


def _execute_on_cluster(job: Job, chunk: Chunk) -> Iterator[Outcome]:
    """Execute a job on the cluster machine to which the task run was sent.

    A cluster process may have several threads. In a worker process, a run has the global random
    generators and a time limit of its own.
    """
    set_cluster_address()
    workers = workers_of_this_process()
    return workers.execute(job, chunk, lazy_context=lazy_run_context())


def _task(
    step: Step,
    execute: Execute,
    options: ExecutionOptions,
    is_threaded: bool,
    deliver: Deliver | None,
) -> StepTask:
    return step_task(
        step,
        execute,
        in_this_thread=is_threaded,
        deliver=deliver,
        retries=options.retries,
        retry_delay_seconds=options.retry_delay_seconds,
    )


def _batches(runs: Sequence[Run], sizer: BatchSizer, *, pickled: bool) -> Iterator[Batch]:
    for label, members in split(runs, sizer):
        chunk = pickle_runs(members) if pickled else freeze_runs(members)
        yield Batch(label, len(members), [chunk])


class _Fanout:
    """The task runs of one execution: which batch is in which step."""

    def __init__(
        self,
        runner: AnyRunner,
        collector: Collector,
        progress: ProgressDisplay,
        sizer: BatchSizer,
        steps: Sequence[Step],
        limit: FailureLimit,
    ) -> None:
        self._runner = runner
        self._limit = limit
        self._sizer = sizer
        self._collector = collector
        self._progress = progress
        self._tasks: Sequence[StepTask] = ()
        self._is_draining = False
        self._arrived: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._steps = steps
        self.cause: BaseException | None = None
        self._position: dict[Any, int] = {}
        self._task_runs: dict[str, tuple[str, ...]] = {}
        self._logged: set[str] = set()
        flow_run = current_flow_run()
        self._flow_run_id = str(flow_run.id) if flow_run is not None else None

    def deliver(self, chunks: list[Chunk], task_run_id: str) -> None:
        """Take completed runs; may be called by any thread."""
        self._arrived.put(partial(self._gather, chunks, task_run_id))

    def run(self, tasks: Sequence[StepTask], batches: Iterator[Batch]) -> None:
        """Submit and collect until all runs have ended, or the limit of failures is reached."""
        self._tasks = tasks
        try:
            while True:
                while self._has_room() and (batch := next(batches, None)):
                    self._submit(0, batch, after=None)
                if not self._position:
                    return
                self._wait()
        finally:
            self._drain()

    def _has_room(self) -> bool:
        return not self._limit.is_reached and len(self._position) < self._sizer.max_in_flight()

    def _wait(self) -> None:
        try:
            handle = self._arrived.get(timeout=POLL_SECONDS)
        except queue.Empty:
            pass
        else:
            handle()
        self._collector.tick()
        self._progress.tick()
        raise_if_asyncio_cancelled()

    def _drain(self) -> None:
        """Collect what has arrived before an interruption."""
        self._is_draining = True
        while not self._arrived.empty():
            self._arrived.get()()

    def _submit(self, position: int, batch: Batch, after: PrefectFuture[Batch] | None) -> None:
        try:
            future = self._runner.submit(
                self._tasks[position],
                {"batch": batch},
                wait_for=None if after is None else [allow_failure(after)],  # type: ignore[list-item]
            )
        except Exception as error:
            raise submission_error(self._runner, error) from error
        self._position[future.task_run_id] = position
        earlier = () if after is None else self._task_runs[str(after.task_run_id)]
        self._task_runs[str(future.task_run_id)] = (*earlier, str(future.task_run_id))
        future.add_done_callback(lambda ended: self._arrived.put(partial(self._advance, ended)))

    def _advance(self, future: PrefectFuture[Batch]) -> None:
        position = self._position.pop(future.task_run_id)
        batch = future.result(raise_on_failure=False)
        if isinstance(batch, BaseException):
            if self._is_draining:  # the interruption is raised
                return
            raise batch
        self._warn_once(self._tasks[position].name, batch)
        self.cause, batch.exception = self.cause or batch.exception, None
        last = position + 1 == len(self._tasks)
        following = None if last or self._is_draining else batch.next()
        if following is not None:
            self._submit(position + 1, following, after=future)
        self._gather(batch.todo + (batch.done if last else []), str(future.task_run_id))
        # Prefect keeps the result of each task until the flow run ends: leave it empty.
        batch.todo, batch.done = [], []

    def _gather(self, chunks: list[Chunk], task_run_id: str) -> None:
        runs = [run for chunk in chunks for run in consume_runs(chunk)]
        task_runs = self._task_runs[task_run_id]
        for run in runs:
            self._note(run, task_runs)
        if runs:
            self._sizer.observe(runs)
            self._limit.note(runs)
            self._progress.add(runs)
            self._collector.collect(runs)

    def _note(self, run: Run, task_runs: Sequence[str]) -> None:
        """Record the task run of each step, up to the last or failed one."""
        entry, last = run.ledger, self._steps[len(task_runs) - 1]
        if entry.state == "failed":
            entry.fail(last.name, last.fingerprint)
        for step, task_run_id in zip(self._steps, task_runs, strict=False):
            if (executed := entry.executed.get(step.name)) is not None:
                executed.flow_run_id, executed.task_run_id = self._flow_run_id, task_run_id
        entry.flow_run_id, entry.task_run_id = self._flow_run_id, task_runs[-1]

    def _warn_once(self, step: str, batch: Batch) -> None:
        warnings = {
            f"{step} changed {name}": restored_warning(step, name) for name in batch.changed
        }
        if batch.returned is not None:
            warnings[f"{step} returned"] = return_warning(step, batch.returned)
        for key in sorted(warnings.keys() - self._logged):
            get_run_logger().warning("%s", warnings[key])
        self._logged |= warnings.keys()
