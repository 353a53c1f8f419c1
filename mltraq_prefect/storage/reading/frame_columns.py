"""Runs of an experiment as columns of values: what a frame is made of, without `Run` objects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from mltraq_prefect.model.series import MISSING
from mltraq_prefect.storage.reading import chosen_runs, reader, selections, stored_values
from mltraq_prefect.storage.reading.selections import Selection
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.tables import views
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.tables.ledger import LEDGER_COLUMNS
from mltraq_prefect.storage.tables.views import ViewColumn
from mltraq_prefect.storage.values.columns import picked
from mltraq_prefect.storage.values.kinds import BYTES, JSON, Kind


class FrameColumn(NamedTuple):
    """A column of a frame.

    Attributes:
        name: Its name: that of the view, or what the user calls it.
        kind: What SQL sees.
        has_zone: Whether its moments are in UTC, and say so.
        values: A value of each run; None where it is missing.
    """

    name: str
    kind: Kind
    has_zone: bool
    values: Sequence[Any]


def select(
    transaction: Transaction, name: str, columns: Sequence[str] | None, chosen: Selection
) -> Callable[[], list[FrameColumn]]:
    """Select columns of runs; return what makes them when the transaction has ended.

    Args:
        transaction: Where.
        name: Name of the experiment.
        columns: Columns of its view by name, or by the key of a param or field; the scalars if
            None.
        chosen: The runs.

    Raises:
        ExperimentNotFound: There is none of this name.
        FieldNotFound: There is no such column.
        QueryFailed: The database does not understand the condition.
        CorruptData: Something stored is not what was written.
    """
    entry = reader.stored_entry(transaction, name)
    dialect = transaction.dialect
    shown = _shown(columns, entry, dialect)
    keys = list(dict.fromkeys(own.key for own in shown.values() if own.source == "field"))
    names = _ledger_names(shown.values())
    some = None if chosen.is_everything else chosen
    of_ledger, cells = chosen_runs.select(transaction, entry, names, keys, some)

    def made() -> list[FrameColumn]:
        ledger = of_ledger()
        part = _Part(entry, dialect, ledger, *stored_values.matched(entry, ledger, *cells()))
        rows = part.in_order(ledger["id_run"] if chosen.is_ordered else None)
        values = part.values(list(shown.values()))
        return [
            FrameColumn(
                label, own.kind, own.source == "ledger", picked([values[own.name]], rows)[0]
            )
            for label, own in shown.items()
        ]

    return made


def _shown(
    columns: Sequence[str] | None, entry: Entry, dialect: Dialect
) -> Mapping[str, ViewColumn]:
    """Return the columns of the view to show, by the names of the frame."""
    known = views.columns(entry, dialect)
    if columns is None:
        return {own.name: own for own in known if _is_scalar(own)}
    absent = {key for key, column in entry.layout.items() if column.name is None}
    return {name: _found(name, entry, known, absent) for name in columns}


def _found(name: str, entry: Entry, known: Sequence[ViewColumn], absent: set[str]) -> ViewColumn:
    if name in absent:  # the table has no room for it: its values are in the residual
        return ViewColumn(name, name, "field", entry.layout[name].kind, "NULL")
    return selections.find(name, entry, known)


def _is_scalar(own: ViewColumn) -> bool:
    return not own.kind.is_envelope and own.kind not in (JSON, BYTES)


def _ledger_names(shown: Collection[ViewColumn]) -> list[str]:
    own = [column.key for column in shown if column.source == "ledger"]
    params = ["params"] if any(column.source == "param" for column in shown) else []
    return list(dict.fromkeys(("id_run", "position", "residual", *params, *own)))


class _Part(NamedTuple):
    """What was read of runs.

    Attributes:
        entry: The experiment.
        dialect: Of the database.
        ledger: Columns of the ledger.
        ids: The runs, as their table has them.
        cells: Their natural cells, by field.
        rows: The row of each of them in the ledger.
    """

    entry: Entry
    dialect: Dialect
    ledger: stored_values.Ledger
    ids: Sequence[str]
    cells: Mapping[str, Sequence[Any]]
    rows: Sequence[int]

    def in_order(self, ids: Sequence[str] | None) -> Sequence[int]:
        """Return the index of each run in the order of some ids, or else of their positions."""
        if ids is None:
            return stored_values.in_order(self.ledger["position"], self.rows)
        places = dict(zip(self.ids, range(len(self.ids)), strict=True))
        return [places[id_run] for id_run in ids if id_run in places]

    def values(self, shown: Sequence[ViewColumn]) -> dict[str, Sequence[Any]]:
        """Return the exact values of columns, by their name in the view."""
        residuals = stored_values.residuals_of(self.ledger, self.entry)
        params: Sequence[Mapping[str, Any]] = ()
        if any(own.source == "param" for own in shown):
            params = picked(
                [stored_values.params_of(self.entry, self.ledger, residuals)], self.rows
            )[0]
        found: dict[str, Sequence[Any]] = {}
        for own in shown:
            if own.source == "run":
                found[own.name] = self.ids
            elif own.source == "param":
                found[own.name] = [item.get(own.key) for item in params]
            elif own.source == "ledger":
                column = LEDGER_COLUMNS[own.key].values(self.ledger[own.key], self.dialect)
                found[own.name] = picked([column], self.rows)[0]
            else:
                cells = self.cells[own.key]
                exact = stored_values.exact_of(self.entry, own.key, self.ids, cells, residuals)
                values = stored_values.values_of(self.entry, own.key, self.ids, cells, exact)
                found[own.name] = _without_gaps(values)
        return found


def _without_gaps(values: Sequence[Any]) -> Sequence[Any]:
    if not isinstance(values, list):
        return values
    return [None if value is MISSING else value for value in values]
