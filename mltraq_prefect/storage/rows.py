"""Rows of new runs, made ready for the driver before a transaction begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mltraq_prefect.storage import large_values, run_steps
from mltraq_prefect.storage.ledger import LEDGER, ledger_columns
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.values.columns import Constant, column, picked, sorted_indexes
from mltraq_prefect.storage.values.kinds import KEY, Kind
from mltraq_prefect.storage.values.residuals import dump_residual
from mltraq_prefect.storage.write_plan import Plan


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of runs, by columns.

    Attributes:
        kinds: Kinds of the columns of fields, by their names.
        ids: The runs, as they follow each other.
        cells: Cells of the columns of fields.
        ledger_ids: The runs, in the order of the ledger's key.
        order: Where each of those is among `ids`.
        ledger: Cells of the other columns of the ledger.
        steps: Rows of the steps that were tried.
    """

    kinds: dict[str, Kind]
    ids: list[str]
    cells: list[Sequence[Any]]
    ledger_ids: list[str]
    order: list[int]
    ledger: list[Sequence[Any]]
    steps: list[run_steps.StepRows]


def rows_of(plan: Plan, indexes: Sequence[int], dialect: Dialect) -> Rows | None:
    """Return the rows of some runs of a plan; None for no runs."""
    if not indexes:
        return None
    runs = plan.record.runs
    cells = plan.cells(dialect)
    all_ids = [run.id_run for run in runs]
    position = {index: number for number, index in enumerate(indexes)}
    # In the order of its key, a tree of random ids is written page by page.
    in_order = sorted_indexes(all_ids, indexes)
    listed = [runs[index] for index in in_order]
    residuals = plan.residuals()
    ledger = ledger_columns(
        [run.ledger for run in listed],
        picked(plan.ledger, in_order),
        [dump_residual(residuals.get(index)) for index in in_order],
        dialect,
    )
    return Rows(
        kinds={str(plan.layout[key].name): plan.layout[key].kind for key in cells},
        ids=[all_ids[index] for index in indexes],
        cells=list(map(column, picked(list(cells.values()), indexes))),
        ledger_ids=[run.id_run for run in listed],
        order=[position[index] for index in in_order],
        ledger=ledger,
        steps=run_steps.rows_of(listed, dialect),
    )


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
    positions = [first + index for index in rows.order]
    key = [Constant(id_experiment, len(positions)), rows.ledger_ids, positions]
    transaction.insert("experiment_runs", LEDGER, [*key, *rows.ledger])
    run_steps.insert(transaction, id_experiment, rows.steps)


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
