"""Which column of a table or view each column of a result is, in SQLite.

The driver does not say it. But SQLite declares a column of a view as the column is declared that it
is, through subqueries and other views, and as nothing if it is computed. So the statement becomes a
view in a database in memory, whose tables have the columns of the real ones, each declared as a
type of its own.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from typing import Any

from mltraq_prefect.storage.sql.dialects import lexing
from mltraq_prefect.storage.sql.dialects.declarations import Origin

_SELECTS = re.compile(r"[\s(]*(SELECT|WITH)\b", re.IGNORECASE)

_COMPOUND = re.compile(r"\b(UNION|INTERSECT|EXCEPT)\b", re.IGNORECASE)
"""SQLite declares the result of several SELECTs as that of the first of them."""


def origins(
    connection: Any, sql: str, are_whole: Callable[[Collection[str]], Collection[str]]
) -> list[Origin | None]:
    """Return the origin of each column of the result; nothing if that cannot be told.

    Args:
        connection: The driver's, which may execute the statement.
        sql: The statement, without parameters.
        are_whole: Returns those of some views whose columns are origins themselves.
    """
    if not _SELECTS.match(lexing.code(sql, lexing.SQLITE)):
        return []
    try:
        with closing(sqlite3.connect(":memory:")) as shadow:
            return _declared(shadow, connection, sql, are_whole)
    except sqlite3.Error:  # functions and modules that the shadow does not have
        return []


def _declared(
    shadow: sqlite3.Connection,
    connection: Any,
    sql: str,
    are_whole: Callable[[Collection[str]], Collection[str]],
) -> list[Origin | None]:
    texts = _read_by(connection, sql)
    views = {name for name, (type_, _) in texts.items() if type_ == "view"}
    whole = are_whole(views)
    inlined = [texts[name][1] for name in views if name not in whole]
    if any(_COMPOUND.search(lexing.code(text, lexing.SQLITE)) for text in (sql, *inlined)):
        return []
    known: list[Origin] = []
    for name in texts:
        if name in views and name not in whole:
            continue
        own = [Origin(name, column) for column in _columns(connection, name)]
        first = len(known)
        declared = [f"{_quoted(o.column)} ORIGIN_{first + i}" for i, o in enumerate(own)]
        shadow.execute(f"CREATE TABLE {_quoted(name)} ({', '.join(declared)})")
        known += own
    for text in inlined:
        shadow.execute(text)
    shadow.execute(f"CREATE TEMP VIEW mltraq_result AS {sql}")
    types = [row[2] for row in shadow.execute("PRAGMA table_info(mltraq_result)")]
    return [
        known[int(type_.removeprefix("ORIGIN_"))] if type_.startswith("ORIGIN_") else None
        for type_ in types
    ]


def _read_by(connection: Any, sql: str) -> dict[str, tuple[str, str]]:
    """Return type and text of each table and view that a statement reads, by name."""
    read: set[str] = set()

    def note(action: int, first: str | None, *more: str | None) -> int:
        if action == sqlite3.SQLITE_READ:
            read.update(name for name in (first, more[-1]) if name)
        return sqlite3.SQLITE_OK

    connection.set_authorizer(note)
    try:
        connection.execute(f"EXPLAIN {sql}").close()
    finally:
        connection.set_authorizer(None)
    marks = ", ".join("?" * len(read))
    rows = connection.execute(
        "SELECT name, type, sql FROM sqlite_schema "
        f"WHERE type IN ('table', 'view') AND name IN ({marks})",
        tuple(read),
    )
    return {name: (type_, text) for name, type_, text in rows}


def _columns(connection: Any, name: str) -> list[str]:
    """Return the columns that `*` stands for."""
    rows = connection.execute("SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1", (name,))
    return [column for (column,) in rows]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
