"""Starting the server."""

from __future__ import annotations

import ipaddress
import socket as sockets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.requirements import check_installed

if TYPE_CHECKING:
    from mltraq_prefect.storage import Store

STARLETTE, UVICORN = ">=0.40", ">=0.27"
LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]
"""The names by which browsers may call a server that only this machine reaches."""


def is_loopback(host: str) -> bool:
    """Return whether only programs of this machine reach a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@contextmanager
def listening(host: str, port: int, password: str | None) -> Iterator[tuple[sockets.socket, str]]:
    """Listen on a port.

    Args:
        host: Address to listen on.
        port: Port; 0 for any that is free.
        password: What browsers have to give; may be None where only this machine reaches the host.

    Yields:
        The socket, and the address of the pages.

    Raises:
        InvalidInput: Others reach the host, and there is no password; or it cannot be listened on.
        UnsupportedVersion: Starlette or uvicorn is missing.
    """
    check_installed("starlette", STARLETTE)
    check_installed("uvicorn", UVICORN)
    if not is_loopback(host) and not password:
        raise InvalidInput(
            f"other machines reach {host}: give the pages a password by the environment variable "
            "MLTRAQ_UI_PASSWORD, or in a terminal, which asks for it"
        )
    try:
        opened = sockets.create_server((host, port), family=_family(host))
    except (OSError, OverflowError) as error:
        why = str(error).partition(" (while")[0]
        raise InvalidInput(
            f"nothing can listen on {host}, port {port}: {why}; give another --port, or 0 for any"
        ) from None
    with opened:
        shown = f"[{host}]" if ":" in host else host
        yield opened, f"http://{shown}:{opened.getsockname()[1]}/"


def _family(host: str) -> sockets.AddressFamily:
    return sockets.AF_INET6 if ":" in host else sockets.AF_INET


def serve(store: Store, opened: sockets.socket, *, host: str, password: str | None) -> None:
    """Serve the results pages until the process is interrupted.

    Args:
        store: The database.
        opened: What `listening` has opened.
        host: Address that it listens on.
        password: What browsers have to give; None lets everybody in.
    """
    import uvicorn

    from mltraq_prefect.ui.app import make_app

    hosts = LOOPBACK if is_loopback(host) else None
    app = make_app(store, password=password or None, hosts=hosts)
    config = uvicorn.Config(app, log_level="warning", server_header=False)
    uvicorn.Server(config).run(sockets=[opened])
