"""Functions that execute steps on chunks: in threads of this process, or in worker processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial

from mltraq_prefect.execution.batch import DeliverRows, Outcome, execute_in_thread
from mltraq_prefect.execution.fanout.batch_attempt import Execute
from mltraq_prefect.execution.fanout.calls import Call
from mltraq_prefect.execution.fanout.executor import BatchExecutor, ExecuteJob
from mltraq_prefect.execution.fanout.remote_files import (
    ExecuteWith,
    RemoteDesk,
    WithRemoteDesk,
)
from mltraq_prefect.execution.file_desk import Desk
from mltraq_prefect.execution.inputs import Inputs, frozen_kwargs, new_key, pickled_kwargs
from mltraq_prefect.execution.judge import SharedVerdicts
from mltraq_prefect.execution.options import ExecutionOptions
from mltraq_prefect.execution.pool.child import Job
from mltraq_prefect.execution.pool.parent import Workers
from mltraq_prefect.execution.pool.worker_handle import make_job
from mltraq_prefect.execution.program_state import ProgramState
from mltraq_prefect.execution.serialization import Chunk
from mltraq_prefect.execution.steps import Step


def in_threads(
    stack: ExitStack,
    executor: BatchExecutor,
    steps: Sequence[Step],
    options: ExecutionOptions,
) -> Sequence[ExecuteWith]:
    """Return a function for each step that executes it in a thread; warn of shared state."""
    kwargs = frozen_kwargs(options.kwargs)
    verdicts = None
    if options.stop:
        verdicts = SharedVerdicts(are_awaited=options.synchronous)
        stack.callback(verdicts.close)
    if executor.is_local:
        warn = partial(executor.logger.warning, "%s")
        stack.enter_context(ProgramState(steps, kwargs, is_alone=False, warn=warn))
    more = verdicts, options.monitor
    return [partial(execute_in_thread, step, kwargs, *more) for step in steps]


def in_processes(
    executor: BatchExecutor,
    steps: Sequence[Step],
    options: ExecutionOptions,
    workers: Workers | None,
) -> Sequence[ExecuteWith]:
    """Return a function for each step that executes it in workers; the kwargs are pickled once."""
    inputs = pickled_kwargs(options.kwargs, on_this_machine=executor.is_local)
    jobs = [_job(step, inputs, options) for step in steps]
    # Later steps go first: results arrive early, and few batches are in memory.
    return [
        partial(_execute_job, executor.execute_job, workers, job, -position)
        for position, job in enumerate(jobs)
    ]


def _execute_job(
    execute: ExecuteJob,
    workers: Workers | None,
    job: Job,
    priority: int,
    files: Desk,
    chunk: Chunk,
    _deliver: DeliverRows | None,
) -> Iterator[Outcome]:
    return execute(workers, job._replace(files=files), priority, chunk)


def with_files(
    executions: Sequence[ExecuteWith], files: Desk, call: Call | None
) -> Sequence[Execute]:
    """Return functions that execute steps with this desk, or with one that leads to it.

    Args:
        executions: Functions that need a desk.
        files: The desk in this process.
        call: By which workers elsewhere call this process; None if they use the same desk.
    """
    if call is None:
        return [partial(execute, files) for execute in executions]
    desk = RemoteDesk(call, new_key(), files.limit, files.keeps_logs)
    return [WithRemoteDesk(execute, desk) for execute in executions]


def _job(step: Step, inputs: Inputs, options: ExecutionOptions) -> Job:
    level = min(logging.INFO, logging.getLogger().level or logging.INFO)
    awaited = options.synchronous if options.stop else None
    job = make_job(step, inputs, level, options.timeout_seconds)
    return job._replace(awaits=awaited, monitors=options.monitor, name=step.name)
