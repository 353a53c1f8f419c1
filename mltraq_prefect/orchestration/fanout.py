"""Runs fan out as task runs: one a batch and step, each following the one before it alone.

The next step of a batch is submitted when its previous step is done, and only as many batches
are on their way as keep the workers busy, so a batch is finished and collected while others have
not started: memory holds what is in flight, and no step waits for another batch.
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
    ExecutionOptions,
    FailureLimit,
    Outcome,
    Pace,
    Step,
    Workers,
    split,
    worker_count,
    workers_of_this_process,
)
from mltraq_prefect.execution.attempt import useless_return
from mltraq_prefect.execution.batch import execute_here
from mltraq_prefect.execution.batch_size import (
    BATCH_SECONDS,
    BATCHES_AHEAD,
    CHECKPOINTED_SECONDS,
    TASK_RUNS_PER_STEP,
)
from mltraq_prefect.execution.by_value import note_modules
from mltraq_prefect.execution.inputs import Inputs, held_kwargs, packed_kwargs
from mltraq_prefect.execution.module_state import put_back
from mltraq_prefect.execution.pool.child import Job
from mltraq_prefect.execution.pool.worker import make_job
from mltraq_prefect.execution.program_state import ProgramState
from mltraq_prefect.execution.serialization import Parcel, hold_runs, opened, pack_runs
from mltraq_prefect.model.run import Run
from mltraq_prefect.orchestration.broadcast import sent_ahead
from mltraq_prefect.orchestration.clusters import name_cluster
from mltraq_prefect.orchestration.flows import end_with_asyncio_task, portable_flow
from mltraq_prefect.orchestration.prefect_compat import current_flow_run
from mltraq_prefect.orchestration.progress import ShownProgress
from mltraq_prefect.orchestration.run_context import surroundings_of_steps
from mltraq_prefect.orchestration.runners import (
    AnyRunner,
    choose_runner,
    in_threads,
    places,
    takes_none,
)
from mltraq_prefect.orchestration.step_tasks import Deliver, Execute, StepTask, step_task

TICK_SECONDS = 0.2


class Collector(Protocol):
    """Who gets the results, in the thread of the flow."""

    def collect(self, runs: list[Run]) -> None:
        """Take runs that have ended, completed or failed, with their ledger entries."""

    def tick(self) -> None:
        """Do what is due; called several times a second."""


def execute_in_tasks(
    steps: Sequence[Step],
    runs: Sequence[Run],
    collector: Collector,
    options: ExecutionOptions,
    progress: ShownProgress,
) -> BaseException | None:
    """Execute steps on runs as task runs of the current flow run.

    Args:
        steps: In order; each becomes a task.
        runs: Sent to the workers as they are.
        collector: Gets the results.
        options: How.
        progress: Shows how far it is.

    Returns:
        What a step raised in the first run that failed, if it is known, or None.

    Raises:
        CancelledRun: The flow run was cancelled.
        InvalidInput: Something cannot be sent to a worker.
    """
    count = worker_count(options.n_jobs)
    stays_here = in_threads(options)
    if not stays_here:
        note_modules()
    with ExitStack() as stack:
        # A task run takes some time before and after its execution, in which no worker shall wait.
        threads = count if stays_here else BATCHES_AHEAD * count
        runner = choose_runner(stack, options.task_runner, threads)
        local = isinstance(runner, ThreadPoolTaskRunner)
        workers = stack.enter_context(Workers(count)) if local and not stays_here else None
        stack.enter_context(progress)
        pace = _pace(options, runner, count if workers is not None else None, len(runs))
        limit = FailureLimit(options.failure_limit)
        fanout = _Fanout(runner, collector, progress, pace, steps, limit)
        deliver = fanout.deliver if local else None
        if stays_here:
            executions = _in_threads(stack, steps, options, local)
        else:
            executions = _in_workers(steps, options, workers, local)
        if not local:
            executions = sent_ahead(stack, runner, executions)
        tasks = [
            _task(step, execute, options, stays_here, deliver if step is steps[-1] else None)
            for step, execute in zip(steps, executions, strict=True)
        ]
        batches = _batches(runs, pace, packed=not stays_here)
        if not local:
            stack.enter_context(portable_flow())
        fanout.run(tasks, batches)
    return fanout.cause


def _pace(options: ExecutionOptions, runner: AnyRunner, workers: int | None, total: int) -> Pace:
    """Return the pace of an execution; a cluster gets all batches at once, unless it may stop."""
    fixed = None if isinstance(runner, ThreadPoolTaskRunner) else ceil(total / TASK_RUNS_PER_STEP)
    if not isinstance(options.runs_per_task, str):
        fixed = options.runs_per_task
    seconds = CHECKPOINTED_SECONDS if options.checkpoint else BATCH_SECONDS
    careful = options.failure_limit is not None
    at_once = places(runner) if workers is None else workers
    return Pace(total, at_once, seconds, fixed, is_careful=careful)


def _in_threads(
    stack: ExitStack, steps: Sequence[Step], options: ExecutionOptions, local: bool
) -> Sequence[Execute]:
    """Return what executes each step in the threads of a runner; what they share is told."""
    kwargs = held_kwargs(options.kwargs)
    if local:
        warn = partial(get_run_logger().warning, "%s")
        stack.enter_context(ProgramState(steps, kwargs, is_alone=False, warn=warn))
    return [partial(execute_here, step, kwargs) for step in steps]


def _in_workers(
    steps: Sequence[Step], options: ExecutionOptions, workers: Workers | None, local: bool
) -> Sequence[Execute]:
    """Return what executes each step in worker processes; the kwargs are packed once for all."""
    inputs = packed_kwargs(options.kwargs, on_this_machine=local)
    jobs = [_job(step, inputs, options) for step in steps]
    return [_execution(job, workers, rank=-position) for position, job in enumerate(jobs)]


def _job(step: Step, inputs: Inputs, options: ExecutionOptions) -> Job:
    level = min(logging.INFO, logging.getLogger().level or logging.INFO)
    return make_job(step, inputs, level, options.timeout_seconds)


def _execution(job: Job, workers: Workers | None, rank: int) -> Execute:
    if workers is None:
        return partial(_execute_there, job)
    return partial(_execute_in, workers, job, rank)


def _execute_in(workers: Workers, job: Job, rank: int, parcel: Parcel) -> Iterator[Outcome]:
    # What has begun goes first: results arrive early, and few batches are held.
    return workers.execute(job, parcel, rank=rank, surroundings=surroundings_of_steps())


def _execute_there(job: Job, parcel: Parcel) -> Iterator[Outcome]:
    """Execute a job on the machine of a cluster to which the task run was sent.

    A process of a cluster may have several threads; in a worker process of its own, a run has the
    global random generators, and a time limit, for itself.
    """
    name_cluster()
    workers = workers_of_this_process()
    return workers.execute(job, parcel, surroundings=surroundings_of_steps())


def _task(
    step: Step,
    execute: Execute,
    options: ExecutionOptions,
    stays_here: bool,
    deliver: Deliver | None,
) -> StepTask:
    return step_task(
        step,
        execute,
        in_this_thread=stays_here,
        deliver=deliver,
        retries=options.retries,
        retry_delay_seconds=options.retry_delay_seconds,
    )


def _batches(runs: Sequence[Run], pace: Pace, *, packed: bool) -> Iterator[Batch]:
    for label, members in split(runs, pace):
        parcel = pack_runs(members) if packed else hold_runs(members)
        yield Batch(label, len(members), [parcel])


class _Fanout:
    """The task runs of one execution: which batch is in which step."""

    def __init__(
        self,
        runner: AnyRunner,
        collector: Collector,
        progress: ShownProgress,
        pace: Pace,
        steps: Sequence[Step],
        limit: FailureLimit,
    ) -> None:
        self._runner = runner
        self._limit = limit
        self._pace = pace
        self._collector = collector
        self._progress = progress
        self._tasks: Sequence[StepTask] = ()
        self._is_draining = False
        self._arrived: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._steps = steps
        self.cause: BaseException | None = None
        self._position: dict[Any, int] = {}
        self._task_runs: dict[str, tuple[str, ...]] = {}
        self._told: set[str] = set()
        flow_run = current_flow_run()
        self._flow_run_id = str(flow_run.id) if flow_run is not None else None

    def deliver(self, parcels: list[Parcel], task_run_id: str) -> None:
        """Take completed runs; may be called by any thread."""
        self._arrived.put(partial(self._gather, parcels, task_run_id))

    def run(self, tasks: Sequence[StepTask], batches: Iterator[Batch]) -> None:
        """Submit and collect until all is done, or too much has failed."""
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
        return not self._limit.is_reached and len(self._position) < self._pace.ahead()

    def _wait(self) -> None:
        try:
            handle = self._arrived.get(timeout=TICK_SECONDS)
        except queue.Empty:
            pass
        else:
            handle()
        self._collector.tick()
        self._progress.tick()
        end_with_asyncio_task()

    def _drain(self) -> None:
        """Keep what arrived before an interruption."""
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
            raise takes_none(self._runner, error) from error
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
        # Prefect keeps every task's result until the flow run ends: let it keep an empty one.
        batch.todo, batch.done = [], []

    def _gather(self, parcels: list[Parcel], task_run_id: str) -> None:
        runs = [run for parcel in parcels for run in opened(parcel)]
        task_runs = self._task_runs[task_run_id]
        for run in runs:
            self._note(run, task_runs)
        if runs:
            self._pace.note(runs)
            self._limit.note(runs)
            self._progress.add(runs)
            self._collector.collect(runs)

    def _note(self, run: Run, task_runs: Sequence[str]) -> None:
        """Note who has executed a run: the task run of each step, up to the last or failed one."""
        entry, last = run.ledger, self._steps[len(task_runs) - 1]
        if entry.state == "failed":
            entry.fail(last.name, last.fingerprint)
        for step, task_run_id in zip(self._steps, task_runs, strict=False):
            if (executed := entry.executed.get(step.name)) is not None:
                executed.flow_run_id, executed.task_run_id = self._flow_run_id, task_run_id
        entry.flow_run_id, entry.task_run_id = self._flow_run_id, task_runs[-1]

    def _warn_once(self, step: str, batch: Batch) -> None:
        warnings = {f"{step} changed {name}": put_back(step, name) for name in batch.changed}
        if batch.returned is not None:
            warnings[f"{step} returned"] = useless_return(step, batch.returned)
        for key in sorted(warnings.keys() - self._told):
            get_run_logger().warning("%s", warnings[key])
        self._told |= warnings.keys()
