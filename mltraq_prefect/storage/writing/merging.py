"""Merging into an experiment that is stored.

What there is is read, compared and encoded before the transaction that writes, which repeats only
what somebody else has changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from mltraq_prefect.codecs import uncollected
from mltraq_prefect.storage.files import file_plan
from mltraq_prefect.storage.files.file_plan import FilePlan, Planner
from mltraq_prefect.storage.maintenance import deleting
from mltraq_prefect.storage.records import LedgerMark, Record, Seen, Snapshot, Written
from mltraq_prefect.storage.series import series_rows, series_tables
from mltraq_prefect.storage.series.series_plan import SeriesPlan
from mltraq_prefect.storage.series.series_plan import make_plan as make_series_plan
from mltraq_prefect.storage.sql.connections import Database, Transaction
from mltraq_prefect.storage.sql.dialects import Right
from mltraq_prefect.storage.tables import (
    experiments_table,
    own_fields,
    run_cells,
    run_tables,
    unfinished,
    views,
)
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.tables.first_in import FirstIn
from mltraq_prefect.storage.values.cells import UNCHANGED
from mltraq_prefect.storage.values.layout import Layout
from mltraq_prefect.storage.values.param_columns import ParamColumns, extended
from mltraq_prefect.storage.writing import merge_rows, partial_loads, rows, stored_runs
from mltraq_prefect.storage.writing.merge_diff import Changes, find_changes
from mltraq_prefect.storage.writing.prepared_merge import Basis, Merge, OwnFields
from mltraq_prefect.storage.writing.stored_runs import States, StoredCells
from mltraq_prefect.storage.writing.write_job import Job
from mltraq_prefect.storage.writing.write_plan import Plan, make_plan, moved

T = TypeVar("T")


Room = tuple[int, int | None]
"""How many bytes a row can take, and how many columns more the table can get; None if unknown."""


class Moved(Exception):
    """Somebody has replaced or deleted the experiment, or changed its columns, since it was read.

    It is read again then; never leaves the package.
    """


class Merger:
    """Merges one experiment, and keeps what it has encoded until that is written.

    Args:
        database: Where to.
        job: What.
        planner: Prepares and writes the files of its runs.
        first_in: Steps that nobody may have completed in these runs since they were read.
    """

    def __init__(
        self, database: Database, job: Job, planner: Planner, first_in: FirstIn | None
    ) -> None:
        self._first_in = first_in
        self._planner = planner
        self._database = database
        self._job = job
        self._fixed: set[str] = set()
        self._fixed_series: set[str] = set()
        self._made: tuple[tuple[int, frozenset[str]], Plan] | None = None
        self._new: tuple[Plan, list[int], rows.Rows | None] | None = None
        self._dumped: merge_rows.Dumped = {}
        self._trusts_snapshot = job.dialect.counts_updates

    # -- before the transaction ------------------------------------------------------------------

    def prepare(self, base: Entry, limit: int) -> Merge:
        """Read what there is, compare it, and encode what is to be written.

        Args:
            base: The experiment as it is stored.
            limit: How many bytes a row can take.

        Raises:
            Moved: It is stored otherwise now.
            DoneElsewhere: Somebody has completed a step in which this is to be the first.
        """
        job = self._job
        ids = [run.id_run for run in job.record.runs]
        revision, states, plan = self._compared(base, ids, limit)
        if self._first_in is not None and not job.is_done(base):
            self._first_in.check((id_run, mark.steps) for id_run, mark in states.marks.items())
        unread = self._unread(plan, base, states.marks)
        changes = uncollected(self._changes, plan, base, states.marks, unread)
        changed = [ids[index] for index in changes.indexes()]
        residuals = self._residuals(plan, base, changed)
        own = self._own_of(base)
        basis = Basis(base, revision, states, own, unread, residuals)
        cells = self._cells_of(base, own)
        job.check_own(cells, limit)
        return Merge(
            basis=basis,
            plan=plan,
            params=uncollected(self._params, plan, changes, base),
            changes=changes,
            new=uncollected(self._rows, plan, changes.new),
            updates=uncollected(
                merge_rows.updates_of, plan, changes, basis.rows(), job.dialect, self._dumped
            ),
            own=cells,
            sealed=job.sealed(base.id_experiment, limit),
            series=uncollected(self._series, base, changes),
            files=self._files(base, changes),
        )

    def _compared(self, base: Entry, ids: Sequence[str], limit: int) -> tuple[int, States, Plan]:
        """Encode the runs, and return what the ledger says of them, with the revision in which.

        The first time that is what this process has read or written last, if it knows all of it:
        whether it still is so, the transaction tells. Columns are added only by what was read.
        """
        snapshot = self._snapshot_of(base)
        if self._trusts_snapshot and snapshot is not None and snapshot.since is not None:
            self._trusts_snapshot = False
            known = stored_runs.known_states(snapshot, ids)
            if known is not None and snapshot.revision is not None:
                plan = uncollected(self._plan, base, (limit, None), known.marks)
                if plan.layout == base.layout:
                    return snapshot.revision, known, plan
        states, left = self._read(base, lambda t: _states(t, base, ids))
        return base.revision, states, uncollected(self._plan, base, (limit, left), states.marks)

    def _residuals(self, plan: Plan, base: Entry, ids: Sequence[str]) -> dict[str, bytes]:
        """Read the residuals of runs, but of those that are known to have none."""
        snapshot = plan.record.snapshot
        if snapshot is not None:
            seen = [snapshot.runs.get(id_run) for id_run in ids]
            ids = [
                id_run
                for id_run, known in zip(ids, seen, strict=True)
                if not (known and known.is_bare)
            ]
        return self._read(base, lambda t: stored_runs.residuals(t, base, ids)) if ids else {}

    def _read(self, base: Entry, select: Callable[[Transaction], Callable[[], T]]) -> T:
        """Select something of the experiment; make it when the transaction has ended."""
        with self._database.reading(base.table) as transaction:
            current = experiments_table.find(transaction, base.name)
            if current is None or _shape(current) != _shape(base):
                raise Moved
            make = select(transaction)
        return uncollected(make)

    def _plan(self, base: Entry, room: Room, states: dict[str, LedgerMark]) -> Plan:
        """Encode the runs, or return what was encoded for a table that is almost the same."""
        snapshot = self._snapshot_of(base)
        key = (room[0], frozenset(self._fixed))
        if self._made is not None and self._made[0] == key:
            known = moved(self._made[1], snapshot, base.layout, self._job.dialect, room[1])
            if known is not None and not _has_lost(known, states):
                self._made = key, known
                return known
        plan = self._encoded(snapshot, base, room)
        if _has_lost(plan, states):
            self._job.record = replace(self._job.record, snapshot=None)
            plan = self._encoded(None, base, room)
        self._made = key, plan
        return plan

    def _encoded(self, snapshot: Snapshot | None, base: Entry, room: Room) -> Plan:
        return make_plan(
            replace(self._job.record, snapshot=snapshot),
            base.layout,
            self._job.dialect,
            fixed=self._fixed,
            compressed=self._job.compressed,
            limit=room[0],
            columns_left=room[1],
        )

    def _snapshot_of(self, base: Entry) -> Snapshot | None:
        """Return the record's snapshot if it is one of what it will be merged into."""
        snapshot = self._job.record.snapshot
        return snapshot if snapshot and snapshot.id_experiment == base.id_experiment else None

    def _unread(self, plan: Plan, base: Entry, states: dict[str, LedgerMark]) -> StoredCells:
        """Read the stored cells of runs that were not loaded before."""
        known = () if plan.record.snapshot is None else plan.record.snapshot.runs
        ids = [id_run for id_run in states if id_run not in known]
        keys = tuple(key for key in plan.fields if key in base.layout)
        if not ids:
            return StoredCells(keys, [], {}, {})
        return self._read(base, lambda t: stored_runs.cells(t, base, keys, ids))

    def _changes(
        self, plan: Plan, base: Entry, states: dict[str, LedgerMark], unread: StoredCells
    ) -> Changes:
        marks = stored_runs.marks(base, unread)
        fresh = {
            id_run: Seen(unread.keys, row, states[id_run])
            for id_run, row in marks
            if id_run in states
        }
        return find_changes(plan, states, plan.record.snapshot, fresh)

    def _series(self, base: Entry, changes: Changes) -> SeriesPlan | None:
        """Encode the rows that runs have logged and that are not stored yet, or not any more."""
        logged = series_rows.of_record(*self._written(base, changes))
        if not logged:
            return None
        return make_series_plan(logged, base.series, self._job.dialect, self._fixed_series)

    def _files(self, base: Entry, changes: Changes) -> FilePlan | None:
        """See to it that the contents of files are there that are not stored yet."""
        changed = file_plan.of_record(*self._written(base, changes))
        return self._planner.plan(base.id_experiment, changed, is_new=False)

    def _written(
        self, base: Entry, changes: Changes
    ) -> tuple[Record, Snapshot | None, frozenset[str]]:
        """Return runs whose results count, what was seen of them, and ids of those that are new."""
        record, outdated = self._job.record, frozenset(changes.outdated)
        runs = [run for index, run in enumerate(record.runs) if index not in outdated]
        new = frozenset(record.runs[index].id_run for index in changes.new)
        return replace(record, runs=runs), self._snapshot_of(base), new

    def _params(self, plan: Plan, changes: Changes, base: Entry) -> ParamColumns:
        """Return the kinds of params, with those of the runs that are written."""
        written = [plan.record.runs[index].params for index in (*changes.new, *changes.indexes())]
        return extended(base.params, written, self._job.dialect)

    def _rows(self, plan: Plan, indexes: list[int]) -> rows.Rows | None:
        """Encode the rows of new runs, unless that was done before."""
        if self._new is None or self._new[0] is not plan or self._new[1] != indexes:
            self._new = plan, indexes, rows.rows_of(plan, indexes, self._job.dialect)
        return self._new[2]

    def _own_of(self, base: Entry) -> OwnFields:
        """Read the experiment's own fields if they are others than those that were seen."""
        snapshot, own = self._snapshot_of(base), self._job.own
        seen = None if snapshot is None else snapshot.fields
        if not own if seen is None else own_fields.marks_of(own) == seen:
            return None
        return self._read(base, lambda t: _made(own_fields.read(t, base.id_experiment)))

    def _cells_of(self, base: Entry, stored: OwnFields) -> own_fields.Cells | None:
        """Return what is to be written of the experiment's own fields; None if they stay."""
        if stored is None:
            return None
        snapshot = self._snapshot_of(base)
        before = own_fields.parsed(stored[0], base.name)
        seen = None if snapshot is None else snapshot.fields
        now = own_fields.merged(before, self._job.own, seen)
        return None if now == before else own_fields.cells_of(now, self._job.dialect)

    # -- in the transaction ----------------------------------------------------------------------

    def merge(
        self, transaction: Transaction, merge: Merge, current: Entry | None
    ) -> Written | None:
        """Write what was prepared, or nothing if it does not fit what is there now."""
        if current is None or not self._fits(transaction, merge, current):
            return None
        plan, changes = merge.plan, merge.changes
        entry = self._entry(merge, current)
        indexes = sorted([*changes.new, *changes.indexes()])
        others = merge.own, merge.series, merge.files, merge.sealed
        if not indexes and entry == current and others == (None,) * len(others):
            return self._job.written(current, merge.part(None), 0, [], list(plan.fields))
        is_fixed, released = self._retyped(transaction, plan, current)
        if is_fixed:
            return None
        if merge.series is not None:
            extended = series_tables.extend(transaction, entry, merge.series)
            if isinstance(extended, set):
                self._fixed_series |= extended
                return None
            entry = extended
        own = current.table
        run_tables.reshape(transaction, own, own, current.layout, plan.layout)
        entry.view = views.make(transaction, entry, released)
        first = None
        if changes.new:
            first = 1 + run_cells.last_position(transaction, current.id_experiment)
            rows.insert(transaction, current.id_experiment, current.table, merge.new, first=first)
        merge_rows.write(transaction, merge.updates, current)
        if merge.series is not None:
            series_tables.write(transaction, entry, merge.series)
        self._planner.write(transaction, entry.id_experiment, merge.files)
        entry = deleting.recounted(transaction, entry)
        now = {"write": self._job.token, **experiments_table.origin()}
        entry = replace(entry, properties=entry.properties | now, revision=current.revision + 1)
        experiments_table.update(transaction, entry)
        if merge.own is not None:
            own_fields.write(transaction, entry.id_experiment, merge.own)
        if self._job.dialect.ddl_commits and not entry.is_staged:
            unfinished.forget(transaction, self._job.table)
        self._job.write_shared(transaction, entry.id_experiment, merge.sealed)
        part = merge.part(first)
        return self._job.written(entry, part, len(indexes), list(changes.steps), merge.touched())

    def _fits(self, transaction: Transaction, merge: Merge, current: Entry) -> bool:
        """Return whether what was read is what is there.

        A write of other runs does not matter. Many writers can merge into one experiment at
        the same time, without waiting for a moment in which no other writes.
        """
        basis, base = merge.basis, merge.basis.entry
        if _shape(current) != _shape(base):
            return False
        if merge.series is not None and current.series != merge.series.base:
            return False
        if not self._planner.fits(transaction, current.id_experiment, merge.files):
            return False
        if current.revision == basis.revision:
            return True
        ids = [run.id_run for run in self._job.record.runs]
        changed = [ids[index] for index in merge.changes.indexes()]
        own = basis.own
        return (
            stored_runs.states(transaction, current, ids)() == basis.states
            and stored_runs.residuals(transaction, current, changed)() == basis.residuals
            and (own is None or own == (own_fields.read(transaction, current.id_experiment),))
            and stored_runs.is_same(transaction, current, basis.unread)
        )

    def _retyped(
        self, transaction: Transaction, plan: Plan, current: Entry
    ) -> tuple[bool, Sequence[Right] | None]:
        """Change the kinds of columns.

        Returns:
            Whether some cannot be changed, and none was; and what was released of the view.
        """
        retyped = plan.retyped()
        fixed = run_cells.fixed(transaction, current.table, retyped)
        released = views.release(transaction, current) if retyped and not fixed else None
        if retyped and not fixed:
            fixed = run_cells.retype(transaction, current.table, retyped, plan.layout)
        if fixed and released is not None:
            views.make(transaction, current, released)
        self._fixed |= fixed
        return bool(fixed), released

    def _entry(self, merge: Merge, current: Entry) -> Entry:
        changes = merge.changes
        return replace(
            current,
            annotations=self._job.said_of(current),
            run_count=current.run_count + len(changes.new),
            states=merge.states_after(current),
            layout=merge.plan.layout if changes.new or changes.cells else current.layout,
            params=merge.params,
        )


def _states(
    transaction: Transaction, base: Entry, ids: Sequence[str]
) -> Callable[[], tuple[States, int]]:
    """Select the states of runs, with how many columns more their table can get."""
    left = transaction.dialect.columns_left(transaction.connection, base.table)
    made = stored_runs.states(transaction, base, ids)
    return lambda: (made(), left)


def _shape(entry: Entry) -> tuple[str, str, Layout, ParamColumns]:
    """Return what statements about an experiment's runs are made of."""
    return entry.id_experiment, entry.table, entry.layout, entry.params


def _made(value: bytes | None) -> Callable[[], OwnFields]:
    return lambda: (value,)


def _has_lost(plan: Plan, states: dict[str, LedgerMark]) -> bool:
    """Return whether a run is gone of which the plan has left out what was there.

    Raises:
        StoreError: It was loaded in part.
    """
    runs = plan.record.runs
    gone = [index for index, run in enumerate(runs) if run.id_run not in states]
    partial_loads.refuse_gone(plan.record, [runs[index].id_run for index in gone])
    return any(
        projected.cells[index] is UNCHANGED for projected in plan.fields.values() for index in gone
    )
