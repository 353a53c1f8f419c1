"""Servers that all processes of a test session share; who needs one first starts it.

A session is what the process of pytest is that was started by hand, and with pytest-xdist its
workers. Servers outlive the worker that has started them, and end with the session.
"""

import fcntl
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.polling import poll

VARIABLE = "MLTRAQ_TEST_SESSION"
"""Names the folder of the session to all of its processes."""

STOP_SECONDS = 120


class Server(NamedTuple):
    """A server that goes on until the end of the session.

    Attributes:
        url: How it is reached.
        pid: Its process, which ends those that it has started.
        stop: The signal on which it ends.
    """

    url: str
    pid: int
    stop: int = signal.SIGTERM


def folder() -> Path | None:
    """Return the folder of the session; None if there is no session."""
    found = os.environ.get(VARIABLE)
    return Path(found) if found else None


@contextmanager
def opened() -> Iterator[None]:
    """Be a session: give it a folder, and at the end stop its servers and remove it."""
    session = Path(tempfile.mkdtemp(prefix="mltraq-"))
    session.chmod(0o711)  # servers that refuse to run as root have folders in it
    os.environ[VARIABLE] = str(session)
    before = signal.signal(signal.SIGTERM, partial(_terminate, os.getpid()))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        del os.environ[VARIABLE]
        servers = [Server(*json.loads(path.read_text())) for path in session.glob("*.server")]
        for server in servers:
            _stop(server)
        shutil.rmtree(session, ignore_errors=True)


def _terminate(session: int, number: int, _frame: object) -> None:
    """End as by Ctrl-C, which stops the servers: else they would go on for ever.

    A fork of the process of the session just ends.
    """
    if os.getpid() == session:
        raise KeyboardInterrupt("SIGTERM")
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def shared(name: str, start: Callable[[], Server]) -> str:
    """Return the URL of a server of the session.

    Args:
        name: Of the server; the same in all processes.
        start: Starts it; what it needs may be in the folder of the session, and goes with it.
    """
    session = folder()
    assert session is not None, "there is no session of tests"
    record = session / f"{name}.server"
    with (session / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.exists():
            record.write_text(json.dumps(start()))
        return Server(*json.loads(record.read_text())).url


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of the session, which whoever needs it first makes for all.

    Args:
        name: Of the folder; the same in all processes.
        make: Makes it, in a place where nobody looks for it until it is complete.
    """
    session = folder()
    assert session is not None, "there is no session of tests"
    made, unfinished = session / name, session / f"{name}-unfinished"
    with (session / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            make(unfinished)
            unfinished.rename(made)
    return made


def _stop(server: Server) -> None:
    """Stop a server, which need not be a child of this process."""
    with suppress(ProcessLookupError):
        os.kill(server.pid, server.stop)
    if not poll(lambda: _has_ended(server.pid), bool, STOP_SECONDS):
        os.kill(server.pid, signal.SIGKILL)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:  # a worker has started it
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
