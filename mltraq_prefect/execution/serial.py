"""Execution in this process, one run after the other: for debugging and inside other tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mltraq_prefect.execution.attempt import attempt, global_generators_kept
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.run import Run


def execute_serially(steps: Sequence[Step], runs: Iterable[Run], retries: int = 0) -> None:
    """Execute all steps on each run; a run that fails a step skips the later ones.

    Args:
        steps: In the order in which they depend on each other.
        runs: Changed in place; a failed run is as it was before the step that failed.
        retries: How often a failed step is tried again.
    """
    with global_generators_kept():
        for run in runs:
            for step in steps:
                if not _completes(step, run, retries):
                    break


def _completes(step: Step, run: Run, retries: int) -> bool:
    before = run.copy()
    for _ in range(retries + 1):
        error = attempt(step, run, seeded=True)
        if error is None:
            return True
        run.fields, run.locals = before.copy().fields, before.copy().locals
        run.ledger.state, run.ledger.error = "failed", error
    return False
