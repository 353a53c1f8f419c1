"""Updates of several rows by one statement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from mltraq_prefect.storage.sql.dialects.declarations import Columns

MIN_COPIED_ROWS = 50
"""Fewer rows are in the statement that updates them."""

MAX_PARAMETERS = 2**15
"""Half of what a statement can have."""

Target = tuple[str, Sequence[str], Sequence[str]]
"""A table, its columns that change, and its keys, in quotes."""


def fits(columns: Columns) -> bool:
    """Return whether one statement has room for rows, given by their columns."""
    count = len(columns[0])
    return count < MIN_COPIED_ROWS and count * len(columns) <= MAX_PARAMETERS


def from_values(cursor: Any, target: Target, types: Mapping[str, str], columns: Columns) -> int:
    """Update rows from others that are in the statement; return how many were found.

    Args:
        cursor: Of the driver.
        target: What changes.
        types: SQL types of the new values, then of the keys, by the names ``c0``, ``c1``, ...
        columns: Their cells.
    """
    row = f"({', '.join(f'%s::{type_}' for type_ in types.values())})"
    rows = ", ".join([row] * len(columns[0]))
    parameters = [*chain.from_iterable(zip(*columns, strict=True))]
    return update(cursor, target, f"(VALUES {rows}) AS u ({', '.join(types)})", parameters)


@contextmanager
def staging(cursor: Any, types: Mapping[str, str]) -> Iterator[str]:
    """Make a temporary table with columns of some types; yield what it is called."""
    fields = ", ".join(f"{name} {type_}" for name, type_ in types.items())
    cursor.execute(f"CREATE TEMPORARY TABLE mltraq_update ({fields}) ON COMMIT DROP")
    yield "pg_temp.mltraq_update"
    cursor.execute("DROP TABLE pg_temp.mltraq_update")


def update(cursor: Any, target: Target, source: str, parameters: Sequence[Any] = ()) -> int:
    """Update rows from those of a source ``u``; return how many were found."""
    table, changed, keys = target
    values = ", ".join(f"{name} = u.c{index}" for index, name in enumerate(changed))
    pairs = enumerate(keys, len(changed))
    matched = " AND ".join(f"t.{name} = u.c{index}" for index, name in pairs)
    cursor.execute(f"UPDATE {table} AS t SET {values} FROM {source} WHERE {matched}", parameters)
    found: int = cursor.rowcount
    return found
