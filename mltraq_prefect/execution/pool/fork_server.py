"""A server process that has imported what workers need; each worker is a fork of it.

A fork starts in milliseconds, an interpreter in half a second. The fork is as clean as a new
interpreter: the server never executes a step, nor imports a module of the user. So modules and
caches carry nothing from one execution to the next.
"""

from __future__ import annotations

import atexit
import errno
import json
import os
import re
import selectors
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution.importability import search_path
from mltraq_prefect.execution.pool.preparation import MARK, check_processes

try:
    import resource
except ImportError:  # no POSIX system: there are no worker processes
    _LIMITS = []
else:
    _LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]

_START = """\
import json, sys
sys.path[:] = json.loads(sys.stdin.buffer.readline())
from mltraq_prefect.execution.pool.fork_server_main import main
main()
"""

_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
"""Each core has its worker, and results must not depend on the number of threads in a sum."""

_WHERE_PYTEST_IS = "PYTEST_CURRENT_TEST"
"""pytest sets this variable for each test: a new server for each would cost half a second."""

EXIT_CODE = struct.Struct("i")
"""The server sends this when a fork has ended: its exit code, or minus the signal."""

END_SECONDS = 5.0
"""A killed process has ended after this time, in seconds, unless the kernel blocks it."""


class Fork:
    """A process that the server has forked, as seen by the process that has asked for it.

    Args:
        liveness: One end of a socket pair; server and fork have the other end. The fork is ended
            when this end is closed, or when its process ends.
        server: The server.
    """

    def __init__(self, liveness: socket.socket, server: _Server) -> None:
        self._server = server
        self.liveness = liveness
        """Readable when the fork has ended."""

    def is_alive(self) -> bool:
        """Return whether it is still running."""
        return not self._has_answer(0)

    def wait(self, timeout: float) -> int | None:
        """Wait until it has ended.

        Args:
            timeout: How long to wait at most, in seconds.

        Returns:
            Its exit code, or minus the signal that ended it; None if that is not known.
        """
        if not self._has_answer(timeout):
            return None
        # Two threads may ask: leave the answer in the socket.
        answer = self.liveness.recv(EXIT_CODE.size, socket.MSG_PEEK)
        return int(EXIT_CODE.unpack(answer)[0]) if answer else None

    def check_server(self) -> None:
        """Raise `InvalidInput` if the program that was started as server is something else."""
        self._server.check()

    def end(self) -> None:
        """End it and all processes that it has started; any thread may call this."""
        self.begin_end()
        self._has_answer(END_SECONDS)

    def begin_end(self) -> None:
        """Let the server end it; do not wait."""
        with suppress(OSError):  # it has ended
            self.liveness.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Free the resources of a fork that has ended."""
        self.liveness.close()

    def _has_answer(self, timeout: float) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self.liveness, selectors.EVENT_READ)
            return bool(selector.select(timeout))


class _Server:
    """The server, as seen by its parent."""

    def __init__(self, inherited: dict[str, Any]) -> None:
        self.inherited = inherited
        self._requests, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, *_options(), "-c", _START, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=_ONE_THREAD | inherited["environment"] | {MARK: "1"},
            )
        if self.process.stdin is not None:
            with suppress(BrokenPipeError), self.process.stdin as stdin:
                stdin.write(json.dumps(inherited["path"]).encode() + b"\n")

    def fork(self, output: int, files: Sequence[int]) -> Fork:
        ours, theirs = socket.socketpair()
        with theirs:
            self._send([theirs.fileno(), output, *files])
        return Fork(ours, self)

    def _send(self, files: Sequence[int]) -> None:
        while True:
            try:
                socket.send_fds(self._requests, [b"f"], files)
                return
            except OSError as error:
                if error.errno != errno.ETOOMANYREFS:
                    raise
            time.sleep(0.01)  # the server has yet to take those of before

    def check(self) -> None:
        """Check that the program that was started as server is one.

        Raises:
            InvalidInput: It ended by itself.
        """
        with suppress(OSError, subprocess.TimeoutExpired):
            if not self._requests.recv(1, socket.MSG_DONTWAIT):
                self.process.wait(END_SECONDS)
        code = self.process.poll()
        if code is not None and code >= 0:
            raise InvalidInput(
                f"no worker process could start; sys.executable, {self.inherited['executable']}, "
                f"should be a Python interpreter, and ended with code {code}"
            )

    def close(self) -> None:
        """Stop asking for forks; the server ends with its last fork."""
        self._requests.close()


def _options() -> list[str]:
    """Return the options of this interpreter, and -P, which leaves out the current directory."""
    return [*subprocess._args_from_interpreter_flags(), "-P"]  # type: ignore[attr-defined]


class ForkServer:
    """The server of this process; at most one takes requests.

    It is replaced when something has changed that a process inherits when it starts.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._retired: list[_Server] = []
        self._forks: weakref.WeakSet[Fork] = weakref.WeakSet()

    def start(self) -> None:
        """Start the server if there is none that would do; does not wait for it."""
        with self._lock:
            self._current()

    def fork(self, output: int, *files: int) -> Fork:
        """Start a worker.

        Args:
            output: Descriptor that becomes its standard output and error.
            *files: Descriptors that it gets, in the order of the arguments of its `main`.
        """
        with self._lock:
            try:
                fork = self._current().fork(output, files)
            except (BrokenPipeError, ConnectionResetError):
                if self._server is not None:
                    self._server.check()
                self._retire()
                fork = self._current().fork(output, files)
            self._forks.add(fork)
            return fork

    def _current(self) -> _Server:
        check_processes()
        inherited = _inherited()
        if self._server is not None and not _would_do(self._server.inherited, inherited):
            self._retire()
        if self._server is None:
            self._server = _Server(inherited)
        return self._server

    def _retire(self) -> None:
        if self._server is not None:
            self._server.close()
            self._retired.append(self._server)
        self._server = None
        self._retired = [server for server in self._retired if server.process.poll() is None]

    def close(self) -> None:
        """End the forks, the servers, and all processes that they have started."""
        for server in self._all():
            server.close()
        for fork in self._forks:
            fork.begin_end()
        for server in self._all():
            with suppress(subprocess.TimeoutExpired):
                server.process.wait(END_SECONDS)
            server.process.kill()
            server.process.wait()

    def forget(self) -> None:
        """In a fork of this process: leave the servers and their forks to the parent."""
        for fork in self._forks:
            fork.close()
        for server in self._all():
            server.close()
            server.process.returncode = 0  # no child of this process: there is nothing to wait for
        self._lock, self._server, self._retired = threading.Lock(), None, []
        self._forks.clear()

    def _all(self) -> list[_Server]:
        return self._retired + ([] if self._server is None else [self._server])


