"""Rows of `experiment_run_steps`: what is known of a run in one step.

The key is experiment, step and the position of the run. So an index finds the rows of a step, and
those of runs that are executed together are next to each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from mltraq_prefect.model.ledger_entry import DONE, STEP_COLUMNS, LedgerEntry, StepEntry
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.sql.distinct import distinct
from mltraq_prefect.storage.tables.ledger_columns import LedgerColumn, cells_of, columns_of, sent_of
from mltraq_prefect.storage.values.columns import Constant, aligned, picked
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
    in_order: Sequence[int] = range(len(runs))
    if not isinstance(positions, range):
        in_order = sorted(in_order, key=positions.__getitem__)
    places: dict[str, Sequence[int]] = {}
    found = _alike([runs[index].ledger for index in in_order]) if steps is None else None
    if found is None:
        found, places = _of_each(runs, in_order, steps)
    keys = [positions, [run.id_run for run in runs]]
    return [
        _rows(step, picked(keys, places.get(step, in_order)), found[step], dialect)
        for step in sorted(found, key=step_key)
    ]


def _alike(ledgers: Sequence[LedgerEntry]) -> dict[str, list[StepEntry]] | None:
    """Return the entries of runs that have completed the same steps, by step; None for others."""
    executed = aligned([ledger.executed for ledger in ledgers])
    prints = aligned([ledger.steps for ledger in ledgers])
    if executed is None or prints is None or executed.keys() != prints.keys():
        return None
    for step, entries in executed.items():
        is_same = list(map(attrgetter("fingerprint"), entries)) == prints[step]
        if not is_same or not DONE.issuperset(map(attrgetter("state"), entries)):
            return None
    return executed


def _of_each(
    runs: Sequence[Run], in_order: Sequence[int], steps: Sequence[Sequence[str]] | None
) -> tuple[dict[str, list[StepEntry]], dict[str, Sequence[int]]]:
    """Return the entries of runs by step, and of which runs they are.

    Args:
        runs: The runs.
        in_order: Their indexes in the order of their positions.
        steps: Names of the steps of each run; all if None.
    """
    places: dict[str, list[int]] = {}
    found: dict[str, list[StepEntry]] = {}
    for index in in_order:
        ledger = runs[index].ledger
        for step in _steps(ledger) if steps is None else steps[index]:
            entry = _entry(ledger, step)
            if entry is not None:
                places.setdefault(step, []).append(index)
                found.setdefault(step, []).append(entry)
    return found, dict(places)


def insert(transaction: Transaction, id_experiment: str, steps: Sequence[StepRows]) -> None:
    """Insert the rows of steps of runs; those that there are at their positions go."""
    for rows in steps:
        keys, positions = rows[0], rows[1]
        _delete(transaction, id_experiment, keys[0], positions)
        cells = (Constant(id_experiment, len(positions)), *rows)
        transaction.insert("experiment_run_steps", RUN_STEPS, cells)


def delete(transaction: Transaction, id_experiment: str, positions: Sequence[int]) -> None:
    """Delete the rows of all steps of runs, given by their positions, in order."""
    for key in step_keys(transaction, id_experiment) if positions else ():
        _delete(transaction, id_experiment, key, positions)


def _steps(ledger: LedgerEntry) -> Iterable[str]:
    """Return the steps of which something is known in memory."""
    if ledger.steps.keys() == ledger.executed.keys():
        return ledger.steps
    return dict.fromkeys((*ledger.steps, *ledger.executed))


def untried(
    runs: Sequence[Run], positions: Sequence[int], steps: Sequence[Sequence[str]]
) -> dict[str, list[int]]:
    """Return the positions of runs that have not come to steps, in order, by key of the step.

    Args:
        runs: The runs.
        positions: Their positions.
        steps: Names of the steps of each run that are to be written.
    """
    found: dict[str, list[int]] = {}
    for run, position, names in zip(runs, positions, steps, strict=True):
        for step in names if run.ledger.state != "completed" else ():
            if _entry(run.ledger, step) is None:
                found.setdefault(step_key(step), []).append(position)
    return {key: sorted(own) for key, own in found.items()}


def drop(transaction: Transaction, id_experiment: str, gone: Mapping[str, Sequence[int]]) -> None:
    """Delete the rows of steps, by key, at some positions."""
    for key, positions in sorted(gone.items()):
        _delete(transaction, id_experiment, key, positions)


def _entry(ledger: LedgerEntry, step: str) -> StepEntry | None:
    """Return the entry of a step; at least what the summary of the run says.

    It is None if the last execution of the run has not come to this step of its own.
    """
    entry, fingerprint = ledger.executed.get(step), ledger.steps.get(step)
    if fingerprint is None:
        is_untried = entry is not None and entry.is_untried
        return None if is_untried else entry or StepEntry("pending")
    if entry is None or entry.fingerprint != fingerprint or entry.state not in DONE:
        return StepEntry("completed", fingerprint)
    return entry


def _rows(
    step: str, keys: Sequence[Sequence[Any]], found: Sequence[StepEntry], dialect: Dialect
) -> StepRows:
    """Return the rows of a step, given positions and ids of the runs, and the entries."""
    cells = cells_of(_STEP_COLUMNS.items(), found, dialect)
    said = sent_of(_STEP_COLUMNS.values(), cells, dialect)
    count = len(found)
    return [Constant(step_key(step), count), *keys, Constant(step, count), *said]


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
    transaction: Transaction,
    id_experiment: str,
    ids: Sequence[str],
    flow_run_id: str,
    id_execution: str | None,
) -> None:
    """Note the flow run of runs, and of their steps, whose task runs alone were known before.

    Args:
        transaction: Where to write.
        id_experiment: Their experiment.
        ids: Their `id_run`.
        flow_run_id: Id of the flow run.
        id_execution: Id of their execution, if it is noted: others may have ended without one.
    """
    unnamed = "task_run_id IS NOT NULL AND flow_run_id IS NULL"
    of_execution: tuple[str, ...] = ()
    if id_execution is not None:
        unnamed, of_execution = f"{unnamed} AND id_execution = ?", (id_execution,)
    keys = step_keys(transaction, id_experiment)
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        of_runs = f"id_experiment = ? AND id_run IN ({', '.join('?' * len(chunk))}) AND {unnamed}"
        found = transaction.rows(
            f"SELECT position FROM experiment_runs WHERE {of_runs}",
            (id_experiment, *chunk, *of_execution),
        )
        transaction.run(
            f"UPDATE experiment_runs SET flow_run_id = ? WHERE {of_runs}",
            (flow_run_id, id_experiment, *chunk, *of_execution),
        )
        of_step = f"id_experiment = ? AND step_key = ? AND {unnamed}"
        for condition, parameters in _at(sorted(position for (position,) in found)):
            for key in keys:
                transaction.run(
                    f"UPDATE experiment_run_steps SET flow_run_id = ? WHERE {of_step}{condition}",
                    (flow_run_id, id_experiment, key, *of_execution, *parameters),
                )


def _take(executions: Executions, kept: Sequence[Sequence[Any]], dialect: Dialect) -> None:
    columns = [own.values(cells, dialect) for own, cells in zip(_READ.values(), kept, strict=True)]
    for id_run, step, *said in zip(*columns, strict=True):
        executions.setdefault(id_run, {})[step] = StepEntry(*said)


def step_keys(transaction: Transaction, id_experiment: str) -> list[str]:
    """Return the keys of the steps of an experiment, in order."""
    sql = distinct("experiment_run_steps", "step_key") + "SELECT value FROM found"
    rows = transaction.rows(sql, (id_experiment, id_experiment))
    return sorted(key for (key,) in rows if key is not None)


def names(transaction: Transaction, id_experiment: str) -> list[str]:
    """Return the names of the steps that runs of an experiment have tried, in order of their keys.

    Each is found by looks at an index.
    """
    of_key = "SELECT t.step FROM experiment_run_steps AS t WHERE t.id_experiment = ?"
    sql = (
        f"{distinct('experiment_run_steps', 'step_key')}"
        f"SELECT value, ({of_key} AND t.step_key = value LIMIT 1) FROM found"
    )
    rows = transaction.rows(sql, (id_experiment,) * 3)
    return [str(step) for key, step in sorted(row for row in rows if row[0] is not None)]
