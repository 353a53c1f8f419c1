"""The task run and flow run of a step, for the worker process in which it is executed."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prefect import Flow, Task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.results import get_result_store
from prefect.task_runners import ThreadPoolTaskRunner

from mltraq_prefect.execution.surroundings import Surroundings

_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


def surroundings_of_steps() -> Surroundings | None:
    """Return what a worker needs to be in the current task run; None outside one."""
    of_flow, of_task = FlowRunContext.get(), TaskRunContext.get()
    if of_task is None or of_flow is None or of_flow.flow_run is None:
        return None
    names = (of_flow.flow.name if of_flow.flow else "", of_task.task.name)
    runs = (of_flow.flow_run, of_task.task_run)
    flow_run, task_run = (run.model_dump_json(exclude={"state", "task_inputs"}) for run in runs)
    packed = pickle.dumps(_InRun(*names, flow_run, task_run))
    return Surroundings("prefect", {"PREFECT_API_URL": str(of_flow.client.api_url)}, packed)


@dataclass(frozen=True, slots=True)
class _InRun:
    """Pickled in the flow's process; where it is unpickled, it makes the contexts of the runs."""

    flow: str
    task: str
    flow_run: str
    task_run: str

    def __reduce__(self) -> tuple[object, ...]:
        return in_run, (self.flow, self.task, self.flow_run, self.task_run)


@contextmanager
def in_run(flow: str, task: str, flow_run: str, task_run: str) -> Iterator[None]:
    """Be in a task run of a flow run that another process executes.

    Log records are sent to the server by that process, to which they are forwarded.

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

    client, store = get_client(sync_client=True), get_result_store()
    in_flow_run = FlowRunContext(
        client=client,
        result_store=store,
        flow=Flow(_nothing, name=flow or None),
        flow_run=run,
        task_runner=ThreadPoolTaskRunner(),
        parameters=run.parameters,
        detached=True,
    )
    in_task_run = TaskRunContext(
        client=client,
        result_store=store,
        task=Task(_nothing, name=task),
        task_run=of_task,
        parameters={},
    )
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(keep)
    try:
        with in_flow_run, in_task_run:
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(keep)


def _nothing() -> None:
    pass
