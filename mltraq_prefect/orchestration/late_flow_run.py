"""A flow run in which an execution works before the server has made it.

Until then it has an id of its own. Events and log records that name this id wait here, and are sent
with the id that the server has given it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

from prefect import Flow
from prefect.client.schemas.objects import FlowRun
from prefect.logging import get_logger
from prefect.task_runners import ThreadPoolTaskRunner

from mltraq_prefect.orchestration import prefect_engine as engine
from mltraq_prefect.orchestration.prefect_compat import current_flow_run


def is_known(flow_run: FlowRun) -> bool:
    """Return whether the server has made a flow run, and given it its id."""
    return flow_run.created is not None


_LATE: WeakValueDictionary[int, LateFlowRun] = WeakValueDictionary()
"""By the identity of the object in which others have them."""


def when_known(flow_run: FlowRun, note: Callable[[str], None]) -> None:
    """Call a function with the id that the server gives a flow run: now, or later in a thread."""
    late = _LATE.get(id(flow_run))
    if late is None:
        note(str(flow_run.id))
    else:
        late.when_known(note)


class LateFlowRun:
    """What is told of a flow run, kept until the server knows that.

    Args:
        name: Name of the flow run.
    """

    def __init__(self, name: str) -> None:
        self._flow_run = FlowRun(id=uuid4(), flow_id=uuid4(), name=name)
        self._id = str(self._flow_run.id)
        self._lock = threading.RLock()
        self._waiting: list[tuple[Context, engine.Send, Any, str]] = []
        self._notes: list[Callable[[str], None]] = []
        _LATE[id(self._flow_run)] = self

    @contextmanager
    def entered(self, flow: Flow[[], Any]) -> Iterator[None]:
        """Be in this flow run; what is told of it is kept, from now until it is closed."""
        with engine.in_flow_run(flow, self._flow_run, ThreadPoolTaskRunner()):
            engine.DIVERSIONS.add(self._take)
            yield

    def open(self, flow_run: FlowRun) -> None:
        """Send what was kept, and all that comes: the server knows the flow run by now."""
        with self._lock:
            self._flow_run.__dict__.update(flow_run.__dict__)  # who has it has the right one now
            waiting, self._waiting = self._waiting, []
            for context, send, item, text in waiting:
                context.run(self._send, send, item, text)
            notes, self._notes = self._notes, []
        for note in notes:
            self._tell(note)

    def when_known(self, note: Callable[[str], None]) -> None:
        """Call a function with the id: now, or when it is open."""
        with self._lock:
            if not is_known(self._flow_run):
                self._notes.append(note)
                return
        self._tell(note)

    def _tell(self, note: Callable[[str], None]) -> None:
        """Call a function with the id, without the lock: it may write, and wait for who logs."""
        try:
            note(str(self._flow_run.id))
        except Exception as error:  # the flow run is shown nevertheless, and how it ends
            text = "%s: runs that ended before there was a flow run do not name it: %s"
            get_logger().warning(text, self._flow_run.name, error)

    def close(self) -> None:
        """Keep nothing any more; what is still here is lost, as the server has no flow run."""
        engine.DIVERSIONS.remove(self._take)
        with self._lock:
            self._waiting = []

    def _take(self, send: Callable[[Any], Any], item: Any, text: str) -> None:
        current = current_flow_run()  # an event gets its flow run only when it is sent
        if self._id not in text and (current is None or current.id != self._flow_run.id):
            send(item)
            return
        with self._lock:
            if is_known(self._flow_run):
                self._send(send, item, text)
            else:
                self._waiting.append((copy_context(), send, item, text))

    def _send(self, send: Callable[[Any], Any], item: Any, text: str) -> None:
        with suppress(ValueError):  # an item that does not come back from its text
            item = engine.of_text(item, text.replace(self._id, str(self._flow_run.id)))
        send(item)
