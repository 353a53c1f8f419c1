"""From format 3 to format 4.

As in the formats before, all tables change before any value does, and each change looks before it
adds.
"""

from __future__ import annotations

from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.format_2 import Change
from mltraq_prefect.storage.sql.schema import LEDGERS, add_columns, add_indexes, add_tables
from mltraq_prefect.storage.values.kinds import TEXT


def apply(transaction: Transaction) -> None:
    """Bring the tables from format 3 to format 4."""
    for change in (*TABLE_CHANGES, *VALUE_CHANGES):
        change(transaction)


def _name_executions(transaction: Transaction) -> None:
    """Runs, and their steps, say which execution they are of."""
    for table in LEDGERS:
        add_columns(transaction, table, {"id_execution": TEXT})


TABLE_CHANGES: tuple[Change, ...] = (_name_executions, add_tables)
VALUE_CHANGES: tuple[Change, ...] = (add_indexes,)
