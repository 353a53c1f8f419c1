"""What Prefect logs by itself of our runs, where it repeats what was logged before."""

from __future__ import annotations

import logging

from mltraq_prefect.execution import WorkersClosed
from mltraq_prefect.orchestration.prefect_compat import (
    FLOW_RUN_LOGGER,
    RUN_FINISHED,
    TASK_RUN_LOGGER,
    TASK_RUN_RETURNED,
)

_INTERRUPTED = f"{WorkersClosed.__name__}: "
"""In what Prefect says of task runs that were under way when their flow run was interrupted."""


class _StepTasks(logging.Filter):
    """Drops what Prefect logs of the ends of step tasks: a line a task run, two a failure.

    Attributes:
        ids: Task runs of which that is so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        id_ = getattr(record, "task_run_id", None)
        text = record.getMessage()
        if id_ not in self.ids:
            return _INTERRUPTED not in text
        if not text.startswith((TASK_RUN_RETURNED, RUN_FINISHED)):
            return True
        if text.startswith(RUN_FINISHED):
            self.ids.discard(id_)
        return False


class _FlowRuns(logging.Filter):
    """Cuts the state of a flow run in which runs failed to its first line; the rest is escaped."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = str(record.msg)
        if text.startswith(RUN_FINISHED) and "RunsFailed: " in text:
            record.msg = text.partition("\\n")[0] + " ...')"
        return True


_STEP_TASKS = _StepTasks()
_FLOW_RUNS = _FlowRuns()


def say_failures_of_flows_once() -> None:
    """Let the log tell of failed runs in one line where Prefect logs how a flow run ended."""
    logging.getLogger(FLOW_RUN_LOGGER).addFilter(_FLOW_RUNS)


def say_interruptions_once() -> None:
    """Leave it to the flow run to tell of an interruption."""
    logging.getLogger(TASK_RUN_LOGGER).addFilter(_STEP_TASKS)


def say_end_of_task_run_once(task_run_id: str) -> None:
    """Leave it to us to log how a task run ended."""
    say_interruptions_once()
    _STEP_TASKS.ids.add(task_run_id)
