"""Large binary values, stored outside of the rows that they belong to.

SQLite rewrites a whole row when one of its cells changes, so a metric added to a run with a
megabyte of predictions would write that megabyte again. On such a backend a binary cell above the
dialect's `inline_bytes` is a reference, and the value is a row of `experiment_values`. Servers keep
large values out of line themselves.

A reference is ``MLTQREF1`` and the XXH3-128 of the value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from xxhash import xxh3_128_digest

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.values.columns import Constant
from mltraq_prefect.storage.values.kinds import BINARY, KEY, Kind

VALUES: dict[str, Kind] = {
    "id_experiment": KEY,
    "id_run": KEY,
    "column_name": KEY,
    "value": BINARY,
}
VALUES_KEY = ("id_experiment", "id_run", "column_name")

REFERENCE_MAGIC = b"MLTQREF1"


MEASURED = 500
"""Values whose sizes are added; more are estimated by these."""


def is_reference(cell: object) -> bool:
    """Return whether a binary cell stands for a value that is elsewhere."""
    return (
        type(cell) is bytes
        and len(cell) == len(REFERENCE_MAGIC) + 16
        and cell.startswith(REFERENCE_MAGIC)
    )


def put(
    transaction: Transaction,
    id_experiment: str,
    ids: Sequence[str],
    columns: Mapping[str, Sequence[Any]],
) -> dict[str, Sequence[Any]]:
    """Store the large values of binary columns; return the columns with references instead of them.

    Args:
        transaction: Where to write.
        id_experiment: The experiment.
        ids: The runs, which have no large values in these columns yet.
        columns: Cells of each binary column, by its physical name.
    """
    limit = transaction.dialect.inline_bytes
    if limit is None:
        return dict(columns)
    large: list[tuple[str, str, bytes]] = []
    referring: dict[str, Sequence[Any]] = {}
    for name, cells in columns.items():
        replaced = list(cells)
        for index, cell in enumerate(cells):
            if type(cell) is bytes and len(cell) > limit:
                replaced[index] = REFERENCE_MAGIC + xxh3_128_digest(cell)
                large.append((ids[index], name, cell))
        referring[name] = replaced
    if large:
        experiment = Constant(id_experiment, len(large))
        transaction.insert("experiment_values", VALUES, [experiment, *zip(*large, strict=True)])
    return referring


def drop(
    transaction: Transaction, id_experiment: str, ids: Sequence[str], columns: Iterable[str]
) -> None:
    """Delete the large values of runs in some columns."""
    if transaction.dialect.inline_bytes is None:
        return
    sql = "DELETE FROM experiment_values WHERE id_experiment = ? AND column_name = ?"
    for name in columns:
        for chunk in _chunks(ids):
            marks = ", ".join("?" * len(chunk))
            transaction.run(f"{sql} AND id_run IN ({marks})", (id_experiment, name, *chunk))


def get(
    transaction: Transaction,
    id_experiment: str,
    column: str,
    ids: Sequence[str],
    cells: Sequence[Any],
) -> Sequence[Any]:
    """Return binary cells with the values that they refer to.

    Raises:
        CorruptData: A value is missing.
    """
    wanted = {ids[index]: index for index, cell in enumerate(cells) if is_reference(cell)}
    if not wanted:
        return cells
    values = list(cells)
    sql = "SELECT id_run, value FROM experiment_values WHERE id_experiment = ? AND column_name = ?"
    for chunk in _chunks(list(wanted)):
        marks = ", ".join("?" * len(chunk))
        rows = transaction.rows(f"{sql} AND id_run IN ({marks})", (id_experiment, column, *chunk))
        for id_run, value in rows:
            values[wanted.pop(id_run)] = value
    for id_run in wanted:
        raise CorruptData("its large value is missing in experiment_values", run=id_run)
    return values


def named(
    transaction: Transaction, id_experiment: str, table: str, column: str, cells: Sequence[Any]
) -> Sequence[Any]:
    """Return binary cells of unknown runs with the values that they refer to.

    Equal references stand for equal values; one look at the column finds a run for each.

    Args:
        transaction: Where.
        id_experiment: The experiment.
        table: The table of its runs.
        column: Physical name of the column.
        cells: Some of its cells.

    Raises:
        CorruptData: A value is missing.
    """
    wanted = set(filter(is_reference, cells))
    if not wanted:
        return cells
    name = transaction.quote(column)
    length = f"{transaction.dialect.byte_length}({name})"
    sql = f"SELECT {name}, id_run FROM {transaction.quote(table)} WHERE {length} = ?"
    rows = transaction.rows(sql, (len(REFERENCE_MAGIC) + 16,))
    runs = {cell: id_run for cell, id_run in rows if cell in wanted}
    values = get(transaction, id_experiment, column, [*runs.values()], [*runs])
    known = dict(zip(runs, values, strict=True))
    return [known.get(cell, cell) if type(cell) is bytes else cell for cell in cells]


def size(transaction: Transaction, id_experiment: str, runs: int) -> int:
    """Return the bytes of the large values of an experiment; does not read the values.

    If there are many, it is estimated by those of some runs.

    Args:
        transaction: Where.
        id_experiment: The experiment.
        runs: How many runs it has.
    """
    if transaction.dialect.inline_bytes is None:
        return 0
    length = transaction.dialect.byte_length
    ((values, own, total),) = transaction.rows(
        "SELECT count(*), count(DISTINCT id_run), sum(size) FROM "
        f"(SELECT id_run, {length}(value) AS size FROM experiment_values "
        f"WHERE id_experiment = ? LIMIT {MEASURED}) AS measured",
        (id_experiment,),
    )
    return int(total or 0) if values < MEASURED else int(total * runs / own)


def _chunks(ids: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
