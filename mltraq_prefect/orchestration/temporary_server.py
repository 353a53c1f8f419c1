"""Start of Prefect's temporary server, which is used if no other server is configured."""

from __future__ import annotations

import threading

from prefect.logging import get_logger
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
)

from mltraq_prefect.orchestration.prefect_compat import TemporaryServer

MIN_STARTUP_SECONDS = 180
"""So long it is awaited at least: Prefect's limit is missed on a loaded machine."""

WARN_SECONDS = 10.0

_lock = threading.Lock()


def await_temporary_server() -> None:
    """Start Prefect's temporary server if it is needed and not running.

    Prefect's client does so too, but each thread would start its own server, and give up early.
    """
    if PREFECT_API_URL.value() or not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        return
    with _lock:
        server = TemporaryServer()
        if not server.is_needed():
            return
        seconds = max(MIN_STARTUP_SECONDS, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value())
        timer = threading.Timer(WARN_SECONDS, _warn, (seconds,))
        timer.daemon = True
        timer.start()
        try:
            server.start(seconds)
        finally:
            timer.cancel()


def _warn(seconds: int) -> None:
    get_logger().warning(
        "waiting for Prefect's temporary server, for %s s at most; it starts with each program, "
        "unless one is running (prefect server start) and PREFECT_API_URL names it",
        seconds,
    )
