"""A step as a Prefect task: one attempt at a batch, its logs, and its final state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from typing import Any, cast

from prefect import Task, runtime
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.states import Failed

from mltraq_prefect.errors import FailureGroup, InvalidInput
from mltraq_prefect.execution import Batch, Outcome, Step, grouped_failures
from mltraq_prefect.execution.logs import forwarded
from mltraq_prefect.execution.serialization import Chunk
from mltraq_prefect.execution.tracebacks import headline
from mltraq_prefect.orchestration.live_log import LiveLog
from mltraq_prefect.orchestration.log_filters import (
    drop_end_of_task_run_logs,
    drop_interruption_logs,
)

Execute = Callable[[Any], Iterator[Outcome]]
Deliver = Callable[[list[Chunk], str], None]
StepTask = Task[[Batch], Any]
Logger = logging.Logger | logging.LoggerAdapter[Any]

ERRORS_LOGGED = 3
"""Number of distinct errors of a batch that are logged."""


def step_task(
    step: Step,
    execute: Execute,
    *,
    in_this_thread: bool,
    deliver: Deliver | None,
    retries: int,
    retry_delay_seconds: float,
) -> StepTask:
    """Return the task of a step; its parameter `batch` is a `Batch`, and so is its result.

    Args:
        step: The step.
        execute: Executes it on the runs of a chunk.
        in_this_thread: Whether it is executed in the thread of the task run, so that its log
            records must be collected here.
        deliver: Called with chunks of completed runs as they arrive, and the id of the task run;
            if None, they are in the result.
        retries: How often Prefect retries a task run in which runs failed, unless it was refused.
        retry_delay_seconds: Pause before a retry, in seconds.
    """
    drop_interruption_logs()
    logged: set[str] = set()
    attempt = partial(_attempt, execute, in_this_thread, deliver, retries, logged)

    def body(batch: Batch) -> Batch | State[Batch]:
        return attempt(batch)

    task = Task(
        body,
        name=step.name,
        description=step.function.__doc__,
        task_run_name=f"{step.name} {{batch.label}}",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=retries,
        retry_delay_seconds=retry_delay_seconds,
        retry_condition_fn=_is_no_refusal,
        log_prints=in_this_thread,
    )
    return cast(StepTask, task)


def _is_no_refusal(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Return whether a retry may help: invalid input would be refused again."""
    return not isinstance(state.data, InvalidInput)


def _attempt(
    execute: Execute,
    in_this_thread: bool,
    deliver: Deliver | None,
    retries: int,
    logged: set[str],
    batch: Batch,
) -> Batch | State[Batch]:
    logger = get_run_logger()
    live = LiveLog(logger)
    with _logging(in_this_thread, logger), closing(live):
        for outcome in batch.attempt(execute):
            live.show(outcome.records)
            if deliver is not None and batch.done:
                deliver(batch.done, _task_run_id())
                batch.done = []
    drop_end_of_task_run_logs(_task_run_id())
    if not batch.failures:
        return batch
    _log_failures(logger, batch, logged, is_last=_attempts() > retries)
    return Failed(message=_summary(batch), data=batch)


def _log_failures(logger: Logger, batch: Batch, logged: set[str], *, is_last: bool) -> None:
    """Log a line for each distinct error; with its frames the first time."""
    groups = grouped_failures(batch.failures)
    for group in groups[:ERRORS_LOGGED]:
        if not is_last:
            logger.warning("%s; tried again", group.line)
        elif group.place and f"{group.error_type} {group.place}" in logged:
            logger.error("%s", group.line)
        else:
            logged.add(f"{group.error_type} {group.place}")
            logger.error("%s%s", _wholly(batch, group), group)
    if left := groups[ERRORS_LOGGED:]:
        count = sum(group.count for group in left)
        logger.error("%s other errors in %s other runs", len(left), count)


def _wholly(batch: Batch, group: FailureGroup) -> str:
    if group.count < batch.size or group.count == 1:
        return ""
    return (
        f"All {group.count:,} runs of the batch failed with one error, and the execution goes on "
        '(on_error="stop" would end it).\n'
    )


def _logging(in_this_thread: bool, logger: Logger) -> AbstractContextManager[None]:
    if not in_this_thread:
        return nullcontext()
    return forwarded(lambda level, message: logger.log(level, "%s", message), skip="prefect")


def _task_run_id() -> str:
    return runtime.task_run.id or ""


def _attempts() -> int:
    return runtime.task_run.run_count or 1


def _summary(batch: Batch) -> str:
    run, error = batch.failures[0]
    return f"{len(batch.failures)} of {batch.size} runs failed; {run}: {headline(error)}"
