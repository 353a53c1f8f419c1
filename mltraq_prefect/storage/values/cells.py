"""Cells between drivers and values, column by column."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from enum import Enum
from typing import Any

from mltraq_prefect.model.series import MISSING
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.values.columns import Constant, column
from mltraq_prefect.storage.values.kinds import Kind
from mltraq_prefect.storage.values.layout import Column
from mltraq_prefect.storage.values.natives import REVIVE


class _Sentinel(Enum):
    UNCHANGED = 1


UNCHANGED: Any = _Sentinel.UNCHANGED
"""Stands for the cell of a large value that is in the database already."""


def for_driver(dialect: Dialect, kind: Kind, cells: list[Any]) -> list[Any]:
    """Return what the driver takes for natural cells."""
    adapt = dialect.types[kind].adapt
    return cells if adapt is None else adapt(cells)


def natural(dialect: Dialect, kind: Kind, cells: Sequence[Any]) -> Sequence[Any]:
    """Return natural cells from what the driver gave: numbers packed, constant ones once."""
    if kind.code is not None and (packed := kind.packed(cells)) is not None:
        return packed
    restore, cells = dialect.types[kind].restore, column(cells)
    if restore is None:
        return cells
    if type(cells) is Constant:
        return cells if cells.value is None else Constant(restore(cells.value), len(cells))
    if None not in cells:
        return list(map(restore, cells))
    return [None if cell is None else restore(cell) for cell in cells]


def revive(column: Column, cells: Sequence[Any]) -> Sequence[Any]:
    """Return the values of natural cells, perhaps the same, or `MISSING` where they are None.

    Raises:
        CorruptData: A cell is not what was written.
    """
    make = column.kind.reviver(column.type) or REVIVE.get(column.type)
    if isinstance(cells, array) or None not in cells:
        return cells if make is None else list(map(make, cells))
    if make is None:
        return [MISSING if cell is None else cell for cell in cells]
    return [MISSING if cell is None else make(cell) for cell in cells]
