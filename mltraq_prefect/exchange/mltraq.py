"""MLTRAQ's tables, of 0.0.44 and later: an index of experiments, and a table of runs of each.

Each run has its fields. Params were never in the tables, unless a step has put them into a field.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.exchange import pyson
from mltraq_prefect.exchange.datapak import Datapak
from mltraq_prefect.exchange.foreign import Foreign
from mltraq_prefect.exchange.found import Found, Source, id_of
from mltraq_prefect.exchange.report import ImportReport
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.run import Run

NAME = "MLTRAQ"

RUNS_AT_ONCE = 50
"""Rows that are in memory, each with the arrays of a run."""

STORE = "mltraq.datastore"
"""The folder beside a SQLite file in which MLTRAQ keeps what it stores in files."""

_META = ("run_columns", "runs_meta", "meta")
"""What the column is called that describes the runs: up to 0.0.101, of 0.0.103, and later."""


class _Shape(NamedTuple):
    """Where the runs of an experiment are.

    Attributes:
        table: Their table.
        serialized: The columns whose cells are bytes of values.
        types: Names of the types of the other columns, as far as they are known.
    """

    table: str
    serialized: set[str]
    types: Mapping[str, str]


def recognises(database: Foreign) -> bool:
    """Return whether a database is MLTRAQ's."""
    is_index = database.has("experiments", "id_experiment", "name", "fields")
    is_ours = database.has("experiments", "table_name")
    return is_index and not is_ours and any(database.has("experiments", name) for name in _META)


def count(database: Foreign) -> int:
    """Return how many runs the tables have that look like those of experiments."""
    own = [table for table in database.tables if database.has(table, "id_experiment", "id_run")]
    return sum(map(database.count, own))


def experiments(database: Foreign, report: ImportReport) -> Iterator[Source]:
    """Yield the experiments."""
    meta = next(name for name in _META if name in database.tables["experiments"])
    pickle = "unsafe_pickle" if meta == "meta" else "pickle"
    columns = ("id_experiment", "name", "fields", meta, pickle)
    folder = database.file.parent / STORE if database.file else None
    decode = Datapak(folder).value if meta == "meta" else pyson.value
    for own, name, fields, described, pickled in list(database.rows("experiments", columns)):
        if pickled is not None:
            report.lose("the pickle of an experiment", "nothing is unpickled")
        row = (name, _bytes(fields), _bytes(described))
        read = partial(_experiment, database, row, decode, meta, report)
        yield Source(name, f"mltraq:{own}", read)


def _experiment(
    database: Foreign,
    row: tuple[str, bytes, bytes],
    decode: Callable[[bytes], Any],
    meta: str,
    report: ImportReport,
) -> Found:
    name, fields, described = row
    own: dict[str, Any] = {}
    try:
        own.update(decode(fields))
    except (CorruptData, TypeError, ValueError) as error:
        report.lose("the fields of an experiment", _reason(error))
    try:
        shape = _shape(name, decode(described), meta)
    except (CorruptData, TypeError, KeyError, AttributeError) as error:
        report.lose("the runs of an experiment", _reason(error))
        return Found(own, ())
    if shape.table not in database.tables:
        report.lose("the runs of an experiment", "they have no table")
        return Found(own, ())
    return Found(own, _runs(database, shape, decode, report))


def _runs(
    database: Foreign, shape: _Shape, decode: Callable[[bytes], Any], report: ImportReport
) -> Iterator[Run]:
    types = database.tables[shape.table]
    keys = sorted(types.keys() - {"id_experiment", "id_run"})
    rows = database.rows(shape.table, ("id_run", *keys), at_once=RUNS_AT_ONCE)
    for own, *cells in rows:
        run = Run(id_of(str(own)), ledger=LedgerEntry("completed"))
        for key, cell in zip(keys, cells, strict=True):
            if cell is not None:
                try:
                    run.fields[key] = (
                        decode(_bytes(cell))
                        if key in shape.serialized
                        else _native(cell, shape.types.get(key, types[key]))
                    )
                except CorruptData as error:
                    report.lose("a field of a run", error.reason)
        report.has_read(1)
        yield run


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, CorruptData) else "they are damaged"


def _shape(name: str, described: Any, meta: str) -> _Shape:
    """Return where the runs are, from what the index says of them."""
    slug = re.sub("[^0-9A-Za-z]+", "_", name).strip("_").lower()
    if meta == "meta":
        runs = described["runs"]
        columns = runs["columns"]
        return _Shape(runs["table_name"], set(columns["serialized"]), columns["types"])
    prefix = "e_" if meta == "run_columns" else "experiment_"
    return _Shape(prefix + slug, set(described["serialized"]), {})


def _native(cell: Any, type_: str) -> Any:
    """Return the value of a cell, given its type in Python or in SQL."""
    try:
        return _RESTORED[type_](cell) if type_ in _RESTORED else cell
    except (ValueError, TypeError, AttributeError):
        raise CorruptData("its cell is not of the type of its column") from None


def _bytes(cell: Any) -> bytes:
    """Return bytes, which PostgreSQL may have as text."""
    if isinstance(cell, str):
        try:
            return bytes.fromhex(cell.removeprefix("\\x"))
        except ValueError:
            return cell.encode("utf-8", "surrogateescape")
    is_binary = isinstance(cell, bytes | bytearray | memoryview)
    return bytes(cell) if is_binary else b""  # a number would be so many zeros


def _moment(cell: Any) -> Any:
    return dt.datetime.fromisoformat(cell) if isinstance(cell, str) else cell


_RESTORED: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("bool", "BOOLEAN"), bool),
    **dict.fromkeys(("datetime", "DATETIME", "TIMESTAMP"), _moment),
    "date": lambda cell: dt.date.fromisoformat(cell) if isinstance(cell, str) else cell,
    "UUID": lambda cell: cell if isinstance(cell, uuid.UUID) else uuid.UUID(cell),
    "bytes": _bytes,
}
