"""What is used of Prefect's engine and of its queues, none of which its documentation promises.

It belongs to `prefect_compat`, whose table `UNDOCUMENTED` has these names, too.
"""

from __future__ import annotations

import atexit
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun
    from prefect.task_runners import TaskRunner

_NOT_IN_PREFECT = (ImportError, AttributeError)

Send = Callable[[Any], Any]
Divert = Callable[[Send, Any, str], None]
"""Called with what sends an item to the server, the item, and its text."""


def can_be_late() -> bool:
    """Return whether this release of Prefect has what a late flow run needs."""
    try:
        from prefect.context import FlowRunContext, SyncClientContext
        from prefect.events.worker import EventsWorker
        from prefect.filesystems import NullFileSystem
        from prefect.flow_engine import run_flow
        from prefect.logging.handlers import APILogWorker
        from prefect.results import get_result_store
        from prefect.utilities.engine import capture_sigterm
    except _NOT_IN_PREFECT:
        return False
    names = (FlowRunContext, SyncClientContext, EventsWorker, run_flow, APILogWorker)
    return None not in (*names, get_result_store, capture_sigterm, NullFileSystem)


def run_as(flow: Flow[[], Any], flow_run: FlowRun) -> None:
    """Run a flow as a flow run that the server knows already."""
    from prefect.flow_engine import run_flow

    run_flow(flow, flow_run=flow_run, return_type="state")


@contextmanager
def in_flow_run(
    flow: Flow[[], Any], flow_run: FlowRun, task_runner: TaskRunner[Any]
) -> Iterator[None]:
    """Be in a flow run that the server need not know yet."""
    from prefect.context import FlowRunContext, SyncClientContext
    from prefect.filesystems import NullFileSystem  # or each task run asked for the server's
    from prefect.results import get_result_store

    with SyncClientContext.get_or_create() as clients:
        context = FlowRunContext(
            flow=flow,
            flow_run=flow_run,
            task_runner=task_runner,
            parameters={},
            client=clients.client,
            result_store=get_result_store().model_copy(update={"result_storage": NullFileSystem()}),
        )
        with context:
            yield


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM raise in this thread, as in a flow; afterwards it ends the process."""
    with ExitStack() as stack:
        with suppress(*_NOT_IN_PREFECT):
            from prefect.utilities.engine import capture_sigterm

            stack.enter_context(capture_sigterm())
        yield


def ends_process(error: BaseException | None) -> bool:
    """Return whether SIGTERM has raised an error: the process ends at once."""
    try:
        from prefect.exceptions import TerminationSignal
    except _NOT_IN_PREFECT:
        return False
    return isinstance(error, TerminationSignal)


def at_exit(call: Callable[[], None]) -> None:
    """Call a function at the end of this process, while Prefect's queues still send."""
    register = getattr(threading, "_register_atexit", atexit.register)
    register(call)


class Diversions:
    """Shows events and log records to others before they are sent to the server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._takers: list[Divert] = []
        self._queues: list[Any] = []

    def add(self, take: Divert) -> None:
        """Let a function have all items that are sent from now on."""
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        with self._lock:
            self._takers = [*self._takers, take]
            queues: list[Any] = [EventsWorker.instance(), APILogWorker.instance()]
            for queue in queues:
                if not any(queue is known for known in self._queues):
                    self._queues.append(queue)
                    queue.send = self._sending(queue.send)

    def remove(self, take: Divert) -> None:
        """Leave items alone again."""
        with self._lock:
            self._takers = [each for each in self._takers if each != take]
            if not self._takers:
                for queue in self._queues:
                    del queue.send
                self._queues = []

    def _sending(self, send: Send) -> Send:
        def through(item: Any) -> None:
            chain = send
            for take in self._takers:
                chain = _Link(take, chain)
            chain(item)

        return through


class _Link:
    def __init__(self, take: Divert, send: Send) -> None:
        self._take, self._send = take, send

    def __call__(self, item: Any) -> None:
        self._take(self._send, item, as_text(item))


def as_text(item: Any) -> str:
    """Return an event or a log record as JSON."""
    return json.dumps(item) if isinstance(item, dict) else str(item.model_dump_json())


def of_text(item: Any, text: str) -> Any:
    """Return an event or log record like this one, with other contents."""
    if isinstance(item, dict):
        return json.loads(text)
    return type(item).model_validate_json(text)


DIVERSIONS = Diversions()
