"""Writing a new experiment, or one that replaces another."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from mltraq_prefect.storage import experiments_table, own_fields, rows, run_tables
from mltraq_prefect.storage.experiments_table import Entry
from mltraq_prefect.storage.records import Written
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.write_job import Job
from mltraq_prefect.storage.write_plan import Plan, make_plan


@dataclass(frozen=True, slots=True)
class Creation:
    """What is encoded before the first statement.

    Attributes:
        plan: The runs.
        rows: Their rows.
        own: Cells of the experiment's own fields.
        sealed: Its pickle, or None.
    """

    plan: Plan
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
    return Creation(plan, new, own, sealed)


def create(transaction: Transaction, job: Job, made: Creation, old: Entry | None) -> Written:
    """Write it, in the place of an old one if there is one."""
    retired = None
    if old is None:
        run_tables.refuse_foreign(transaction, job.table, job.record.name)
        table = run_tables.create(transaction, job.table, made.plan.layout)
    else:
        table, retired = run_tables.succeed(transaction, old, made.plan.layout)
        run_tables.clear(transaction, old)
    rows.insert(transaction, job.record.id_experiment, table, made.rows, first=0)
    if old is None or table != job.table:
        run_tables.add_key(transaction, table)
    entry = replace(_entry(job, made, table, old), retired=retired)
    experiments_table.insert(transaction, entry, made.own)
    job.write_shared(transaction, entry.id_experiment, made.sealed)
    return job.all_written(entry, made.plan, range(entry.run_count))


def _entry(job: Job, made: Creation, table: str, old: Entry | None) -> Entry:
    now = experiments_table.origin()
    return Entry(
        id_experiment=job.record.id_experiment,
        name=job.record.name,
        table=table,
        run_count=len(job.record.runs),
        states=Counter(run.ledger.state for run in job.record.runs),
        layout=made.plan.layout,
        properties={
            "created_at": now["updated_at"],
            **now,
            "write": job.token,
            "create": job.token,
        },
        revision=1 if old is None else old.revision + 1,
    )
