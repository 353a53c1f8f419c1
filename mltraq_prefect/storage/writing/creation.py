"""Writing a new experiment, or one that replaces another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mltraq_prefect.storage.files import file_plan
from mltraq_prefect.storage.files.file_plan import FilePlan, Planner
from mltraq_prefect.storage.records import Written
from mltraq_prefect.storage.series import series_rows, series_tables
from mltraq_prefect.storage.series.series_plan import SeriesPlan
from mltraq_prefect.storage.series.series_plan import make_plan as make_series_plan
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Right
from mltraq_prefect.storage.tables import (
    experiments_table,
    own_fields,
    run_tables,
    unfinished,
    views,
)
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.values.param_columns import ParamColumns, extended
from mltraq_prefect.storage.writing import rows
from mltraq_prefect.storage.writing.write_job import Job
from mltraq_prefect.storage.writing.write_plan import Plan, make_plan


@dataclass(frozen=True, slots=True)
class Creation:
    """What is encoded before the first statement.

    Attributes:
        plan: The runs.
        params: The kinds of their params.
        rows: Their rows.
        series: What they have logged; None if nothing.
        files: Their files; None if they have none.
        own: Cells of the experiment's own fields.
        sealed: Its pickle, or None.
    """

    plan: Plan
    params: ParamColumns
    rows: rows.Rows | None
    series: SeriesPlan | None
    files: FilePlan | None
    own: own_fields.Cells
    sealed: bytes | None


def prepare(job: Job, limit: int) -> Creation:
    """Encode everything but files; `limit` is how many bytes a row can take."""
    record = replace(job.record, snapshot=None)
    plan = make_plan(record, {}, job.dialect, compressed=job.compressed, limit=limit)
    own = own_fields.cells_of(job.own, job.dialect)
    job.check_own(own, limit)
    sealed = job.sealed(record.id_experiment, limit)
    new = rows.rows_of(plan, range(len(record.runs)), job.dialect)
    params = extended({}, [run.params for run in record.runs], job.dialect)
    logged = series_rows.of_record(record)
    series = make_series_plan(logged, None, job.dialect) if logged else None
    return Creation(plan, params, new, series, None, own, sealed)


def with_files(made: Creation, job: Job, planner: Planner) -> Creation:
    """Return it with files, whose contents are uploaded if they go into a location."""
    changes = file_plan.of_record(job.record)
    return replace(made, files=planner.plan(job.record.id_experiment, changes, is_new=True))


def create(
    transaction: Transaction, job: Job, planner: Planner, made: Creation, old: Entry | None
) -> Written:
    """Write it, in the place of an old one if there is one."""
    entry = _entry(job, made, old)
    if old is None:
        run_tables.refuse_foreign(transaction, job.table, job.record.name)
        views.refuse_foreign(transaction, job.record.name)
        entry = series_tables.begin(transaction, entry, made.series)
        entry.table = run_tables.create(transaction, job.table, job.table, made.plan.layout)
        released = None
    else:
        views.refuse_readers(transaction, old, entry)
        released = _released(transaction, old, entry)
        entry = series_tables.succeed(transaction, old, entry, made.series)
        entry.table, entry.retired = run_tables.succeed(transaction, old, made.plan.layout)
        if job.dialect.ddl_commits and not entry.is_staged:
            entry.view = views.make(transaction, entry)
            unfinished.forget(transaction, job.table)
        _empty(transaction, old, entry)
    rows.insert(transaction, entry.id_experiment, entry.table, made.rows, first=0)
    if made.series is not None:
        series_tables.write(transaction, entry, made.series)
    planner.write(transaction, entry.id_experiment, made.files)
    if old is None or entry.table != job.table:
        run_tables.add_key(transaction, entry.table)
    if not job.dialect.ddl_commits:
        entry.view = views.make(transaction, entry, released)
    experiments_table.insert(transaction, entry, made.own)
    job.write_shared(transaction, entry.id_experiment, made.sealed)
    return job.all_written(entry, made.plan, range(entry.run_count))


def _released(transaction: Transaction, old: Entry, entry: Entry) -> Sequence[Right] | None:
    """Release the view of an experiment if the one that replaces it has another."""
    if old.layout == entry.layout and views.mark(entry, transaction.dialect) == old.view:
        return None
    return views.release(transaction, old)


def _empty(transaction: Transaction, old: Entry, entry: Entry) -> None:
    """Delete what was there, where it is in the tables of the new experiment."""
    if entry.table == old.table:
        run_tables.empty(transaction, old.table)
    if old.series is not None and entry.series_table == old.series_table:
        run_tables.empty(transaction, old.series_table)
    run_tables.clear(transaction, old)


def _entry(job: Job, made: Creation, old: Entry | None) -> Entry:
    now = experiments_table.origin()
    return Entry(
        id_experiment=job.record.id_experiment,
        name=job.record.name,
        table=job.table,
        run_count=len(job.record.runs),
        states=Counter(made.plan.states()),
        layout=made.plan.layout,
        params=made.params,
        properties={
            "created_at": now["updated_at"],
            **now,
            "write": job.token,
            "create": job.token,
            **_original_name(job),
        },
        revision=1 if old is None else old.revision + 1,
        view=None if old is None else old.view,
        annotations=job.annotations if old is None else job.said_of(old),
    )


def _original_name(job: Job) -> dict[str, str]:
    name = job.record.ids_name
    return {} if name == job.record.name else {"original_name": name}
