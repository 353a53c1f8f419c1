"""The flow run that an execution makes for itself, and for which it does not wait for long.

A server that is busy with the task runs of others writes nothing else for many seconds. Then the
execution begins without it, in a `LateFlowRun`; a thread waits for the server, and tells it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import httpx
from prefect import Flow, tags
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Abort, CancelledRun
from prefect.logging import get_logger
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Completed, Failed, Pending

from mltraq_prefect.errors import InvalidInput, MltraqError
from mltraq_prefect.orchestration import prefect_compat as compat
from mltraq_prefect.orchestration import prefect_engine as engine
from mltraq_prefect.orchestration.heartbeats import heartbeats
from mltraq_prefect.orchestration.late_flow_run import LateFlowRun
from mltraq_prefect.orchestration.server_loss import surviving_server_loss
from mltraq_prefect.orchestration.server_status import no_answer, takes_connections
from mltraq_prefect.orchestration.telling import leave, thread
from mltraq_prefect.orchestration.temporary_server import await_temporary_server

T = TypeVar("T")

BEGIN_SECONDS = 3.0
"""An execution waits so long for its flow run, and then begins without it."""

END_SECONDS = 3.0
"""Its end waits so long for the server to hear of it, if there is a flow run by then."""

OPTIONS: dict[str, Any] = {
    "retries": 0,
    "retry_delay_seconds": 0,
    "persist_result": False,
    "log_prints": False,
}
"""Defaults that the user's Prefect settings would override, and execute steps twice."""

_NAME = "mltraq-execute"


def in_own_flow(name: str, body: Callable[[], T], *, can_be_late: bool) -> T:
    """Call a function in a new flow run.

    Args:
        name: Name of the flow run.
        body: The function; its exceptions are raised, and fail the flow run.
        can_be_late: Whether it may be called before the server has made the flow run.

    Raises:
        CancelledRun: The flow run was cancelled.
        InvalidInput: There is no Prefect server at the address that is configured.
    """
    await_temporary_server()
    with compat.own_heartbeats_off() as seconds:
        if not engine.can_be_late():
            return _in_flow(name, seconds, body, lambda flow: flow(return_state=True))
        registered = _registered(name)
        if not can_be_late or _is_in_time(registered):
            return _in_flow(name, seconds, body, _as(_made(registered)))
        return _in_late_flow(name, seconds, body, registered)


def _in_flow(
    name: str,
    heartbeat_seconds: int | None,
    body: Callable[[], T],
    run: Callable[[Flow[[], Any]], object],
) -> T:
    """Call a function in a flow that is run in some way; return what it returns."""
    returned: list[T] = []
    failures: list[Exception] = []

    def execute() -> State[None] | None:
        state: State[None] | None = None
        with surviving_server_loss(name) as server:
            try:
                with heartbeats(heartbeat_seconds):
                    returned.append(body())
            except Exception as error:
                failures.append(error)
                state = _state(error)
        if server.is_gone:
            raise _EndedUnreported(state)
        return state

    with suppress(_EndedUnreported):
        run(_flow(execute, None if engine.can_be_late() else escaped(name)))
    if failures:
        raise failures[0]
    return returned[0]


def _flow(function: Callable[[], Any], run_name: str | None = None) -> Flow[[], Any]:
    return Flow(function, _NAME, flow_run_name=run_name, timeout_seconds=None, **OPTIONS)


def _as(flow_run: FlowRun) -> Callable[[Flow[[], Any]], object]:
    return partial(engine.run_as, flow_run=flow_run)


def escaped(name: str) -> str:
    """Escape braces, which are placeholders for Prefect."""
    return name.replace("{", "{{").replace("}", "}}")


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


def nothing() -> None:
    """Do nothing: the function of a flow that is not called."""


# A flow run that is late


def _registered(name: str) -> Future[FlowRun]:
    """Ask the server to make a flow run, in a thread."""
    made: Future[FlowRun] = Future()

    def register() -> None:
        try:
            with tags() as current, get_client(sync_client=True) as client:
                flow_run = client.create_flow_run(
                    _flow(nothing), name=name, tags=current, state=Pending()
                )
            made.set_result(flow_run)
        except BaseException as error:
            made.set_exception(error)

    thread(register, "registration").start()
    return made


def _made(registered: Future[FlowRun]) -> FlowRun:
    """Return a flow run when it is made, which fails if there is no server."""
    try:
        return registered.result()
    except httpx.TransportError as error:
        way_out = "; unset PREFECT_API_URL to do without" if PREFECT_API_URL.value() else ""
        raise InvalidInput(no_answer(error) + way_out) from None


def _is_in_time(registered: Future[FlowRun]) -> bool:
    """Return whether a flow run is made soon; a server that is not there is waited for."""
    while True:
        try:
            registered.exception(BEGIN_SECONDS)
        except TimeoutError:
            if takes_connections():
                return False
        else:
            return True


def _in_late_flow(
    name: str, heartbeat_seconds: int | None, body: Callable[[], T], registered: Future[FlowRun]
) -> T:
    """Call a function before its flow run is made, and tell the server of it by a thread."""
    logger, late, ended = get_logger(), LateFlowRun(name), Future[T]()
    logger.info("%s: the Prefect server is busy; runs do not wait for it", name)

    def tell() -> None:
        try:
            flow_run = registered.result()
            late.open(flow_run)
            _in_flow(name, heartbeat_seconds, ended.result, _as(flow_run))
        except BaseException as error:
            if not (ended.done() and error is ended.exception()):
                logger.warning("%s: Prefect does not show how this ended: %s", name, error)
        finally:
            late.close()

    teller = thread(tell, "teller")
    with engine.ended_by_sigterm(), late.entered(_flow(nothing)):
        teller.start()
        try:
            value = body()
        except BaseException as error:
            ended.set_exception(error)
            raise
        else:
            ended.set_result(value)
            return value
        finally:
            missed = partial(
                logger.warning, "%s: the Prefect server does not hear of the end", name
            )
            has_heard = leave(teller, END_SECONDS if registered.done() else 0.0, missed)
            if not has_heard and engine.ends_process(ended.exception()):
                missed()  # this process ends now
            elif not has_heard:
                logger.info("%s: the busy Prefect server will hear later how this ended", name)
