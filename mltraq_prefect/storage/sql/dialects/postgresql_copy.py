"""Rows for COPY, and whether its binary format has the types that columns have."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from mltraq_prefect.storage.sql.dialects.declarations import Columns

_LIKE_TEXT = ("text", "varchar", "json")
"""Types whose cells are as those of text in the binary format."""


def send(cursor: Any, target: str, columns: Columns, types: Sequence[str] | None) -> None:
    """Send rows: numbers need no digits in the binary format.

    In that the server takes the bytes of a cell for one of the type that its column has.

    Args:
        cursor: Of the driver.
        target: The table and its columns, in quotes.
        columns: Their cells.
        types: What the binary format calls the cells of each; None for texts, which the server
            converts to any type.
    """
    format_ = "" if types is None else " (FORMAT BINARY)"
    with cursor.copy(f"COPY {target} FROM STDIN{format_}") as copy:
        if types is not None:
            copy.set_types(types)
        deque(map(copy.write_row, zip(*columns, strict=True)), maxlen=0)


def have_types(cursor: Any, table: str, names: str, types: Sequence[str]) -> bool:
    """Return whether columns have some types, which stay so until the transaction ends.

    Args:
        cursor: Of the driver.
        table: The table, in quotes.
        names: Its columns, in quotes.
        types: What the binary format calls their cells.
    """
    cursor.execute(f"SELECT {names} FROM {table} LIMIT 0")
    get_oid = cursor.connection.adapters.types.get_oid
    texts = {get_oid(name): get_oid("text") for name in _LIKE_TEXT}
    found = [texts.get(own.type_code, own.type_code) for own in cursor.description]
    return found == [*map(get_oid, types)]
