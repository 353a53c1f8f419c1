"""Rows as PostgreSQL's COPY takes them fastest: CSV that a JSON serialiser writes.

With backslash as its escape and ``null`` as its NULL, PostgreSQL's CSV reads a JSON array without
its brackets as a row (https://www.postgresql.org/docs/current/sql-copy.html). What JSON would say
differently is written out here: control characters, which CSV has as they are, and numbers that are
not finite.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import orjson

from mltraq_prefect.storage.columns import Constant
from mltraq_prefect.storage.layout import Kind

OPTIONS = "FORMAT csv, NULL 'null', QUOTE '\"', ESCAPE '\\'"

ROWS_A_CHUNK = 1_000

_CONTROL = re.compile(r"[\x00-\x1f]")


def chunks(kinds: Sequence[Kind], columns: Sequence[Sequence[Any]]) -> Iterator[bytes]:
    """Yield rows, some at a time.

    Args:
        kinds: Of the columns; none with bytes, of which CSV would need twice as many.
        columns: The cells of each column.
    """
    written = [_written(kind, cells) for kind, cells in zip(kinds, columns, strict=True)]
    rows = zip(*written, strict=True)
    while some := list(islice(rows, ROWS_A_CHUNK)):
        yield _lines(some)


def _lines(rows: list[tuple[Any, ...]]) -> bytes:
    whole = orjson.dumps(rows)
    if whole.count(b"],[") == len(rows) - 1:  # unless the cells hold that themselves
        return whole[2:-2].replace(b"],[", b"\n") + b"\n"
    return b"".join(orjson.dumps(row)[1:-1] + b"\n" for row in rows)


def _written(kind: Kind, cells: Sequence[Any]) -> Sequence[Any]:
    """Return cells of which JSON is what CSV needs."""
    if kind == "float" and not math.isfinite(sum(filter(None, cells))):
        return [_number(cell) for cell in cells]
    if kind in ("text", "json", "key") and _CONTROL.search(_joined(cells)):
        return [_quoted(cell) for cell in cells]
    return cells


def _joined(cells: Sequence[str | None]) -> str:
    return cells.value or "" if isinstance(cells, Constant) else "".join(filter(None, cells))


def _number(cell: float | None) -> Any:
    if cell is None or math.isfinite(cell):
        return cell
    return orjson.Fragment(b"NaN" if math.isnan(cell) else b"%sInfinity" % (b"-" * (cell < 0)))


def _quoted(cell: str | None) -> Any:
    if cell is None or not _CONTROL.search(cell):
        return cell
    escaped = cell.replace("\\", "\\\\").replace('"', '\\"')
    return orjson.Fragment(f'"{escaped}"'.encode())
