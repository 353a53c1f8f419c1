"""Execution of batches by Prefect: a task run of the current flow run for each batch and step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

from prefect import allow_failure
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner

from mltraq_prefect.execution import (
    Batch,
    ExecutionOptions,
    Outcome,
    Step,
    Workers,
    worker_count,
    workers_of_this_process,
)
from mltraq_prefect.execution.batch_size import BATCHES_IN_FLIGHT, Work
from mltraq_prefect.execution.fanout.batch_attempt import BatchAttempt
from mltraq_prefect.execution.fanout.calls import Call, Serve
from mltraq_prefect.execution.fanout.executed import Executed, StepResult
from mltraq_prefect.execution.fanout.executor import Collector, Submission
from mltraq_prefect.execution.fanout.fanout import fan_out
from mltraq_prefect.execution.fanout.handover import Handover
from mltraq_prefect.execution.fanout.progress import ProgressDisplay
from mltraq_prefect.execution.pool.child import Job
from mltraq_prefect.execution.serialization import Chunk
from mltraq_prefect.model.series import LoggedRows
from mltraq_prefect.orchestration.broadcast import broadcast
from mltraq_prefect.orchestration.calls import answered_calls
from mltraq_prefect.orchestration.cluster_workers import ClusterWorkers
from mltraq_prefect.orchestration.clusters import set_cluster_address
from mltraq_prefect.orchestration.flows import portable_flow
from mltraq_prefect.orchestration.late_flow_run import is_known, when_known
from mltraq_prefect.orchestration.prefect_compat import current_flow_run
from mltraq_prefect.orchestration.progress_artifact import ProgressArtifact
from mltraq_prefect.orchestration.run_context import lazy_run_context
from mltraq_prefect.orchestration.runners import (
    choose_runner,
    concurrency,
    runs_in_threads,
    submission_error,
)
from mltraq_prefect.orchestration.step_tasks import (
    HandoverFailed,
    StepTask,
    batch_task,
    step_task,
)
from mltraq_prefect.reports.live_curves import LiveCurves

FETCHING = 4
"""So many results of task runs are on their way from workers of a cluster, or wait for the flow."""


def execute_in_tasks(
    steps: Sequence[Step],
    work: Work,
    collector: Collector,
    options: ExecutionOptions,
    progress: ProgressDisplay,
    table: str,
) -> BaseException | None:
    """Execute steps on runs as task runs of the current flow run.

    Args:
        steps: The steps, in order; each becomes a task.
        work: The runs; they are not changed.
        collector: Receives the results.
        options: Options of the execution.
        progress: Shows the progress.
        table: Name of the experiment's table.

    Returns:
        The exception of the first run that failed, if known, or None.

    Raises:
        CancelledRun: The flow run was cancelled.
        InvalidInput: A step, the kwargs or a run cannot be pickled.
    """
    curves = LiveCurves(work.runs)
    executor = TaskExecutor(options, table, curves)
    return fan_out(executor, steps, work, _Watched(collector, curves), options, progress)


class _Watched:
    """A `Collector` whose rows are also seen by the curves of the progress.

    Args:
        collector: Receives all.
        curves: See the rows, too.
    """

    def __init__(self, collector: Collector, curves: LiveCurves) -> None:
        self._curves, self._log = curves, collector.log
        self.collect, self.tick = collector.collect, collector.tick
        self.has_ended, self.flush_rows = collector.has_ended, collector.flush_rows
        self.files, self.name_flow_run = collector.files, collector.name_flow_run
        self.elsewhere = collector.elsewhere

    def log(self, rows: Sequence[LoggedRows], *, soon: bool = False) -> None:
        self._log(rows, soon=soon)
        self._curves.add(rows)


def execute_job(
    workers: Workers | None, job: Job, priority: int, chunk: Chunk
) -> Iterator[Outcome]:
    """Execute a job in worker processes, in the context of the task run.

    On a cluster, these are started by the process to which the task run was sent. That process may
    have several threads. In a worker process, a run has the global random generators and a time
    limit of its own.
    """
    if workers is None:
        set_cluster_address()
        workers = workers_of_this_process()
    return workers.execute(job, chunk, priority=priority, lazy_context=lazy_run_context())


class TaskExecutor:
    """Executes batches as task runs: a `BatchExecutor`.

    On a cluster all steps of a batch are executed by the worker that has got it, in task runs
    within one, so that what a step leaves for the next one does not come back in between.

    Args:
        options: Options of the execution.
        table: Name of the experiment's table.
        curves: What the runs have logged.
    """

    execute_job = staticmethod(execute_job)

    def __init__(self, options: ExecutionOptions, table: str, curves: LiveCurves) -> None:
        self.runs_in_threads = runs_in_threads(options)
        self.reporter = ProgressArtifact(table, curves)
        self._table = table
        self.logger = get_run_logger()
        self._flow_run = current_flow_run()
        self._options = options
        self._tasks: list[StepTask] = []
        self._fetching: Fetching | None = None
        self._stack = ExitStack()

    @property
    def flow_run_id(self) -> str | None:
        """Id of the flow run; None if there is none, or the server has not made it yet."""
        found = self._flow_run
        return str(found.id) if found is not None and is_known(found) else None

    def when_known(self, note: Callable[[str], None]) -> None:
        """Call a function with the id of the flow run: now, or as soon as there is one."""
        if self._flow_run is not None:
            when_known(self._flow_run, note)

    def __enter__(self) -> TaskExecutor:
        # Prefect needs time before and after each task run; workers must not wait meanwhile.
        count = worker_count(self._options.n_jobs)
        threads = count if self.runs_in_threads else BATCHES_IN_FLIGHT * count
        self._runner = choose_runner(self._stack, self._options.task_runner, threads)
        self.is_local = isinstance(self._runner, ThreadPoolTaskRunner)
        self.concurrency = concurrency(self._runner)
        self._workers = None if self.is_local else ClusterWorkers(self._runner)
        return self

    def __exit__(self, *exception: Any) -> bool | None:
        return self._stack.__exit__(*exception)

    def answered_calls(self, stack: ExitStack, serve: Serve) -> Call | None:
        """Let workers of a cluster call this process, if it is one of Dask or Ray."""
        return None if self.is_local else answered_calls(stack, self._runner, serve)

    def prepare(
        self,
        stack: ExitStack,
        steps: Sequence[Step],
        attempts: Sequence[BatchAttempt],
        handover: Handover | None,
    ) -> None:
        """Make a task of each step.

        Raises:
            InvalidInput: A worker of a cluster does not have this package.
        """
        self.check()
        if not self.is_local:
            executions = broadcast(stack, self._runner, [each.execute for each in attempts])
            for attempt, execution in zip(attempts, executions, strict=True):
                attempt.execute = execution
            stack.enter_context(portable_flow())
            self._fetching = Fetching()
            stack.callback(self._fetching.close)
        more = self._options, self._table
        alone = handover if len(steps) == 1 else None
        self._tasks = [
            step_task(step, attempt, *more, alone, runs_in_thread=self.runs_in_threads)
            for step, attempt in zip(steps, attempts, strict=True)
        ]
        if not self.is_local and len(steps) > 1:
            self._tasks = [batch_task(self._tasks, handover)]

    def check(self) -> None:
        """Refuse workers of a cluster that do not have this package.

        Raises:
            InvalidInput: There is one.
        """
        if self._workers is not None:
            self._workers.check()

    def submit(
        self, position: int, batch: Batch, after: Submission | None, done: Callable[[], None]
    ) -> TaskRun:
        """Submit a task run, which depends on that of the previous step.

        Raises:
            InvalidInput: The task runner takes none.
        """
        before = [allow_failure(after.future)] if isinstance(after, TaskRun) else None
        try:
            future = self._runner.submit(
                self._tasks[position],
                {"batch": batch},
                wait_for=before,  # type: ignore[arg-type]
            )
        except Exception as error:
            raise submission_error(self._runner, error) from error
        task_run = TaskRun(future)

        def end(_future: object) -> None:
            if self._fetching is None:
                done()
            else:
                self._fetching.fetch(task_run, done)

        future.add_done_callback(end)
        return task_run


class TaskRun:
    """A task run that was submitted: a `Submission`.

    Args:
        future: Its future.
    """

    def __init__(self, future: PrefectFuture[Any]) -> None:
        self.future = future
        self.task_run_id = str(future.task_run_id)
        self._result: Executed | BaseException | None = None
        self._taken: Callable[[], None] = lambda: None

    def fetch(self, taken: Callable[[], None]) -> None:
        """Get the result from where it is; a function is called when somebody takes it."""
        self._taken = taken
        try:
            self._result = self._fetched()
        except BaseException as error:  # `result` tells it: nobody listens to this thread
            self._result = error

    def result(self) -> Executed | BaseException:
        """Return what became of the batch, or the exception that prevented it."""
        if self._result is None:
            return self._fetched()
        found, self._result = self._result, None
        self._taken()
        return found

    def _fetched(self) -> Executed | BaseException:
        result = self.future.result(raise_on_failure=False)
        if isinstance(result, HandoverFailed):
            return result.error
        if isinstance(result, Executed | BaseException):
            return result
        return Executed([StepResult(result, self.task_run_id)])


class Fetching:
    """Gets results of task runs from workers of a cluster: few, as they may be large.

    A worker may be lost before it has sent one. Then the cluster executes the batch again, and who
    waits for that must not be the thread that answers the calls of the workers.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(FETCHING, "mltraq results")
        self._room = threading.Semaphore(FETCHING)
        self._is_closed = False

    def fetch(self, task_run: TaskRun, done: Callable[[], None]) -> None:
        """Get the result of a task run when there is room for it, and call a function then."""
        with suppress(RuntimeError):  # the execution has been interrupted
            self._threads.submit(self._fetch, task_run, done)

    def _fetch(self, task_run: TaskRun, done: Callable[[], None]) -> None:
        self._room.acquire()
        if not self._is_closed:
            task_run.fetch(self._room.release)
            done()

    def close(self) -> None:
        """Get no more: the execution ends."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._is_closed = True
        self._room.release(FETCHING)
