"""Sizes of tables in SQLite, estimated by a bounded number of rows."""

from __future__ import annotations

import sqlalchemy as sa

from mltraq_prefect.storage.sql.dialects.base import Dialect

ROWS_MEASURED = 20
"""Rows whose cells tell how many bytes a table takes."""

ROW_BYTES, PAGE = 16, 8192
"""What a row takes beside its columns, in the table and in the index; and a table without rows."""


def size(dialect: Dialect, connection: sa.Connection, table: str) -> int:
    """Return about how many bytes a table takes with its index."""
    last = f"SELECT coalesce(max(rowid), 0) FROM {dialect.quote(table)}"
    rows: int = connection.exec_driver_sql(last).scalar_one()
    names = connection.exec_driver_sql(f"PRAGMA table_info({dialect.quote(table)})").all()
    lengths = ", ".join(
        f"total(length(CAST({dialect.quote_foreign(name)} AS BLOB)))" for _, name, *_ in names
    )
    first = f"(SELECT * FROM {dialect.quote(table)} LIMIT {ROWS_MEASURED})"
    cells = connection.exec_driver_sql(f"SELECT {lengths} FROM {first}").one()
    measured = min(rows, ROWS_MEASURED)
    ids = cells[0]  # once more in the index of the key
    each = (sum(cells) + ids) / measured + len(names) + ROW_BYTES if measured else 0
    return PAGE + int(rows * each)
