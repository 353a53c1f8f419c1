"""What a change of tables has made so far, where each of its statements commits.

A table or column is written down before it is made, by the name that it gets. A writer that is
killed leaves it behind; the next writer of the experiment, who holds the same lock, knows by these
rows that it is ours, and drops it. What is not written down is never dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.values.kinds import KEY, Kind
from mltraq_prefect.storage.values.names import is_helper

UNFINISHED: dict[str, Kind] = {"owner": KEY, "table_name": KEY, "column_name": KEY}
"""The table of an experiment, what was made, and which column of it; empty for a whole table."""


def note(transaction: Transaction, owner: str, table: str, columns: Iterable[str] = ("",)) -> None:
    """Write down a helper table, or columns of a table, that are about to be made."""
    for column in columns:
        transaction.run(
            "INSERT INTO experiment_unfinished (owner, table_name, column_name) VALUES (?, ?, ?)",
            (owner, table, column),
        )


def is_noted(transaction: Transaction, owner: str, table: str | None = None) -> bool:
    """Return whether something of this name is written down; anything, if it is None."""
    sql = "SELECT 1 FROM experiment_unfinished WHERE owner = ?"
    if table is None:
        return bool(transaction.rows(f"{sql} LIMIT 1", (owner,)))
    return bool(transaction.rows(f"{sql} AND table_name = ? LIMIT 1", (owner, table)))


def move(transaction: Transaction, owner: str, to: str) -> None:
    """Write the notes about an experiment down for another name."""
    sql = "UPDATE experiment_unfinished SET owner = ? WHERE owner = ?"
    transaction.run(sql, (to, owner))


def forget(transaction: Transaction, owner: str, table: str | None = None) -> None:
    """Forget the notes about an experiment, or one thing: what they name belongs to it now."""
    sql = "DELETE FROM experiment_unfinished WHERE owner = ?"
    if table is None:
        transaction.run(sql, (owner,))
    else:
        transaction.run(f"{sql} AND table_name = ?", (owner, table))


def undo(transaction: Transaction, owner: str, columns: Mapping[str, Collection[str]]) -> None:
    """Drop what a killed writer has left.

    Args:
        transaction: Where; it holds the lock of the experiment.
        owner: Name of the experiment's table.
        columns: Names of the columns that the experiment has, by table.
    """
    rows = transaction.rows(
        "SELECT table_name, column_name FROM experiment_unfinished WHERE owner = ?", (owner,)
    )
    if not rows:
        return
    quote = transaction.quote
    for table, column in rows:
        if not column and is_helper(table):
            transaction.run(f"DROP TABLE IF EXISTS {quote(table)}")
        elif column not in columns.get(table, (column,)) and _has(transaction, table, column):
            transaction.run(f"ALTER TABLE {quote(table)} DROP COLUMN {quote(column)}")
    forget(transaction, owner)


def _has(transaction: Transaction, table: str, column: str) -> bool:
    return transaction.has_table(table) and column in transaction.columns(table)
