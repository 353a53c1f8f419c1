"""A step as a Prefect task: attempts at a batch, their logs, and the state that tells of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Failed

from mltraq_prefect.execution import Batch, Outcome, Step, Workers, execute_batch
from mltraq_prefect.execution.batch import execute_batch_here, lost_batch, pack
from mltraq_prefect.execution.workers import WorkerDied

Attempt = Callable[[Any], Outcome]
StepTask = Task[[Batch], Any]

TRACEBACKS_LOGGED = 3


def step_task(
    step: Step, workers: Workers | None, packed: bool, retries: int, retry_delay_seconds: float
) -> StepTask:
    """Return the task of a step; its parameter `batch` is a `Batch`, and so is its result.

    Args:
        step: What each run of the batch is given to.
        workers: Processes that execute it, or None to execute it where the task runs.
        packed: Whether batches hold pickled runs.
        retries: How often Prefect retries a task run in which runs failed.
        retry_delay_seconds: Pause before a retry.
    """
    _drop_empty_tracebacks()
    attempt = partial(_attempt, _execution(step, workers, packed))

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
        log_prints=not packed,
    )
    return cast(StepTask, task)


def _execution(step: Step, workers: Workers | None, packed: bool) -> Attempt:
    if not packed:
        return partial(execute_batch_here, step)
    level = min(logging.INFO, logging.getLogger().level or logging.INFO)
    execute = partial(execute_batch, pack(step), level=level)
    if workers is None:
        return execute
    return partial(workers.run, execute)


def _attempt(execute: Attempt, batch: Batch) -> Batch | State[Batch]:
    logger = get_run_logger()
    try:
        outcome = execute(batch.todo)
    except WorkerDied as error:
        outcome = lost_batch(batch, str(error))
    for record in outcome.records:
        logger.log(record.level, "%s", record.message)
    batch.add(outcome)
    if not batch.failures:
        return batch
    for run, failure in batch.failures[:TRACEBACKS_LOGGED]:
        logger.error("run %s: %s", run, failure)
    return Failed(message=_summary(batch), data=batch)


def _summary(batch: Batch) -> str:
    run, error = batch.failures[0]
    first = f"{run}: {error.rstrip().splitlines()[-1]}"
    return f"{len(batch.failures)} of {batch.size} runs failed; {first}"


class _EmptyTraceback(logging.Filter):
    """Prefect logs a returned Failed state with `exc_info`, which prints ``NoneType: None``."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[0] is None:
            record.exc_info = None
        return True


_EMPTY_TRACEBACK = _EmptyTraceback()


def _drop_empty_tracebacks() -> None:
    logging.getLogger("prefect.task_runs").addFilter(_EMPTY_TRACEBACK)
