"""Contexts of the task run and flow run of a step, for the worker that executes it."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prefect import Flow, Task
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.task_runners import ThreadPoolTaskRunner

from mltraq_prefect.execution.lazy_context import LazyContext
from mltraq_prefect.orchestration import prefect_compat as compat

_LOGGERS = (compat.FLOW_RUN_LOGGER, compat.TASK_RUN_LOGGER)


def lazy_run_context() -> LazyContext | None:
    """Return what a worker needs to be in the current task run; None outside one."""
    runs = (compat.current_flow_run(), compat.current_task_run())
    if None in runs:
        return None
    flow, task = compat.current_flow(), compat.current_task()
    names = (flow.name if flow else "", task.name if task else "")
    flow_run, task_run = (
        run.model_dump_json(exclude={"state", "task_inputs"}) for run in runs if run is not None
    )
    pickled = pickle.dumps(_InRun(*names, flow_run, task_run))
    return LazyContext("prefect", {"PREFECT_API_URL": compat.current_api_url()}, pickled)


@dataclass(frozen=True, slots=True)
class _InRun:
    """Unpickles as a context manager that enters the runs; see `in_run`."""

    flow: str
    task: str
    flow_run: str
    task_run: str

    def __reduce__(self) -> tuple[object, ...]:
        return in_run, (self.flow, self.task, self.flow_run, self.task_run)


@contextmanager
def in_run(flow: str, task: str, flow_run: str, task_run: str) -> Iterator[None]:
    """Enter a task run and a flow run that another process executes.

    Log records are forwarded to that process, which sends them to the server.

    Args:
        flow: Name of the flow.
        task: Name of the task.
        flow_run: JSON of the flow run.
        task_run: JSON of the task run.
    """
    run = FlowRun.model_validate_json(flow_run)
    of_task = TaskRun.model_validate_json(task_run)
    ids = {str(run.id), str(of_task.id)}

    def keep(record: logging.LogRecord) -> bool:
        if {str(getattr(record, f"{kind}_run_id", "")) for kind in ("flow", "task")} & ids:
            record.send_to_api = False
        return True

    its_flow: Flow[[], None] = Flow(_nothing, name=flow or None)
    its_task: Task[[], None] = Task(_nothing, name=task)
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(keep)
    try:
        with compat.in_runs(its_flow, run, its_task, of_task, ThreadPoolTaskRunner()):
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(keep)


def _nothing() -> None:
    pass
