"""What Prefect logs by itself of our runs, where it repeats what was logged before."""

from __future__ import annotations

import logging

from mltraq_prefect.execution import WorkersClosed

_RETURNED = "Task run failed with state"
_FINISHED = "Finished in state "
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
        if not text.startswith((_RETURNED, _FINISHED)):
            return True
        if text.startswith(_FINISHED):
            self.ids.discard(id_)
        return False


class _FlowRuns(logging.Filter):
    """Cuts the state of a flow run in which runs failed to its first line; the rest is escaped."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = str(record.msg)
        if text.startswith(_FINISHED) and "RunsFailed: " in text:
            record.msg = text.partition("\\n")[0] + " ...')"
        return True


_STEP_TASKS = _StepTasks()
_FLOW_RUNS = _FlowRuns()


def say_failures_of_flows_once() -> None:
    """Let the log tell of failed runs in one line where Prefect logs how a flow run ended."""
    logging.getLogger("prefect.flow_runs").addFilter(_FLOW_RUNS)


def say_interruptions_once() -> None:
    """Leave it to the flow run to tell of an interruption."""
    logging.getLogger("prefect.task_runs").addFilter(_STEP_TASKS)


def say_end_of_task_run_once(task_run_id: str) -> None:
    """Leave it to us to log how a task run ended."""
    say_interruptions_once()
    _STEP_TASKS.ids.add(task_run_id)
