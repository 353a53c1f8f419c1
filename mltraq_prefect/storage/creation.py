"""Writing a new experiment, or one that replaces another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mltraq_prefect.storage import (
    experiments_table,
    own_fields,
    rows,
    run_tables,
    unfinished,
    views,
)
from mltraq_prefect.storage.experiments_table import Entry
from mltraq_prefect.storage.records import Written
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Right
from mltraq_prefect.storage.values.param_columns import ParamColumns, extended
from mltraq_prefect.storage.write_job import Job
from mltraq_prefect.storage.write_plan import Plan, make_plan


@dataclass(frozen=True, slots=True)
class Creation:
    """What is encoded before the first statement.

    Attributes:
        plan: The runs.
        params: The kinds of their params.
        rows: Their rows.
        own: Cells of the experiment's own fields.
        sealed: Its pickle, or None.
    """

    plan: Plan
    params: ParamColumns
    rows: rows.Rows | None
    own: own_fields.Cells
    sealed: bytes | None


def prepare(job: Job, limit: int) -> Creation:
    """Encode everything; `limit` is how many bytes a row can take."""
    record = replace(job.record, snapshot=None)
    plan = make_plan(record, {}, job.dialect, compressed=job.compressed, limit=limit)
    own = own_fields.cells_of(job.own, job.dialect)
    job.check_own(own, limit)
    sealed = job.sealed(record.id_experiment, limit)
    new = rows.rows_of(plan, range(len(record.runs)), job.dialect)
    params = extended({}, [run.params for run in record.runs], job.dialect)
    return Creation(plan, params, new, own, sealed)


def create(transaction: Transaction, job: Job, made: Creation, old: Entry | None) -> Written:
    """Write it, in the place of an old one if there is one."""
    entry = _entry(job, made, old)
    if old is None:
        run_tables.refuse_foreign(transaction, job.table, job.record.name)
        views.refuse_foreign(transaction, job.record.name)
        entry.table = run_tables.create(transaction, job.table, entry.layout)
        released = None
    else:
        released = _make_room(transaction, entry, old)
        run_tables.clear(transaction, old)
    rows.insert(transaction, entry.id_experiment, entry.table, made.rows, first=0)
    if old is None or entry.table != job.table:
        run_tables.add_key(transaction, entry.table)
    if not job.dialect.ddl_commits:
        entry.view = views.make(transaction, entry, released)
    experiments_table.insert(transaction, entry, made.own)
    job.write_shared(transaction, entry.id_experiment, made.sealed)
    return job.all_written(entry, made.plan, range(entry.run_count))


def _make_room(transaction: Transaction, entry: Entry, old: Entry) -> Sequence[Right] | None:
    """Make room in the place of an old experiment; return what was released of its view.

    A table that stays has the columns of the new view. Where statements commit, that is made before
    the rows change; the view of a table that is filled beside the old one, with its own name.
    """
    is_same = old.layout == entry.layout
    released = None
    if not is_same or views.mark(entry, transaction.dialect) != old.view:
        released = views.release(transaction, old)
    if is_same and transaction.dialect.ddl_commits:
        entry.view = views.make(transaction, entry)
        unfinished.forget(transaction, entry.table)
    entry.table, entry.retired = run_tables.succeed(transaction, old, entry.layout)
    return released


def _entry(job: Job, made: Creation, old: Entry | None) -> Entry:
    now = experiments_table.origin()
    return Entry(
        id_experiment=job.record.id_experiment,
        name=job.record.name,
        table=job.table,
        run_count=len(job.record.runs),
        states=Counter(run.ledger.state for run in job.record.runs),
        layout=made.plan.layout,
        params=made.params,
        properties={
            "created_at": now["updated_at"],
            **now,
            "write": job.token,
            "create": job.token,
        },
        revision=1 if old is None else old.revision + 1,
        view=None if old is None else old.view,
    )
