"""What a dialect declares of its columns, and what it says of errors and of others' objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Trouble = Literal[
    "unavailable",
    "conflict",
    "moved",
    "timeout",
    "read-only",
    "forbidden",
    "unreadable",
    "full",
    "encoding",
    "other",
]
"""What a driver's error means.

``timeout`` is a limit of the server, or of a wait for others, that has passed; ``encoding`` a
character that the database cannot hold; ``forbidden`` what this user may not do. After
``unavailable``, ``conflict`` and ``moved`` (a table or column that was there a moment ago is not
there now: another process is changing it) a transaction is repeated.
"""

Role = Literal["reader", "writer", "owner"]
"""What a user of the database may do: read; add and change runs; all."""

RIGHTS: dict[Role, str] = {"reader": "SELECT", "writer": "SELECT, INSERT, UPDATE, DELETE"}
"""Rights on tables of those who own none."""

Columns = Sequence[Sequence[Any]]
"""The cells of many rows, a sequence a column."""

SCHEMA = "mltraq schema"

LOCK_SECONDS = 60
"""How long a writer waits for another one."""


class Dependent(NamedTuple):
    """Something of a user's that hangs on a table.

    Attributes:
        what: What it is and what it is called, such as ``view public.best``.
        column: The column on which it hangs; None if it is the table.
    """

    what: str
    column: str | None


class Right(NamedTuple):
    """What gives a table or view again what a user had given it.

    Attributes:
        column: The column that it is about; None if it is the whole.
        statement: Does it.
    """

    column: str | None
    statement: str


class Origin(NamedTuple):
    """What a column of a result is: not what is computed of it.

    Attributes:
        relation: Name of the table or view.
        column: Name of its column.
    """

    relation: str
    column: str


Origins = Sequence[Origin | None]
"""The origin of each column of a result; None where it is computed."""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """What a kind of column is in one database.

    Attributes:
        sql: The type, as statements name it.
        width: Bytes that a cell takes in the page of its row at most, where that has a limit.
        adapt: Makes what the driver takes for natural cells of a column; None if it takes them.
        restore: Makes a natural cell of what the driver gives; None if it gives that.
    """

    sql: str
    width: int = 1
    adapt: Callable[[Sequence[Any]], list[Any]] | None = None
    restore: Callable[[Any], Any] | None = None


def as_texts(cells: Sequence[Any]) -> list[Any]:
    """Return cells as `str` shows them; None as it is."""
    return [None if cell is None else str(cell) for cell in cells]
