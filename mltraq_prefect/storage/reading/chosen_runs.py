"""Runs that are chosen, by a condition, their places or ids: their rows of both tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from itertools import compress
from typing import Any, Literal

from mltraq_prefect.storage.reading import selections, stored_values
from mltraq_prefect.storage.reading.selections import Selection
from mltraq_prefect.storage.reading.stored_values import Ledger
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.tables import run_cells
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.tables.ledger import kept
from mltraq_prefect.storage.tables.standings import statements
from mltraq_prefect.storage.values.columns import Maker, column, joined, picked

Parts = tuple[Callable[[], Ledger], Callable[[], run_cells.Cells]]
"""Make columns of the ledger, and the cells of fields."""


def select(
    transaction: Transaction,
    entry: Entry,
    names: Sequence[str],
    keys: Sequence[str],
    chosen: Selection | None,
    ids: Sequence[str] | None = None,
) -> Parts:
    """Select rows of runs; return what makes columns of them when the transaction has ended, too.

    One statement finds runs of a condition, and reads them.

    Args:
        transaction: Where.
        entry: The experiment.
        names: Columns of the ledger, `id_run` among them.
        keys: Fields.
        chosen: The runs; all if None.
        ids: The runs, of which `chosen` leaves some.
    """
    if chosen is not None and ids is None and _fits(transaction, entry):
        return _of_condition(transaction, entry, names, keys, chosen)
    if chosen is not None:
        found = selections.ids(transaction, entry, chosen)
        ids = found if ids is None else [*frozenset(ids).intersection(found)]
    selected = run_cells.ledger(transaction, entry, names, ids)
    cells = run_cells.cells(transaction, entry, keys, ids)

    def ledger() -> Ledger:
        found = stored_values.wanted(dict(zip(names, selected(), strict=True)), ids)
        return _in_order(found, ids) if ids and chosen and chosen.is_ordered else found

    return ledger, cells


def _in_order(ledger: Ledger, ids: Sequence[str]) -> Ledger:
    """Return the rows of the ledger in the order of some ids, which may have more."""
    places = {id_run: place for place, id_run in enumerate(ledger["id_run"])}
    order = [places[id_run] for id_run in ids if id_run in places]
    return dict(zip(ledger, picked([*ledger.values()], order), strict=True))


def _fits(transaction: Transaction, entry: Entry) -> bool:
    """Return whether a statement has room for all that a view has, and for rows as they are."""
    most = transaction.dialect.max_columns
    return 2 * len(entry.layout) + len(entry.params) < most // 2


def at_places(
    transaction: Transaction,
    entry: Entry,
    names: Sequence[str],
    keys: Sequence[str],
    places: Sequence[tuple[int, int]],
) -> Parts:
    """Select rows of runs as `select` does, where they are not many.

    Args:
        transaction: Where.
        entry: The experiment.
        names: Columns of the ledger, `id_run` among them.
        keys: Fields.
        places: Positions of the first and last run of each stretch of them.
    """
    both = _Both(transaction, entry, names, keys, "r")
    sql = (
        f"SELECT {', '.join(both.what)} FROM experiment_runs AS r "
        f"LEFT JOIN {transaction.quote(entry.table)} AS e ON e.id_run = r.id_run "
        "WHERE r.id_experiment = ? AND"
    )
    parts = [
        transaction.selected(statement, both.makers, values)
        for statement, values in statements(sql, (entry.id_experiment,), places, "r.position")
    ]

    def columns() -> list[Sequence[Any]]:
        *found, alone = joined([part() for part in parts], len(both.makers))
        if any(alone):
            ids = found[both.id_column]
            raise run_cells.missing(entry, list(compress(ids, alone)))
        return found

    return both.parts(columns)


def _of_condition(
    transaction: Transaction,
    entry: Entry,
    names: Sequence[str],
    keys: Sequence[str],
    chosen: Selection,
) -> Parts:
    both = _Both(transaction, entry, names, keys, "e")
    selected = selections.rows(transaction, entry, both.what, both.makers, chosen)

    def columns() -> list[Sequence[Any]]:
        *found, alone = selected()
        if not any(alone):
            return found
        there = [index for index, is_alone in enumerate(alone) if not is_alone]
        return picked(found, there)  # somebody has deleted the others in the ledger

    return both.parts(columns)


@lru_cache(100)
def _in_ledger(names: tuple[str, ...], dialect: Dialect) -> tuple[list[str], list[Maker]]:
    """Return expressions of columns of the ledger, and what makes the cells of each."""
    what = [f"r.{dialect.quote(name)}" for name in kept(dict.fromkeys(names), dialect)]
    return what, run_cells.ledger_makers(names, dialect)


class _Both:
    """Columns of the ledger ``r``, then those of the table of runs ``e``, of one statement.

    The last column says whether a run is in one of the two tables alone.

    Args:
        transaction: Where.
        entry: The experiment.
        names: Columns of the ledger, `id_run` among them.
        keys: Fields.
        first: The table, ``e`` or ``r``, that is sure to have the runs, and gives their ids.

    Attributes:
        what: The columns.
        makers: What makes the cells of each.
        id_column: The place of the ids.
    """

    def __init__(
        self,
        transaction: Transaction,
        entry: Entry,
        names: Sequence[str],
        keys: Sequence[str],
        first: Literal["e", "r"],
    ) -> None:
        self._names = names
        self._cells = run_cells.RunCells(transaction, entry, keys)
        in_ledger, makers = _in_ledger(tuple(names), transaction.dialect)
        other = "r" if first == "e" else "e"
        self.what = [
            *in_ledger,
            *(f"e.{name}" for name in self._cells.names[1:]),
            f"{other}.id_run IS NULL",
        ]
        self.makers = [*makers, *self._cells.makers[1:], column]
        self.id_column = names.index("id_run")
        self.what[self.id_column] = f"{first}.{self._cells.names[0]}"

    def parts(self, columns: Callable[[], list[Sequence[Any]]]) -> Parts:
        """Return what makes both parts of the columns, which are made once."""
        self._columns = columns
        count = len(self._names)
        cells = self._cells.made(lambda: [self._made[self.id_column], *self._made[count:]])
        return lambda: dict(zip(self._names, self._made, strict=False)), cells

    @cached_property
    def _made(self) -> list[Sequence[Any]]:
        return self._columns()
