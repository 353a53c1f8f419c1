"""Writing an experiment: one transaction that may be repeated."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mltraq_prefect.codecs import uncollected
from mltraq_prefect.errors import ExperimentExists
from mltraq_prefect.storage import (
    experiments_table,
    fingerprints,
    own_fields,
    partial,
    rows,
    run_steps,
    run_tables,
    tables,
    unfinished,
)
from mltraq_prefect.storage.experiments_table import Entry
from mltraq_prefect.storage.ledger import (
    KEYS,
    STATE,
    ledger_columns,
)
from mltraq_prefect.storage.merge_diff import Changes, find_changes
from mltraq_prefect.storage.records import (
    LedgerMark,
    Mode,
    Record,
    Seen,
    SeenRuns,
    Snapshot,
    Written,
)
from mltraq_prefect.storage.sql import encodings
from mltraq_prefect.storage.sql.connections import Database, DriverError, Transaction
from mltraq_prefect.storage.sql.schema import PICKLES, check_version, origin
from mltraq_prefect.storage.values.columns import Constant
from mltraq_prefect.storage.values.layout import Kind, Layout
from mltraq_prefect.storage.values.names import check_name, table_name
from mltraq_prefect.storage.values.projection import UNCHANGED, field_path
from mltraq_prefect.storage.values.residuals import Residual, dump_residual
from mltraq_prefect.storage.write_plan import Plan, check_row, make_plan

StoredFields = tuple[bytes | None] | None
"""The residual of the experiment's own fields, if these are to be written."""

Pickle = Callable[[str], bytes]
"""Makes the sealed pickle of an experiment from the id under which it is stored."""

_logger = logging.getLogger("mltraq_prefect")

SYSTEM_PROPERTIES = frozenset(
    ("format", "package", "python", "created_at", "updated_at", "write", "create")
)


