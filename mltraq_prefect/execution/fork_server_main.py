"""What runs in the fork server: it forks workers, and ends them when nobody wants them any more."""

from __future__ import annotations

import errno
import gc
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress

from mltraq_prefect.execution import worker_main
from mltraq_prefect.execution.fork_server import EXIT_CODE

_MOST_FILES = 16


def main() -> None:
    """Serve until there is nobody left; in each fork, be a worker."""
    gc.freeze()
    files = Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    if files:
        worker_main.main(*files)


class Server:
    """Forks workers as long as there are requests, and looks after them.

    Args:
        requests: Where they come from; each has the descriptors of a worker.
    """

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._lives: dict[int, socket.socket] = {}
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)

    def serve(self) -> list[int]:
        """Return the descriptors of a worker in each worker, and none at the end."""
        self._mask = signal.pthread_sigmask(signal.SIG_SETMASK, [])
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._selector.register(self._requests, selectors.EVENT_READ, None)
        while self._lives or self._requests.fileno() >= 0:
            for key, _ in self._selector.select():
                if key.data is not None:
                    self._end(key.data)
                elif key.fileobj is self._wake:
                    self._bury()
                elif files := self.take():
                    return files
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
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        self._selector.close()
        for end in (self._requests, self._wake, self._woken, *self._lives.values()):
            end.close()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)

    def _bury(self) -> None:
        """Report the ends of workers, and end what they have started."""
        with suppress(BlockingIOError):
            while self._wake.recv(4096):
                pass
        for pid in [*self._lives]:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            _kill_group(pid)
            with self._lives.pop(pid) as life, suppress(OSError):
                if life in self._selector.get_map():
                    self._selector.unregister(life)
                life.send(EXIT_CODE.pack(os.waitstatus_to_exitcode(status)))

    def _end(self, pid: int) -> None:
        """End a worker whose parent has closed its life, or has ended."""
        if pid not in self._lives:
            return  # both happened at once: it has been buried
        self._selector.unregister(self._lives[pid])
        _kill_group(pid)
        os.kill(pid, signal.SIGKILL)  # a new fork may not lead its group yet


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
