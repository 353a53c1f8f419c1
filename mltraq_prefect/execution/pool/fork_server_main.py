"""What runs in the fork server: it forks workers, and ends them when nobody wants them any more."""

from __future__ import annotations

import errno
import gc
import os
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress

from mltraq_prefect.execution.pool import child
from mltraq_prefect.execution.pool.fork_server import EXIT_CODE
from mltraq_prefect.execution.pool.orphans import adopt_orphans, children

_MOST_FILES = 16

GRACE_SECONDS = 2.0
"""What a worker has left has so long to end by itself."""

TICK_SECONDS = 0.02

_MILDEST = (0, signal.SIGTERM, signal.SIGKILL)


def main() -> None:
    """Serve until there is nobody left; in each fork, be a worker."""
    gc.freeze()
    server = Server(socket.socket(fileno=int(sys.argv[1])))
    if files := server.serve():
        child.main(*files)
    else:
        os._exit(0)  # its parent waits, and there is nothing to clean up


class _Remains:
    """A worker that has ended, whose processes have yet to.

    They are killed, but after a good end they are asked first: some clean up after the worker, as
    joblib's resource tracker, which takes no notice of SIGTERM.

    Args:
        pid: Of the worker, and of its group.
        life: Tells the parent.
        code: Its exit code.
    """

    def __init__(self, pid: int, life: socket.socket, code: int) -> None:
        self.pid, self.life, self.code = pid, life, code
        self._ended = time.monotonic()
        self._is_asked = False

    def signal(self) -> int:
        """Return the signal for its processes at this time; 0 is none."""
        if self.code != 0 or self._age() >= GRACE_SECONDS:
            return signal.SIGKILL
        was_asked, self._is_asked = self._is_asked, True
        return 0 if was_asked else signal.SIGTERM

    def is_given_up(self) -> bool:
        """Return whether its processes should have ended long ago."""
        return self._age() >= GRACE_SECONDS + 1

    def _age(self) -> float:
        return time.monotonic() - self._ended


class Server:
    """Forks workers as long as there are requests, and looks after them.

    Args:
        requests: Where they come from; each has the descriptors of a worker.
    """

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._lives: dict[int, socket.socket] = {}
        self._remains: list[_Remains] = []
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)

    def serve(self) -> list[int]:
        """Return the descriptors of a worker in each worker, and none at the end."""
        self._mask = signal.pthread_sigmask(signal.SIG_SETMASK, [])
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        adopt_orphans()
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._selector.register(self._requests, selectors.EVENT_READ, None)
        while self._lives or self._remains or self._requests.fileno() >= 0:
            for key, _ in self._selector.select(TICK_SECONDS if self._remains else None):
                if key.data is not None:
                    self._end(key.data)
                elif key.fileobj is self._wake:
                    self._bury()
                elif files := self.take():
                    return files
            self._clean_up()
        return []

    def take(self) -> list[int]:
        """Take a request: return the worker's descriptors in the worker, nothing in the server."""
        message, files, flags, _ = socket.recv_fds(self._requests, 1, _MOST_FILES)
        if not message:
            self._selector.unregister(self._requests)
            self._requests.close()
            return []
        try:
            if flags & socket.MSG_CTRUNC:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            life, *others = files
            pid = os.fork()
        except OSError:  # too many files or processes: the end of its life tells the parent
            _close(files)
            return []
        if pid == 0:
            self._become_worker(others[0])
            return [*others[1:], life]
        _close(others)
        self._lives[pid] = socket.socket(fileno=life)
        self._selector.register(self._lives[pid], selectors.EVENT_READ, pid)
        return []

    def _become_worker(self, output: int) -> None:
        """Leave behind in a fork what is the server's; what it writes goes to its parent."""
        os.setsid()
        adopt_orphans()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        self._selector.close()
        others = (*self._lives.values(), *(remains.life for remains in self._remains))
        for end in (self._requests, self._wake, self._woken, *others):
            end.close()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)

    def _bury(self) -> None:
        """Note which workers have ended."""
        with suppress(BlockingIOError):
            while self._wake.recv(4096):
                pass
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if life := self._lives.pop(pid, None):
                    if life in self._selector.get_map():
                        self._selector.unregister(life)
                    self._remains.append(_Remains(pid, life, os.waitstatus_to_exitcode(status)))

    def _clean_up(self) -> None:
        """End what workers that have ended have left, and tell their parents when that is done."""
        if not self._remains:
            return
        orphans = children() - self._lives.keys()
        signals = [remains.signal() for remains in self._remains]
        for pid in orphans:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, min(signals, key=_MILDEST.index))
        for remains, number in zip([*self._remains], signals, strict=True):
            if not (_kill_group(remains.pid, number) or orphans) or remains.is_given_up():
                self._remains.remove(remains)
                with remains.life as life, suppress(OSError):
                    life.send(EXIT_CODE.pack(remains.code))

    def _end(self, pid: int) -> None:
        """End a worker whose parent has closed its life, or has ended."""
        if pid not in self._lives:
            return  # both happened at once: it has been buried
        self._selector.unregister(self._lives[pid])
        _kill_group(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)  # a new fork may not lead its group yet


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)


def _kill_group(pid: int, number: int) -> bool:
    """Send a signal to a group of processes, and return whether there is one."""
    try:
        os.killpg(pid, number)
    except (PermissionError, ProcessLookupError):  # of another user, or there is none
        return False
    return True
