"""Where a piece of work runs: in the current flow, in a flow of its own, or as a task run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort, CancelledRun
from prefect.states import Cancelled, Completed, Failed

from mltraq_prefect.errors import MltraqError, RunsFailed
from mltraq_prefect.orchestration import prefect_compat as compat
from mltraq_prefect.orchestration.heartbeats import heartbeats
from mltraq_prefect.orchestration.log_filters import say_failures_of_flows_once
from mltraq_prefect.orchestration.notebooks import log_as_text
from mltraq_prefect.orchestration.server_loss import surviving_server_loss
from mltraq_prefect.orchestration.temporary_server import await_temporary_server

T = TypeVar("T")


def end_with_asyncio_task() -> None:
    """Raise if the asyncio task in which this code runs was cancelled, as Ctrl-C does.

    An async flow that calls a function which does not await would not be told before its end.

    Raises:
        CancelledError: It was.
    """
    with suppress(RuntimeError):  # no event loop in this thread
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError


def in_flow(name: str, body: Callable[[], T]) -> T:
    """Call a function in the current flow run, or else as a flow run of its own.

    Args:
        name: Name of that flow run.
        body: What it raises is raised, and fails a flow run of its own.

    Raises:
        Abort: The current flow run was cancelled.
        CancelledRun: A flow run of its own was cancelled.
    """
    log_as_text()
    if compat.is_in_flow_run():
        say_failures_of_flows_once()
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
            raise _Unheard(state)
        return state

    await_temporary_server()
    own: Flow[[], Any] = Flow(execute, "mltraq-execute", flow_run_name=_plain(name), **_OF_FLOW)
    with compat.own_heartbeats_off() as seconds, suppress(_Unheard):
        own(return_state=True)
    if failures:
        raise failures[0]
    return returned[0]


_OF_TASK: dict[str, Any] = {
    "retries": 0,
    "retry_delay_seconds": 0,
    "persist_result": False,
    "log_prints": False,
}
"""What a user's Prefect settings would decide otherwise, and a second execution with it."""

_OF_FLOW = _OF_TASK | {"timeout_seconds": None}


def _state(error: Exception) -> State[None]:
    """Return how a flow run ends in which this was raised.

    Raises:
        Exception: The error, if Prefect knows best what to say of it.
    """
    if isinstance(error, CancelledRun):
        return Cancelled(message=str(error))
    if isinstance(error, MltraqError):
        return Failed(message=_message(error))
    raise error


def _message(error: MltraqError) -> str:
    """Return what the state of a flow run says: one line where that is enough."""
    return error.summary if isinstance(error, RunsFailed) else str(error)


class _Unheard(Abort):
    """Ends a flow run without telling the server how.

    Prefect would take it for a failure of the flow, then for a crash, that the server does not
    answer, and try to tell it of either, each time with retries for a minute.
    """

    def __init__(self, state: State[None] | None) -> None:
        super().__init__("the Prefect server does not answer")
        compat.with_state(self, state or Completed())


def _in_users_flow(body: Callable[[], T]) -> T:
    """Call a function in a flow run, which ends as cancelled if it is.

    A flow whose function raises fails, and Prefect leaves one that is being cancelled as it is. An
    `Abort` with a state is how it ends a flow run whose state the server knows already; as it is no
    `Exception`, nobody takes it for a failure and goes on.
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
    """Let task runs be sent to other machines without what the flow's function refers to.

    Prefect sends the flow with each of them, by value, and with it a session in a closure or in
    ``__main__``, which belongs to this process.
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
        subject: What it works on; name and subject make the name of the task run.
        body: What it raises is raised, and fails the task run.
    """

    def call() -> T:
        return body()

    run_name = _plain(f"{name} {subject}")
    task: Task[[], T] = Task(
        call, name=name, task_run_name=run_name, cache_policy=NO_CACHE, **_OF_TASK
    )
    return task()


def _plain(name: str) -> str:
    """Escape what Prefect would take for a placeholder."""
    return name.replace("{", "{{").replace("}", "}}")
