"""Rows of new runs, made ready for the driver before a transaction begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.tables import large_values, run_steps, stretches
from mltraq_prefect.storage.tables.ledger import LEDGER, kept, ledger_columns, stretches_of
from mltraq_prefect.storage.values.columns import Constant, column, picked
from mltraq_prefect.storage.values.kinds import KEY, Kind
from mltraq_prefect.storage.values.residuals import Residual, dump_residual
from mltraq_prefect.storage.writing.write_plan import Plan


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of runs, by columns.

    Attributes:
        kinds: Kinds of the columns of fields, by their names.
        ids: The runs, as they follow each other.
        cells: Cells of the columns of fields.
        ledger: Cells of the columns of the ledger that are not in its key.
        steps: Rows of the steps that were tried, with positions from 0.
        stretches: Stretches of runs of one standing, with positions from 0.
    """

    kinds: dict[str, Kind]
    ids: list[str]
    cells: list[Sequence[Any]]
    ledger: list[Sequence[Any]]
    steps: list[run_steps.StepRows]
    stretches: list[stretches.Stretch]


def rows_of(plan: Plan, indexes: Sequence[int], dialect: Dialect) -> Rows | None:
    """Return the rows of some runs of a plan; None for no runs."""
    if not indexes:
        return None
    runs, ids = plan.record.runs, plan.ids
    cells = plan.cells(dialect)
    residuals = plan.residuals()
    listed = [runs[index] for index in indexes]
    marks = picked(plan.ledger, indexes)
    ledger = ledger_columns(
        [run.ledger for run in listed],
        marks,
        _dumped(residuals, indexes),
        dialect,
    )
    return Rows(
        kinds={str(plan.layout[key].name): plan.layout[key].kind for key in cells},
        ids=list(picked([ids], indexes)[0]),
        cells=list(map(column, picked(list(cells.values()), indexes))),
        ledger=ledger,
        steps=run_steps.rows_of(listed, range(len(listed)), dialect),
        stretches=stretches_of(range(len(listed)), marks),
    )


def _dumped(residuals: Mapping[int, Residual], indexes: Sequence[int]) -> Sequence[bytes | None]:
    if not residuals:
        return Constant(None, len(indexes))
    return [dump_residual(residuals.get(index)) for index in indexes]


def insert(
    transaction: Transaction, id_experiment: str, table: str, rows: Rows | None, *, first: int
) -> None:
    """Insert the rows of runs.

    Args:
        transaction: Where.
        id_experiment: The experiment.
        table: The table of its runs.
        rows: What to insert, if anything.
        first: Position of the first of them.
    """
    if rows is None:
        return
    cells = store_large(transaction, id_experiment, rows.ids, rows.kinds, rows.cells, fresh=True)
    transaction.insert(table, {"id_run": KEY, **rows.kinds}, [rows.ids, *cells])
    count = len(rows.ids)
    key = [Constant(id_experiment, count), rows.ids, [*range(first, first + count)]]
    kinds = kept(LEDGER, transaction.dialect)
    transaction.insert("experiment_runs", kinds, [*key, *rows.ledger])
    run_steps.insert(transaction, id_experiment, _from(first, rows.steps))
    note = stretches.put if first else stretches.begin
    note(transaction, id_experiment, stretches.moved(rows.stretches, first))


def _from(first: int, steps: Sequence[run_steps.StepRows]) -> list[run_steps.StepRows]:
    """Return rows of steps with positions from another number than 0."""
    return [[key, [first + place for place in places], *rest] for key, places, *rest in steps]


def store_large(
    transaction: Transaction,
    id_experiment: str,
    ids: Sequence[str],
    kinds: Mapping[str, Kind],
    columns: Sequence[Sequence[Any]],
    *,
    fresh: bool,
) -> list[Sequence[Any]]:
    """Store large values outside of the table of runs; return the columns that are left for it."""
    cells_by_name = dict(zip(kinds, columns, strict=True))
    binary = {name: cells for name, cells in cells_by_name.items() if kinds[name].is_envelope}
    if not fresh:
        large_values.drop(transaction, id_experiment, ids, binary)
    return list(
        (cells_by_name | large_values.put(transaction, id_experiment, ids, binary)).values()
    )
