r"""Rows as PostgreSQL's COPY takes them fastest: its text format, made by columns.

The format (https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.55.9.2) has a tab between
cells, ``\N`` for NULL, and backslash escapes. Numbers, dates and moments are written by a JSON
serialiser, a column at once: JSON has them as PostgreSQL reads them.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import orjson

from mltraq_prefect.storage.sql.dialects.declarations import ColumnType
from mltraq_prefect.storage.values.columns import Constant

ROWS_A_CHUNK = 5_000

_NULL = "\\N"
_SPECIAL = re.compile(r"[\\\t\n\r]")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedType(ColumnType):
    """What a kind of column is in PostgreSQL.

    Attributes:
        copied: What the binary format calls its cells.
        text: Writes cells of a column in the text format; None if that would take twice as many
            bytes.
    """

    copied: str
    text: Callable[[Sequence[Any]], Sequence[str]] | None = None

    def needs_binary(self, cells: Sequence[Any]) -> bool:
        """Return whether a column goes in the binary format: there is more in it than NULLs."""
        return self.text is None and any(cell is not None for cell in cells)


def chunks(types: Sequence[CopiedType], columns: Sequence[Sequence[Any]]) -> Iterator[bytes]:
    """Yield rows, some at a time.

    Args:
        types: Of the columns, none of which needs the binary format.
        columns: The cells of each column.
    """
    for start in range(0, len(columns[0]), ROWS_A_CHUNK):
        some = (cells[start : start + ROWS_A_CHUNK] for cells in columns)
        texts = [_texts(type_, cells) for type_, cells in zip(types, some, strict=True)]
        yield ("\n".join(map("\t".join, zip(*texts, strict=False))) + "\n").encode()


def _texts(type_: CopiedType, cells: Sequence[Any]) -> Iterable[str]:
    write = type_.text or scalars
    if isinstance(cells, Constant):
        (text,) = write([cells.value])
        return repeat(text, len(cells))
    return write(cells)


def scalars(cells: Sequence[Any]) -> list[str]:
    """Write booleans, numbers, dates, moments and UUIDs, none of which has a comma or a quote."""
    text = orjson.dumps(cells)[1:-1].replace(b"null", b"\\N").replace(b'"', b"")
    return text.decode().split(",")


def times(cells: Sequence[datetime.time | None]) -> list[str]:
    """Write times of day: orjson 3.13 leaves out a zero of .01 to .099999 seconds."""
    return [_NULL if cell is None else cell.isoformat() for cell in cells]


def floats(cells: Sequence[float | None]) -> list[str]:
    """Write floats: JSON has neither NaN nor infinities."""
    if math.isfinite(sum(filter(None, cells))):
        return scalars(cells)
    return [_NULL if cell is None else repr(cell) for cell in cells]


def strings(cells: Sequence[str | None]) -> Sequence[str]:
    """Write texts."""
    whole: list[str] = [_NULL if cell is None else cell for cell in cells]
    if not _SPECIAL.search("".join(filter(None, cells))):
        return whole
    return [_NULL if cell is None else cell.translate(_ESCAPES) for cell in cells]
