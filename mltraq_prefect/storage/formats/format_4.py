"""From format 3 to format 4.

As in the formats before, all tables change before any value does, and each change looks before it
adds.
"""

from __future__ import annotations

from mltraq_prefect.storage.formats.format_2 import Change
from mltraq_prefect.storage.formats.schema import LEDGERS, add_columns, add_indexes, add_tables
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables import stretches
from mltraq_prefect.storage.tables.progress_view import add_progress_view
from mltraq_prefect.storage.values.kinds import TEXT

OLD_INDEX = "experiment_runs_by_standing"


def apply(transaction: Transaction) -> None:
    """Bring the tables from format 3 to format 4."""
    for change in (*TABLE_CHANGES, *VALUE_CHANGES):
        change(transaction)


def _name_executions(transaction: Transaction) -> None:
    """Runs, and their steps, say which execution they are of."""
    for table in LEDGERS:
        add_columns(transaction, table, {"id_execution": TEXT})


def _fill_standings(transaction: Transaction) -> None:
    """Standings of runs are stretches of positions, no cells of the ledger."""
    for (id_experiment,) in transaction.rows("SELECT id_experiment FROM experiments"):
        found = stretches.of_ledger(transaction, id_experiment)
        stretches.begin(transaction, id_experiment, found)


def _drop_standings(transaction: Transaction) -> None:
    """Drop what they were before: who has an older version can write no run from now on.

    A column that a view of a user's reads stays, without a use, where the database refuses to
    drop it.
    """
    dialect, table = transaction.dialect, "experiment_runs"
    if OLD_INDEX in dialect.indexes(transaction.connection, table):
        transaction.run(dialect.drop_index(OLD_INDEX, table))
    if "standing" in transaction.columns(table):
        transaction.allows([f"ALTER TABLE {table} DROP COLUMN standing"])


def _leave_room(transaction: Transaction) -> None:
    """New pages of the ledger have room for what is written later, as those of a new table."""
    for statement in transaction.dialect.leave_room("experiment_runs"):
        transaction.run(statement)


TABLE_CHANGES: tuple[Change, ...] = (
    _name_executions,
    _leave_room,
    add_tables,
    add_progress_view,
)
VALUE_CHANGES: tuple[Change, ...] = (_drop_standings, _fill_standings, add_indexes)
