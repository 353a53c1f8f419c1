"""Files of runs while steps are executed: where workers put contents, and whom they ask for more.

What a step sets goes into a folder on this machine, and its name, size and digest come back with
the run: contents never pass the channel. What is stored already, the process of the execution
reads for them when a step asks for it, through a socket in that folder: no worker knows the
database.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, NamedTuple

from mltraq_prefect.errors import StoreError
from mltraq_prefect.model.files import Listed
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.spool import FileEntry, Spool, own_spool


class Wanted(NamedTuple):
    """What a worker asks for: the files of a run, or one of them.

    Attributes:
        id_run: The run.
        name: Name of the file; None asks which there are.
        entry: What the worker knows of it.
    """

    id_run: str
    name: str | None = None
    entry: FileEntry | None = None


class Desk(NamedTuple):
    """Where contents are put and come from, as any process of this machine can use it.

    Attributes:
        spool: Where contents are put.
        limit: Most bytes that a file can have; None is any.
        address: Where somebody answers who knows the stored ones; empty if nothing is stored.
        key: What it knows its workers by.
        keeps_logs: Whether what runs log and print is kept as files of theirs.
        of: The execution, where the process that answers is not that of the execution; else empty.
    """

    spool: Spool
    limit: int | None
    address: Any = ""
    key: bytes = b""
    keeps_logs: bool = False
    of: str = ""

    def listed(self, id_run: str) -> Listed:
        """Return the files of a run that are stored."""
        found: Listed = self._asked(Wanted(id_run)) if self.address else {}
        return found

    def fetch(self, id_run: str, name: str, entry: FileEntry) -> Path:
        """Return the path of a copy of a file.

        Raises:
            StoreError: It cannot be read.
            CorruptData: It is not what was written.
        """
        if self._is_here(entry):
            return self.spool.local(name, entry)
        return Path(self._asked(Wanted(id_run, name, entry.sendable())))

    def _is_here(self, entry: FileEntry) -> bool:
        if self.of and entry.spooled:
            return Path(entry.spooled).is_file()
        return bool(entry.spooled or entry.pieces)

    def _asked(self, wanted: Wanted) -> Any:
        try:
            with Client(self.address, authkey=self.key) as connection:
                connection.send((self.of, wanted))
                answer = connection.recv()
        except (OSError, EOFError, AuthenticationError) as error:
            raise StoreError(
                f"the stored files of a run cannot be read here: {type(error).__name__}: {error}. "
                "A step can read them while the flow is running, on its machine and on workers of "
                "Dask and Ray"
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer


class Service:
    """Answers workers on this machine, in threads of this process.

    Args:
        find: Returns what an execution has of what is wanted.
        folder: Where its socket is.
    """

    def __init__(self, find: Callable[[str, Wanted], Any], folder: str) -> None:
        self._find = find
        self.key = secrets.token_bytes(32)
        address = None if os.name == "nt" else str(Path(folder, secrets.token_hex(4)))
        self._listener = Listener(address, backlog=64, authkey=self.key)
        self.address = self._listener.address
        threading.Thread(target=self._serve, name="mltraq files", daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except AuthenticationError:
                continue
            except (OSError, EOFError):
                if self._is_closed():
                    return
                continue
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _is_closed(self) -> bool:
        return getattr(self._listener, "_listener", None) is None

    def _answer(self, connection: Connection) -> None:
        with connection, suppress(OSError, EOFError):
            try:
                answer: Any = self._find(*connection.recv())
            except Exception as error:
                answer = error
            connection.send(answer)


class _Stored:
    """Files of the runs of this process.

    Args:
        runs: The runs, by `id_run`.
        spool: Where copies are put.
    """

    def __init__(self, runs: Mapping[str, Run], spool: Spool) -> None:
        self._runs = runs
        self._spool = spool
        self._lock = threading.Lock()

    def find(self, _execution: str, wanted: Wanted) -> Listed | str:
        """Return the files of a run, or the path of one."""
        run = self._runs[wanted.id_run]
        with self._lock:  # two workers may ask for one content
            listed = run.listed_files()
            if wanted.name is None:
                return {own: entry.sendable() for own, entry in listed.items()}
            return str(self._spool.local(wanted.name, listed[wanted.name]))


@contextmanager
def file_desk(
    runs: Mapping[str, Run], limit: int | None, *, answers: bool, keeps_logs: bool = False
) -> Iterator[Desk]:
    """Provide what steps need for files.

    Args:
        runs: The runs of the experiment, by `id_run`.
        limit: Most bytes that a file can have; None is any.
        answers: Whether files may be stored that steps can ask for.
        keeps_logs: Whether what runs log and print is kept as files of theirs.
    """
    spool = own_spool()
    if not answers:
        yield Desk(spool, limit, keeps_logs=keeps_logs)
        return
    service = Service(_Stored(runs, spool).find, spool.folder)
    try:
        yield Desk(spool, limit, service.address, service.key, keeps_logs)
    finally:
        service.close()
