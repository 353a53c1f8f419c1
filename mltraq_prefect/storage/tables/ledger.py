"""Rows of the ledger: what is known of a run in addition to its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from mltraq_prefect.model.ledger_entry import RUN_COLUMNS, STEP_COLUMNS, LedgerEntry
from mltraq_prefect.storage.records import LedgerMark
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.tables import stretches
from mltraq_prefect.storage.tables.ledger_columns import (
    LedgerColumn,
    TextColumn,
    cells_of,
    columns_of,
    sent_of,
)
from mltraq_prefect.storage.values.columns import column
from mltraq_prefect.storage.values.kinds import BINARY, INT, JSON, KEY, Kind

T = TypeVar("T")

_RUN_COLUMNS = columns_of(LedgerEntry, RUN_COLUMNS)
_MARKED = {name: _RUN_COLUMNS[name] for name in LedgerMark._fields if name in _RUN_COLUMNS}
_OTHERS = {
    name: _RUN_COLUMNS[name]
    for name in dict.fromkeys((*STEP_COLUMNS, *RUN_COLUMNS))  # in both tables in one order
    if name in _RUN_COLUMNS and name not in _MARKED and name != "position"
}

KEYS: dict[str, Kind] = {"id_experiment": KEY, "id_run": KEY, "position": INT}
"""What identifies a row: the position is what rows are in the order of."""

LEDGER_KEY = ("id_experiment", "position")

ID_INDEX = "experiment_runs_by_id"
"""Leads from the id of a run to its row. That of its own table makes sure that there is one."""

LEDGER_COLUMNS: dict[str, LedgerColumn] = {
    **{name: LedgerColumn(kind) for name, kind in KEYS.items()},
    "id_run": TextColumn(KEY),
    "params": TextColumn(JSON),
    **_MARKED,
    **_OTHERS,
    "residual": LedgerColumn(BINARY),
}
"""Columns of `experiment_runs`, in their order."""

PARAMS_TEXT = "params_text"
"""Where the text of `params` is kept, if that is of a type that does not keep it."""

LEDGER: dict[str, Kind] = {name: own.kind for name, own in LEDGER_COLUMNS.items()}


def kept(columns: Mapping[str, T], dialect: Dialect) -> dict[str, T]:
    """Return columns of the ledger by the names under which their cells are kept.

    Where SQL sees the params as a document, their text is in a column beside it.
    """
    if not dialect.document or "params" not in columns:
        return dict(columns)
    return {PARAMS_TEXT if name == "params" else name: own for name, own in columns.items()}


STATE: dict[str, Kind] = {name: kind for name, kind in LEDGER.items() if name not in KEYS}
"""The columns that change: those of a `LedgerMark`, the others of an entry, residual."""


def ledger_marks(
    entries: Sequence[LedgerEntry], params: Sequence[str], dialect: Dialect
) -> list[Sequence[Any]]:
    """Return the marks of ledger rows: a column for each part of a `LedgerMark`."""
    return [params, *cells_of(_MARKED.items(), entries, dialect)]


def ledger_columns(
    entries: Sequence[LedgerEntry],
    marks: Sequence[Sequence[Any]],
    residuals: Sequence[bytes | None],
    dialect: Dialect,
) -> list[Sequence[Any]]:
    """Return what the driver takes for the columns of `STATE`."""
    cells = [*marks, *cells_of(_OTHERS.items(), entries, dialect)]
    columns = [LEDGER_COLUMNS[name] for name in (*LedgerMark._fields, *_OTHERS)]
    return [*sent_of(columns, cells, dialect), column(residuals)]


def stretches_of(
    positions: Sequence[int], marks: Sequence[Sequence[Any]]
) -> list[stretches.Stretch]:
    """Return the stretches of runs, given by their positions and the marks of their rows."""
    found = dict(zip(LedgerMark._fields, marks, strict=True))
    return stretches.made_of(positions, found["state"], found["steps"], found["step"])
