"""Which Prefect server is in use, and whether it answers."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

from mltraq_prefect.texts import first_line


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """Which server is in use.

    Attributes:
        url: Its address; None if none is configured.
        version: Its version, if it answers.
        trouble: Why it does not answer; empty if it does.
    """

    url: str | None
    version: str | None = None
    trouble: str = ""


def server_status() -> ServerStatus:
    """Ask the configured server for its version; start none."""
    url = PREFECT_API_URL.value()
    if not url:
        return ServerStatus(None)
    try:
        with get_client(sync_client=True) as client:
            return ServerStatus(url, str(client.api_version()))
    except Exception as error:  # whatever its client raises is what a person has to know
        return ServerStatus(url, trouble=first_line(error, type(error).__name__))


def named_server() -> str:
    """Return what to call the server that is in use."""
    url = PREFECT_API_URL.value()
    return f"the Prefect server at {url}" if url else "the Prefect server that Prefect starts"


def no_answer(error: httpx.HTTPError) -> str:
    """Return which server has not answered a request, why, and what to do.

    Args:
        error: What the client has raised.
    """
    reason = first_line(error, type(error).__name__)
    if isinstance(error, httpx.HTTPStatusError):
        return f"{named_server()} refuses ({reason}): look into its log"
    if not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return (
            f"{named_server()} is there, but has not answered ({reason}): try again when it is "
            "less busy, or look into its log"
        )
    return (
        f"{named_server()} does not answer ({reason}): start it, or set PREFECT_API_URL to the "
        "address of one that runs"
    )


CONNECT_SECONDS = 1.0
"""A server on a machine that answers takes a connection in this time, however busy it is."""


def takes_connections() -> bool:
    """Return whether the configured server is there, though it may be too busy to answer."""
    address = urlsplit(PREFECT_API_URL.value() or "")
    port = address.port or (443 if address.scheme == "https" else 80)
    with suppress(OSError):
        socket.create_connection((address.hostname or "", port), CONNECT_SECONDS).close()
        return True
    return False
