"""Where this code runs, as Prefect sees it.

A program that has not imported Prefect runs in no flow: it is told so without importing it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
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


def inside_deployment() -> bool:
    """Return whether this code runs in a flow run of a deployment, or where one is prepared."""
    if not is_imported() and not compat.is_flow_run_named():
        return False
    from prefect import runtime

    return runtime.deployment.id is not None


def in_task(name: str, subject: str, body: Callable[[], T]) -> T:
    """Call a function as a task run if this code runs in a flow, else as it is.

    Args:
        name: Name of the task.
        subject: What it works on; name and subject make the name of the task run.
        body: What it raises is raised, and fails the task run.
    """
    if not inside_run() or inside_task():
        return body()
    from mltraq_prefect.orchestration.flows import as_task

    return as_task(name, subject, body)
