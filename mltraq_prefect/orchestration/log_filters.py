"""Filters for log records of Prefect that repeat what was logged before."""

from __future__ import annotations

import logging

from mltraq_prefect.execution import WorkersClosed
from mltraq_prefect.orchestration.prefect_compat import (
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


_STEP_TASKS = _StepTasks()


def drop_interruption_logs() -> None:
    """Leave it to the flow run to tell of an interruption."""
    logging.getLogger(TASK_RUN_LOGGER).addFilter(_STEP_TASKS)


def drop_end_of_task_run_logs(task_run_id: str) -> None:
    """Drop Prefect's records of the end of a task run, which this package logs itself."""
    drop_interruption_logs()
    _STEP_TASKS.ids.add(task_run_id)
