"""Rows of `experiment_run_steps`: what is known of a run in one step.

The key begins with experiment and step, so an index finds who has completed a step, and tells of
each run of the ledger whether it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mltraq_prefect.model.ledger_entry import STEP_COLUMNS, StepEntry
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage.ledger_columns import LedgerColumn, cells_of, columns_of, sent_of
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.values.columns import Constant
from mltraq_prefect.storage.values.kinds import KEY, TEXT, Kind
from mltraq_prefect.storage.values.names import step_key

RUN_STEPS_KEY = ("id_experiment", "step_key", "id_run")

_STEP_COLUMNS = columns_of(StepEntry, STEP_COLUMNS)

RUN_STEPS: dict[str, Kind] = {
    "id_experiment": KEY,
    "step_key": KEY,
    "id_run": KEY,
    "step": TEXT,
    **{name: own.kind for name, own in _STEP_COLUMNS.items()},
}
"""`step_key` stands for the name of the step, which may have any length and any letters."""

Executions = dict[str, dict[str, StepEntry]]
"""Entries by `id_run` and name of the step."""

StepRows = list[Sequence[Any]]
"""The columns of `RUN_STEPS` for one step, without the experiment."""

CHUNK = 500
"""Rows that one statement deletes or looks up by the ids of their runs."""

_READ: dict[str, LedgerColumn] = {
    "id_run": LedgerColumn(KEY),
    "step": LedgerColumn(TEXT),
    **_STEP_COLUMNS,
}


def rows_of(runs: Sequence[Run], dialect: Dialect) -> list[StepRows]:
    """Return the rows of all steps of runs, ready for the driver."""
    by_step: dict[str, list[tuple[str, StepEntry]]] = {}
    for run in runs:
        for step, entry in entries(run):
            by_step.setdefault(step, []).append((run.id_run, entry))
    return [_rows(step, by_step[step], dialect) for step in sorted(by_step, key=step_key)]


def insert(transaction: Transaction, id_experiment: str, steps: Sequence[StepRows]) -> None:
    """Insert the rows of steps of runs that have none yet."""
    for rows in steps:
        cells = (Constant(id_experiment, len(rows[0])), *rows)
        transaction.insert("experiment_run_steps", RUN_STEPS, cells)


def rows_of_some(
    runs: Sequence[Run], steps: Sequence[Sequence[str]], dialect: Dialect
) -> list[StepRows]:
    """Return the rows of some steps of runs, ready for the driver.

    Args:
        runs: The runs.
        steps: Names of those steps, of each run.
        dialect: The backend.
    """
    by_step: dict[str, list[tuple[str, StepEntry]]] = {}
    for run, names in zip(runs, steps, strict=True):
        known = dict(entries(run)) if names else {}
        for step in names:
            entry = known.get(step) or StepEntry("pending")
            by_step.setdefault(step, []).append((run.id_run, entry))
    return [
        _rows(step, sorted(by_step[step], key=lambda row: row[0]), dialect)
        for step in sorted(by_step, key=step_key)
    ]


def replace(transaction: Transaction, id_experiment: str, steps: Sequence[StepRows]) -> None:
    """Replace rows of steps of runs."""
    for rows in steps:
        keys, ids = rows[0], rows[1]
        _delete(transaction, id_experiment, keys[0], ids)
        insert(transaction, id_experiment, [rows])


def entries(run: Run) -> Iterator[tuple[str, StepEntry]]:
    """Yield the entry of each step of a run that is in memory; at least what its summary says."""
    ledger = run.ledger
    for step, fingerprint in ledger.steps.items():
        entry = ledger.executed.get(step)
        if entry is None or (entry.state, entry.fingerprint) != ("completed", fingerprint):
            entry = StepEntry("completed", fingerprint)
        yield step, entry
    for step, entry in ledger.executed.items():
        if step not in ledger.steps:
            yield step, entry


def _rows(step: str, rows: Sequence[tuple[str, StepEntry]], dialect: Dialect) -> StepRows:
    ids, found = zip(*rows, strict=True)
    cells = cells_of(_STEP_COLUMNS.items(), found, dialect)
    said = sent_of(_STEP_COLUMNS.values(), cells, dialect)
    count = len(rows)
    return [Constant(step_key(step), count), ids, Constant(step, count), *said]


def _delete(
    transaction: Transaction, id_experiment: str, key_of_step: str, ids: Sequence[str]
) -> None:
    where = "FROM experiment_run_steps WHERE id_experiment = ? AND step_key = ?"
    key = (id_experiment, key_of_step)
    if not transaction.rows(f"SELECT 1 {where} LIMIT 1", key):
        return  # most steps are new
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        marks = ", ".join("?" * len(chunk))
        transaction.run(f"DELETE {where} AND id_run IN ({marks})", (*key, *chunk))


def read(transaction: Transaction, id_experiment: str, ids: Sequence[str]) -> Executions:
    """Return the entries of runs that the database has.

    Args:
        transaction: Where to read.
        id_experiment: The experiment.
        ids: The runs; entries of others may come, too.
    """
    dialect = transaction.dialect
    makers = [own.maker(dialect) for own in _READ.values()]
    sql = f"SELECT {', '.join(_READ)} FROM experiment_run_steps WHERE id_experiment = ?"
    executions: Executions = {}
    for condition, parameters in _parts(transaction, id_experiment, ids):
        kept = transaction.select(sql + condition, makers, (id_experiment, *parameters))
        columns = [
            own.values(cells, dialect) for own, cells in zip(_READ.values(), kept, strict=True)
        ]
        for id_run, step, *said in zip(*columns, strict=True):
            executions.setdefault(id_run, {})[step] = StepEntry(*said)
    return executions


def _parts(
    transaction: Transaction, id_experiment: str, ids: Sequence[str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield conditions that together lead to the rows of runs: by key if these are few."""
    if len(ids) > CHUNK:
        yield "", ()
        return
    marks = ", ".join("?" * len(ids))
    for key in step_keys(transaction, id_experiment) if ids else ():
        yield f" AND step_key = ? AND id_run IN ({marks})", (key, *ids)


def step_keys(transaction: Transaction, id_experiment: str) -> Iterator[str]:
    """Yield the keys of the steps of an experiment: each is one look-up in the index."""
    sql = "SELECT min(step_key) FROM experiment_run_steps WHERE id_experiment = ? AND step_key > ?"
    key = ""
    while True:
        ((following,),) = transaction.rows(sql, (id_experiment, key))
        if following is None:
            return
        yield (key := following)
