"""Files of runs whose steps are executed on other machines.

There contents are put into a folder of that machine, and written from there with their run. If the
run comes back to the process of the execution, they are sent ahead; and stored contents come from
there when a step asks: both in pieces.
"""

from __future__ import annotations

import pickle
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from mltraq_prefect.errors import MltraqError, StoreError
from mltraq_prefect.execution.batch import Batch, DeliverRows, Outcome, outcome_of_lost
from mltraq_prefect.execution.fanout.batch_here import BatchHere
from mltraq_prefect.execution.fanout.calls import Call
from mltraq_prefect.execution.file_desk import Desk, Service, Wanted
from mltraq_prefect.execution.serialization import Chunk, FrozenRun
from mltraq_prefect.model.files import Listed
from mltraq_prefect.model.pickling import unpickled
from mltraq_prefect.model.spool import PIECE_BYTES, FileEntry, own_spool, pieces_of
from mltraq_prefect.texts import first_line


class SentPiece(NamedTuple):
    """A piece of a content that a step has set.

    Attributes:
        key: Names the content.
        name: Name of the file, for errors.
        start: Position of the piece.
        piece: The bytes.
        size: How many the content has.
    """

    key: str
    name: str
    start: int
    piece: bytes
    size: int


class WantedPiece(NamedTuple):
    """A piece of a content that a step asks for.

    Attributes:
        wanted: The file.
        start: Position of the piece.
    """

    wanted: Wanted
    start: int


ExecuteWith = Callable[[Desk, Chunk, DeliverRows | None], Iterator[Outcome]]
"""Executes a step on a chunk, with a desk; rows that it does not deliver come with the outcomes."""

Request = Wanted | SentPiece | WantedPiece


# -- on the other machine ------------------------------------------------------------------------


class RemoteDesk(NamedTuple):
    """What leads to a `Desk` in a process on another machine.

    Attributes:
        call: Asks the process of the execution.
        key: Identifies the execution.
        limit: Most bytes that a file can have; None is any.
        keeps_logs: Whether what runs log and print is kept as files of theirs.
    """

    call: Call
    key: str
    limit: int | None
    keeps_logs: bool

    def here(self) -> Desk:
        """Return a desk for the worker processes and threads of this process."""
        service = _service()
        return Desk(
            own_spool(), self.limit, service.address, service.key, self.keeps_logs, self.key
        )


@dataclass(frozen=True, slots=True)
class WithRemoteDesk:
    """Executes a step on a chunk on another machine.

    Attributes:
        execute: Executes it.
        desk: Leads to the process of the execution.
    """

    execute: ExecuteWith
    desk: RemoteDesk

    def __call__(self, chunk: Chunk, deliver: DeliverRows | None) -> Iterator[Outcome]:
        """Execute it."""
        with _answering(self.desk):
            yield from self.execute(self.desk.here(), chunk, deliver)


@dataclass(frozen=True, slots=True)
class FileSender:
    """Sends the contents of files of runs that come back to the process of the execution.

    Attributes:
        call: Asks that process.
    """

    call: Call

    def __call__(self, batch: Batch, here: BatchHere) -> None:
        """Send the contents that runs of a batch have here; one that cannot be sent has failed.

        Args:
            batch: The batch, after its step.
            here: What this process holds of it.
        """
        lost: list[Outcome] = []
        for chunks in (batch.done, batch.stopped, batch.todo):
            for index, chunk in enumerate(chunks):
                if any(frozen.files for frozen in chunk):
                    sent = [self._sent(frozen, here, lost) for frozen in chunk]
                    chunks[index] = [frozen for frozen in sent if frozen is not None]
        for outcome in lost:
            batch.todo.append(outcome.failed or [])
            batch.failures += outcome.failures

    def _sent(self, frozen: FrozenRun, here: BatchHere, lost: list[Outcome]) -> FrozenRun | None:
        """Return a run whose contents were sent, or None if that fails.

        One that has failed before has logs alone to send; if these cannot be sent it has those
        that it began with.
        """
        is_failed, before = frozen.ledger().state == "failed", here.begun[frozen.id_run]
        try:
            files = {name: self._sent_file(name, own, here) for name, own in frozen.files.items()}
            return frozen._replace(files=files)
        except MltraqError as error:
            if is_failed:  # these are logs
                return frozen._replace(files=before.files)
            lost.append(outcome_of_lost([before], str(error), type(error).__name__))
            return None

    def _sent_file(self, name: str, entry: FileEntry | None, here: BatchHere) -> FileEntry | None:
        if entry is None or not here.has_made(entry.spooled):
            return entry
        key, start = secrets.token_hex(16), 0
        path = ""
        with Path(entry.spooled).open("rb") as file:
            for piece in pieces_of(file):
                path = _asked(self.call, SentPiece(key, name, start, piece, entry.size))
                start += len(piece)
        if not start:
            path = _asked(self.call, SentPiece(key, name, 0, b"", 0))
        Path(entry.spooled).unlink()
        return entry._replace(spooled=path)


