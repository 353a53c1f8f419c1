"""Writing an experiment: one transaction that may be repeated."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace

from mltraq_prefect.codecs import uncollected
from mltraq_prefect.errors import ExperimentExists
from mltraq_prefect.storage.files.file_location import Location
from mltraq_prefect.storage.files.file_plan import Planner
from mltraq_prefect.storage.formats.schema import check_version
from mltraq_prefect.storage.records import Mode, Record, Written
from mltraq_prefect.storage.sql.connections import Database, DriverError, Transaction
from mltraq_prefect.storage.tables import claims, experiments_table, run_cells, run_tables
from mltraq_prefect.storage.tables.claims import ClaimLost
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.tables.first_in import ExecutedBy
from mltraq_prefect.storage.values.projection import field_path
from mltraq_prefect.storage.writing import creation, encodings, partial_loads
from mltraq_prefect.storage.writing.creation import Creation
from mltraq_prefect.storage.writing.merging import Merger, Moved
from mltraq_prefect.storage.writing.prepared_merge import Merge
from mltraq_prefect.storage.writing.write_job import Job, Pickle
from mltraq_prefect.storage.writing.write_plan import Plan

_logger = logging.getLogger("mltraq_prefect")


class Writer:
    """One write of one experiment.

    Args:
        database: Where to.
        record: What.
        mode: What to do if the name is taken.
        pickle: Makes the pickle to store with it, if any.
        token: Identifies this write.
        compressed: Keys of fields whose binary values are compressed, or whether all are.
        location: Where contents of files go; None is into the database.
        by: Who has executed the runs of the record.
    """

    def __init__(
        self,
        database: Database,
        record: Record,
        mode: Mode,
        pickle: Pickle | None,
        token: str,
        compressed: Collection[str] | bool,
        location: Location | None,
        by: ExecutedBy,
    ) -> None:
        self._database = database
        self._by = by
        self._mode = mode
        self._job = Job(database.dialect, record, pickle, token, compressed)
        self._planner = Planner(database, record, location, self._job.table)
        self._merger = Merger(database, self._job, self._planner, by.first_in)
        self._creation: tuple[int, Creation] | None = None

    def write(self) -> Written:
        """Encode, then write under the experiment's lock, until what is there fits that."""
        while True:
            try:
                prepared = self._prepared()
            except Moved:
                continue
            written = self._written(prepared)
            if written is not None:
                settled = self._settled(written)
                self._tell_of_overflow(prepared.plan)
                if isinstance(prepared, Merge):
                    self._tell_of_outdated(prepared)
                return settled

    def _prepared(self) -> Merge | Creation:
        """Read what there is, and encode what is to be written."""
        with self._database.reading() as transaction:
            base = experiments_table.find(transaction, self._job.record.name)
            limit = self._job.dialect.value_limit(transaction.connection)
        self._refuse_existing(base)
        if self._by.first_in is not None:
            partial_loads.refuse_gone_experiment(self._job.record, base)
        if self._mode != "replace":
            partial_loads.refuse_other(self._job.record, base)
        if self._mode == "merge" and base is not None:
            partial_loads.refuse_other_ids(self._job.record, base)
        return self._prepare(base, limit)

    def _written(self, prepared: Merge | Creation) -> Written | None:
        """Write it under the lock; return None if what is there is another thing now."""
        try:
            with self._database.writing(self._job.table) as transaction:
                return uncollected(self._attempt, transaction, prepared)
        except DriverError as error:
            if error.trouble == "encoding":
                raise encodings.refused(error, self._job.record) from None
            if error.trouble == "other" and isinstance(prepared, Merge):
                self._refuse_unlisted(prepared)
            raise

    def _refuse_unlisted(self, merge: Merge) -> None:
        """Say it if a merge has failed because rows of its new runs are there already."""
        new = [self._job.record.runs[index].id_run for index in merge.changes.new]
        entry = merge.basis.entry
        if new:
            with self._database.reading(entry.table) as transaction:
                run_cells.refuse_unlisted(transaction, entry, new)

    def _prepare(self, base: Entry | None, limit: int) -> Merge | Creation:
        if self._mode == "merge" and base is not None:
            return self._merger.prepare(base, limit)
        if self._creation is None or self._creation[0] != limit:
            self._creation = limit, uncollected(creation.prepare, self._job, limit)
        return creation.with_files(self._creation[1], self._job, self._planner)

    def _attempt(self, transaction: Transaction, prepared: Merge | Creation) -> Written | None:
        """Write if what was prepared still fits what is there; otherwise return None."""
        check_version(transaction, self._database)
        current = experiments_table.find(transaction, self._job.record.name)
        current = run_tables.recover(transaction, self._job.table, current)
        if current is not None and self._job.is_done(current):
            return self._job.all_written(current, prepared.plan)
        self._settle_claim(transaction, current)
        self._refuse_existing(current)
        if current is None:
            partial_loads.refuse_renamed(transaction, self._job.record)
        if isinstance(prepared, Merge):
            return self._merger.merge(transaction, prepared, current)
        if self._mode == "merge" and current is not None:
            return None
        return creation.create(transaction, self._job, self._planner, prepared, current)

    def _settle_claim(self, transaction: Transaction, current: Entry | None) -> None:
        """Note what came of claimed runs.

        Raises:
            ClaimLost: Somebody else executes some of them now, or the experiment is gone.
        """
        if self._by.claim is None:
            return
        runs = self._job.record.runs
        if current is None:
            raise ClaimLost(run.id_run for run in runs)
        claims.settle(transaction, current.id_experiment, self._by.claim, runs)

    def _refuse_existing(self, current: Entry | None) -> None:
        if current is None or self._mode != "fail" or self._job.is_done(current):
            return
        raise ExperimentExists(
            f"experiment {current.name!r} is in the database {self._database.url} already; to "
            'write it nevertheless use if_exists="merge", which adds to what is there, or '
            'if_exists="replace", which discards all but tags and note'
        )

    def _settled(self, written: Written) -> Written:
        """Give a staged table its own name; until then readers find it under the other."""
        own = self._job.table
        if not written.is_staged:
            return written
        with self._database.writing(own) as transaction:
            current = experiments_table.find(transaction, self._job.record.name)
            run_tables.recover(transaction, own, current)
        return replace(written, table=own)

    def _tell_of_outdated(self, merge: Merge) -> None:
        outdated = merge.changes.outdated
        if outdated:
            _logger.warning(
                "experiment %r: others have executed %s of its runs, such as %s, again since the "
                "experiment was read; what was made here of the earlier results is not written: "
                "load it again, and execute what is pending",
                self._job.record.name,
                f"{len(outdated):,}",
                merge.plan.record.runs[outdated[0]].describe(),
            )

    def _tell_of_overflow(self, plan: Plan) -> None:
        keys = [key for key, column in plan.layout.items() if column.name is None]
        if any(key not in plan.base for key in keys):
            _logger.warning(
                "experiment %r: %s of its %s fields, such as %s, have no column, as there is no "
                "room in a %s table for more; Python reads them like the others, SQL does not "
                "see them",
                self._job.record.name,
                f"{len(keys):,}",
                f"{len(plan.layout):,}",
                field_path(keys[0]),
                self._job.dialect.name,
            )
