"""Main loop of the fork server: it forks workers, and ends them when their parent is done."""

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

_MAX_FILES = 16

GRACE_SECONDS = 2.0
"""Time that the processes of an ended worker have to end by themselves, in seconds."""

TICK_SECONDS = 0.02

_BY_SEVERITY = (0, signal.SIGTERM, signal.SIGKILL)


def main() -> None:
    """Serve until nobody is left; in each fork, be a worker."""
    gc.freeze()
    server = Server(socket.socket(fileno=int(sys.argv[1])))
    if files := server.serve():
        child.main(*files)
    else:
        os._exit(0)  # its parent waits, and nothing needs to be cleaned up


class _EndedWorker:
    """A worker that has ended, while processes that it has started have not.

    They are killed. After a regular end they are terminated first: some clean up after the worker,
    such as joblib's resource tracker, which ignores SIGTERM.

    Args:
        pid: Id of the worker's process, and of its group.
        liveness: Socket by which the parent is notified.
        code: Exit code of the worker.
    """

    def __init__(self, pid: int, liveness: socket.socket, code: int) -> None:
        self.pid, self.liveness, self.code = pid, liveness, code
        self._ended = time.monotonic()
        self._is_asked = False

    def signal(self) -> int:
        """Return the signal to send to its processes now; 0 for none."""
        if self.code != 0 or self._age() >= GRACE_SECONDS:
            return signal.SIGKILL
        was_asked, self._is_asked = self._is_asked, True
        return 0 if was_asked else signal.SIGTERM

    def is_given_up(self) -> bool:
        """Return whether its processes are not waited for any longer."""
        return self._age() >= GRACE_SECONDS + 1

    def _age(self) -> float:
        return time.monotonic() - self._ended


class Server:
    """Forks workers on request, and supervises them.

    Args:
        requests: Socket of the requests; each carries the descriptors of a worker.
    """

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._liveness: dict[int, socket.socket] = {}
        self._ended_workers: list[_EndedWorker] = []
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)

    def serve(self) -> list[int]:
        """Serve; return the descriptors of a worker in each worker, and none in the server."""
        self._mask = signal.pthread_sigmask(signal.SIG_SETMASK, [])
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        adopt_orphans()
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._selector.register(self._requests, selectors.EVENT_READ, None)
        while self._liveness or self._ended_workers or self._requests.fileno() >= 0:
            for key, _ in self._selector.select(TICK_SECONDS if self._ended_workers else None):
                if key.data is not None:
                    self._end(key.data)
                elif key.fileobj is self._wake:
                    self._reap()
                elif files := self.take():
                    return files
            self._clean_up()
        return []

    def take(self) -> list[int]:
        """Handle a request; return the descriptors in the worker, and none in the server."""
        message, files, flags, _ = socket.recv_fds(self._requests, 1, _MAX_FILES)
        if not message:
            self._selector.unregister(self._requests)
            self._requests.close()
            return []
        try:
            if flags & socket.MSG_CTRUNC:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            liveness, *others = files
            pid = os.fork()
        except OSError:  # too many files or processes: the closed socket tells the parent
            _close(files)
            return []
        if pid == 0:
            self._become_worker(others[0])
            return [*others[1:], liveness]
        _close(others)
        self._liveness[pid] = socket.socket(fileno=liveness)
        self._selector.register(self._liveness[pid], selectors.EVENT_READ, pid)
        return []

    def _become_worker(self, output: int) -> None:
        """In a fork: close what belongs to the server, and redirect the output to the parent."""
        os.setsid()
        adopt_orphans()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        self._selector.close()
        others = (*self._liveness.values(), *(ended.liveness for ended in self._ended_workers))
        for end in (self._requests, self._wake, self._woken, *others):
            end.close()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)

    def _reap(self) -> None:
        """Reap the workers that have ended."""
        with suppress(BlockingIOError):
            while self._wake.recv(4096):
                pass
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if liveness := self._liveness.pop(pid, None):
                    if liveness in self._selector.get_map():
                        self._selector.unregister(liveness)
                    self._ended_workers.append(
                        _EndedWorker(pid, liveness, os.waitstatus_to_exitcode(status))
                    )

    def _clean_up(self) -> None:
        """End the processes of workers that have ended, then notify their parents."""
        if not self._ended_workers:
            return
        orphans = children() - self._liveness.keys()
        signals = [ended.signal() for ended in self._ended_workers]
        for pid in orphans:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, min(signals, key=_BY_SEVERITY.index))
        for ended, number in zip([*self._ended_workers], signals, strict=True):
            if not (_kill_group(ended.pid, number) or orphans) or ended.is_given_up():
                self._ended_workers.remove(ended)
                with ended.liveness as liveness, suppress(OSError):
                    liveness.send(EXIT_CODE.pack(ended.code))

    def _end(self, pid: int) -> None:
        """End a worker whose parent has closed its socket, or has ended."""
        if pid not in self._liveness:
            return  # both happened at once: it was reaped
        self._selector.unregister(self._liveness[pid])
        _kill_group(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)  # a new fork may not lead its group yet


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)


def _kill_group(pid: int, number: int) -> bool:
    """Send a signal to a process group; return whether it exists."""
    try:
        os.killpg(pid, number)
    except (PermissionError, ProcessLookupError):  # of another user, or no such group
        return False
    return True
