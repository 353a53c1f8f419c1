"""A step as a Prefect task: one attempt at a batch, its logs, the state that tells the outcome."""

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
from mltraq_prefect.execution.serialization import Parcel
from mltraq_prefect.execution.tracebacks import headline
from mltraq_prefect.orchestration.live_log import LiveLog
from mltraq_prefect.orchestration.log_filters import (
    say_end_of_task_run_once,
    say_interruptions_once,
)

Execute = Callable[[Any], Iterator[Outcome]]
Deliver = Callable[[list[Parcel], str], None]
StepTask = Task[[Batch], Any]
Logger = logging.Logger | logging.LoggerAdapter[Any]

ERRORS_LOGGED = 3
"""Distinct errors that the log tells of each batch."""


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
        step: What each run of the batch is given to.
        execute: Executes it on the runs of a parcel.
        in_this_thread: Whether that happens in the thread of the task run, whose log records then
            have yet to be collected.
        deliver: Gets parcels of completed runs as they come, with the id of the task run;
            otherwise they are in the result.
        retries: How often Prefect retries a task run in which runs failed, unless it was refused.
        retry_delay_seconds: Pause before a retry.
    """
    say_interruptions_once()
    told: set[str] = set()
    attempt = partial(_attempt, execute, in_this_thread, deliver, retries, told)

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
    """Return whether another attempt may help: what is refused once is refused again."""
    return not isinstance(state.data, InvalidInput)


def _attempt(
    execute: Execute,
    in_this_thread: bool,
    deliver: Deliver | None,
    retries: int,
    told: set[str],
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
    say_end_of_task_run_once(_task_run_id())
    if not batch.failures:
        return batch
    _log_failures(logger, batch, told, is_last=_attempts() > retries)
    return Failed(message=_summary(batch), data=batch)


def _log_failures(logger: Logger, batch: Batch, told: set[str], *, is_last: bool) -> None:
    """Log one line a distinct error, and the first time where it comes from."""
    groups = grouped_failures(batch.failures)
    for group in groups[:ERRORS_LOGGED]:
        if not is_last:
            logger.warning("%s; tried again", group.line)
        elif group.place and f"{group.error_type} {group.place}" in told:
            logger.error("%s", group.line)
        else:
            told.add(f"{group.error_type} {group.place}")
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
