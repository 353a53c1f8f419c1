"""Filters for log records of Prefect that repeat what was logged before."""

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
"""Part of Prefect's message on task runs that were interrupted with their flow run."""


class _StepTasks(logging.Filter):
    """Drops Prefect's records on the end of step tasks: one for a task run, two for a failure.

    Attributes:
        ids: Ids of the task runs whose records are dropped.
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
    """Shortens the final state of a flow run with failed runs to its first line."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = str(record.msg)
        if text.startswith(RUN_FINISHED) and "RunsFailed: " in text:
            record.msg = text.partition("\\n")[0] + " ...')"
        return True


_STEP_TASKS = _StepTasks()
_FLOW_RUNS = _FlowRuns()


def shorten_flow_failures() -> None:
    """Let the log tell of failed runs in one line where Prefect logs how a flow run ended."""
    logging.getLogger(FLOW_RUN_LOGGER).addFilter(_FLOW_RUNS)


def drop_interruption_logs() -> None:
    """Leave it to the flow run to tell of an interruption."""
    logging.getLogger(TASK_RUN_LOGGER).addFilter(_STEP_TASKS)


def drop_end_of_task_run_logs(task_run_id: str) -> None:
    """Drop Prefect's records of the end of a task run, which this package logs itself."""
    drop_interruption_logs()
    _STEP_TASKS.ids.add(task_run_id)
