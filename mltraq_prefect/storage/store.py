"""The database of experiments, as the layers above see it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NoReturn, TypeVar

from mltraq_prefect.errors import StorageUnavailable
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.names import check_name
from mltraq_prefect.provenance.facts import Setting
from mltraq_prefect.storage import membership
from mltraq_prefect.storage.aggregates.results import StoredResults
from mltraq_prefect.storage.file_store import FileStore
from mltraq_prefect.storage.files.file_location import Location
from mltraq_prefect.storage.formats.versions import MIGRATIONS
from mltraq_prefect.storage.maintenance.upkeep import Upkeep
from mltraq_prefect.storage.membership import Listed, Member, Membership
from mltraq_prefect.storage.provenance import Provenance
from mltraq_prefect.storage.reading import reader
from mltraq_prefect.storage.reading.chunks import Chunk, Place, places_after
from mltraq_prefect.storage.reading.lazy_runs import Series
from mltraq_prefect.storage.reading.pending import Pending
from mltraq_prefect.storage.reading.queries import Queries
from mltraq_prefect.storage.reading.selections import Selection
from mltraq_prefect.storage.records import Mode, Record, Written
from mltraq_prefect.storage.series import series_chunks, series_tables
from mltraq_prefect.storage.series.series_chunks import SeriesChunk, SeriesPlace
from mltraq_prefect.storage.series.series_writer import SeriesWriter
from mltraq_prefect.storage.sql.connections import RECONNECT_SECONDS, Database, Transaction
from mltraq_prefect.storage.sql.migrations import Migrations
from mltraq_prefect.storage.tables import experiments_table, run_cells, run_steps
from mltraq_prefect.storage.tables.first_in import ANYBODY, ExecutedBy
from mltraq_prefect.storage.values.names import table_name
from mltraq_prefect.storage.whereabouts import Whereabouts
from mltraq_prefect.storage.writing.write_job import Pickle
from mltraq_prefect.storage.writing.writer import Writer

T = TypeVar("T")


class Store(Upkeep, FileStore, Provenance):
    """A database of experiments.

    Safe to use from several threads and after a fork. It owns its connections: they are opened
    when they are needed and closed by `close`. A database in memory lives as long as its store.
    Other processes make a store of their own: one cannot be pickled.

    Args:
        url: SQLAlchemy URL of a SQLite, PostgreSQL or MariaDB/MySQL database. Nothing connects
            before it has to.
        compress: Keys of fields whose binary values are compressed by zstd, or whether all are.
        files: Where contents of files are kept; None is in the database.
        reconnect_seconds: How long a server that was reachable is waited for.
        migrations: What brings the tables of an older format to the present one.
        provenance: What is noted of executions whose results are written here.

    Attributes:
        url: The URL without its secrets.
        provenance: What is noted of executions.
        queries: Runs statements of users.

    Raises:
        InvalidInput: The URL cannot be parsed, or is of another kind of database.
        StorageUnavailable: The driver of the database is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        compress: Collection[str] | bool = False,
        files: str | os.PathLike[str] | None = None,
        reconnect_seconds: float = RECONNECT_SECONDS,
        migrations: Migrations = MIGRATIONS,
        provenance: Setting = "on",
    ) -> None:
        super().__init__(Database(url, reconnect_seconds=reconnect_seconds, migrations=migrations))
        self._compress = compress if isinstance(compress, bool) else frozenset(compress)
        self._location = None if files is None else Location(files)
        self._database.discard = self.remove_objects
        self.queries = Queries(self._database)
        self.provenance: Setting = provenance

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session cannot be pickled; call create_session where it is needed")

    @property
    def whereabouts(self) -> Whereabouts | None:
        """Where it is, for other processes; None if they cannot reach it."""
        identity, url = self._identity(), self._database.whole_url
        files = None if self._location is None else self._location.url
        more = self._compress, files, self.provenance
        return None if identity is None else Whereabouts(url, *more, identity)

    def _identity(self) -> str | None:
        """Return what tells it from others of the same URLs; None if no other process has it."""
        files = "" if self._location is None else self._location.identity()
        database = self._database.identity()
        return None if None in (files, database) else f"{database} {files}".strip()

    @classmethod
    def at(cls, told: Whereabouts, *, was_reached: bool = False) -> Store:
        """Return a store of the database that another process has told of.

        It is waited for if it goes away, also at first if this process has reached it before.

        Raises:
            StorageUnavailable: It is not there: this process is on another machine.
        """
        store = cls(told.url, compress=told.compress, files=told.files, provenance=told.provenance)
        if store._identity() != told.identity:
            raise StorageUnavailable(f"{store.url} is something else here")
        store._database.was_reached = was_reached
        return store

    def open(self, *, create: bool = True) -> None:
        """Connect, and change nothing, except for tables of an older format.

        Args:
            create: Whether a file that is not there is taken for an empty database, which the
                first write makes.

        Raises:
            StorageUnavailable: The database cannot be reached, or is not there.
            ForeignTable, NewerFormat, ReadOnlyStore: As `check` does.
        """
        if not create and self._database.is_missing():
            raise StorageUnavailable(f"there is no database {self.url}: the file does not exist")
        self._exists()

    def write(
        self,
        record: Record,
        mode: Mode,
        *,
        pickle: Pickle | bytes | None = None,
        by: ExecutedBy = ANYBODY,
    ) -> Written:
        """Write an experiment in one transaction.

        Args:
            record: The experiment.
            mode: What to do with an experiment that has its name: ``"fail"``; ``"replace"`` it; or
                ``"merge"``: adopt its id, insert new runs, update the fields that differ from
                the record's snapshot, and leave everything else as it is.
            pickle: A sealed pickle to store with it, or what makes one for the id under which
                it is stored. Without, a replaced experiment loses its pickle, a merged keeps it.
            by: Who has executed the runs.

        Raises:
            ClaimLost: Some of the runs are not of the claim any more; nothing was written.
            DoneElsewhere: Somebody else has completed a step of them; nothing was written.
            UnsupportedType, InvalidName, InvalidInput: The record cannot be stored exactly.
            ExperimentExists: With ``"fail"``, there is an experiment of this name.
            StoreError: The database refused. In each case it is as it was before.
        """
        make = (lambda _id: pickle) if isinstance(pickle, bytes) else pickle
        token = uuid.uuid4().hex
        more = self._compress, self._location, by
        writer = Writer(self._database, record, mode, make, token, *more)
        self.check()
        return self._database.retry(writer.write)

    def read(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        pending: Pending | None = None,
        where: Selection | None = None,
        ids: Sequence[str] | None = None,
    ) -> Record:
        """Read an experiment.

        Args:
            name: Its name.
            columns: Only these fields of its runs; all if None.
            pending: Only runs on which this step can be tried.
            where: Only runs of which this is true.
            ids: Only the runs with these `id_run`.

        Raises:
            ExperimentNotFound: There is none of this name.
            FieldNotFound: No run has one of the `columns`.
            CorruptData: Something stored is not what was written.
        """
        return self.making(
            lambda t: reader.read(t, name, columns, pending, ids, *self._parts, where),
            missing=name,
        )

    def chunk(
        self, name: str, after: Place, count: int, columns: Sequence[str] | None = None
    ) -> Chunk:
        """Read the runs of an experiment that follow a place in its order.

        Args:
            name: Its name.
            after: The place; `START` for the first runs.
            count: How many at most; not more than `MOST_RUNS`.
            columns: Only these fields; all if None.

        Raises:
            ExperimentNotFound, FieldNotFound, CorruptData: As `read` does.
        """

        def select(transaction: Transaction) -> Callable[[], Chunk]:
            entry = reader.stored_entry(transaction, name)
            places = places_after(transaction, entry, after, count)
            ids = [place.id_run for place in places]
            record = reader.read(transaction, name, columns, None, ids, *self._parts)
            last = places[-1] if len(places) == count else None
            return lambda: Chunk(record(), last, tuple(entry.layout))

        return self.making(select, missing=name)

    def series_chunk(self, name: str, place: SeriesPlace) -> SeriesChunk:
        """Read the rows that runs of an experiment have logged, from a place on.

        Args:
            name: Its name.
            place: Where they begin; `SERIES_START` for the first rows.

        Raises:
            ExperimentNotFound, CorruptData: As `read` does.
        """
        return self.making(
            lambda t: series_chunks.read(t, reader.stored_entry(t, name), place), missing=name
        )

    def run_count(self, name: str) -> int:
        """Return how many runs an experiment has."""
        return self._reading(lambda t: reader.stored_entry(t, name).run_count, name)

    def count_series_rows(self, name: str) -> int:
        """Return how many rows the runs of an experiment have logged."""
        return self._reading(lambda t: series_chunks.count(t, reader.stored_entry(t, name)), name)

    def entries(self, name: str, ids: Sequence[str]) -> dict[str, LedgerEntry]:
        """Return what the ledger says of runs, by `id_run`, without those that it does not list.

        Args:
            name: Name of their experiment; one that is not there lists none.
            ids: Their `id_run`.
        """
        if not ids or not self.exists(name):
            return {}
        return {run.id_run: run.ledger for run in self.read(name, columns=[], ids=ids).runs}

    def executions(self, id_experiment: str, positions: Sequence[int]) -> run_steps.Executions:
        """Return what the ledger says of runs in each step, by `id_run` and name of the step.

        Args:
            id_experiment: Id of their experiment; one that is not there has none.
            positions: Their positions.
        """
        return self._reading(lambda t: run_steps.read(t, id_experiment, positions))

    def series_writer(self, name: str, by: ExecutedBy = ANYBODY) -> SeriesWriter:
        """Return what writes the series of a stored experiment while its runs are executed."""
        return SeriesWriter(self._database, name, by)

    def membership(self, name: str, member: Member) -> Membership:
        """Return what takes part in the shared sweep of a stored experiment for a process."""
        return Membership(self._database, name, member)

    def claims(self, name: str) -> list[Listed]:
        """Return the claims on the runs of an experiment.

        Raises:
            ExperimentNotFound: There is none of this name.
        """
        return self._reading(
            lambda t: membership.listed(t, reader.stored_entry(t, name).id_experiment), name
        )

    def series(self, name: str, id_experiment: str | None, ids: Sequence[str]) -> Series:
        """Return the rows that runs have logged, by `id_run`.

        Args:
            name: Name of their experiment.
            id_experiment: Its id, if another one of this name is not meant.
            ids: The runs.
        """
        if not self._exists():
            return {}
        return self.making(lambda t: series_tables.read_named(t, name, id_experiment, ids))

    @property
    def _parts(self) -> tuple[Any, Any, Any]:
        """What reads the parts of runs that few ask for."""
        return self.executions, self.series, self.files

    def read_pickle(self, name: str) -> tuple[bytes, str]:
        """Return the sealed pickle of an experiment, not verified, and the experiment's id.

        Raises:
            ExperimentNotFound: There is no experiment of this name, or it has no pickle.
        """
        return self._reading(lambda t: reader.read_pickle(t, name), missing=name)

    def ls(self, *, pending: Pending | None = None, has_sizes: bool = True) -> list[dict[str, Any]]:
        """List the experiments by name.

        Args:
            pending: Only those with runs on which this step can be tried.
            has_sizes: Whether to ask what each of them takes, which is most of the work.
        """
        if not self._exists():
            return []
        return self._reading(lambda t: reader.ls(t, pending, has_sizes=has_sizes))

    def size(self, name: str) -> int | None:
        """Return the bytes that an experiment takes; None if it is not there, or not known."""
        return self._reading(lambda t: self._size(t, name)) if self._exists() else None

    def _size(self, transaction: Transaction, name: str) -> int | None:
        entry = experiments_table.find(transaction, name)
        if entry is None:
            return None
        return run_cells.sizes(transaction, [entry]).get(entry.id_experiment)

    def results(
        self, name: str, *, last: int | None = None, is_quick: bool = False
    ) -> StoredResults:
        """Return what reads the results of an experiment for pages and reports.

        Args:
            name: Its name. Whether it is there is seen when something is read.
            last: If it has more runs than this, only the last ones are read; all if None.
            is_quick: Whether groups of very many runs are those of some, which are spread evenly.
        """
        read = partial(self._reading, missing=name)
        return StoredResults(read, name, last, is_quick=is_quick)

    def name_of(self, table: str) -> str | None:
        """Return the name of the experiment whose runs are in a table; None if there is none."""
        find = experiments_table.find_table
        entry = self._reading(lambda t: find(t, table)) if self._exists() else None
        return None if entry is None else entry.name

    def keys(self, name: str) -> list[str]:
        """Return the keys of the fields of an experiment's runs; none if it is not stored."""
        return self._reading(lambda t: reader.keys(t, name))

    def original_name(self, name: str) -> str | None:
        """Return the name of which ids of an experiment's runs are made, if it was renamed."""
        if not self._exists():
            return None
        entry = self._reading(lambda t: experiments_table.find(t, name))
        return None if entry is None else entry.properties.get("original_name")

    def exists(self, name: str) -> bool:
        """Return whether there is an experiment of this name."""
        return self._exists() and self._reading(
            lambda t: experiments_table.find(t, name) is not None
        )

    def query(
        self,
        sql: str,
        params: Mapping[str, Any] | None = None,
        *,
        names: Mapping[str, str] | None = None,
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run a statement that reads.

        Args:
            sql: ``:x`` in it stands for the param `x`, ``{key}`` for the table of an experiment;
                in literals and comments both stand for themselves.
            params: Values of the params.
            names: Names of experiments by placeholder.

        Returns:
            The names of the columns and the rows. Nothing that the statement changes stays.

        Raises:
            QueryFailed: The database refused the statement, or a param or placeholder is unknown.
        """
        return self.queries.rows(sql, params, names)

    def table_of(self, name: str) -> str:
        """Return the name of the table that holds, or would hold, the runs of an experiment."""
        return table_name(check_name(name, "experiment name"))

    def patient(self, seconds: float) -> AbstractContextManager[None]:
        """Wait so many seconds for a server that has gone away, within a context."""
        return self._database.patience.extended(seconds)

    def close(self) -> None:
        """Close the connections; a database in memory is gone then."""
        self._database.close()
