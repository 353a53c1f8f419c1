"""Reading the numbers of an experiment's runs in columns, and none of its large values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mltraq_prefect.reports.numbers import Numbers, StateTotal
from mltraq_prefect.storage import reader, tables
from mltraq_prefect.storage.experiments_table import Entry
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.values.names import table_name
from mltraq_prefect.storage.values.params import parse_params

SHOWN_COLUMNS = 12
"""Number of numeric fields in the statement that a person may copy."""


def read_numbers(transaction: Transaction, name: str, most_runs: int) -> Callable[[], Numbers]:
    """Select the numbers of an experiment; return what makes them when the transaction has ended.

    See `Store.numbers`.
    """
    entry = reader.stored_entry(transaction, name)
    keys = [key for key, column in entry.layout.items() if column.kind.is_numeric and column.name]
    is_complete = entry.run_count <= most_runs
    states = states_of(transaction, entry) if is_complete else _counted(entry)
    sql = _statement(transaction, entry, keys[:SHOWN_COLUMNS])
    names = ("position", "id_run", "params")
    last = None if is_complete else _last(transaction, entry, most_runs)
    ledger = tables.ledger(transaction, entry, names, last)
    cells = tables.cells(transaction, entry, keys, last)

    def made() -> Numbers:
        positions, ids, texts = ledger()
        order = np.argsort(positions).tolist()
        if last is not None:  # others may be among them
            order = order[-len(last) :]
        params = parse_params([texts[index] for index in order])
        fields = _fields(entry, [ids[index] for index in order], *cells())
        return Numbers(entry.table, sql, states, params, fields, is_complete)

    return made


def _fields(
    entry: Entry, ids: Sequence[str], stored: Sequence[str], cells: Mapping[str, Sequence[Any]]
) -> dict[str, NDArray[np.float64]]:
    """Return the cells of runs in the order of their ids, from those in the order of the table."""
    import pandas as pd

    indexes = pd.Index([*stored], dtype="object").get_indexer(pd.Index([*ids], dtype="object"))
    if absent := [ids[index] for index in np.flatnonzero(indexes < 0).tolist()]:
        raise tables.missing(entry, absent)
    return {key: _floats(entry, key, column)[indexes] for key, column in cells.items()}


def _last(transaction: Transaction, entry: Entry, count: int) -> list[str]:
    """Return the last runs of an experiment."""
    sql = (
        "SELECT id_run FROM experiment_runs WHERE id_experiment = ? "
        f"ORDER BY position DESC LIMIT {count:d}"
    )
    return [id_run for (id_run,) in transaction.rows(sql, (entry.id_experiment,))]


def _counted(entry: Entry) -> dict[str, StateTotal]:
    """Return how many runs are in each state, as the experiment counts them."""
    unknown = float("nan")
    counts = {state: count for state, count in entry.states.items() if count}
    return {state: StateTotal(count, unknown, unknown) for state, count in counts.items()}


def states_of(transaction: Transaction, entry: Entry) -> dict[str, StateTotal]:
    """Return how many runs are in each state, and what they took."""
    rows = transaction.rows(
        "SELECT state, count(*), sum(duration_s), max(duration_s) FROM experiment_runs "
        "WHERE id_experiment = ? GROUP BY state ORDER BY state",
        (entry.id_experiment,),
    )
    return {
        state: StateTotal(int(count), float(total or 0), float(longest or 0))
        for state, count, total, longest in rows
    }


def _statement(transaction: Transaction, entry: Entry, keys: Sequence[str]) -> str:
    quote = transaction.connection.dialect.identifier_preparer.quote  # only where it must be
    names = [f"e.{quote(str(entry.layout[key].name))}" for key in keys]
    return (
        f"SELECT {', '.join(['r.params', *names])}\n"
        f"FROM {quote(entry.table)} AS e\n"
        "JOIN experiment_runs AS r ON r.id_run = e.id_run\n"
        "JOIN experiments AS x ON x.id_experiment = r.id_experiment "
        f"AND x.table_name = '{table_name(entry.name)}'\n"
        "ORDER BY r.position"
    )


def _floats(entry: Entry, key: str, cells: Sequence[Any]) -> NDArray[np.float64]:
    with tables.of_kind(entry, key):
        return np.array(cells, dtype=np.float64)  # NaN for None
