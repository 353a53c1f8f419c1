"""Rows of `experiment_run_steps`: what is known of a run in one step.

The key is experiment, step and the position of the run. So an index finds the rows of a step, and
those of runs that are executed together are next to each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mltraq_prefect.model.ledger_entry import DONE, STEP_COLUMNS, StepEntry
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage.ledger_columns import LedgerColumn, cells_of, columns_of, sent_of
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.values.columns import Constant
from mltraq_prefect.storage.values.kinds import INT, KEY, TEXT, Kind
from mltraq_prefect.storage.values.names import step_key

RUN_STEPS_KEY = ("id_experiment", "step_key", "position")

_STEP_COLUMNS = columns_of(StepEntry, STEP_COLUMNS)

RUN_STEPS: dict[str, Kind] = {
    "id_experiment": KEY,
    "step_key": KEY,
    "position": INT,
    "id_run": KEY,
    "step": TEXT,
    **{name: own.kind for name, own in _STEP_COLUMNS.items()},
}
"""`step_key` stands for the name of the step, which may have any length and any letters."""

Executions = dict[str, dict[str, StepEntry]]
"""Entries by `id_run` and name of the step."""

StepRows = list[Sequence[Any]]
"""The columns of `RUN_STEPS` for one step, without the experiment."""

CHUNK = 1000
"""Rows that one statement deletes or looks up by their positions."""

_READ: dict[str, LedgerColumn] = {
    "id_run": LedgerColumn(KEY),
    "step": LedgerColumn(TEXT),
    **_STEP_COLUMNS,
}


def rows_of(
    runs: Sequence[Run],
    positions: Sequence[int],
    dialect: Dialect,
    steps: Sequence[Sequence[str]] | None = None,
) -> list[StepRows]:
    """Return the rows of steps of runs, ready for the driver.

    Args:
        runs: The runs.
        positions: Their positions.
        dialect: The backend.
        steps: Names of the steps of each run; all if None.
    """
    by_step: dict[str, list[tuple[int, str, StepEntry]]] = {}
    for index, (run, position) in enumerate(zip(runs, positions, strict=True)):
        known: Iterable[tuple[str, StepEntry]] = entries(run)
        if steps is not None:
            known = _of_some(dict(known), steps[index]) if steps[index] else ()
        for step, entry in known:
            by_step.setdefault(step, []).append((position, run.id_run, entry))
    return [
        _rows(step, sorted(by_step[step], key=lambda row: row[0]), dialect)
        for step in sorted(by_step, key=step_key)
    ]


def _of_some(
    known: Mapping[str, StepEntry], steps: Sequence[str]
) -> Iterator[tuple[str, StepEntry]]:
    return ((step, known.get(step) or StepEntry("pending")) for step in steps)


def insert(transaction: Transaction, id_experiment: str, steps: Sequence[StepRows]) -> None:
    """Insert the rows of steps of runs; those that there are at their positions go."""
    for rows in steps:
        keys, positions = rows[0], rows[1]
        _delete(transaction, id_experiment, keys[0], positions)
        cells = (Constant(id_experiment, len(positions)), *rows)
        transaction.insert("experiment_run_steps", RUN_STEPS, cells)


def delete(transaction: Transaction, id_experiment: str, positions: Sequence[int]) -> None:
    """Delete the rows of all steps of runs, given by their positions, in order."""
    for key in list(step_keys(transaction, id_experiment)) if positions else ():
        _delete(transaction, id_experiment, key, positions)


def entries(run: Run) -> Iterator[tuple[str, StepEntry]]:
    """Yield the entry of each step of a run that is in memory; at least what its summary says."""
    ledger = run.ledger
    for step, fingerprint in ledger.steps.items():
        entry = ledger.executed.get(step)
        if entry is None or entry.state not in DONE or entry.fingerprint != fingerprint:
            entry = StepEntry("completed", fingerprint)
        yield step, entry
    for step, entry in ledger.executed.items():
        if step not in ledger.steps:
            yield step, entry


def _rows(step: str, rows: Sequence[tuple[int, str, StepEntry]], dialect: Dialect) -> StepRows:
    positions, ids, found = zip(*rows, strict=True)
    cells = cells_of(_STEP_COLUMNS.items(), found, dialect)
    said = sent_of(_STEP_COLUMNS.values(), cells, dialect)
    count = len(rows)
    return [Constant(step_key(step), count), positions, ids, Constant(step, count), *said]


def _delete(
    transaction: Transaction, id_experiment: str, key_of_step: str, positions: Sequence[int]
) -> None:
    """Delete rows of a step; most steps are new, so one look tells whether there are any."""
    where = "FROM experiment_run_steps WHERE id_experiment = ? AND step_key = ?"
    key = (id_experiment, key_of_step)
    around = (*key, positions[0], positions[-1])
    if not transaction.rows(f"SELECT 1 {where} AND position BETWEEN ? AND ? LIMIT 1", around):
        return
    for condition, parameters in _at(positions):
        transaction.run(f"DELETE {where}{condition}", (*key, *parameters))


def _at(positions: Sequence[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield conditions that together lead to the rows at some positions, which are in order."""
    if positions and positions[-1] - positions[0] == len(positions) - 1:
        yield " AND position BETWEEN ? AND ?", (positions[0], positions[-1])
        return
    for start in range(0, len(positions), CHUNK):
        chunk = tuple(positions[start : start + CHUNK])
        yield f" AND position IN ({', '.join('?' * len(chunk))})", chunk