def _inherited() -> dict[str, Any]:
    """Return what a process inherits from its parent, and a fork from the server instead.

    Raises:
        InvalidInput: The current directory is not there any more.
    """
    try:
        directory = str(Path.cwd())
    except FileNotFoundError:
        raise InvalidInput(
            "the current directory has been deleted, and no worker process can start in it; "
            "change to another one (os.chdir)"
        ) from None
    return {
        "executable": sys.executable,
        "path": search_path(),
        "environment": dict(os.environ),
        "directory": directory,
        "user": (os.geteuid(), os.getegid(), os.getgroups()),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "cores": os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None,
        "limits": [resource.getrlimit(limit) for limit in _LIMITS],
        "umask": _umask(),
    }


def _would_do(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Return whether a server that has inherited something before has what it would have now."""
    where = {_WHERE_PYTEST_IS: ""}
    one, other = (found | {"environment": found["environment"] | where} for found in (before, now))
    return one == other


def _umask() -> str:
    """Return the umask on Linux, where it can be read without being changed; else nothing."""
    with suppress(OSError):
        if found := re.search(r"^Umask:\s*(\d+)$", _STATUS.read_text(), re.MULTILINE):
            return found[1]
    return ""


_STATUS = Path("/proc/self/status")

fork_server = ForkServer()
atexit.register(fork_server.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=fork_server.forget)
