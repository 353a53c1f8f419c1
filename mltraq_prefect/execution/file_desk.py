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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, NamedTuple

from mltraq_prefect.errors import StoreError
from mltraq_prefect.model.files import Listed
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.spool import Spool, own_spool


class Desk(NamedTuple):
    """A `FileDesk`, as any process can use it.

    Attributes:
        spool: Where contents are put.
        limit: Most bytes that a file can have; None is any.
        address: Where the process of the execution answers; empty if nothing is stored.
        key: What it knows its workers by.
        keeps_logs: Whether what runs log and print is kept as files of theirs.
    """

    spool: Spool
    limit: int | None
    address: Any = ""
    key: bytes = b""
    keeps_logs: bool = False

    def listed(self, id_run: str) -> Listed:
        """Return the files of a run that are stored."""
        found: Listed = self._asked(id_run, None) if self.address else {}
        return found

    def fetch(self, id_run: str, name: str) -> Path:
        """Return the path of a copy of a stored file.

        Raises:
            StoreError: It cannot be read.
            CorruptData: It is not what was written.
        """
        return Path(self._asked(id_run, name))

    def _asked(self, id_run: str, name: str | None) -> Any:
        try:
            with Client(self.address, authkey=self.key) as connection:
                connection.send((id_run, name))
                answer = connection.recv()
        except (OSError, EOFError, AuthenticationError) as error:
            raise StoreError(
                f"the stored files of a run cannot be read here: {type(error).__name__}: {error}. "
                "A step can read them on the machine of the flow, while the flow is running; on a "
                "cluster, read them in the flow, or where each worker opens the session itself"
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Service:
    """Answers workers about files that are stored, in threads of this process.

    Args:
        runs: The runs, by `id_run`.
        spool: Where copies are put.
    """

    def __init__(self, runs: Mapping[str, Run], spool: Spool) -> None:
        self._runs = runs
        self._spool = spool
        self._lock = threading.Lock()
        self.key = secrets.token_bytes(32)
        address = None if os.name == "nt" else str(Path(spool.folder, secrets.token_hex(4)))
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
            id_run, name = connection.recv()
            try:
                answer: Any = self._found(id_run, name)
            except Exception as error:
                answer = error
            connection.send(answer)

    def _found(self, id_run: str, name: str | None) -> Any:
        run = self._runs[id_run]
        with self._lock:  # two workers may ask for one content
            listed = run.listed_files()
            if name is None:
                return {own: entry.sendable() for own, entry in listed.items()}
            return str(self._spool.local(name, listed[name]))


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
    service = _Service(runs, spool)
    try:
        yield Desk(spool, limit, service.address, service.key, keeps_logs)
    finally:
        service.close()
