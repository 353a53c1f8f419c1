"""End of an execution whose Prefect server does not answer any more: its results are kept.

Prefect's client tries for seven seconds to send each event, and the process ends only after it has
tried all events in its queue: for hundreds of task runs, after an hour. No setting changes that
(PREFECT_EVENTS_WORKER_MAX_QUEUE_SIZE drops events even while the server answers).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from prefect.client.orchestration import get_client
from prefect.logging import get_logger

from mltraq_prefect.orchestration import prefect_compat as compat
from mltraq_prefect.orchestration.server_status import named_server


@dataclass(slots=True)
class Server:
    """State of the Prefect server at the end of an execution.

    Attributes:
        is_gone: Whether it does not answer.
    """

    is_gone: bool = False


@contextmanager
def surviving_server_loss(name: str) -> Iterator[Server]:
    """Check the server at the end of the context; discard queued events if it does not answer.

    Args:
        name: Name of the execution, for the warning.

    Yields:
        State of the server; valid after the end of the context.
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
                "%s: %s does not answer, and will not show how this ended; "
                "what was executed is kept",
                name,
                named_server(),
            )


def _is_gone(*, patient: bool) -> bool:
    """Return whether the server does not answer.

    Args:
        patient: Whether to wait for it, as it may be restarting.
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
