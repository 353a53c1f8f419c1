"""Start of Prefect's temporary server, which is used if no other server is configured."""

from __future__ import annotations

import tempfile
import threading

from prefect.logging import get_logger
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
)

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.orchestration.prefect_compat import TemporaryServer
from mltraq_prefect.requirements import check_server

MIN_STARTUP_SECONDS = 180
"""So long it is awaited at least: Prefect's limit is missed on a loaded machine."""

WARN_SECONDS = 10.0

_lock = threading.Lock()


def await_temporary_server() -> None:
    """Start Prefect's temporary server if it is needed and not running.

    Prefect's client does so too, but each thread would start its own server, and give up early.

    Raises:
        InvalidInput: Prefect's home, where the server has its database, cannot be written to.
        UnsupportedVersion: With the installed FastAPI it would not answer.
    """
    if PREFECT_API_URL.value() or not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        return
    with _lock:
        server = TemporaryServer()
        if not server.is_needed():
            return
        _check_home()
        check_server()
        seconds = max(MIN_STARTUP_SECONDS, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value())
        timer = threading.Timer(WARN_SECONDS, _warn, (seconds,))
        timer.daemon = True
        timer.start()
        try:
            server.start(seconds)
        finally:
            timer.cancel()


def _check_home() -> None:
    home = PREFECT_HOME.value()
    try:
        home.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=home).close()
    except OSError as error:
        raise InvalidInput(
            f"Prefect cannot write to its home, {home} ({error.strerror}): set the environment "
            "variable PREFECT_HOME to a folder that can be written to, or PREFECT_API_URL to the "
            "address of a running Prefect server"
        ) from None


def _warn(seconds: int) -> None:
    get_logger().warning(
        "waiting for Prefect's temporary server, for %s s at most; it starts with each program, "
        "unless one is running (prefect server start) and PREFECT_API_URL names it",
        seconds,
    )
