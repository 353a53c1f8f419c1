"""Functions that run in the current flow, in a new flow run, or as a task run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort, CancelledRun
from prefect.states import Cancelled, Completed, Failed

from mltraq_prefect.errors import MltraqError
from mltraq_prefect.orchestration import prefect_compat as compat
from mltraq_prefect.orchestration.heartbeats import heartbeats
from mltraq_prefect.orchestration.notebooks import use_plain_text_logs
from mltraq_prefect.orchestration.server_loss import surviving_server_loss
from mltraq_prefect.orchestration.temporary_server import await_temporary_server

T = TypeVar("T")


def in_flow(name: str, body: Callable[[], T]) -> T:
    """Call a function in the current flow run, or in a new one.

    Args:
        name: Name of the new flow run.
        body: The function; its exceptions are raised, and fail the new flow run.

    Raises:
        Abort: The current flow run was cancelled.
        CancelledRun: The new flow run was cancelled.
    """
    use_plain_text_logs()
    if compat.is_in_flow_run():
        with surviving_server_loss(name):
            return _in_users_flow(body)

    returned: list[T] = []
    failures: list[Exception] = []

    def execute() -> State[None] | None:
        state: State[None] | None = None
        with surviving_server_loss(name) as server:
            try:
                with heartbeats(seconds):
                    returned.append(body())
            except Exception as error:
                failures.append(error)
                state = _state(error)
        if server.is_gone:
            raise _EndedUnreported(state)
        return state

    await_temporary_server()
    own: Flow[[], Any] = Flow(
        execute, "mltraq-execute", flow_run_name=_escaped(name), **_FLOW_OPTIONS
    )
    with compat.own_heartbeats_off() as seconds, suppress(_EndedUnreported):
        own(return_state=True)
    if failures:
        raise failures[0]
    return returned[0]


_TASK_OPTIONS: dict[str, Any] = {
    "retries": 0,
    "retry_delay_seconds": 0,
    "persist_result": False,
    "log_prints": False,
}
"""Defaults that the user's Prefect settings would override, and execute steps twice."""

_FLOW_OPTIONS = _TASK_OPTIONS | {"timeout_seconds": None}


def _state(error: Exception) -> State[None]:
    """Return the final state of a flow run that raised an error.

    Raises:
        Exception: The error, if Prefect chooses the state.
    """
    if isinstance(error, CancelledRun):
        return Cancelled(message=str(error))
    if isinstance(error, MltraqError):
        return Failed(message=str(error))
    raise error


class _EndedUnreported(Abort):
    """Ends a flow run without reporting its state to the server.

    If the server does not answer, Prefect reports first a failed flow, then a crash, each time with
    retries for a minute.
    """

    def __init__(self, state: State[None] | None) -> None:
        super().__init__("the Prefect server does not answer")
        compat.with_state(self, state or Completed())


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
    flow: Flow[[], Any] = Flow(_nothing, name=current.name)
    with compat.in_other_flow(flow):
        yield


def _nothing() -> None:
    pass


def as_task(name: str, subject: str, body: Callable[[], T]) -> T:
    """Call a function as a task run of the current flow run.

    Args:
        name: Name of the task.
        subject: Name of what it works on, for the name of the task run.
        body: The function; its exceptions are raised, and fail the task run.
    """

    def call() -> T:
        return body()

    run_name = _escaped(f"{name} {subject}")
    task: Task[[], T] = Task(
        call, name=name, task_run_name=run_name, cache_policy=NO_CACHE, **_TASK_OPTIONS
    )
    return task()


def _escaped(name: str) -> str:
    """Escape braces, which are placeholders for Prefect."""
    return name.replace("{", "{{").replace("}", "}}")
