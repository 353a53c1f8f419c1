"""Tasks of steps, and the task that executes all steps of a batch where the batch is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, cast

from prefect import Task, runtime
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.states import Failed

from mltraq_prefect.execution import Batch, ExecutionOptions, Step
from mltraq_prefect.execution.fanout.batch_attempt import BatchAttempt, failure_summary
from mltraq_prefect.execution.fanout.executed import (
    Executed,
    StepResult,
    execute_steps,
)
from mltraq_prefect.execution.fanout.handover import Handover, may_be_retried
from mltraq_prefect.execution.logs import forwarded
from mltraq_prefect.orchestration.log_filters import (
    drop_end_of_task_run_logs,
    drop_interruption_logs,
)

IDS_LOGGED = 10
"""Ids of runs that the log of a task run names; of many, these are the first."""

StepTask = Task[[Batch], Any]


class HandoverFailed(Exception):
    """Ends a task run whose batch cannot be handed over: a retry would have nothing to execute.

    Attributes:
        error: What has prevented it.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def step_task(
    step: Step,
    attempt: BatchAttempt,
    options: ExecutionOptions,
    table: str,
    handover: Handover | None,
    *,
    runs_in_thread: bool,
) -> StepTask:
    """Return the task of a step; its parameter `batch` is a `Batch`, and so is its result.

    If it hands the batch over, that is an `Executed`.

    Args:
        step: The step.
        attempt: Attempts it on a batch.
        options: How often, and after which pause, Prefect retries a task run with failed runs.
        table: Name of the experiment's table, which the log names.
        handover: Begins and ends the batch; None if something else does.
        runs_in_thread: Whether it is executed in the thread of the task run, so that its log
            records must be collected here.
    """
    drop_interruption_logs()
    retries = options.retries

    def body(batch: Batch) -> Any:
        logger, task_run_id, number = get_run_logger(), *_current()
        is_last = number > retries
        with handover.held(batch, is_last=is_last) if handover is not None else nullcontext():
            logger.info("%s", _rows_of(batch, table, task_run_id))
            with _logging(runs_in_thread, logger):
                attempt(batch, logger, is_last=is_last)
        drop_end_of_task_run_logs(task_run_id)
        result: Batch | Executed = batch
        if handover is not None and (is_last or not batch.failures):
            try:
                result = handover(Executed([StepResult(batch, task_run_id)]))
            except Exception as error:
                raise HandoverFailed(error) from error
        if not batch.failures:
            return result
        return Failed(message=failure_summary(batch), data=result)

    task = Task(
        body,
        name=step.name,
        description=step.function.__doc__,
        task_run_name=f"{step.name} {{batch.label}}",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=retries,
        retry_delay_seconds=options.retry_delay_seconds,
        retry_condition_fn=_may_help,
        # Prefect would take what is printed before it is kept.
        log_prints=runs_in_thread and not options.keep_logs,
    )
    return cast(StepTask, task)


def batch_task(tasks: Sequence[StepTask], handover: Handover | None) -> StepTask:
    """Return a task that executes the tasks of steps on a batch; its result is an `Executed`.

    What a step leaves in a run stays in the process that executes the next one.

    Args:
        tasks: The tasks of the steps, in order; their task runs are within that of this task.
        handover: Begins and ends the batch; None if something else does.
    """
    drop_interruption_logs()

    def body(batch: Batch) -> Executed | State[Executed]:
        with handover.held(batch) if handover is not None else nullcontext():
            executed = execute_steps(batch, [partial(_task_run, task) for task in tasks])
        if handover is not None:
            executed = handover(executed)
        drop_end_of_task_run_logs(_current()[0])
        if not (failures := executed.failures):
            return executed
        message = f"{len(failures)} of {batch.size} runs failed"
        return Failed(message=message, data=executed)

    name = ", ".join(task.name for task in tasks)
    task = Task(
        body,
        name=name,
        task_run_name=f"{name} {{batch.label}}",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=0,
        log_prints=False,
    )
    return cast(StepTask, task)


def _task_run(task: StepTask, batch: Batch) -> str:
    """Execute a task on a batch, and return the id of its task run."""
    state: State[Any] = task(batch, return_state=True)
    result = state.result(raise_on_failure=False)
    if isinstance(result, BaseException):
        raise result
    return str(state.state_details.task_run_id)


def _rows_of(batch: Batch, table: str, task_run_id: str) -> str:
    """Return which rows of the tables a task run is about."""
    ids = [frozen.id_run for chunk in batch.todo for frozen in chunk]
    told = ", ".join(ids[:IDS_LOGGED])
    if not ids:
        return f"no row of {table} is left: a worker that was lost since has executed them"
    if len(ids) == 1:
        return f"1 row of {table}: id_run {told}"
    if len(ids) <= IDS_LOGGED:
        return f"{len(ids)} rows of {table}: id_run {told}"
    return (
        f"{len(ids):,} rows of {table}: id_run {told}, ...; all of them, when they are stored, "
        f"have task_run_id {task_run_id} in experiment_run_steps"
    )


def _may_help(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Return whether a retry may help: also if the task has returned a failed state."""
    error = state.data
    return not isinstance(error, BaseException) or (
        may_be_retried(error) and not isinstance(error, HandoverFailed)
    )


def _logging(
    runs_in_thread: bool, logger: logging.Logger | logging.LoggerAdapter[Any]
) -> AbstractContextManager[None]:
    if not runs_in_thread:
        return nullcontext()
    return forwarded(lambda level, message: logger.log(level, "%s", message), skip="prefect")


def _current() -> tuple[str, int]:
    """Return the id of the current task run, and the number of its attempt."""
    return runtime.task_run.id or "", runtime.task_run.run_count or 1