class Writer:
    """One write of one experiment.

    Args:
        database: Where to.
        record: What.
        mode: What to do if the name is taken.
        pickle: Makes the pickle to store beside it, if any.
        token: Identifies this write, so that a repetition after a lost acknowledgement
            recognises what it has done already.
        compressed: Keys of fields whose binary values are compressed, or whether all are.
    """

    def __init__(
        self,
        database: Database,
        record: Record,
        mode: Mode,
        pickle: Pickle | None,
        token: str,
        compressed: Collection[str] | bool,
    ) -> None:
        self._compressed = compressed
        self._database = database
        self._dialect = database.dialect
        self._record = replace(record, properties=_own(record.properties))
        self._mode = mode
        self._pickle = pickle
        self._token = token
        self._fixed: set[str] = set()
        self._own = own_fields.encoded(record)
        self._table = table_name(check_name(record.name, "experiment name"))

    def write(self) -> Written:
        """Plan, then write under the experiment's lock, until no other write came between."""
        while True:
            with self._database.reading() as transaction:
                base = experiments_table.find(transaction, self._record.name)
                limit = self._dialect.value_limit(transaction.connection)
                stored = self._stored_fields(transaction, base)
            self._refuse_existing(base)
            if self._mode != "replace":
                partial.refuse_other(self._record, base)
            prepared = uncollected(self._prepare, base, limit, stored)
            try:
                with self._database.writing(self._table) as transaction:
                    written = uncollected(self._attempt, transaction, prepared, base, stored)
            except DriverError as error:
                if error.trouble == "encoding":
                    raise encodings.refused(error, self._record) from None
                raise
            if written is not None:
                settled = self._settled(written)
                self._tell_of_overflow(prepared.plan)
                return settled

    def _settled(self, written: Written) -> Written:
        """Give a staged table its own name; until then readers find it under the other."""
        if written.table == self._table:
            return written
        with self._database.writing(self._table) as transaction:
            found = experiments_table.find(transaction, self._record.name)
            run_tables.recover(transaction, self._table, found)
        return replace(written, table=self._table)

    def _tell_of_overflow(self, plan: Plan) -> None:
        keys = [key for key, column in plan.layout.items() if column.name is None]
        if any(key not in plan.base for key in keys):
            _logger.warning(
                "experiment %r: %s of its %s fields, such as %s, have no column, as there is no "
                "room in a %s table for more; Python reads them like the others, SQL does not "
                "see them",
                self._record.name,
                f"{len(keys):,}",
                f"{len(plan.layout):,}",
                field_path(keys[0]),
                self._dialect.name,
            )

    def _stored_fields(self, transaction: Transaction, base: Entry | None) -> StoredFields:
        if base is None or self._mode != "merge" or not self._touches_fields(base):
            return None
        return (own_fields.read(transaction, base.id_experiment),)

    def _prepare(self, base: Entry | None, limit: int, stored: StoredFields) -> Prepared:
        merged = base if self._mode == "merge" else None
        record = replace(self._record, snapshot=self._snapshot_of(merged))
        layout: Layout = {} if merged is None else merged.layout
        plan = make_plan(
            record,
            layout,
            self._dialect,
            fixed=self._fixed,
            compressed=self._compressed,
            limit=limit,
        )
        id_experiment = record.id_experiment if merged is None else merged.id_experiment
        own = self._cells_of_fields(merged, stored)
        row: dict[str, str | bytes] = {**self._own, "(as JSON)": "" if own is None else own[0]}
        check_row(row, "its own fields", record, self._dialect, limit)
        sealed = None if self._pickle is None else self._pickle(id_experiment)
        if sealed is not None:
            check_row({"pickle": sealed}, "its pickle", record, self._dialect, limit)
        new = rows.rows_of(plan, self._all(), self._dialect) if merged is None else None
        return Prepared(plan, new, own, id_experiment, sealed)

    def _snapshot_of(self, merged: Entry | None) -> Snapshot | None:
        """Return the record's snapshot if it is one of what it will be merged into."""
        snapshot = self._record.snapshot
        if merged is None or snapshot is None or snapshot.id_experiment != merged.id_experiment:
            return None
        return snapshot

    def _touches_fields(self, base: Entry) -> bool:
        """Whether the experiment's own fields are others than those that were seen."""
        snapshot = self._snapshot_of(base)
        seen = None if snapshot is None else snapshot.fields
        return bool(self._own) if seen is None else own_fields.marks_of(self._own) != seen

    def _cells_of_fields(self, base: Entry | None, stored: StoredFields) -> own_fields.Cells | None:
        """Return what is to be written of the experiment's own fields; None if they stay."""
        if base is None:
            return own_fields.cells_of(self._own, self._dialect)
        if stored is None:
            return None
        snapshot = self._snapshot_of(base)
        before = own_fields.parsed(stored[0], base.name)
        now = own_fields.merged(before, self._own, None if snapshot is None else snapshot.fields)
        return None if now == before else own_fields.cells_of(now, self._dialect)

    def _is_mine(self, found: Entry | None) -> bool:
        """Whether this write was done before, and its acknowledgement lost."""
        known = {} if found is None else found.properties
        return self._token in (known.get("write"), known.get("create"))

    def _refuse_existing(self, found: Entry | None) -> None:
        if found is None or self._mode != "fail" or self._is_mine(found):
            return
        raise ExperimentExists(
            f"experiment {found.name!r} is in the database {self._database.url} already; to write "
            'it nevertheless use if_exists="merge", which adds to what is there, or '
            'if_exists="replace", which discards it'
        )

    def _attempt(
        self,
        transaction: Transaction,
        prepared: Prepared,
        base: Entry | None,
        stored: StoredFields,
    ) -> Written | None:
        """Write if what was prepared still fits what is there; otherwise return None."""
        check_version(transaction, self._database)
        found = experiments_table.find(transaction, self._record.name)
        found = run_tables.recover(transaction, self._table, found)
        if found is not None and self._is_mine(found):
            return self._result(found, prepared.plan, self._all(), prepared.plan.steps())
        self._refuse_existing(found)
        if self._mode == "merge" and _shape(found) != _shape(base):
            return None
        if self._mode == "merge" and found is not None:
            if stored is not None and stored != (
                own_fields.read(transaction, found.id_experiment),
            ):
                return None
            return self._merge(transaction, prepared, found)
        return self._create(transaction, prepared, found)

    # -- a new experiment, or one in the place of another ----------------------------------------

    def _create(self, transaction: Transaction, prepared: Prepared, old: Entry | None) -> Written:
        plan, retired = prepared.plan, None
        if old is None:
            run_tables.refuse_foreign(transaction, self._table, self._record.name)
            table = run_tables.create(transaction, self._table, plan.layout)
        else:
            table, retired = run_tables.succeed(transaction, old, plan.layout)
            run_tables.clear(transaction, old)
        new = prepared.rows or rows.rows_of(plan, self._all(), self._dialect)
        rows.insert(transaction, prepared.id_experiment, table, new, first=0)
        if old is None or table != self._table:
            run_tables.add_key(transaction, table)
        entry = replace(self._new_entry(prepared, table, old), retired=retired)
        own = prepared.own or own_fields.cells_of(self._own, self._dialect)
        experiments_table.insert(transaction, entry, own)
        self._put_beside(transaction, prepared)
        return self._result(entry, plan, self._all(), plan.steps())

    def _new_entry(self, prepared: Prepared, table: str, old: Entry | None) -> Entry:
        now = origin()
        properties = {"created_at": now["updated_at"], **self._record.properties, **now}
        return Entry(
            id_experiment=prepared.id_experiment,
            name=self._record.name,
            table=table,
            run_count=len(self._record.runs),
            layout=prepared.plan.layout,
            properties=properties | {"write": self._token, "create": self._token},
            revision=1 if old is None else old.revision + 1,
        )

    def _all(self) -> range:
        return range(len(self._record.runs))

    # -- a merge -------------------------------------------------------------------------------

    def _merge(self, transaction: Transaction, prepared: Prepared, found: Entry) -> Written | None:
        plan = prepared.plan
        ids = [run.id_run for run in self._record.runs]
        stored = tables.read_states(transaction, found, ids)
        if self._lost(plan, stored):
            self._record = replace(self._record, snapshot=None)
            return None
        changes = self._changes(transaction, plan, found, stored)
        entry = self._merged_entry(prepared, found, changes)
        places = sorted([*changes.new, *changes.places()])
        is_same = not places and entry == found and prepared.own is None
        if is_same and prepared.sealed is None:
            return self._result(found, plan, [], [])
        if self._is_fixed(transaction, plan, found):
            return None
        run_tables.reshape(transaction, found.table, found.layout, plan.layout)
        if changes.new:
            first = 1 + tables.last_position(transaction, found.id_experiment)
            new = rows.rows_of(plan, changes.new, self._dialect)
            rows.insert(transaction, found.id_experiment, found.table, new, first=first)
        self._update(transaction, plan, changes, found)
        now = {"write": self._token, **origin()}
        entry = replace(entry, properties=entry.properties | now, revision=found.revision + 1)
        experiments_table.update(transaction, entry)
        if prepared.own is not None:
            own_fields.write(transaction, entry.id_experiment, prepared.own)
        if self._dialect.ddl_commits:
            unfinished.forget(transaction, self._table)
        self._put_beside(transaction, prepared)
        return self._result(entry, plan, places, list(changes.steps), changes)

    def _lost(self, plan: Plan, stored: dict[str, LedgerMark]) -> bool:
        """Whether a run is gone of which the plan has left out what was there."""
        runs = self._record.runs
        gone = [place for place, run in enumerate(runs) if run.id_run not in stored]
        partial.refuse_gone(self._record, [runs[place].id_run for place in gone])
        return any(
            projected.cells[place] is UNCHANGED
            for projected in plan.fields.values()
            for place in gone
        )

    def _is_fixed(self, transaction: Transaction, plan: Plan, found: Entry) -> bool:
        """Change the kinds of columns; return whether some cannot be changed, and none was."""
        retyped = plan.retyped()
        fixed = tables.fixed(transaction, found.table, retyped)
        if not fixed:
            fixed = tables.retype(transaction, found.table, retyped, plan.layout)
        self._fixed |= fixed
        return bool(fixed)

    def _changes(
        self, transaction: Transaction, plan: Plan, found: Entry, stored: dict[str, LedgerMark]
    ) -> Changes:
        snapshot = plan.record.snapshot
        known = () if snapshot is None else snapshot.runs
        unread = [id_run for id_run in stored if id_run not in known]
        keys = tuple(key for key in plan.fields if key in found.layout)
        fresh = {}
        if unread:
            marks = tables.read_marks(transaction, found, keys, unread)
            fresh = {
                id_run: Seen(keys, row, stored[id_run]) for id_run, row in marks if id_run in stored
            }
        return find_changes(plan, stored, snapshot, fresh)

    def _merged_entry(self, prepared: Prepared, found: Entry, changes: Changes) -> Entry:
        return replace(
            found,
            run_count=found.run_count + len(changes.new),
            layout=prepared.plan.layout if changes.new or changes.cells else found.layout,
            properties=found.properties | self._record.properties,
        )

    def _update(self, transaction: Transaction, plan: Plan, changes: Changes, found: Entry) -> None:
        cells = plan.cells(self._dialect)
        changed = sorted(place for keys, some in changes.cells.items() if keys for place in some)
        tables.check_rows(transaction, found, [self._record.runs[i].id_run for i in changed])
        for keys, places in changes.cells.items():
            placed = [key for key in keys if key in cells]
            if not placed:
                continue
            kinds = {str(plan.layout[key].name): plan.layout[key].kind for key in placed}
            columns = [[cells[key][place] for place in places] for key in placed]
            ids = [self._record.runs[place].id_run for place in places]
            held = rows.beside(transaction, found.id_experiment, ids, kinds, columns, fresh=False)
            transaction.update(found.table, kinds, {"id_run": "key"}, [*held, ids])
        self._update_ledger(transaction, plan, changes, found)

    def _update_ledger(
        self, transaction: Transaction, plan: Plan, changes: Changes, found: Entry
    ) -> None:
        runs, new = self._record.runs, plan.residuals()
        places = changes.places()
        old = tables.read_residuals(transaction, found, [runs[place].id_run for place in places])
        residuals: dict[int, bytes | None] = {}
        for keys, some in changes.cells.items():
            for place in some:
                kept = old.get(runs[place].id_run, Residual())
                residuals[place] = dump_residual(kept.replaced(keys, new.get(place, Residual())))
        idle = [place for place in places if place in changes.kept]
        executed = [place for place in places if place not in changes.kept]
        self._update_rows(
            transaction, {"residual": "binary"}, idle, [[residuals[i] for i in idle]], found
        )
        if executed:
            columns = ledger_columns(
                [runs[place].ledger for place in executed],
                list(zip(*[changes.ledger[place] for place in executed], strict=True)),
                [residuals[place] for place in executed],
                self._dialect,
            )
            self._update_rows(transaction, STATE, executed, columns, found)
            steps = [changes.entries.get(place, []) for place in executed]
            run_steps.put(transaction, found.id_experiment, [runs[i] for i in executed], steps)

    def _update_rows(
        self,
        transaction: Transaction,
        kinds: dict[str, Kind],
        places: list[int],
        columns: Sequence[Sequence[Any]],
        found: Entry,
    ) -> None:
        if places:
            ids = [self._record.runs[place].id_run for place in places]
            keys = [Constant(found.id_experiment, len(ids)), ids]
            transaction.update("experiment_runs", kinds, KEYS, [*columns, *keys])

    # -- both ------------------------------------------------------------------------------------

    def _put_beside(self, transaction: Transaction, prepared: Prepared) -> None:
        """Write what belongs to the experiment as a whole: parts of fingerprints, and a pickle."""
        id_experiment = prepared.id_experiment
        fingerprints.put(transaction, id_experiment, self._record.fingerprints)
        if prepared.sealed is None:
            return
        transaction.run("DELETE FROM experiment_pickles WHERE id_experiment = ?", (id_experiment,))
        transaction.insert("experiment_pickles", PICKLES, [[id_experiment], [prepared.sealed]])

    def _result(
        self,
        entry: Entry,
        plan: Plan,
        places: Sequence[int],
        steps: list[str],
        changes: Changes | None = None,
    ) -> Written:
        if changes is None:
            columns = list(plan.fields)
        else:
            touched = {key for keys in changes.cells for key in keys}
            columns = [key for key in plan.fields if key in touched or changes.new]
        return Written(
            id_experiment=entry.id_experiment,
            table=entry.table,
            revision=entry.revision,
            runs=len(places),
            columns=columns,
            steps=steps,
            changed=self._is_mine(entry),
            snapshot=Snapshot(
                entry.id_experiment, SeenRuns(plan.part()), own_fields.marks_of(self._own)
            ),
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is encoded before the first statement.

    Attributes:
        plan: The runs.
        rows: Rows of all runs, if there is nothing to merge them into.
        own: Cells of the experiment's own fields; None if they stay as they are.
        id_experiment: The id under which it will be stored.
        sealed: Its pickle, if there shall be one.
    """

    plan: Plan
    rows: rows.Rows | None
    own: own_fields.Cells | None
    id_experiment: str
    sealed: bytes | None


def _own(properties: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in properties.items() if key not in SYSTEM_PROPERTIES}


def _shape(entry: Entry | None) -> tuple[str, Any] | None:
    return None if entry is None else (entry.id_experiment, entry.layout)
