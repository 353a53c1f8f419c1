"""What users have attached to tables of an experiment, and would lose: it is named, not lost."""

from __future__ import annotations

from collections.abc import Collection

from mltraq_prefect.errors import ForeignTable, StoreError
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.values.names import view_name


def refuse_dependents(
    transaction: Transaction, entry: Entry, what: str, columns: Collection[str] | None = None
) -> None:
    """Refuse to take from users what hangs on a table of runs.

    Args:
        transaction: Where.
        entry: The experiment.
        what: What cannot be done with it.
        columns: The columns that would go; the whole table if None.

    Raises:
        StoreError: Something hangs on it; names it.
    """
    view = view_name(entry.name)
    found = {
        dependent.what: f"table {entry.table}"
        for dependent in transaction.dependents(entry.table)
        if columns is None or dependent.column in columns
    }
    if entry.view is not None and found.pop(f"view {view}", ""):  # it would have to go
        found |= {own.what: f"view {view}" for own in transaction.dependents(view)}
    if found:
        raise StoreError(
            f"experiment {entry.name!r} cannot be {what}, as its "
            f"{' and '.join(dict.fromkeys(found.values()))} is used by {', '.join(found)}; "
            "drop that first, and make it again afterwards"
        )


def refuse_named(transaction: Transaction, entry: Entry) -> None:
    """Refuse to rename an experiment if something of a user's goes by names of its tables.

    Raises:
        StoreError: There is such a thing, which would be lost; names it.
    """
    view = view_name(entry.name)
    names = [entry.table, view, *([entry.series_table] if entry.series is not None else [])]
    found = dict.fromkeys(
        what
        for name in names
        for what in transaction.dialect.named(transaction.connection, name)
        if what != f"view {view}"
    )
    if found:
        raise StoreError(
            f"experiment {entry.name!r} cannot be renamed: {', '.join(found)} would not follow, as "
            f"it goes by the name of {', '.join(names)}; drop or revoke that first, and make it "
            "again afterwards"
        )


def refuse_added(transaction: Transaction, entry: Entry, columns: Collection[str]) -> None:
    """Refuse to drop a table to which somebody has added columns.

    Args:
        transaction: Where.
        entry: The experiment.
        columns: Names of columns that it has beside those of the layout.

    Raises:
        ForeignTable: It has such columns; names them.
    """
    own = {*columns, *(str(column.name) for column in entry.layout.values())}
    added = sorted(transaction.columns(entry.table) - own)
    if added:
        raise ForeignTable(
            f"experiment {entry.name!r} cannot be replaced by one with other columns: its table "
            f"{entry.table} would lose what is not from mltraq_prefect, {', '.join(added)}; drop "
            "that first, or delete the experiment"
        )
