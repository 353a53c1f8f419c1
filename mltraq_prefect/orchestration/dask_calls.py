"""Calls of Dask workers to the process of the flow, through queues of the scheduler.

Workers need not reach the flow by any other way than it reaches them: both know the scheduler,
which also knows whether the process of the flow is there.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

from mltraq_prefect.execution.fanout.calls import (
    PATIENCE_SECONDS,
    WAITING,
    Call,
    CallLost,
    Serve,
    told,
)
from mltraq_prefect.execution.inputs import new_key

ANSWERING = 4
"""Threads that send answers."""

LOOK_SECONDS = 5.0
"""Who waits looks at this interval whether the execution goes on."""


@dataclass(frozen=True, slots=True)
class DaskCall:
    """Calls the process of a flow from a task on a worker.

    Attributes:
        name: Name of the queue of requests, and of the event that says that somebody answers.
        client: What the scheduler knows the process of the flow by.
    """

    name: str
    client: str

    def __call__(self, request: bytes) -> bytes:
        """Send a request, and wait for the answer.

        Raises:
            CallLost: Nobody answers.
        """
        distributed = importlib.import_module("distributed")
        client = distributed.get_client()
        requests = distributed.Queue(self.name, client, maxsize=WAITING)
        answers = distributed.Queue(f"{self.name}-{uuid4().hex}", client)
        try:
            self._wait(client, partial(requests.put, (answers.name, request)))
            return bytes(self._wait(client, answers.get))
        finally:
            answers.close()
            requests.close()

    def _wait(self, client: Any, attempt: Callable[..., Any]) -> Any:
        is_open = importlib.import_module("distributed").Event(self.name, client)
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            try:
                return attempt(timeout=LOOK_SECONDS)
            except TimeoutError:
                if not (is_open.is_set() and self._is_there(client)):
                    raise CallLost.by_end() from None
        raise CallLost.by_silence()

    def _is_there(self, client: Any) -> bool:
        """Return whether the process of the flow is there, as far as the scheduler tells."""

        # A function within another one is sent by value: the scheduler may have no module of ours.
        def has_client(own: str, dask_scheduler: Any) -> bool:
            return own in dask_scheduler.clients

        return bool(client.run_on_scheduler(has_client, self.client))


def answered(stack: ExitStack, runner: Any, serve: Serve) -> Call:
    """Let workers call this process, until the stack closes."""
    distributed, name = importlib.import_module("distributed"), f"mltraq_prefect-{new_key()}"
    client = runner.client
    requests = distributed.Queue(name, client, maxsize=WAITING)
    is_open = distributed.Event(name, client)
    is_open.set()
    threads = stack.enter_context(ThreadPoolExecutor(ANSWERING, "mltraq answers"))

    def send(caller: str, answer: bytes) -> None:
        with suppress(RuntimeError):  # the execution has ended
            threads.submit(told(_answer), client, caller, answer)

    receiver = threading.Thread(
        target=_receive,
        args=(requests, serve, send),
        name="mltraq calls",
        daemon=True,
    )
    receiver.start()
    stack.callback(_close, requests, is_open, receiver)
    return DaskCall(name, client.id)


def _receive(requests: Any, serve: Serve, send: Callable[[str, bytes], None]) -> None:
    while True:
        try:
            caller, request = requests.get()
        except (OSError, RuntimeError):  # the scheduler has gone: the task runs say so
            return
        if not caller:
            return
        told(serve)(bytes(request), partial(send, caller))


def _answer(client: Any, caller: str, answer: bytes) -> None:
    answers = importlib.import_module("distributed").Queue(caller, client)
    with suppress(OSError, RuntimeError):  # the scheduler has gone
        answers.put(answer)
        answers.close()


def _close(requests: Any, is_open: Any, receiver: threading.Thread) -> None:
    with suppress(OSError):  # of a lost scheduler, or a timeout
        is_open.clear()
        requests.put(("", b""), timeout=LOOK_SECONDS)
        receiver.join(LOOK_SECONDS)
        requests.close()
