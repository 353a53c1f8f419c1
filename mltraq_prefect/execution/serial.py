"""Execution in this process, one run after the other: for debugging and inside other tasks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from mltraq_prefect.execution.attempt import (
    SERIAL,
    Attempt,
    attempt,
    global_generators_kept,
    useless_return,
)
from mltraq_prefect.execution.copies import AtRest
from mltraq_prefect.execution.failures import FailureLimit
from mltraq_prefect.execution.inputs import held_kwargs
from mltraq_prefect.execution.options import ExecutionOptions
from mltraq_prefect.execution.process_state import ProcessState
from mltraq_prefect.execution.program_state import ProgramState
from mltraq_prefect.execution.serialization import Resting, hold_runs, opened
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.model.run import Run


def execute_serially(
    steps: Sequence[Step],
    runs: Iterable[Run],
    collect: Callable[[list[Run]], None],
    options: ExecutionOptions,
) -> BaseException | None:
    """Execute all steps on each run; a run that fails a step skips the later ones.

    Args:
        steps: In the order in which they depend on each other.
        runs: Not changed.
        collect: Gets each run when it has ended, completed or failed: a copy, with the results;
            a failed run is as it was before the step that failed.
        options: How; what fails is tried again, and the execution stops at the limit.

    Returns:
        What a step raised in the first run that failed, or None.
    """
    returned: dict[str, str] = {}
    limit = FailureLimit(options.failure_limit)
    kwargs, first, process = held_kwargs(options.kwargs), None, ProcessState()

    def put_back(step: str) -> None:
        process.restore()
        program.put_back(step)

    with global_generators_kept(), ProgramState(steps, kwargs) as program:
        for run in runs:
            (resting,) = hold_runs([run])
            program.watch_code(resting.params)
            for step in steps:
                result = _tried(step, resting, kwargs, options, put_back)
                resting, first = result.run, first or result.exception
                if result.returned is not None:
                    returned.setdefault(step.name, result.returned)
                if result.error is not None:
                    break
            ended = opened([resting])
            limit.note(ended)
            collect(ended)
            if limit.is_reached:
                break
    for name, kind in returned.items():
        logging.getLogger("mltraq_prefect").warning("%s", useless_return(name, kind))
    return first


def _tried(
    step: Step,
    resting: Resting,
    kwargs: AtRest,
    options: ExecutionOptions,
    put_back: Callable[[str], None],
) -> Attempt:
    for number in range(options.retries + 1):
        if number:
            time.sleep(options.retry_delay_seconds)
        try:
            result = attempt(step, resting, kwargs, SERIAL)
        finally:
            put_back(step.name)
        resting = result.run
        if result.error is None:
            break
    return result
