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
from itertools import repeat
from typing import Any

import orjson

from mltraq_prefect.storage.values.columns import Constant
from mltraq_prefect.storage.values.layout import Kind

ROWS_A_CHUNK = 5_000

_NULL = "\\N"
_SPECIAL = re.compile(r"[\\\t\n\r]")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def chunks(kinds: Sequence[Kind], columns: Sequence[Sequence[Any]]) -> Iterator[bytes]:
    """Yield rows, some at a time.

    Args:
        kinds: Of the columns; none with bytes, of which text would need twice as many.
        columns: The cells of each column.
    """
    for start in range(0, len(columns[0]), ROWS_A_CHUNK):
        some = (cells[start : start + ROWS_A_CHUNK] for cells in columns)
        texts = [_texts(kind, cells) for kind, cells in zip(kinds, some, strict=True)]
        yield ("\n".join(map("\t".join, zip(*texts, strict=False))) + "\n").encode()


def _texts(kind: Kind, cells: Sequence[Any]) -> Iterable[str]:
    write = _WRITERS.get(kind, _scalars)
    if isinstance(cells, Constant):
        (text,) = write([cells.value])
        return repeat(text, len(cells))
    return write(cells)


def _scalars(cells: Sequence[Any]) -> list[str]:
    """Write booleans, numbers, dates, moments and UUIDs, none of which has a comma or a quote."""
    text = orjson.dumps(cells)[1:-1].replace(b"null", b"\\N").replace(b'"', b"")
    return text.decode().split(",")


def _times(cells: Sequence[datetime.time | None]) -> list[str]:
    """Write times of day: orjson 3.13 leaves out a zero of .01 to .099999 seconds."""
    return [_NULL if cell is None else cell.isoformat() for cell in cells]


def _floats(cells: Sequence[float | None]) -> list[str]:
    if math.isfinite(sum(filter(None, cells))):
        return _scalars(cells)
    return [_NULL if cell is None else repr(cell) for cell in cells]


def _strings(cells: Sequence[str | None]) -> Sequence[str]:
    whole: list[str] = [_NULL if cell is None else cell for cell in cells]
    if not _SPECIAL.search("".join(filter(None, cells))):
        return whole
    return [_NULL if cell is None else cell.translate(_ESCAPES) for cell in cells]


_WRITERS: dict[Kind, Callable[[Sequence[Any]], Sequence[str]]] = {
    "float": _floats,
    "time": _times,
    "text": _strings,
    "json": _strings,
    "key": _strings,
}
