"""Heartbeats of a flow run, from a thread that ends at once.

Prefect's own thread sleeps for a second at a time, and the flow run waits for it: every execution
would take whole seconds. The events are the same, for automations that use them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

from mltraq_prefect.orchestration.prefect_compat import current_flow_run, send_heartbeat


@contextmanager
def heartbeats(seconds: int | None) -> Iterator[None]:
    """Send the heartbeats of the current flow run."""
    flow_run, ended = current_flow_run(), threading.Event()
    if seconds is None or flow_run is None:
        yield
        return

    def beat() -> None:
        send_heartbeat(flow_run)
        while not ended.wait(seconds):
            send_heartbeat(flow_run)

    threading.Thread(
        target=copy_context().run, args=(beat,), name="heartbeats", daemon=True
    ).start()
    try:
        yield
    finally:
        ended.set()
