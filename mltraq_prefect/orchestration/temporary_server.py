"""The temporary server that Prefect starts if no other one is configured: one, and awaited."""

from __future__ import annotations

import threading

from prefect.logging import get_logger
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
)

from mltraq_prefect.orchestration.prefect_compat import TemporaryServer

LEAST_SECONDS = 180
"""So long it is awaited at least: Prefect's limit is missed on a loaded machine."""

TELL_SECONDS = 10.0

_lock = threading.Lock()


def await_temporary_server() -> None:
    """Start Prefect's temporary server if it is needed and not there.

    Prefect's client does so too, but each thread would start one of its own, and give up early.
    """
    if PREFECT_API_URL.value() or not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        return
    with _lock:
        server = TemporaryServer()
        if not server.is_needed():
            return
        seconds = max(LEAST_SECONDS, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value())
        telling = threading.Timer(TELL_SECONDS, _tell, (seconds,))
        telling.daemon = True
        telling.start()
        try:
            server.start(seconds)
        finally:
            telling.cancel()


def _tell(seconds: int) -> None:
    get_logger().warning(
        "waiting for Prefect's temporary server, for %s s at most; it starts with each program, "
        "unless one is running (prefect server start) and PREFECT_API_URL names it",
        seconds,
    )
