"""DuckDB, by duckdb-engine: a fourth kind of database, which the package does not know.

This module and a line in the register are all that it takes. Tests alone put it there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import sqlalchemy as sa

from mltraq_prefect.storage.sql.dialects import lexing
from mltraq_prefect.storage.sql.dialects.base import Dialect
from mltraq_prefect.storage.sql.dialects.declarations import Columns, ColumnType, Trouble
from mltraq_prefect.storage.values import kinds
from mltraq_prefect.storage.values.kinds import Kind

BLOCK = 262_144
"""Bytes of a block of a file."""

_TROUBLES: dict[str, Trouble] = {
    "IOException": "unavailable",
    "ConnectionException": "unavailable",
    "TransactionException": "conflict",
    "ConstraintException": "conflict",  # another has inserted a run at the same position
    "CatalogException": "moved",
    "OutOfMemoryException": "full",
}

_QUOTING = frozenset(("ConversionException", "ConstraintException", "OutOfRangeException"))


class DuckDB(Dialect):
    """DuckDB, in a file that one process has open at a time, or in memory.

    Of two transactions that change the same rows one fails, and is repeated: there is no lock.
    """

    name = "duckdb"
    placeholder = "?"
    max_columns = 2000
    inline_bytes = 16_384
    savepoints = False
    byte_length = "octet_length"
    apart = lexing.POSTGRESQL
    types: ClassVar[Mapping[Kind, ColumnType]] = {
        kinds.BOOL: ColumnType("BOOLEAN"),
        kinds.INT: ColumnType("BIGINT"),
        kinds.FLOAT: ColumnType("DOUBLE"),
        kinds.TEXT: ColumnType("VARCHAR"),
        kinds.BYTES: ColumnType("BLOB"),
        kinds.DATETIME: ColumnType("TIMESTAMP"),
        kinds.DATE: ColumnType("DATE"),
        kinds.TIME: ColumnType("TIME"),
        kinds.UUID: ColumnType("UUID"),
        # duckdb-engine parses what has the type kinds.JSON, as a query shows it
        kinds.JSON: ColumnType("VARCHAR"),
        kinds.BINARY: ColumnType("BLOB"),
        kinds.KEY: ColumnType("VARCHAR"),
    }

    def connect_args(self, url: sa.URL) -> dict[str, Any]:
        """Nothing is waited for."""
        return {}

    def engine_options(self, url: sa.URL) -> dict[str, Any]:
        """Leave the file to other processes between transactions; keep a memory."""
        return {"poolclass": sa.pool.StaticPool if self.is_private(url) else sa.pool.NullPool}

    def is_private(self, url: sa.URL) -> bool:
        """Return whether the URL names a database in memory."""
        return url.database in (None, "", ":memory:")

    def indexes(self, connection: sa.Connection, table: str) -> set[str]:
        """Ask DuckDB: duckdb-engine cannot tell."""
        sql = "SELECT index_name FROM duckdb_indexes() WHERE table_name = ?"
        return set(connection.exec_driver_sql(sql, (table,)).scalars())

    def begin(self, connection: sa.Connection, *, write: bool) -> None:
        """Go on in the transaction that has begun, or begin one that only reads."""
        if not write:
            connection.exec_driver_sql("ROLLBACK")
            connection.exec_driver_sql("BEGIN TRANSACTION READ ONLY")

    def sizes(self, connection: sa.Connection, tables: Sequence[str]) -> dict[str, int]:
        """Count the blocks of a file; a memory has none."""
        sql = (
            "SELECT count(DISTINCT block_id) + sum(len(additional_block_ids)) "
            "FROM pragma_storage_info(?) WHERE block_id >= 0"
        )
        found = {name: connection.exec_driver_sql(sql, (name,)).scalar() for name in tables}
        return {name: int(blocks) * BLOCK for name, blocks in found.items() if blocks}

    def retype(self, table: str, column: str, kind: Kind, *, is_empty: bool) -> Sequence[str]:
        """Convert in place."""
        source = "NULL" if is_empty else column
        type_ = self.types[kind].sql
        return (f"ALTER TABLE {table} ALTER {column} TYPE {type_} USING CAST({source} AS {type_})",)

    def insert(self, cursor: Any, table: str, kinds: Mapping[str, Kind], columns: Columns) -> None:
        """Insert lists of cells, a column each: a statement for each row takes a millisecond."""
        names = ", ".join(map(self.quote, kinds))
        sql = f"INSERT INTO {self.quote(table)} ({names}) SELECT {self._lists(kinds)}"
        cursor.execute(sql, list(map(list, columns)))

    def update(
        self,
        cursor: Any,
        table: str,
        kinds: Mapping[str, Kind],
        keys: Mapping[str, Kind],
        columns: Columns,
    ) -> None:
        """Update from lists of cells."""
        values = ", ".join(f"{self.quote(name)} = u.{self.quote(name)}" for name in kinds)
        found = " AND ".join(f"t.{self.quote(name)} = u.{self.quote(name)}" for name in keys)
        cursor.execute(
            f"UPDATE {self.quote(table)} AS t SET {values} "
            f"FROM (SELECT {self._lists({**kinds, **keys})}) AS u WHERE {found}",
            list(map(list, columns)),
        )

    def _lists(self, kinds: Mapping[str, Kind]) -> str:
        """Return the columns of a SELECT whose parameters are lists."""
        return ", ".join(
            f"unnest(CAST(? AS {self.types[kind].sql}[])) AS {self.quote(name)}"
            for name, kind in kinds.items()
        )

    def quotes_values(self, error: BaseException) -> bool:
        """Read the class of the error."""
        return type(error).__name__ in _QUOTING

    def trouble(self, error: BaseException) -> Trouble:
        """Read the class of the error, and whether nothing can be written."""
        if "read-only mode" in str(error):
            return "read-only"
        return _TROUBLES.get(type(error).__name__, "other")
