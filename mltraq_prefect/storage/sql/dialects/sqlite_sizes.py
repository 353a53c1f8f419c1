"""Sizes of tables in SQLite, estimated by a bounded number of rows."""

from __future__ import annotations

import sqlalchemy as sa

from mltraq_prefect.storage.sql.dialects.base import Dialect
from mltraq_prefect.storage.values.names import runs_table_of

ROWS_MEASURED = 20
"""Rows whose cells tell how many bytes a table takes, and runs whose series tell how many rows."""

ROW_BYTES, PAGE = 16, 4096
"""What a row takes beside its columns, in the table and in the index; and a table without rows."""


def size(dialect: Dialect, connection: sa.Connection, table: str) -> int:
    """Return about how many bytes a table takes with its index."""
    rows = _row_count(dialect, connection, table)
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


def _row_count(dialect: Dialect, connection: sa.Connection, table: str) -> int:
    """Return the last row's number; for series, an estimate by what some runs have logged."""
    runs = runs_table_of(table)
    last = f"SELECT coalesce(max(rowid), 0) FROM {dialect.quote(runs)}"
    run_count: int = connection.exec_driver_sql(last).scalar_one()
    if runs == table:
        return run_count
    quoted, lengths = dialect.quote(table), list[int]()
    id_run = ""
    while len(lengths) < ROWS_MEASURED:
        following = f"SELECT min(id_run) FROM {quoted} WHERE id_run > ?"
        id_run = connection.exec_driver_sql(following, (id_run,)).scalar_one()
        if id_run is None:
            return sum(lengths)
        length = f"SELECT max(seq) + 1 FROM {quoted} WHERE id_run = ?"
        lengths.append(connection.exec_driver_sql(length, (id_run,)).scalar_one())
    return run_count * sum(lengths) // len(lengths)