@dataclass(frozen=True, slots=True, eq=False)
class _Asking:
    """Who asks, known by identity: contexts compare what is in them.

    Attributes:
        context: Where it is.
        call: Asks the process of the execution.
    """

    context: Context
    call: Call


_calls: dict[str, list[_Asking]] = {}
_lock = threading.Lock()


@contextmanager
def _answering(desk: RemoteDesk) -> Iterator[None]:
    """Let worker processes of this process ask for files of an execution."""
    asking = _Asking(copy_context(), desk.call)
    with _lock:
        _calls.setdefault(desk.key, []).append(asking)
    try:
        yield
    finally:
        with _lock:
            _calls[desk.key].remove(asking)
            if not _calls[desk.key]:
                del _calls[desk.key]


@cache
def _service() -> Service:
    return Service(_passed_on, own_spool().folder)


def _passed_on(key: str, wanted: Wanted) -> Any:
    with _lock:
        found = _calls.get(key)
        if not found:
            raise StoreError("the execution to which the run belongs has ended here")
        asking = found[-1]
    return asking.context.copy().run(_received, asking.call, wanted)


def _received(call: Call, wanted: Wanted) -> Any:
    if wanted.name is None or wanted.entry is None:
        return _asked(call, wanted)
    entry = wanted.entry._replace(spooled="", pieces=partial(_pieces, call, wanted))
    return str(own_spool().local(wanted.name, entry))


def _pieces(call: Call, wanted: Wanted) -> Iterator[bytes]:
    start = 0
    while piece := _asked(call, WantedPiece(wanted, start)):
        yield piece
        start += len(piece)


def _asked(call: Call, request: Request) -> Any:
    answer = unpickled(call(pickle.dumps(request, pickle.HIGHEST_PROTOCOL)))
    if isinstance(answer, Exception):
        raise answer
    return answer


# -- in the process of the execution -------------------------------------------------------------


class FileRequests:
    """Answers requests about files; threads may use it.

    Args:
        desk: Where contents are put, and come from.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._paths: dict[Wanted, Path] = {}

    def answer(self, request: Request) -> Listed | str | bytes | MltraqError:
        """Return the answer; an error if there is none, which fails the run and no more."""
        try:
            if isinstance(request, SentPiece):
                return self._desk.spool.add(*request)
            if isinstance(request, Wanted):
                return self._desk.listed(request.id_run)
            return self._piece(*request)
        except MltraqError as error:
            return error
        except Exception as error:
            return StoreError(
                "the content of a file does not come through the process of the flow: "
                f"{type(error).__name__}: {first_line(error)}; look whether its folder "
                f"{self._desk.spool.folder} is there, and execute again what has failed"
            )

    def _piece(self, wanted: Wanted, start: int) -> bytes:
        if wanted not in self._paths and wanted.name is not None and wanted.entry is not None:
            self._paths[wanted] = self._desk.fetch(wanted.id_run, wanted.name, wanted.entry)
        with self._paths[wanted].open("rb") as file:
            file.seek(start)
            return file.read(PIECE_BYTES)
