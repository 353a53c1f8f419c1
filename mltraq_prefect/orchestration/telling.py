"""What the server is told in a thread: a busy one is told later, and nobody waits for it long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from weakref import WeakSet

from prefect.client.orchestration import get_client

from mltraq_prefect.orchestration.prefect_engine import at_exit

END_SECONDS = 2.0
"""Who has something to tell waits so long, and then goes on."""

LAST_SECONDS = 120.0
"""The end of the process waits so long at most for what the server has not heard."""

_UNHEARD: WeakSet[threading.Thread] = WeakSet()
"""Whom the server has kept waiting: as long as it does, nobody else waits for it."""

_lock = threading.Lock()


def thread(target: Callable[[], None], name: str) -> threading.Thread:
    """Return a thread that is in the same runs and settings as this one."""
    return threading.Thread(target=copy_context().run, args=(target,), name=name, daemon=True)


def tell(request: Callable[[], None], name: str) -> None:
    """Make a request; go on before its answer if the server is busy, at once if it was before.

    Args:
        request: Makes it, and raises nothing.
        name: Name of its thread.
    """
    opened = threading.Event()

    def make() -> None:
        with get_client(sync_client=True):  # it may outlast the run whose client it uses
            opened.set()
            request()

    teller = thread(make, name)
    teller.start()
    opened.wait(END_SECONDS)
    leave(teller)


def leave(
    teller: threading.Thread, seconds: float = END_SECONDS, late: Callable[[], None] = lambda: None
) -> bool:
    """Leave telling to a thread, for which the end of the process waits if it has not ended soon.

    Args:
        teller: The thread.
        seconds: How long to wait now, unless the server keeps others waiting already.
        late: Called at the end of the process if it has not ended even then.

    Returns:
        Whether it has ended.
    """
    with _lock:
        is_busy = any(other.is_alive() for other in _UNHEARD)
    if not is_busy:
        teller.join(seconds)
    if not teller.is_alive():
        return True
    with _lock:
        _UNHEARD.add(teller)

    def wait() -> None:
        teller.join(LAST_SECONDS)
        if teller.is_alive():
            late()

    at_exit(wait)
    return False
