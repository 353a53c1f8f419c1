"""What the database holds of the runs that a merge is about, read to be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from mltraq_prefect.storage.records import LedgerMark, Snapshot
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables import run_cells
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.values.change_marks import with_exact
from mltraq_prefect.storage.values.residuals import exact_values, parse_residual


class StoredCells(NamedTuple):
    """Cells of runs as the database has them.

    Attributes:
        keys: The fields.
        ids: The runs.
        cells: Cells by field, in that order.
        residuals: Residuals of those runs that have one.
    """

    keys: tuple[str, ...]
    ids: Sequence[str]
    cells: dict[str, Sequence[Any]]
    residuals: dict[str, bytes]


class States(NamedTuple):
    """What the ledger says of those runs that there are, by `id_run`.

    Attributes:
        marks: What decides whether ledger rows have changed.
        positions: Their positions.
    """

    marks: dict[str, LedgerMark]
    positions: dict[str, int]


def states(transaction: Transaction, entry: Entry, ids: Sequence[str]) -> Callable[[], States]:
    """Select what the ledger says of runs."""
    names = ("id_run", "position", *LedgerMark._fields)
    selected = run_cells.ledger(transaction, entry, names, ids)

    def made() -> States:
        wanted, found = set(ids), States({}, {})
        for id_run, position, *mark in zip(*selected(), strict=True):
            if id_run in wanted:
                found.marks[id_run] = LedgerMark(*mark)
                found.positions[id_run] = position
        return found

    return made


def known_states(snapshot: Snapshot, ids: Sequence[str]) -> States | None:
    """Return what the ledger says of runs if a snapshot tells of all; it may be outdated."""
    found = States({}, {})
    for id_run in ids:
        seen = snapshot.runs.get(id_run)
        if seen is None or seen.position is None:
            return None
        found.marks[id_run], found.positions[id_run] = seen.ledger, seen.position
    return found


def residuals(
    transaction: Transaction, entry: Entry, ids: Sequence[str]
) -> Callable[[], dict[str, bytes]]:
    """Select the residuals of those runs that have one."""
    condition = (" AND residual IS NOT NULL", ())
    selected = run_cells.ledger(transaction, entry, ("id_run", "residual"), ids, condition)

    def made() -> dict[str, bytes]:
        wanted = set(ids)
        return {id_run: data for id_run, data in zip(*selected(), strict=True) if id_run in wanted}

    return made


def cells(
    transaction: Transaction, entry: Entry, keys: tuple[str, ...], ids: Sequence[str]
) -> Callable[[], StoredCells]:
    """Select natural cells and residuals of runs.

    Others may be among them.
    """
    exact = residuals(transaction, entry, ids)
    natural = run_cells.cells(transaction, entry, keys, ids)

    def made() -> StoredCells:
        stored, columns = natural()
        there = set(stored)
        if absent := [id_run for id_run in ids if id_run not in there]:
            raise run_cells.missing(entry, absent)
        return StoredCells(keys, stored, columns, exact())

    return made


def is_same(transaction: Transaction, entry: Entry, before: StoredCells) -> bool:
    """Return whether cells that were read before are there once more."""
    if not before.ids:
        return True
    now = cells(transaction, entry, before.keys, before.ids)()
    columns = [(before.ids, now.ids), *((before.cells[k], now.cells[k]) for k in before.keys)]
    return before.residuals == now.residuals and all(list(a) == list(b) for a, b in columns)


def marks(entry: Entry, stored: StoredCells) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the ids and marks of runs as they are in the database."""
    parsed = {id_run: parse_residual(data) for id_run, data in stored.residuals.items()}
    columns = []
    for key in stored.keys if stored.ids else ():
        kind, own = entry.layout[key].kind, stored.cells[key]
        with run_cells.OfKind(entry, key):
            exact = exact_values(key, kind, stored.ids, own, parsed)
            columns.append(with_exact(kind.marks(own), exact))
    rows = zip(*columns, strict=True) if columns else iter([()] * len(stored.ids))
    return zip(stored.ids, rows, strict=True)
