"""Execution in this process, one run after the other: for debugging, and inside tasks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from mltraq_prefect.execution.attempt import (
    SERIAL,
    Attempt,
    attempt,
    global_generators_kept,
    return_warning,
)
from mltraq_prefect.execution.batch_size import (
    CHECKPOINTED_SECONDS,
    BatchSizer,
    Work,
)
from mltraq_prefect.execution.failures import FailureLimit
from mltraq_prefect.execution.fanout.executor import Collector
from mltraq_prefect.execution.frozen_values import FrozenValues
from mltraq_prefect.execution.inputs import frozen_kwargs
from mltraq_prefect.execution.judge import Judge, SharedVerdicts, judge_of
from mltraq_prefect.execution.options import ExecutionOptions
from mltraq_prefect.execution.process_state import ProcessState
from mltraq_prefect.execution.program_state import ProgramState
from mltraq_prefect.execution.row_buffer import RowChannel
from mltraq_prefect.execution.serialization import FrozenRun, consume_runs, freeze_runs
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import LoggedRows

_logger = logging.getLogger("mltraq_prefect")

WAIT_SECONDS = 0.1


def execute_serially(
    steps: Sequence[Step],
    work: Work,
    collector: Collector,
    options: ExecutionOptions,
) -> BaseException | None:
    """Execute all steps on each run; a run that fails a step skips the later ones.

    Args:
        steps: The steps, in order.
        work: The runs; they are not changed.
        collector: Gets rows as they are logged, and a copy of each run that has completed or
            failed. A failed run is as it was before the step that failed.
        options: Options of the execution, such as retries and the limit of failures.

    Returns:
        The exception of the first run that failed, or None.
    """
    judge = judge_of(options, work.runs, steps)
    channel = _channel(collector, judge, options)
    returned: dict[str, str] = {}
    limit = FailureLimit(options.failure_limit)
    sizer = BatchSizer(work.total, 1, CHECKPOINTED_SECONDS, is_shared=options.shared)
    kwargs, first, process = frozen_kwargs(options.kwargs), None, ProcessState()

    def restore(step: str) -> None:
        process.restore()
        program.restore_after(step)

    with global_generators_kept(), ProgramState(steps, kwargs) as program:
        for run in _in_turn(work.divide(sizer), collector):
            (frozen,) = freeze_runs([run])
            program.watch_code(frozen.params)
            for step in steps:
                result = _attempt_with_retries(step, frozen, kwargs, options, channel, restore)
                frozen, first = result.run, first or result.exception
                if result.returned is not None:
                    returned.setdefault(step.name, result.returned)
                if result.error is not None or result.is_stopped:
                    break
            ended = consume_runs([frozen])
            if judge is not None:
                judge.end([run.id_run])
            sizer.observe(ended)
            limit.note(ended)
            collector.collect(ended)
            if limit.is_reached:
                break
    if judge is not None:
        judge.warn_of_unknown_keys(partial(_logger.warning, "%s"))
    for name, kind in returned.items():
        _logger.warning("%s", return_warning(name, kind))
    return first


def _in_turn(
    divided: Iterator[tuple[str, list[Run]] | None], collector: Collector
) -> Iterator[Run]:
    """Yield runs, and wait where there is none just now."""
    for some in divided:
        if some is None:
            collector.tick()
            time.sleep(WAIT_SECONDS)
        else:
            yield from some[1]


def _channel(collector: Collector, judge: Judge | None, options: ExecutionOptions) -> RowChannel:
    """Return what takes rows, in the thread of a step and in that which flushes them."""

    def take(rows: LoggedRows, goes_on: bool) -> None:
        collector.log([rows], soon=goes_on)

    if judge is None:
        return RowChannel(take, monitors=options.monitor, files=collector.files)
    verdicts, lock = SharedVerdicts(are_awaited=options.synchronous), threading.Lock()

    def take_and_judge(rows: LoggedRows, goes_on: bool) -> None:
        take(rows, goes_on)
        with lock:
            judge.take([rows], verdicts.note)

    return RowChannel(take_and_judge, verdicts, options.monitor, collector.files)


def _attempt_with_retries(
    step: Step,
    frozen: FrozenRun,
    kwargs: FrozenValues,
    options: ExecutionOptions,
    channel: RowChannel,
    restore: Callable[[str], None],
) -> Attempt:
    for number in range(options.retries + 1):
        if number:
            time.sleep(options.retry_delay_seconds)
        try:
            result = attempt(step, frozen, kwargs, SERIAL, channel)
        finally:
            restore(step.name)
        frozen = result.run
        if result.error is None:
            break
    return result
