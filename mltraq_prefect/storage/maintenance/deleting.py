"""Deleting runs: their rows, and all that belongs to them in other tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mltraq_prefect.storage.formats.schema import OF_RUNS, STATES
from mltraq_prefect.storage.reading import selections
from mltraq_prefect.storage.reading.selections import Selection
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.query_params import check_params
from mltraq_prefect.storage.tables import experiments_table, files, run_steps, stretches
from mltraq_prefect.storage.tables.experiments_table import Entry

CHUNK = 500
"""Runs that one statement deletes."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Which runs are meant.

    Attributes:
        where: A condition in SQL about the columns of the experiment's view.
        params: Values of the params in it.
    """

    where: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        selections.check_condition(self.where)
        check_params(self.params)


def chosen(
    transaction: Transaction, entry: Entry, condition: Condition, most: int | None = None
) -> list[str]:
    """Return the ids of runs that are meant.

    Args:
        transaction: Where.
        entry: The experiment.
        condition: Which runs.
        most: How many are enough; all if None.

    Raises:
        FieldNotFound: The view has no such column.
        QueryFailed: The database does not understand the condition.
    """
    own = Selection(condition.where, condition.params)
    return selections.ids(transaction, entry, own, most)


def count(transaction: Transaction, entry: Entry, condition: Condition) -> int:
    """Return how many runs are meant.

    Raises:
        FieldNotFound: The view has no such column.
        QueryFailed: The database does not understand the condition.
    """
    return selections.count(transaction, entry, condition.where, condition.params)


def delete(transaction: Transaction, entry: Entry, ids: Sequence[str]) -> Entry:
    """Delete runs, and note how many are left.

    Args:
        transaction: Where; it holds the lock of the experiment.
        entry: The experiment.
        ids: Its runs.

    Returns:
        The entry as it is then.
    """
    gone: Counter[str] = Counter()
    for chunk in _chunks(ids):
        gone += _delete(transaction, entry, chunk)
    states = {state: max(0, entry.states.get(state, 0) - gone[state]) for state in STATES}
    left = max(0, entry.run_count - gone.total())
    return noted(transaction, entry, left, states)


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))


def _delete(transaction: Transaction, entry: Entry, ids: Sequence[str]) -> Counter[str]:
    """Delete some runs; return how many the ledger had in each state."""
    quote, marks = transaction.quote, ", ".join("?" * len(ids))
    own = (entry.id_experiment, *ids)
    where = f"WHERE id_experiment = ? AND id_run IN ({marks})"
    rows = transaction.rows(f"SELECT position, state FROM experiment_runs {where}", own)
    positions = sorted(place for place, _ in rows)
    run_steps.delete(transaction, entry.id_experiment, positions)
    stretches.drop(transaction, entry.id_experiment, positions)
    files.delete_of_runs(transaction, entry.id_experiment, ids)
    for table in OF_RUNS:
        if table != "experiment_run_steps":  # whose rows are found by position
            transaction.run(f"DELETE FROM {table} {where}", own)
    tables = [entry.table, *([entry.series_table] if entry.series is not None else [])]
    for table in tables:
        transaction.run(f"DELETE FROM {quote(table)} WHERE id_run IN ({marks})", ids)
    return Counter(state for _, state in rows)


def counted(transaction: Transaction, entry: Entry) -> tuple[int, dict[str, int]]:
    """Count the runs of an experiment in the ledger: all, and by state."""
    sql = "SELECT state, count(*) FROM experiment_runs WHERE id_experiment = ? GROUP BY state"
    found = dict(transaction.rows(sql, (entry.id_experiment,)))
    return sum(found.values()), {state: found.get(state, 0) for state in STATES}


def recounted(transaction: Transaction, entry: Entry) -> Entry:
    """Return an entry, with new counts if it has fewer than no runs of a state.

    Then somebody has changed states by SQL, and writes since have counted on from what was before.
    """
    if min(entry.states.values(), default=0) >= 0:
        return entry
    runs, states = counted(transaction, entry)
    return replace(entry, run_count=runs, states=states)


def noted(transaction: Transaction, entry: Entry, runs: int, states: Mapping[str, int]) -> Entry:
    """Note how many runs an experiment has, if that is not what its row says."""
    if (entry.run_count, dict(entry.states)) == (runs, dict(states)):
        return entry
    now = {**entry.properties, **experiments_table.origin()}
    changed = replace(
        entry, run_count=runs, states=states, properties=now, revision=entry.revision + 1
    )
    experiments_table.update(transaction, changed)
    return changed
