"""Checks that a process may start workers: not while it is prepared as a worker itself.

A worker imports the modules of the steps. A module that executes an experiment on import would
start workers, which import it, and so on without end. An application that is not a Python
interpreter would do the same: it starts from the beginning when it is run as one.
"""

from __future__ import annotations

import functools
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mltraq_prefect.errors import InvalidInput

MARK = "_MLTRAQ_PREFECT_PREPARING"
"""This environment variable is set in a process that is being prepared, and in its children."""

_GUARD = """\
The experiment {name!r} is executed by a module that a worker process imports to get the steps of \
an execution. Let the module execute it only if it is the program:

    if __name__ == "__main__":
        ...execute(...)

If the program is no Python interpreter (a frozen application, an embedded interpreter), use \
backend="threads" or backend="local"."""

_refusals: list[str] = []


def refuse_while_preparing(name: str) -> None:
    """Refuse an execution in a process that is being prepared for one.

    Args:
        name: Name of the experiment that is to be executed.

    Raises:
        InvalidInput: This is such a process.
    """
    if MARK in os.environ:
        _refusals.append(_GUARD.format(name=name))
        raise InvalidInput(_refusals[-1])


def refusal() -> str | None:
    """Return the reason of the last refused execution since the last call, if any."""
    last = _refusals[-1] if _refusals else None
    _refusals.clear()
    return last


@contextmanager
def prepared() -> Iterator[None]:
    """Remove the mark while a step is executed: a step may execute experiments."""
    mark = os.environ.pop(MARK, None)
    try:
        yield
    finally:
        if mark is not None:
            os.environ[MARK] = mark


def has_processes() -> bool:
    """Return whether this system can have worker processes: it has forks, and sends them files."""
    return hasattr(os, "fork") and hasattr(socket, "send_fds") and hasattr(socket, "AF_UNIX")


@functools.cache
def warn_of_threads() -> None:
    """Say once that steps run in threads, because this system has no worker processes."""
    logging.getLogger("mltraq_prefect").warning(
        "there are no worker processes on this system, as they need a POSIX system: steps run in "
        'threads of this process; backend="threads" and backend="local" choose without this line'
    )


def check_processes() -> None:
    """Check that this process can start workers.

    Raises:
        InvalidInput: It cannot; the message says what to use instead.
    """
    instead = 'use backend="threads" or backend="local"'
    if not has_processes():
        raise InvalidInput(f"worker processes need a POSIX system; {instead}")
    if getattr(sys, "frozen", False):
        raise InvalidInput(f"a frozen application cannot start worker processes; {instead}")
    if not sys.executable:
        raise InvalidInput(
            f"worker processes need a Python interpreter, and sys.executable is "
            f"{sys.executable!r}; set it to the path of one, or {instead}"
        )
