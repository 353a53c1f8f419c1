"""Another name for an experiment, and for its table.

The ids of runs stay, and so do pickles: both are made of the name that the experiment had first,
which its row keeps. Where each statement that changes a table commits, the table gets the name of a
helper, then the row of the experiment the new name, then the table its own; killed between any two,
readers find it, and the next writer goes on from there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mltraq_prefect.errors import ExperimentExists, StoreError
from mltraq_prefect.model.names import check_name
from mltraq_prefect.storage.formats.schema import check_version
from mltraq_prefect.storage.reading import reader
from mltraq_prefect.storage.sql.connections import Database, Transaction
from mltraq_prefect.storage.tables import (
    attachments,
    experiments_table,
    run_tables,
    unfinished,
    views,
)
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.values.names import series_name, table_name, view_name


def rename(
    database: Database, name: str, new: str, id_experiment: str | None, renamed: list[str]
) -> None:
    """Give an experiment another name, in one transaction that may be repeated.

    Args:
        database: Where.
        name: Its name.
        new: The name that it shall have.
        id_experiment: Its id, if only that experiment is meant.
        renamed: Tells a repetition the id of the experiment that it was.
    """
    own, wanted = table_name(name), table_name(new)
    with database.writing(own, wanted) as transaction:
        check_version(transaction, database)
        entry = run_tables.recover(transaction, own, experiments_table.find(transaction, name))
        taken = run_tables.recover(transaction, wanted, experiments_table.find(transaction, new))
        if taken is not None and entry is None and taken.id_experiment in renamed:
            return  # the commit was done, and its acknowledgement lost
        if taken is not None:
            raise ExperimentExists(
                f"experiment {name!r} cannot be renamed: there is an experiment {new!r} in the "
                f"database {database.url} already; give another name, or delete that one first"
            )
        entry = entry or reader.stored_entry(transaction, name)
        if id_experiment not in (None, entry.id_experiment):
            raise StoreError(
                f"experiment {name!r} has been replaced since it was loaded, so it was not "
                "renamed; load it again"
            )
        renamed.append(entry.id_experiment)
        _rename(transaction, entry, check_name(new, "experiment name"))


def _rename(transaction: Transaction, entry: Entry, new: str) -> None:
    _refuse(transaction, entry, new)
    moved = replace(
        entry,
        name=new,
        table=table_name(new),
        series_table=series_name(new),
        properties=_properties(entry, new),
        revision=entry.revision + 1,
    )
    if transaction.dialect.ddl_commits:
        _stage(transaction, entry, moved)
    else:
        _move(transaction, entry, moved)


def _refuse(transaction: Transaction, entry: Entry, new: str) -> None:
    run_tables.refuse_foreign(transaction, table_name(new), new)
    if entry.series is not None:
        run_tables.refuse_foreign(transaction, series_name(new), new)
    views.refuse_foreign(transaction, new)
    attachments.refuse_named(transaction, entry)


def _properties(entry: Entry, new: str) -> dict[str, Any]:
    known = {**entry.properties, **experiments_table.origin()}
    known.pop("original_name", None)
    return known if entry.original_name == new else known | {"original_name": entry.original_name}


def _stage(transaction: Transaction, entry: Entry, moved: Entry) -> None:
    aside = run_tables.set_aside(transaction, entry)
    staged = replace(moved, table=aside.table, view=None)
    if entry.series is not None:
        staged.series_table = aside.series_table
    experiments_table.update(transaction, staged)
    unfinished.move(transaction, entry.table, moved.table)
    run_tables.settle(transaction, staged)
    unfinished.forget(transaction, moved.table)


def _move(transaction: Transaction, entry: Entry, moved: Entry) -> None:
    """Rename the tables; views of users follow, and the experiment's own is made anew."""
    quote, dialect = transaction.quote, transaction.dialect
    if entry.view is not None and dialect.keeps_attached:  # rights on it go by its new name
        old, now = quote(view_name(entry.name)), quote(view_name(moved.name))
        transaction.run(f"ALTER VIEW {old} RENAME TO {now}")
        released = views.release(transaction, moved)
    else:
        released = views.release(transaction, entry)
    if released is not None:
        moved.view = None
    tables = {entry.table: moved.table}
    if entry.series is not None:
        tables[entry.series_table] = moved.series_table
    for old, now in tables.items():
        transaction.run(f"ALTER TABLE {quote(old)} RENAME TO {quote(now)}")
        for statement in dialect.rekey(transaction.connection, now):
            transaction.run(statement)
    moved.view = views.make(transaction, moved, released)
    experiments_table.update(transaction, moved)