def read(transaction: Transaction, id_experiment: str, positions: Iterable[int]) -> Executions:
    """Return the entries of runs that the database has.

    Args:
        transaction: Where to read.
        id_experiment: The experiment.
        positions: Of the runs.
    """
    dialect = transaction.dialect
    makers = [own.maker(dialect) for own in _READ.values()]
    sql = (
        f"SELECT {', '.join(_READ)} FROM experiment_run_steps "
        "WHERE id_experiment = ? AND step_key = ?"
    )
    executions: Executions = {}
    in_order = sorted(positions)
    for key in step_keys(transaction, id_experiment) if in_order else ():
        for condition, parameters in _at(in_order):
            own = (id_experiment, key, *parameters)
            _take(executions, transaction.select(sql + condition, makers, own), dialect)
    return executions


def name_flow_run(
    transaction: Transaction, id_experiment: str, ids: Sequence[str], flow_run_id: str
) -> None:
    """Note the flow run of runs, and of their steps, whose task runs alone were known before.

    Args:
        transaction: Where to write.
        id_experiment: Their experiment.
        ids: Their `id_run`.
        flow_run_id: Id of the flow run.
    """
    unnamed = "task_run_id IS NOT NULL AND flow_run_id IS NULL"
    keys = list(step_keys(transaction, id_experiment))
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        of_runs = f"id_experiment = ? AND id_run IN ({', '.join('?' * len(chunk))}) AND {unnamed}"
        found = transaction.rows(
            f"SELECT position FROM experiment_runs WHERE {of_runs}", (id_experiment, *chunk)
        )
        transaction.run(
            f"UPDATE experiment_runs SET flow_run_id = ? WHERE {of_runs}",
            (flow_run_id, id_experiment, *chunk),
        )
        of_step = f"id_experiment = ? AND step_key = ? AND {unnamed}"
        for condition, parameters in _at(sorted(position for (position,) in found)):
            for key in keys:
                transaction.run(
                    f"UPDATE experiment_run_steps SET flow_run_id = ? WHERE {of_step}{condition}",
                    (flow_run_id, id_experiment, key, *parameters),
                )


def _take(executions: Executions, kept: Sequence[Sequence[Any]], dialect: Dialect) -> None:
    columns = [own.values(cells, dialect) for own, cells in zip(_READ.values(), kept, strict=True)]
    for id_run, step, *said in zip(*columns, strict=True):
        executions.setdefault(id_run, {})[step] = StepEntry(*said)


def step_keys(transaction: Transaction, id_experiment: str) -> Iterator[str]:
    """Yield the keys of the steps of an experiment: each is one look-up in the index."""
    sql = "SELECT min(step_key) FROM experiment_run_steps WHERE id_experiment = ? AND step_key > ?"
    key = ""
    while True:
        ((following,),) = transaction.rows(sql, (id_experiment, key))
        if following is None:
            return
        yield (key := following)
