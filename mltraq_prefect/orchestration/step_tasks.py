"""A step as a Prefect task: one attempt at a batch, its logs, the state that tells the outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.logging import get_run_logger
from prefect.states import Failed

from mltraq_prefect.execution import Batch, Outcome, Step
from mltraq_prefect.execution.logs import forwarded
from mltraq_prefect.execution.parcels import Parcel

Execute = Callable[[Any], Iterator[Outcome]]
Deliver = Callable[[list[Parcel], str], None]
StepTask = Task[[Batch], Any]

TRACEBACKS_LOGGED = 3


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
        retries: How often Prefect retries a task run in which runs failed.
        retry_delay_seconds: Pause before a retry.
    """
    attempt = partial(_attempt, execute, in_this_thread, deliver)

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
        log_prints=in_this_thread,
    )
    return cast(StepTask, task)


def _attempt(
    execute: Execute, in_this_thread: bool, deliver: Deliver | None, batch: Batch
) -> Batch | State[Batch]:
    _drop_empty_tracebacks()
    logger = get_run_logger()
    with _logging(in_this_thread, logger):
        for outcome in batch.attempt(execute):
            for record in outcome.records:
                logger.log(record.level, "%s", record.message)
            if deliver is not None and batch.done:
                deliver(batch.done, _task_run_id())
                batch.done = []
    if not batch.failures:
        return batch
    for run, failure in batch.failures[:TRACEBACKS_LOGGED]:
        logger.error("run %s: %s", run, failure)
    return Failed(message=_summary(batch), data=batch)


def _logging(
    in_this_thread: bool, logger: logging.Logger | logging.LoggerAdapter[Any]
) -> AbstractContextManager[None]:
    if not in_this_thread:
        return nullcontext()
    return forwarded(lambda level, message: logger.log(level, "%s", message), skip="prefect")


def _task_run_id() -> str:
    context = TaskRunContext.get()
    return "" if context is None else str(context.task_run.id)


def _summary(batch: Batch) -> str:
    run, error = batch.failures[0]
    first = f"{run}: {_headline(error)}"
    return f"{len(batch.failures)} of {batch.size} runs failed; {first}"


def _headline(error: str) -> str:
    """Return the line of an error that says most: the last of a traceback, else the first."""
    lines = error.rstrip().splitlines()
    return lines[-1] if "Traceback (most recent call last)" in lines[0] else lines[0]


class _EmptyTraceback(logging.Filter):
    """Prefect logs a returned Failed state with `exc_info`, which prints ``NoneType: None``."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[0] is None:
            record.exc_info = None
        return True


_EMPTY_TRACEBACK = _EmptyTraceback()


def _drop_empty_tracebacks() -> None:
    logging.getLogger("prefect.task_runs").addFilter(_EMPTY_TRACEBACK)
