"""Cells of runs: of an experiment's own table, and of its part of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from typing import Any

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.storage.formats.schema import OF_RUNS, STATES
from mltraq_prefect.storage.sql.connections import RowsMissing, Selected, Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.sql.distinct import distinct_of_all
from mltraq_prefect.storage.tables import files, large_values, series_parts
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.tables.ledger import ID_INDEX, LEDGER_COLUMNS, kept
from mltraq_prefect.storage.values.cells import natural
from mltraq_prefect.storage.values.columns import Constant, Maker, compact_texts, joined
from mltraq_prefect.storage.values.kinds.numbers import EXACT_FLOAT
from mltraq_prefect.storage.values.layout import Column, Layout
from mltraq_prefect.storage.values.natives import NO_TYPE
from mltraq_prefect.texts import counted

Cells = tuple[Sequence[str], dict[str, Sequence[Any]]]
"""Ids of runs, and by field a cell of each."""

Condition = tuple[str, tuple[Any, ...]]
"""What follows a WHERE clause about `experiment_runs`, and its parameters."""

_NOT_OF_KIND = (AttributeError, LookupError, TypeError, ValueError)

CHUNK = 1000
"""Runs that one statement looks up by their ids."""

WHOLE = 4
"""A table is read as a whole if this fraction of its runs is wanted: so many times cheaper is that
than to look them up."""


def fixed(transaction: Transaction, table: str, columns: Mapping[str, Column]) -> set[str]:
    """Return the keys of columns, given by field, whose kind cannot become another one.

    They hold cells that the other kind does not hold: integers that no float holds exactly, or
    any, if their kind was only a guess from special values.
    """
    quote = transaction.quote
    keys = set()
    for key, column in columns.items():
        name = quote(str(column.name))
        condition, values = f"{name} NOT BETWEEN ? AND ?", [-EXACT_FLOAT, EXACT_FLOAT]
        if column.type == NO_TYPE:
            condition, values = f"{name} IS NOT NULL", []
        sql = f"SELECT 1 FROM {quote(table)} WHERE {condition} LIMIT 1"
        if transaction.rows(sql, values):
            keys.add(key)
    return keys


def retype(
    transaction: Transaction, table: str, old: Mapping[str, Column], new: Layout
) -> set[str]:
    """Give columns another kind.

    Args:
        transaction: Where.
        table: The table.
        old: The columns as they are, by field.
        new: The layout that the table shall have.

    Returns:
        The keys of the columns that the database does not change, such as one that a view reads;
        nothing was changed then.
    """
    statements = {
        key: transaction.dialect.retype(
            transaction.quote(table),
            transaction.quote(str(column.name)),
            new[key].kind,
            is_empty=column.type == NO_TYPE,
        )
        for key, column in old.items()
    }
    if transaction.allows([*chain.from_iterable(statements.values())]):
        return set()
    refused = {key for key, own in statements.items() if not transaction.allows(own, keep=False)}
    return refused or set(old)


def cells(
    transaction: Transaction,
    entry: Entry,
    keys: Sequence[str],
    ids: Sequence[str] | None = None,
) -> Callable[[], Cells]:
    """Select natural cells of runs, column by column.

    Args:
        transaction: Where to read.
        entry: The experiment.
        keys: The fields to read; those without a column are all None.
        ids: The runs to read; all if None. Others may come, too.

    Returns:
        What makes the ids of the runs, and for each key the cells in the same order, when the
        transaction has ended, too.
    """
    own = RunCells(transaction, entry, keys)
    sql = f"SELECT {', '.join(own.names)} FROM {transaction.quote(entry.table)}"
    selected = _selected(transaction, entry, sql, "WHERE", (), _few(ids, entry), own.makers)
    return own.made(selected)


class RunCells:
    """The columns of a table of runs from which cells of fields are made.

    Args:
        transaction: Where to read.
        entry: The experiment.
        keys: The fields; those without a column are all None.

    Attributes:
        names: What is to be selected, in quotes.
        makers: What is to make the cells of each.
    """

    def __init__(self, transaction: Transaction, entry: Entry, keys: Sequence[str]) -> None:
        self._transaction, self._entry, self._keys = transaction, entry, keys
        layout = entry.layout
        self._placed = [key for key in keys if layout[key].name is not None]
        names = ("id_run", *(str(layout[key].name) for key in self._placed))
        self.names = [*map(transaction.quote, names)]
        natural = (partial(_natural, transaction, entry, key) for key in self._placed)
        self.makers: list[Maker] = [compact_texts, *natural]

    def made(self, selected: Selected) -> Callable[[], Cells]:
        """Return what makes the cells of what was selected, when the transaction has ended, too."""
        if self._transaction.dialect.inline_bytes is None:
            return lambda: self._made(selected())
        whole = self._made(selected())  # with the large values that are outside of the rows
        return lambda: whole

    def _made(self, selected: Sequence[Sequence[Any]]) -> Cells:
        stored, *columns = selected
        layout = self._entry.layout
        by_key = {
            key: _whole(self._transaction, self._entry, layout[key], stored, cells)
            for key, cells in zip(self._placed, columns, strict=True)
        }
        nothing = Constant(None, len(stored))
        return stored, {key: by_key.get(key, nothing) for key in self._keys}


def _natural(
    transaction: Transaction, entry: Entry, key: str, cells: Sequence[Any]
) -> Sequence[Any]:
    with OfKind(entry, key):
        return natural(transaction.dialect, entry.layout[key].kind, cells)


def _whole(
    transaction: Transaction, entry: Entry, column: Column, ids: Sequence[str], cells: Sequence[Any]
) -> Sequence[Any]:
    """Return cells with the large values that they refer to."""
    if not column.kind.is_envelope:
        return cells
    try:
        return large_values.get(transaction, entry.id_experiment, str(column.name), ids, cells)
    except CorruptData as error:
        raise error.within(entry.name, error.run, column.name) from None


class OfKind:
    """Refuses cells of a field that are of another kind than its column; they are not shown."""

    __slots__ = ("_entry", "_key")

    def __init__(self, entry: Entry, key: str) -> None:
        self._entry, self._key = entry, key

    def __enter__(self) -> None:
        """Do nothing: what follows may go wrong."""

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        """Name experiment and field, and not the cell."""
        if isinstance(error, _NOT_OF_KIND) and not isinstance(error, CorruptData):
            kind = self._entry.layout[self._key].kind
            reason = f"a cell of kind {kind.name} holds something else"
            raise CorruptData(reason, experiment=self._entry.name, field=self._key) from None


def ledger(
    transaction: Transaction,
    entry: Entry,
    names: Sequence[str],
    ids: Sequence[str] | None = None,
    where: Condition = ("", ()),
) -> Selected:
    """Select columns of the ledger of an experiment: cells to keep, see `LedgerColumn.maker`.

    Args:
        transaction: Where to read.
        entry: The experiment.
        names: Names of the columns.
        ids: The runs to read; all if None. Others may come, too.
        where: A further condition.
    """
    condition, values = where
    few = _few(ids, entry)
    table = "experiment_runs" + ("" if few is None else transaction.dialect.by_index(ID_INDEX))
    columns = ", ".join(kept(dict.fromkeys(names), transaction.dialect))
    sql = f"SELECT {columns} FROM {table} WHERE id_experiment = ?{condition}"
    makers = ledger_makers(tuple(names), transaction.dialect)
    own = (entry.id_experiment, *values)
    return _selected(transaction, entry, sql, "AND", own, few, makers)


@lru_cache(100)
def ledger_makers(names: tuple[str, ...], dialect: Dialect) -> list[Maker]:
    """Return what makes cells to keep of columns of the ledger."""
    return [LEDGER_COLUMNS[name].maker(dialect) for name in names]


def _few(ids: Sequence[str] | None, entry: Entry) -> Sequence[str] | None:
    """Return the ids of runs to look up; None if it is cheaper to read all."""
    return None if ids is None or not are_few(len(ids), entry) else ids


def are_few(count: int, entry: Entry) -> bool:
    """Return whether so many runs are better looked up than read with all others."""
    return count * WHOLE < max(entry.run_count, CHUNK)


def _selected(
    transaction: Transaction,
    entry: Entry,
    sql: str,
    word: str,
    parameters: tuple[Any, ...],
    ids: Sequence[str] | None,
    makers: Sequence[Maker],
) -> Selected:
    if ids is None:
        return transaction.selected(sql, makers, parameters, most=entry.run_count)
    parts = []
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        condition = f" {word} id_run IN ({', '.join('?' * len(chunk))})"
        parts.append(transaction.selected(sql + condition, makers, (*parameters, *chunk)))
    return lambda: joined([part() for part in parts], len(makers))


def sizes(transaction: Transaction, entries: Sequence[Entry]) -> dict[str, int]:
    """Return the bytes that experiments take, by id: their tables, large values and files.

    Their rows in the ledger are not counted. Without those that the database does not tell.
    """
    names = [entry.table for entry in entries]
    known = transaction.dialect.sizes(transaction.connection, names)
    several = len(entries) > 1
    have_values, have_files = (
        _owners(transaction, table) if several else {entry.id_experiment for entry in entries}
        for table in ("experiment_values", "experiment_files")
    )
    found = {}
    for entry in entries:
        own = entry.id_experiment
        if entry.table in known:
            found[own] = known[entry.table] + series_parts.estimated_size(
                transaction, own, entry.series, entry.run_count
            )
            if own in have_values:
                found[own] += large_values.size(transaction, own, entry.run_count)
            if own in have_files:
                found[own] += files.size(transaction, own, entry.run_count)
    return found


def _owners(transaction: Transaction, table: str) -> set[str]:
    """Return the experiments that have rows in a table: each is one look-up in the index."""
    rows = transaction.rows(f"{distinct_of_all(table, 'id_experiment')}SELECT value FROM found")
    return {own for (own,) in rows if own is not None}


def last_position(transaction: Transaction, id_experiment: str) -> int:
    """Return the position of the last run of an experiment; -1 if it has none."""
    ((last,),) = transaction.rows(
        "SELECT max(position) FROM experiment_runs WHERE id_experiment = ?", (id_experiment,)
    )
    return -1 if last is None else int(last)


def check_rows(transaction: Transaction, entry: Entry, ids: Sequence[str]) -> None:
    """Refuse to change runs of the ledger that have no row in their table.

    Raises:
        RowsMissing: Somebody has deleted rows, and the values would be lost.
    """
    stored, _ = cells(transaction, entry, (), ids)()
    there = set(stored)
    if gone := [id_run for id_run in ids if id_run not in there]:
        raise missing(entry, gone)


def refuse_unlisted(transaction: Transaction, entry: Entry, ids: Sequence[str]) -> None:
    """Refuse to insert runs whose rows are in their table, but not in the ledger.

    Raises:
        CorruptData: There are such: somebody has deleted them there alone.
    """
    stored, _ = cells(transaction, entry, (), ids)()
    (listed,) = ledger(transaction, entry, ("id_run",), ids)()
    left = sorted(set(ids).intersection(stored).difference(listed))
    if left:
        raise CorruptData(
            f"{counted(len(left), 'run is', 'runs are')} in {entry.table} and not in "
            f"experiment_runs, where somebody has deleted their rows, such as {left[0]}; verify "
            "says how to delete them there, too",
            experiment=entry.name,
        )


def missing(entry: Entry, ids: Sequence[str]) -> RowsMissing:
    """Return the error for runs of the ledger that have no row in their table."""
    shown = ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
    where = f"id_experiment = '{entry.id_experiment}'"
    gone = f"{where} AND id_run NOT IN (SELECT id_run FROM {entry.table})"
    of_states = {"run_count": "", **{state: f" AND state = '{state}'" for state in STATES}}
    counts = [
        f"{name} = (SELECT count(*) FROM experiment_runs WHERE {where}{own})"
        for name, own in of_states.items()
    ]
    deletes = [f"DELETE FROM {table} WHERE {gone} AND id_run <> ''" for table in OF_RUNS]
    if entry.series is not None:
        left = f"id_run NOT IN (SELECT id_run FROM {entry.table})"
        deletes.append(f"DELETE FROM {entry.series_table} WHERE {left}")
    reason = (
        f"{counted(len(ids), 'of its runs is', 'of its runs are')} in experiment_runs and not in "
        f"{entry.table}, where somebody has deleted their rows: {shown}. To delete these runs, "
        f"execute {'; '.join(deletes)}; UPDATE experiments SET {', '.join(counts)} WHERE {where}"
    )
    return RowsMissing(entry.name, reason, entry.revision)
