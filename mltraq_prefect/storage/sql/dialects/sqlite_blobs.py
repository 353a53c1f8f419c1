"""Inserting large values into SQLite without copies of them.

A value that is bound to a statement is copied, and once more as its row is made, each time into
memory that the process has to get first. So a row gets as many zeros, which take no memory, and the
value is written over them (https://www.sqlite.org/c3ref/blob_open.html), while its pages are in the
cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mltraq_prefect.storage.sql.dialects.declarations import Columns
from mltraq_prefect.storage.values.kinds import Kind

CACHE_KIB = 65_536
"""Memory for pages: lets the index of a key stay there while a table is filled."""

FEW_KIB = 2_048
"""Memory for pages that nothing reads again: new memory costs more than to write them."""

LEAST, MOST = 2**16, 2**25
"""Bytes of values that are inserted so: smaller ones take less than the call that writes them, and
the pages of larger ones would leave the cache as zeros."""

TABLES = ("experiment_values", "experiment_file_pieces")
"""Those whose rows have a number, by which SQLite finds a value; their last column is large."""


def cache(kib: int) -> str:
    """Return the statement that gives a connection so much memory for pages."""
    return f"PRAGMA cache_size = -{kib}"


@contextmanager
def passing_through(cursor: Any, kib: int = FEW_KIB) -> Iterator[None]:
    """Let pages leave memory soon: nothing reads large values again, and new memory costs most."""
    cursor.execute(cache(kib))
    try:
        yield
    finally:
        cursor.execute(cache(CACHE_KIB))


def takes(cursor: Any, table: str, largest: int) -> bool:
    """Return whether `insert` inserts rows of a table with so large values.

    A trigger or an index that somebody has added would get the zeros.
    """
    if table not in TABLES or not LEAST <= largest <= MOST:
        return False
    added = (
        "SELECT 1 FROM sqlite_master WHERE tbl_name = ? AND type IN ('trigger', 'index') "
        "AND sql IS NOT NULL"
    )
    return cursor.execute(added, (table,)).fetchone() is None


def insert(cursor: Any, table: str, kinds: Mapping[str, Kind], columns: Columns) -> None:
    """Insert rows of one of the `TABLES`, one by one."""
    *_, column = kinds
    sql = f"INSERT INTO {table} ({', '.join(kinds)}) VALUES ({'?, ' * (len(kinds) - 1)}zeroblob(?))"
    pages = max(map(len, columns[-1])) * 5 // 4 // 1024
    with passing_through(cursor, FEW_KIB + pages):
        for *cells, value in zip(*columns, strict=True):
            cursor.execute(sql, (*cells, len(value)))
            with cursor.connection.blobopen(table, column, cursor.lastrowid) as blob:
                blob.write(value)
