"""Functions that run in the current flow, in a new flow run, or as a task run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort, CancelledRun
from prefect.states import Cancelled

from mltraq_prefect.orchestration import prefect_compat as compat
from mltraq_prefect.orchestration.notebooks import use_plain_text_logs
from mltraq_prefect.orchestration.own_flow import OPTIONS, escaped, in_own_flow, nothing
from mltraq_prefect.orchestration.server_loss import surviving_server_loss

T = TypeVar("T")


def in_flow(name: str, body: Callable[[], T], *, can_be_late: bool) -> T:
    """Call a function in the current flow run, or in a new one.

    Args:
        name: Name of the new flow run.
        body: The function; its exceptions are raised, and fail the new flow run.
        can_be_late: Whether it may be called before the server has made the new flow run.

    Raises:
        Abort: The current flow run was cancelled.
        CancelledRun: The new flow run was cancelled.
    """
    use_plain_text_logs()
    if compat.is_in_flow_run():
        with surviving_server_loss(name):
            return _in_users_flow(body)
    return in_own_flow(name, body, can_be_late=can_be_late)


def _in_users_flow(body: Callable[[], T]) -> T:
    """Call a function in a flow run, which ends as cancelled if it is.

    If the flow's function raised, Prefect would mark the flow run as failed, or leave it as
    cancelling. An `Abort` with a state ends a flow run whose state the server already has. It is a
    `BaseException`, so ``except Exception`` in the flow does not swallow it.
    """
    try:
        return body()
    except CancelledRun as error:
        state: State[Any] = Cancelled(message=str(error))
        if (flow_run := compat.current_flow_run()) is not None:
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(flow_run.id, state, force=True)
        raise compat.with_state(Abort(str(error)), state) from None


@contextmanager
def portable_flow() -> Iterator[None]:
    """Send task runs to other machines without the flow's function.

    Prefect sends the flow by value with each task run, and with it any session in a closure or in
    ``__main__``, which cannot leave this process.
    """
    current = compat.current_flow()
    if current is None:
        yield
        return
    flow: Flow[[], Any] = Flow(nothing, name=current.name)
    with compat.in_other_flow(flow):
        yield


def as_task(name: str, subject: str, body: Callable[[], T]) -> T:
    """Call a function as a task run of the current flow run.

    Args:
        name: Name of the task.
        subject: Name of what it works on, for the name of the task run.
        body: The function; its exceptions are raised, and fail the task run.
    """

    def call() -> T:
        return body()

    run_name = escaped(f"{name} {subject}")
    task: Task[[], T] = Task(
        call, name=name, task_run_name=run_name, cache_policy=NO_CACHE, **OPTIONS
    )
    return task()
