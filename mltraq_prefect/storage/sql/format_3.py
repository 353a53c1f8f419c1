"""From format 2 to format 3.

As in format 2, all tables change before any value does, and each change looks before it adds.
"""

from __future__ import annotations

from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.format_2 import Change
from mltraq_prefect.storage.sql.schema import add_tables


def apply(transaction: Transaction) -> None:
    """Bring the tables from format 2 to format 3."""
    for change in (*TABLE_CHANGES, *VALUE_CHANGES):
        change(transaction)


TABLE_CHANGES: tuple[Change, ...] = (add_tables,)
VALUE_CHANGES: tuple[Change, ...] = ()
