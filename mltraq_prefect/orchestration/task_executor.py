"""Execution of batches by Prefect: a task run of the current flow run for each batch and step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, cast

from prefect import Task, allow_failure, runtime
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Failed
from prefect.task_runners import ThreadPoolTaskRunner

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution import (
    Batch,
    ExecutionOptions,
    Outcome,
    Step,
    Workers,
    worker_count,
    workers_of_this_process,
)
from mltraq_prefect.execution.batch_size import BATCHES_IN_FLIGHT, Divide, split
from mltraq_prefect.execution.fanout.batch_attempt import BatchAttempt, failure_summary
from mltraq_prefect.execution.fanout.executor import Collector, Submission
from mltraq_prefect.execution.fanout.fanout import fan_out
from mltraq_prefect.execution.fanout.progress import ProgressDisplay
from mltraq_prefect.execution.logs import forwarded
from mltraq_prefect.execution.pool.child import Job
from mltraq_prefect.execution.serialization import Chunk
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import LoggedRows
from mltraq_prefect.orchestration.broadcast import broadcast
from mltraq_prefect.orchestration.cluster_workers import ClusterWorkers
from mltraq_prefect.orchestration.clusters import set_cluster_address
from mltraq_prefect.orchestration.flows import portable_flow
from mltraq_prefect.orchestration.late_flow_run import is_known, when_known
from mltraq_prefect.orchestration.log_filters import (
    drop_end_of_task_run_logs,
    drop_interruption_logs,
)
from mltraq_prefect.orchestration.prefect_compat import current_flow_run
from mltraq_prefect.orchestration.progress_artifact import ProgressArtifact
from mltraq_prefect.orchestration.run_context import lazy_run_context
from mltraq_prefect.orchestration.runners import (
    choose_runner,
    concurrency,
    runs_in_threads,
    submission_error,
)
from mltraq_prefect.reports.live_curves import LiveCurves

IDS_LOGGED = 10
"""Ids of runs that the log of a task run names; of many, these are the first."""

StepTask = Task[[Batch], Any]


def execute_in_tasks(
    steps: Sequence[Step],
    runs: Sequence[Run],
    collector: Collector,
    options: ExecutionOptions,
    progress: ProgressDisplay,
    table: str,
    divide: Divide = split,
) -> BaseException | None:
    """Execute steps on runs as task runs of the current flow run.

    Args:
        steps: The steps, in order; each becomes a task.
        runs: The runs; they are not changed.
        collector: Receives the results.
        options: Options of the execution.
        progress: Shows the progress.
        table: Name of the experiment's table.
        divide: Divides the runs into batches.

    Returns:
        The exception of the first run that failed, if known, or None.

    Raises:
        CancelledRun: The flow run was cancelled.
        InvalidInput: A step, the kwargs or a run cannot be pickled.
    """
    curves = LiveCurves(runs)
    executor = TaskExecutor(options, table, curves)
    return fan_out(executor, steps, runs, _Watched(collector, curves), options, progress, divide)


class _Watched:
    """A `Collector` whose rows are also seen by the curves of the progress.

    Args:
        collector: Receives all.
        curves: See the rows, too.
    """

    def __init__(self, collector: Collector, curves: LiveCurves) -> None:
        self._curves, self._log = curves, collector.log
        self.collect, self.tick = collector.collect, collector.tick
        self.files, self.name_flow_run = collector.files, collector.name_flow_run

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

    def prepare(
        self, stack: ExitStack, steps: Sequence[Step], attempts: Sequence[BatchAttempt]
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
        self._tasks = [
            _step_task(
                *(step, attempt, self._options, self._table), runs_in_thread=self.runs_in_threads
            )
            for step, attempt in zip(steps, attempts, strict=True)
        ]

    def check(self) -> None:
        """Refuse workers of a cluster that do not have this package.

        Raises:
            InvalidInput: There is one.
        """
        if self._workers is not None:
            self._workers.check()

    def submit(
        self, position: int, batch: Batch, after: Submission | None, done: Callable[[], None]
    ) -> _TaskRun:
        """Submit a task run, which depends on that of the previous step.

        Raises:
            InvalidInput: The task runner takes none.
        """
        before = [allow_failure(after.future)] if isinstance(after, _TaskRun) else None
        try:
            future = self._runner.submit(
                self._tasks[position],
                {"batch": batch},
                wait_for=before,  # type: ignore[arg-type]
            )
        except Exception as error:
            raise submission_error(self._runner, error) from error
        future.add_done_callback(lambda _: done())
        return _TaskRun(future)


class _TaskRun:
    def __init__(self, future: PrefectFuture[Batch]) -> None:
        self.future = future
        self.task_run_id = str(future.task_run_id)

    def result(self) -> Batch | BaseException:
        return cast(Batch | BaseException, self.future.result(raise_on_failure=False))


def _step_task(
    step: Step,
    attempt: BatchAttempt,
    options: ExecutionOptions,
    table: str,
    *,
    runs_in_thread: bool,
) -> StepTask:
    """Return the task of a step; its parameter `batch` is a `Batch`, and so is its result.

    Args:
        step: The step.
        attempt: Attempts it on a batch.
        options: How often, and after which pause, Prefect retries a task run with failed runs.
        table: Name of the experiment's table, which the log names.
        runs_in_thread: Whether it is executed in the thread of the task run, so that its log
            records must be collected here.
    """
    drop_interruption_logs()
    retries = options.retries

    def body(batch: Batch) -> Batch | State[Batch]:
        logger, task_run_id, number = get_run_logger(), *_current()
        logger.info("%s", _rows_of(batch, table, task_run_id))
        with _logging(runs_in_thread, logger):
            attempt(batch, logger, is_last=number > retries)
        drop_end_of_task_run_logs(task_run_id)
        if not batch.failures:
            return batch
        return Failed(message=failure_summary(batch), data=batch)

    task = Task(
        body,
        name=step.name,
        description=step.function.__doc__,
        task_run_name=f"{step.name} {{batch.label}}",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=retries,
        retry_delay_seconds=options.retry_delay_seconds,
        retry_condition_fn=_is_no_refusal,
        # Prefect would take what is printed before it is kept.
        log_prints=runs_in_thread and not options.keep_logs,
    )
    return cast(StepTask, task)


def _rows_of(batch: Batch, table: str, task_run_id: str) -> str:
    """Return which rows of the tables a task run is about."""
    ids = [frozen.id_run for chunk in batch.todo for frozen in chunk]
    told = ", ".join(ids[:IDS_LOGGED])
    if len(ids) == 1:
        return f"1 row of {table}: id_run {told}"
    if len(ids) <= IDS_LOGGED:
        return f"{len(ids)} rows of {table}: id_run {told}"
    return (
        f"{len(ids):,} rows of {table}: id_run {told}, ...; all of them, when they are stored, "
        f"have task_run_id {task_run_id} in experiment_run_steps"
    )


def _is_no_refusal(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Return whether a retry may help: invalid input would be refused again."""
    return not isinstance(state.data, InvalidInput)


def _logging(
    runs_in_thread: bool, logger: logging.Logger | logging.LoggerAdapter[Any]
) -> AbstractContextManager[None]:
    if not runs_in_thread:
        return nullcontext()
    return forwarded(lambda level, message: logger.log(level, "%s", message), skip="prefect")


def _current() -> tuple[str, int]:
    """Return the id of the current task run, and the number of its attempt."""
    return runtime.task_run.id or "", runtime.task_run.run_count or 1
