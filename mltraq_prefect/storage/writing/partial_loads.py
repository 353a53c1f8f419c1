"""Writing an experiment that is another one in the database than the one that was read."""

from __future__ import annotations

from collections.abc import Collection

from mltraq_prefect.errors import ExperimentNotFound, StoreError
from mltraq_prefect.storage.records import Record
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.texts import counted


def refuse_other(record: Record, current: Entry | None) -> None:
    """Refuse to write it into another experiment than the one that was read, or as a new one.

    Its runs would be written without those fields, or with values that belong to others.

    Raises:
        StoreError: The experiment was deleted or replaced.
    """
    read = record.snapshot
    if read is None or not record.missing_fields:
        return
    if current is None or current.id_experiment != read.id_experiment:
        raise StoreError(
            f"experiment {record.name!r} has been {'deleted' if current is None else 'replaced'} "
            f"since it was loaded without {_named(record.missing_fields)}, so nothing was written; "
            "load it again"
        )


def refuse_gone_experiment(record: Record, current: Entry | None) -> None:
    """Refuse to write what came of runs as a new experiment, or into another one.

    Raises:
        ExperimentNotFound: The experiment was deleted or replaced.
    """
    if current is None or current.id_experiment != record.id_experiment:
        raise ExperimentNotFound(
            f"experiment {record.name!r} has been {'deleted' if current is None else 'replaced'} "
            "since its runs were read, or this is another database"
        )


def refuse_other_ids(record: Record, current: Entry) -> None:
    """Refuse to merge runs into an experiment whose ids of runs are made of another name.

    Equal params would become runs twice.

    Raises:
        StoreError: They are.
    """
    if record.ids_name != current.original_name:
        raise StoreError(
            f"experiment {record.name!r} cannot be merged into the one of this name in the "
            f"database, which was defined as {current.original_name!r} and renamed: ids of its "
            f"runs are made of that name, and those here of {record.ids_name!r}; load it, or "
            "define it by add_experiment of a session on this database"
        )


def refuse_renamed(transaction: Transaction, record: Record) -> None:
    """Refuse to write an experiment anew that has got another name since it was read.

    Raises:
        StoreError: It has.
    """
    if record.revision is None:
        return
    sql = "SELECT name FROM experiments WHERE id_experiment = ?"
    for (name,) in transaction.rows(sql, (record.id_experiment,)):
        raise StoreError(
            f"experiment {record.name!r} has been renamed to {name!r} since it was read, so "
            "nothing was written; load it by that name"
        )


def refuse_gone(record: Record, gone: Collection[str]) -> None:
    """Refuse to write runs anew that were read without some of their fields.

    Args:
        record: What is merged.
        gone: Ids of its runs that the database does not have now.

    Raises:
        StoreError: One of them was read.
    """
    read = record.snapshot
    if read is None or not record.missing_fields:
        return
    lost = [id_run for id_run in gone if id_run in read.runs]
    if lost:
        raise StoreError(
            f"experiment {record.name!r} was loaded without {_named(record.missing_fields)}, and "
            f"{counted(len(lost), 'of its runs has', 'of its runs have')} been deleted since, so "
            "nothing was written: "
            f"{', '.join(lost[:3])}; load it again"
        )


def _named(fields: Collection[str]) -> str:
    shown = ", ".join(map(repr, [*fields][:3]))
    return f"the fields {shown}" + (", ..." if len(fields) > 3 else "")
