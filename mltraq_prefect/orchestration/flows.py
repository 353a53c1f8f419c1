"""Where a piece of work runs: in the current flow, in a flow of its own, or as a task run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import CancelledRun
from prefect.states import Cancelled, Failed

from mltraq_prefect.errors import MltraqError

T = TypeVar("T")


def inside_task() -> bool:
    """Return whether this code runs in a task, where submitting more tasks could deadlock."""
    return TaskRunContext.get() is not None


def in_flow(name: str, body: Callable[[], T]) -> T:
    """Call a function in the current flow run, or else as a flow run of its own.

    Args:
        name: Name of that flow run.
        body: What it raises is raised, and fails a flow run of its own.
    """
    if FlowRunContext.get() is not None:
        return body()

    failures: list[Exception] = []

    def execute() -> T | State[None]:
        try:
            return body()
        except MltraqError as error:
            failures.append(error)
            return Failed(message=str(error))
        except CancelledRun as error:
            failures.append(error)
            return Cancelled(message=str(error))

    own: Flow[[], Any] = Flow(execute, name="mltraq-execute", flow_run_name=_plain(name))
    state: State[T] = own(return_state=True)  # type: ignore[assignment]
    if failures:
        raise failures[0]
    return state.result()


@contextmanager
def portable_flow() -> Iterator[None]:
    """Let task runs be sent to other machines without what the flow's function refers to.

    Prefect sends the flow with each of them, by value, and with it a session in a closure or in
    ``__main__``, which belongs to this process.
    """
    context = FlowRunContext.get()
    if context is None or context.flow is None:
        yield
        return
    flow: Flow[[], Any] = Flow(_nothing, name=context.flow.name)
    with context.model_copy(update={"flow": flow, "parameters": {}}):
        yield


def _nothing() -> None:
    pass


def in_task(name: str, subject: str, body: Callable[[], T]) -> T:
    """Call a function as a task run if this code runs in a flow, else as it is.

    Args:
        name: Name of the task.
        subject: What it works on; name and subject make the name of the task run.
        body: What it raises is raised, and fails the task run.
    """
    if FlowRunContext.get() is None or inside_task():
        return body()

    def call() -> T:
        return body()

    run_name = _plain(f"{name} {subject}")
    task: Task[[], T] = Task(
        call, name=name, task_run_name=run_name, cache_policy=NO_CACHE, persist_result=False
    )
    return task()


def _plain(name: str) -> str:
    """Escape what Prefect would take for a placeholder."""
    return name.replace("{", "{{").replace("}", "}}")
