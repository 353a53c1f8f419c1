"""What commands print: a table for people, or JSON or CSV for programs."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import typer

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["table", "json", "csv"]

_LARGE = 1e8
"""From here on, eight digits are not the whole part of a number."""

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d{1,9}")
_TO_SECONDS = len("2026-01-01 00:00:00")

_BEGINNING = 8
"""How many characters of an id are enough to find it by."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to print.

    Attributes:
        columns: Names of the columns.
        rows: Their cells.
        shown: The columns that a terminal shows; all if empty.
        ids: Columns with ids that commands take by how they begin: a terminal shows that.
        status: Exit status of the command.
        none: What is said if there are no rows.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    shown: Sequence[str] = ()
    ids: Sequence[str] = ()
    status: int = 0
    none: str = "no rows"


def of_frame(frame: pd.DataFrame, **options: Any) -> Table:
    """Return the rows of a frame, without its index."""
    from pandas import NA

    cells = frame.astype(object).itertuples(index=False, name=None)
    rows = [tuple(None if value is NA else value for value in row) for row in cells]
    return Table([str(name) for name in frame.columns], rows, **options)


def of_dicts(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], **options: Any) -> Table:
    """Return rows that are given by name."""
    return Table(columns, [[row.get(name) for name in columns] for row in rows], **options)


def show(table: Table, form: Format) -> None:
    """Print a table."""
    if form == "json":
        typer.echo(as_json(table))
    elif form == "csv":
        typer.echo(_csv(table), nl=False)
    elif not table.rows:
        typer.echo(table.none)
    elif sys.stdout.isatty():
        _draw(table)
    else:
        typer.echo(_aligned(table))


def as_json(table: Table) -> str:
    """Return rows as JSON: an array with an object a row."""
    rows = [dict(zip(table.columns, map(_plain, row), strict=True)) for row in table.rows]
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows]
    return "[" + ",\n ".join(lines) + "]"


def _csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        cells = map(_plain, row)
        writer.writerow(["" if cell is None else _as_text(cell) for cell in cells])
    return text.getvalue()


def _plain(value: Any) -> Any:
    """Return what JSON has for a value: bytes in hexadecimal digits, no NaN, ISO dates."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None if value != value else str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if hasattr(value, "isoformat"):
        return None if value != value else value.isoformat(*" "[: hasattr(value, "date")])
    return str(value)


def _as_text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _cell(value: Any) -> str:
    """Return what a person sees of a value, on one line and without control characters."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(bytes(value)):,} bytes>"
    plain = _plain(value)
    if isinstance(plain, dict) and all(isinstance(item, str) for item in plain.values()):
        return printable(", ".join(f"{key}={item}" for key, item in plain.items()))
    return "-" if plain is None else printable(_as_text(plain))


def _brief(value: Any) -> str:
    """Return what a terminal has room for: eight digits of a number, seconds of a time in UTC."""
    if isinstance(value, float) and abs(value) < _LARGE:
        return f"{value:.8g}"
    if isinstance(value, datetime):
        in_utc = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return in_utc.isoformat(" ", "seconds")
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        return value[:_TO_SECONDS].replace("T", " ")
    return _cell(value)


def printable(text: str) -> str:
    """Return a text in which characters that would steer the terminal are escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _aligned(table: Table) -> str:
    """Return columns of text for a pipe: numbers to the right, nothing left out."""
    cells = [[printable(name) for name in table.columns]]
    cells += [[_cell(value) for value in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = _numeric(table)
    lines = [
        " ".join(
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join(lines)


def _numeric(table: Table) -> list[bool]:
    columns = zip(*table.rows, strict=True)
    return [all(isinstance(v, (int, float, type(None))) for v in column) for column in columns]


def _draw(table: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as Drawing
    from rich.text import Text

    drawing = Drawing(box=box.SIMPLE_HEAD)
    right = _numeric(table)
    shown = [i for i, name in enumerate(table.columns) if not table.shown or name in table.shown]
    most = [_BEGINNING if table.columns[i] in table.ids else None for i in shown]
    for index in shown:
        justify: Literal["left", "right"] = "right" if right[index] else "left"
        name = Text(printable(table.columns[index]))
        drawing.add_column(name, justify=justify, overflow="fold")
    for row in table.rows:
        cells = [_brief(row[index])[:longest] for index, longest in zip(shown, most, strict=True)]
        drawing.add_row(*map(Text, cells))
    Console().print(drawing)
