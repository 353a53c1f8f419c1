"""Reading files of stored runs: lists in one transaction, contents piece by piece."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from mltraq_prefect.errors import CorruptData, StoreError
from mltraq_prefect.model.spool import FileEntry
from mltraq_prefect.storage.files.file_location import Location
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables import experiments_table, files
from mltraq_prefect.storage.tables.files import StoredFile

FilesOfRuns = dict[str, dict[str, FileEntry]]
"""Files by `id_run` and name."""

ReadFiles = Callable[[Sequence[str]], FilesOfRuns]
"""Reads the files of runs, by their ids."""


class Reading(Protocol):
    """Reads something in a transaction of its own."""

    def __call__(self, read: Callable[[Transaction], Any]) -> Any:
        """Return what it reads."""


class FileReader:
    """Reads the files of one experiment.

    Args:
        reading: Reads the database.
        name: Name of the experiment.
        id_experiment: Its id; None is whichever has the name.
        location: Where contents are that the database does not have; None if nobody has said.
    """

    def __init__(
        self,
        reading: Reading,
        name: str,
        id_experiment: str | None,
        location: Location | None,
    ) -> None:
        self._reading = reading
        self._name = name
        self._id = id_experiment
        self._location = location

    def listed(self, ids: Sequence[str]) -> FilesOfRuns:
        """Return the files of runs, by `id_run` and name."""
        id_experiment, stored = self._reading(lambda t: self._select(t, ids))
        found: FilesOfRuns = {}
        for own in sorted(stored):
            found.setdefault(own.id_run, {})[own.path] = self.entry(id_experiment, own)
        return found

    def entry(self, id_experiment: str, own: StoredFile) -> FileEntry:
        """Return what is known of a file, and reads its content."""
        pieces = partial(self.pieces, id_experiment, own)
        return FileEntry(own.size, own.sha256, pieces=pieces)

    def _select(self, transaction: Transaction, ids: Sequence[str]) -> tuple[str, list[StoredFile]]:
        known = self._id
        if known is None:
            entry = experiments_table.find(transaction, self._name)
            known = "" if entry is None else entry.id_experiment
        return known, files.read(transaction, known, ids)

    def pieces(self, id_experiment: str, own: StoredFile) -> Iterator[bytes]:
        """Yield a content, and check it.

        Raises:
            CorruptData: It is not what was written; names experiment, run and file.
            StoreError: It has been deleted since it was listed, or is in a location that this
                session does not know, or that cannot be read.
        """
        digest, total = hashlib.sha256(), 0
        try:
            for piece in self._raw(id_experiment, own):
                total += len(piece)
                if total > own.size:
                    raise CorruptData(f"it has more than {own.size:,} bytes")
                digest.update(piece)
                yield piece
            if total != own.size:
                raise CorruptData(f"only {total:,} of its {own.size:,} bytes are there")
            if digest.hexdigest() != own.sha256:
                raise CorruptData("its content is not what was written: the digests differ")
        except StoreError:
            self._refuse_gone(id_experiment, own)
            raise
        except CorruptData as error:
            self._refuse_gone(id_experiment, own)
            where = {"experiment": self._name, "run": own.id_run, "file": own.path}
            raise CorruptData(error.reason, **where) from None

    def _refuse_gone(self, id_experiment: str, own: StoredFile) -> None:
        """Tell a file that was deleted since it was listed from one that has lost its content."""
        listed = self._reading(lambda t: files.read(t, id_experiment, [own.id_run]))
        if own not in listed:
            raise StoreError(
                f"experiment {self._name!r}, run {own.id_run}: its file {own.path!r} has been "
                "deleted or replaced since it was listed; load the experiment again"
            ) from None

    def _raw(self, id_experiment: str, own: StoredFile) -> Iterator[bytes]:
        if own.place is not None:
            yield from self._located(own, own.place).pieces(own.place)
            return
        left, number = own.size, 0
        while left > 0:
            data = self._reading(
                partial(files.piece, id_experiment=id_experiment, sha256=own.sha256, number=number)
            )
            if not data:
                return
            yield data
            left, number = left - len(data), number + 1

    def _located(self, own: StoredFile, place: str) -> Location:
        if self._location is None:
            url = place.rsplit("/", 2)[0]
            raise StoreError(
                f"experiment {self._name!r}, run {own.id_run}: the content of file {own.path!r} is "
                f"not in the database, but in {url}; open the session with files={url!r}"
            )
        return self._location
