"""Files that a write has to write: their contents are on this machine before it begins."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.model.logged_rows import all_files, with_files
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.spool import FileEntry, own_spool
from mltraq_prefect.storage.files.file_location import Location
from mltraq_prefect.storage.records import Record, Snapshot
from mltraq_prefect.storage.sql.connections import Database, DriverError, Transaction
from mltraq_prefect.storage.tables import files, uploads
from mltraq_prefect.storage.tables.files import StoredFile

Changes = dict[str, dict[str, FileEntry | None]]
"""Files by `id_run` and name; None stands for one that is deleted."""


@dataclass(frozen=True, slots=True)
class FilePlan:
    """What is to be written.

    Attributes:
        changes: The files.
        contents: Paths of their contents on this machine, by digest; those that are to go into
            the database.
        places: Where the others are, by digest.
        uploaded: Which of those places are new.
    """

    changes: Changes
    contents: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    uploaded: frozenset[str] = frozenset()


def of_record(
    record: Record, snapshot: Snapshot | None = None, gone: Container[str] = ()
) -> Changes:
    """Return the files that a write of an experiment has to write.

    Args:
        record: The experiment.
        snapshot: What the database that is written to has of it; None if nothing is known.
        gone: Ids of runs that it does not have, whatever the snapshot says.
    """
    if snapshot is None:
        found = all_files(with_files(record.runs))
        return {id_run: dict(listed) for id_run, listed in found if listed}
    return {
        run.id_run: dict(run.own_files.entries)
        for run in record.runs
        if run.file_changes() != (0 if run.id_run in gone else snapshot.files.get(run.id_run, 0))
    }


def changes(runs: Sequence[Run]) -> dict[str, int]:
    """Return the state of the files in memory, by `id_run`, of runs that have such files."""
    counts = ((run.id_run, run.file_changes()) for run in with_files(runs))
    return {id_run: count for id_run, count in counts if count}


class Planner:
    """Sees to it that the contents of files are there for a write; keeps what it has uploaded.

    Args:
        database: Where to.
        record: What.
        location: Where contents go; None is into the database.
        lock: The lock of the experiment.
    """

    def __init__(
        self, database: Database, record: Record, location: Location | None, lock: str
    ) -> None:
        self._database = database
        self._record = record
        self._location = location
        self._lock = lock
        self._uploads: dict[tuple[str, str], str] = {}

    def plan(self, id_experiment: str, changed: Changes, *, is_new: bool) -> FilePlan | None:
        """Return what is to be written; None if nothing is.

        Args:
            id_experiment: The experiment under whose id.
            changed: The files.
            is_new: Whether contents that are stored under this id will go.

        Raises:
            CorruptData: A content is not what it was; names experiment, run and file.
            StoreError: There is no room for one, or the location cannot be written.
        """
        if not changed:
            return None
        contents = self._local(changed)
        if self._location is None:
            return FilePlan(changed, contents)
        known = {} if is_new else self._known(id_experiment, contents)
        new = {digest: path for digest, path in contents.items() if digest not in known}
        mine = self._uploaded(self._location, id_experiment, new)
        return FilePlan(changed, {}, {**known, **mine}, frozenset(mine.values()))

    def _local(self, changed: Changes) -> dict[str, str]:
        """Return the paths of contents on this machine, by digest; fetch those that are not."""
        found: dict[str, str] = {}
        for id_run, named in changed.items():
            for name, entry in named.items():
                if entry is None or entry.sha256 in found:
                    continue
                is_here = bool(entry.spooled) and Path(entry.spooled).is_file()
                try:
                    path = entry.spooled if is_here else str(own_spool().local(name, entry))
                    found[entry.sha256] = path
                except CorruptData as error:
                    where = {"experiment": self._record.name, "run": id_run, "file": name}
                    raise CorruptData(error.reason, **where) from None
        return found

    def _known(self, id_experiment: str, digests: Iterable[str]) -> dict[str, str]:
        with self._database.reading() as transaction:
            return files.places(transaction, id_experiment, digests)

    def _uploaded(
        self, location: Location, id_experiment: str, contents: dict[str, str]
    ) -> dict[str, str]:
        """Upload contents that this write has not uploaded yet; return where they are."""
        keys = {digest: (id_experiment, digest) for digest in contents}
        new = {key: digest for digest, key in keys.items() if key not in self._uploads}
        places = {key: location.new_place(*key) for key in new}
        if places:
            with self._database.writing(self._lock) as transaction:
                uploads.note(transaction, list(places.values()))
        for key, digest in new.items():
            location.put(places[key], contents[digest], digest)
            self._uploads[key] = places[key]
        return {digest: self._uploads[key] for digest, key in keys.items()}

    def fits(self, transaction: Transaction, id_experiment: str, plan: FilePlan | None) -> bool:
        """Return whether contents that were there before are still where the plan says."""
        if plan is None:
            return True
        known = {d: p for d, p in plan.places.items() if p not in plan.uploaded}
        return not known or files.places(transaction, id_experiment, known) == known

    def write(self, transaction: Transaction, id_experiment: str, plan: FilePlan | None) -> None:
        """Write files, in the transaction that writes their runs.

        Raises:
            CorruptData: A content is not what it was; nothing is written.
        """
        if plan is None:
            return
        lost = {place for place in plan.uploaded if not uploads.claim(transaction, place)}
        if lost:
            self._uploads = {key: own for key, own in self._uploads.items() if own not in lost}
            if self._location is not None:  # it may have been uploaded after that
                for place in lost:
                    self._location.remove(place)
            raise DriverError("moved", "an uploaded file was taken for one that was left behind")
        present = files.present(transaction, id_experiment, plan.contents)
        for digest, path in plan.contents.items():
            if digest not in present:
                files.insert_content(transaction, id_experiment, digest, path)
        replaced = {id_run: list(named) for id_run, named in plan.changes.items()}
        old = files.delete_rows(transaction, id_experiment, replaced)
        rows = [
            StoredFile(id_run, name, entry.size, entry.sha256, plan.places.get(entry.sha256))
            for id_run, named in plan.changes.items()
            for name, entry in named.items()
            if entry is not None
        ]
        files.insert(transaction, id_experiment, rows)
        files.drop_contents(transaction, id_experiment, old)
