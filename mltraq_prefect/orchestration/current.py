"""The current flow run and task run of Prefect, if any.

A program that has not imported Prefect is in no flow: Prefect is not imported to find that out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from mltraq_prefect.orchestration import prefect_compat as compat

T = TypeVar("T")


def is_imported() -> bool:
    """Return whether this program has imported Prefect."""
    return "prefect" in sys.modules


def inside_run() -> bool:
    """Return whether this code runs in a flow or a task."""
    return is_imported() and (compat.is_in_flow_run() or compat.is_in_task_run())


def inside_task() -> bool:
    """Return whether this code runs in a task, where submitting more tasks could deadlock."""
    return is_imported() and compat.is_in_task_run()


def when_flow_run_known(note: Callable[[str], None]) -> None:
    """Call a function with the id of the current flow run: now, or when the server has made it.

    If this code runs in no flow run, it is not called.
    """
    flow_run = compat.current_flow_run() if is_imported() else None
    if flow_run is not None:
        from mltraq_prefect.orchestration.late_flow_run import when_known

        when_known(flow_run, note)


def inside_deployment() -> bool:
    """Return whether this code runs in a flow run of a deployment, or where one is prepared."""
    if not (compat.is_flow_run_named() or (is_imported() and _may_be_of_deployment())):
        return False
    from prefect import runtime

    return runtime.deployment.id is not None


def _may_be_of_deployment() -> bool:
    """Return whether a deployment may have started this: `runtime` asks the server if none has."""
    flow_run = compat.current_flow_run()
    if flow_run is None or compat.is_flow_run_named():
        return True
    return flow_run.deployment_id is not None or flow_run.parent_task_run_id is not None


def facts_of_flow() -> dict[str, str]:
    """Return flow, flow run and deployment of this code, by the names of facts of executions."""
    if not inside_run():
        return {}
    from prefect import runtime

    asked = {
        "flow": lambda: runtime.flow_run.flow_name,
        "flow_run_id": lambda: runtime.flow_run.id,
        "script": compat.file_of_flow,
    }
    if _may_be_of_deployment():
        asked |= {
            "deployment_id": lambda: runtime.deployment.id,
            "deployment": lambda: runtime.deployment.id and runtime.deployment.name,
        }
    found = {}
    for name, ask in asked.items():
        with suppress(Exception):  # what the server does not say is left out
            value = ask()
            if value:
                found[name] = str(value)
    return found


def in_task(name: str, subject: str, body: Callable[[], T]) -> T:
    """Call a function: as a task run if this code runs in a flow, else directly.

    Args:
        name: Name of the task.
        subject: Name of what it works on, for the name of the task run.
        body: The function; its exceptions are raised, and fail the task run.
    """
    if not inside_run() or inside_task():
        return body()
    from mltraq_prefect.orchestration.flows import as_task

    return as_task(name, subject, body)
