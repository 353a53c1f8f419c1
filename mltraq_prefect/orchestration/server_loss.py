"""The end of an execution whose Prefect server has gone away: nothing else may be lost with it.

Prefect's client tries for seven seconds to send an event, and a process ends only when it has
tried all that wait: after an execution of hundreds of task runs, in an hour. There is no setting
for that (PREFECT_EVENTS_WORKER_MAX_QUEUE_SIZE drops events while the server is there as well).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from prefect.client.orchestration import get_client
from prefect.logging import get_logger
from prefect.settings import PREFECT_API_URL

from mltraq_prefect.orchestration import prefect_compat as compat


@dataclass(slots=True)
class Server:
    """What is known of the Prefect server at the end of an execution.

    Attributes:
        is_gone: Whether it was waited for in vain.
    """

    is_gone: bool = False


@contextmanager
def surviving_server_loss(name: str) -> Iterator[Server]:
    """Look for the server at the end of this context; forget the events that wait if it is gone.

    Args:
        name: What a warning calls the execution.

    Yields:
        What is known of the server once the context has ended.
    """
    server = Server()
    interrupted = True
    try:
        yield server
        interrupted = False
    except Exception:
        interrupted = False
        raise
    finally:
        server.is_gone = _is_gone(patient=not interrupted)
        if server.is_gone:
            compat.forget_events()
            get_logger().warning(
                "%s: the Prefect server at %s does not answer, and will not show how this ended; "
                "what was executed is kept",
                name,
                PREFECT_API_URL.value(),
            )


def _is_gone(*, patient: bool) -> bool:
    """Return whether the server does not answer.

    Args:
        patient: Whether to wait for it, as it may be on its way back.
    """
    retries = compat.client_retries() if patient else 0
    end = time.monotonic() + 2 ** (retries + 1) - 2
    if patient and _answers():
        return False
    # Whether the client waits by itself depends on whether it has reached the server before.
    with compat.without_retries():
        while not _answers():
            if time.monotonic() >= end:
                return True
            time.sleep(1)
    return False


def _answers() -> bool:
    with get_client(sync_client=True) as client:
        return not isinstance(compat.answers(client), httpx.TransportError)
