"""Execution in this process, one run after the other: for debugging and inside other tasks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from mltraq_prefect.execution.attempt import attempt, global_generators_kept, useless_return
from mltraq_prefect.execution.failures import FailureLimit
from mltraq_prefect.execution.options import ExecutionOptions
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.run import Run


def execute_serially(
    steps: Sequence[Step],
    runs: Iterable[Run],
    collect: Callable[[list[Run]], None],
    options: ExecutionOptions,
) -> None:
    """Execute all steps on each run; a run that fails a step skips the later ones.

    Args:
        steps: In the order in which they depend on each other.
        runs: Changed in place; a failed run is as it was before the step that failed.
        collect: Gets each run when it has ended, completed or failed.
        options: How; what fails is tried again, and the execution stops at the limit.
    """
    returned: dict[str, str] = {}
    limit = FailureLimit(options.failure_limit)
    with global_generators_kept():
        for run in runs:
            for step in steps:
                if not _completes(step, run, options, returned):
                    break
            limit.note([run])
            collect([run])
            if limit.is_reached:
                break
    for name, kind in returned.items():
        logging.getLogger("mltraq_prefect").warning("%s", useless_return(name, kind))


def _completes(step: Step, run: Run, options: ExecutionOptions, returned: dict[str, str]) -> bool:
    before = run.copy()
    for number in range(options.retries + 1):
        if number and options.retry_delay_seconds:
            time.sleep(options.retry_delay_seconds)
        result = attempt(step, run, seeded=True)
        if result.returned is not None:
            returned.setdefault(step.name, result.returned)
        if result.error is None:
            return True
        run.fields, run.locals = before.copy().fields, before.copy().locals
        run.ledger.error = result.error
        run.ledger.fail(step.name, step.fingerprint)
    return False
