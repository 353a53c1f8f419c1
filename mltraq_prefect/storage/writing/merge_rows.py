"""Rows of stored runs that a merge changes, made ready for the driver before a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mltraq_prefect.storage.sql.connections import DriverError, Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.tables import run_cells, run_steps, stretches
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.tables.ledger import KEYS, STATE, kept, ledger_columns, stretches_of
from mltraq_prefect.storage.values.columns import Constant
from mltraq_prefect.storage.values.kinds import BINARY, KEY, Kind
from mltraq_prefect.storage.values.residuals import Residual, dump_residual, parse_residual
from mltraq_prefect.storage.writing import rows
from mltraq_prefect.storage.writing.merge_diff import Changes
from mltraq_prefect.storage.writing.write_plan import Plan

Dumped = dict[int, tuple[tuple[tuple[str, ...], bytes | None, Residual], bytes | None]]
"""By index of a run: what its residual is made of, and that residual."""


class StoredRows(NamedTuple):
    """What the ledger has of the runs that change, by `id_run`.

    Attributes:
        positions: Their positions.
        residuals: The residuals of those that have one.
    """

    positions: Mapping[str, int]
    residuals: Mapping[str, bytes]


class Cells(NamedTuple):
    """New cells of some runs.

    Attributes:
        kinds: Kinds of the columns, by their names.
        ids: The runs.
        columns: The cells.
    """

    kinds: dict[str, Kind]
    ids: list[str]
    columns: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Updates:
    """What changes of stored runs.

    Attributes:
        changed: The runs whose fields change.
        bare: Those of the runs that have no residual afterwards, by index.
        positions: Positions of the runs, by `id_run`.
        fields: Cells of the table of runs.
        ledger: Cells of the ledger.
        steps: Rows of steps.
        untried: Positions of runs that have not come to a step, by key of the step.
        stretches: Stretches of runs of one standing, in order.
    """

    changed: list[str]
    bare: list[int]
    positions: Mapping[str, int]
    fields: list[Cells]
    ledger: list[Cells]
    steps: list[run_steps.StepRows]
    untried: dict[str, list[int]]
    stretches: list[stretches.Stretch]


def updates_of(
    plan: Plan,
    changes: Changes,
    stored: StoredRows,
    dialect: Dialect,
    dumped: Dumped,
) -> Updates:
    """Encode what changes.

    Args:
        plan: The runs.
        changes: What of them is to be written.
        stored: What the ledger has of them.
        dialect: The backend.
        dumped: Residuals that were encoded before, which is continued.
    """
    runs = plan.record.runs
    if not changes.cells:
        return Updates([], [], {}, [], [], [], {}, [])
    _dump(plan, changes, stored.residuals, dumped)
    executed = [index for index in changes.indexes() if index not in changes.kept]
    of_runs = [runs[index] for index in executed]
    steps = [changes.entries.get(index, []) for index in executed]
    changed = sorted(index for keys, some in changes.cells.items() if keys for index in some)
    positions = [stored.positions[id_run] for id_run in _ids(plan, executed)]
    return Updates(
        _ids(plan, changed),
        [index for index in changes.indexes() if dumped[index][1] is None],
        stored.positions,
        _fields(plan, changes, dialect),
        _ledger(plan, changes, executed, dumped, dialect),
        run_steps.rows_of(of_runs, positions, dialect, steps),
        run_steps.untried(of_runs, positions, steps),
        stretches_of(positions, _marks(changes, executed)) if executed else [],
    )


def _dump(plan: Plan, changes: Changes, stored: Mapping[str, bytes], dumped: Dumped) -> None:
    """Encode the residuals that changed runs will have, unless that was done before."""
    new = plan.residuals()
    for keys, indexes in changes.cells.items():
        for index in indexes:
            before = stored.get(plan.record.runs[index].id_run)
            made_of = keys, before, new.get(index, Residual())
            if index not in dumped or dumped[index][0] != made_of:
                old = Residual() if before is None else parse_residual(before)
                dumped[index] = made_of, dump_residual(old.replaced(keys, made_of[2]))


def _fields(plan: Plan, changes: Changes, dialect: Dialect) -> list[Cells]:
    cells = plan.cells(dialect)
    updates = []
    for keys, indexes in changes.cells.items():
        if with_column := [key for key in keys if key in cells]:
            kinds = {str(plan.layout[key].name): plan.layout[key].kind for key in with_column}
            columns = [[cells[key][index] for index in indexes] for key in with_column]
            updates.append(Cells(kinds, _ids(plan, indexes), columns))
    return updates


def _ledger(
    plan: Plan, changes: Changes, executed: list[int], dumped: Dumped, dialect: Dialect
) -> list[Cells]:
    idle = [index for index in changes.indexes() if index in changes.kept]
    updates = []
    if idle:
        residuals = [[dumped[index][1] for index in idle]]
        updates.append(Cells({"residual": BINARY}, _ids(plan, idle), residuals))
    if executed:
        columns = ledger_columns(
            [plan.record.runs[index].ledger for index in executed],
            _marks(changes, executed),
            [dumped[index][1] for index in executed],
            dialect,
        )
        updates.append(Cells(STATE, _ids(plan, executed), columns))
    return updates


def _marks(changes: Changes, indexes: Sequence[int]) -> list[Sequence[Any]]:
    """Return the ledger marks that runs shall have, in columns."""
    return list(zip(*[changes.ledger[index] for index in indexes], strict=True))


def _ids(plan: Plan, indexes: Sequence[int]) -> list[str]:
    return [plan.ids[index] for index in indexes]


def write(transaction: Transaction, updates: Updates, entry: Entry) -> None:
    """Write what changes of the runs of an experiment.

    Raises:
        RowsMissing: Somebody has deleted the row of one in the table of runs.
    """
    if not transaction.dialect.counts_updates:
        run_cells.check_rows(transaction, entry, updates.changed)
    for kinds, ids, columns in updates.fields:
        cells = rows.store_large(transaction, entry.id_experiment, ids, kinds, columns, fresh=False)
        found = transaction.update(entry.table, kinds, {"id_run": KEY}, [*cells, ids])
        if found is not None and found != len(ids):
            run_cells.check_rows(transaction, entry, updates.changed)
    for kinds, ids, columns in updates.ledger:
        positions = [updates.positions[id_run] for id_run in ids]
        keys = [Constant(entry.id_experiment, len(ids)), ids, positions]
        found = transaction.update(
            "experiment_runs", kept(kinds, transaction.dialect), KEYS, [*columns, *keys]
        )
        if found is not None and found != len(ids):
            raise DriverError("moved", f"rows of {entry.name!r} in experiment_runs are gone")
    run_steps.insert(transaction, entry.id_experiment, updates.steps)
    run_steps.drop(transaction, entry.id_experiment, updates.untried)
    stretches.put(transaction, entry.id_experiment, updates.stretches)
