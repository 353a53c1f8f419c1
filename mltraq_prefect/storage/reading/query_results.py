"""Results of users' statements, in columns; those that are columns of ours as what they stand for.

A column is one of ours if the database says that it is, see `Dialect.origins`: its name alone says
nothing.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mltraq_prefect.codecs import decode, from_json
from mltraq_prefect.errors import CorruptData
from mltraq_prefect.storage.formats.schema import TABLES
from mltraq_prefect.storage.series.series_plan import SERIES
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.query import Result, as_number
from mltraq_prefect.storage.tables import experiments_table, large_values, views
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.values.cells import natural
from mltraq_prefect.storage.values.kinds import BOOL, DATE, DATETIME, JSON, TIME, UUID, Kind
from mltraq_prefect.storage.values.names import runs_table_of, series_name, view_name

RESTORED = (BOOL, DATE, TIME, DATETIME, UUID)
"""Kinds that some databases give as numbers or text."""

Cells = Sequence[Any]


@dataclass(frozen=True, slots=True)
class _Known:
    """A column of ours.

    Attributes:
        name: Its name.
        kind: Its kind.
        entry: The experiment that it belongs to; None if it is one of a fixed table.
    """

    name: str
    kind: Kind
    entry: Entry | None = None

    def located(self, error: CorruptData) -> CorruptData:
        """Return an error that says in which column it is."""
        return error.within(self.entry.name if self.entry else "", error.run, self.name)


def whole_views(transaction: Transaction, names: Collection[str]) -> Collection[str]:
    """Return those of some views that belong to experiments."""
    return [name for name in names if _columns(transaction, name)]


def select(
    transaction: Transaction, result: Result, *, decoded: bool
) -> Callable[[], tuple[list[str], list[Cells]]]:
    """Return what makes the names and columns of a result, when the transaction has ended, too.

    Args:
        transaction: In which the statement was executed.
        result: What it gave.
        decoded: Whether envelopes and JSON become the values that they stand for.

    Raises:
        CorruptData: An envelope is not what was written.
    """
    columns: list[Cells] = list(zip(*result.rows, strict=True)) or [() for _ in result.keys]
    known = _known(transaction, result) if result.rows else {}
    makers: list[Callable[[Cells], Cells]] = [_numbers] * len(columns)
    for index, own in known.items():
        if own.kind in RESTORED:
            makers[index] = partial(_restored, transaction, own)
        elif decoded and own.kind is JSON:
            makers[index] = partial(_each, own, from_json)
        elif decoded and own.kind.is_envelope and own.entry is not None:
            columns[index] = _whole(transaction, own, own.entry, columns[index])
            makers[index] = partial(_each, own, decode)
    made = zip(makers, columns, strict=True)
    return lambda: (result.keys, [make(cells) for make, cells in made])


def _known(transaction: Transaction, result: Result) -> dict[int, _Known]:
    relations = {origin.relation for origin in result.origins if origin is not None}
    columns = {name: _columns(transaction, name) for name in relations}
    found = {}
    for index, origin in enumerate(result.origins):
        own = None if origin is None else columns[origin.relation].get(origin.column)
        if own is not None:
            found[index] = own
    return found


def _columns(transaction: Transaction, relation: str) -> dict[str, _Known]:
    """Return the columns of a table or view by name; none if it is not one of ours."""
    if relation in TABLES:
        return {name: _Known(name, kind) for name, kind in TABLES[relation][0].items()}
    entry = experiments_table.find_table(transaction, runs_table_of(relation))
    if entry is None:
        return {}
    if relation == view_name(entry.name):
        shown = () if entry.view is None else views.columns(entry, transaction.dialect)
        return {own.name: _Known(own.name, own.kind, entry) for own in shown}
    fixed: dict[str, _Known] = {}
    if relation == series_name(entry.name):
        if entry.series is None:
            return {}
        entry = entry.of_series()
        fixed = {name: _Known(name, kind) for name, kind in SERIES.items()}
    return fixed | {
        str(column.name): _Known(str(column.name), column.kind, entry)
        for column in entry.layout.values()
    }


def _numbers(cells: Cells) -> Cells:
    return list(map(as_number, cells)) if decimal.Decimal in set(map(type, cells)) else cells


def _restored(transaction: Transaction, own: _Known, cells: Cells) -> Cells:
    """Return natural cells; as the database gives them where somebody has put others there."""
    try:
        return natural(transaction.dialect, own.kind, cells)
    except (AttributeError, LookupError, TypeError, ValueError):
        return cells


def _whole(transaction: Transaction, own: _Known, entry: Entry, cells: Cells) -> Cells:
    """Return cells with the large values that they refer to."""
    try:
        return large_values.named(transaction, entry.id_experiment, entry.table, own.name, cells)
    except CorruptData as error:
        raise own.located(error) from None


def _each(own: _Known, make: Callable[[Any], Any], cells: Cells) -> Cells:
    try:
        return [None if cell is None else make(cell) for cell in cells]
    except CorruptData as error:
        raise own.located(error) from None
