"""Rows of `experiment_series`: which step has logged which rows of a series, and what is exact.

A part is what one step has logged in one run and was written at once. Its residual has what its
rows in `s_<name>` do not give back: the exact values, and the types that differ from the column's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mltraq_prefect.codecs import decode, encode
from mltraq_prefect.errors import CorruptData
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.values.change_marks import Mark
from mltraq_prefect.storage.values.columns import Constant
from mltraq_prefect.storage.values.kinds import BINARY, INT, KEY, TEXT, Kind
from mltraq_prefect.storage.values.layout import Layout

PARTS: dict[str, Kind] = {
    "id_experiment": KEY,
    "id_run": KEY,
    "first_seq": INT,
    "next_seq": INT,
    "step": TEXT,
    "residual": BINARY,
}
PARTS_KEY = ("id_experiment", "id_run", "first_seq")

ROW_BYTES = 90
"""About what a row takes beside the cells of its keys: most is the id of the run."""

CELL_BYTES = 9
"""About what the cell of a key takes: most are numbers."""

CHUNK = 500
"""Runs that one statement looks up."""

MEASURED = 500
"""If there are more parts, so many of them tell how large the series of a run is."""


class Part(NamedTuple):
    """Rows of one run: from one sequence number up to another, without that.

    Attributes:
        step: Name of the step that has logged them.
        residual: What `dump` returned, if it was read.
    """

    first: int
    next: int
    step: str
    residual: bytes | None = None


@dataclass(slots=True)
class SeriesResidual:
    """What the rows of a part do not give back.

    Attributes:
        types: Types of its natural cells by key, where they differ from those of the columns.
        exact: By key the indexes of rows, the envelopes of their values, and the marks of the
            cells that stood for those when they were written.
    """

    types: dict[str, str] = field(default_factory=dict)
    exact: dict[str, tuple[list[int], list[bytes], list[Mark]]] = field(default_factory=dict)


def dump(residual: SeriesResidual) -> bytes | None:
    """Return one envelope of a residual; None if there is nothing in it."""
    if not (residual.types or residual.exact):
        return None
    return encode({"types": residual.types, "exact": residual.exact}, path="residual")


def parse(data: bytes | None) -> SeriesResidual:
    """Return the residual that `dump` made an envelope of.

    Raises:
        CorruptData: The bytes are something else.
    """
    if data is None:
        return SeriesResidual()
    decoded = decode(data)
    try:
        types, exact = dict(decoded["types"]), {}
        for key, (indexes, envelopes, marks) in decoded["exact"].items():
            if {*map(type, indexes)} != {int} or {*map(type, envelopes)} != {bytes}:
                raise TypeError
            if not len(indexes) == len(envelopes) == len(marks):
                raise ValueError
            exact[key] = indexes, envelopes, marks
    except (TypeError, KeyError, AttributeError, ValueError):
        raise CorruptData("the residual of a series is not a residual") from None
    return SeriesResidual(types, exact)


def read(
    transaction: Transaction,
    id_experiment: str,
    ids: Sequence[str] | None,
    span: tuple[int, int] | None = None,
    *,
    residuals: bool = False,
) -> dict[str, list[Part]]:
    """Return the parts of runs by `id_run`, in order.

    Args:
        transaction: Where to read.
        id_experiment: The experiment.
        ids: The runs; all if None.
        span: Only parts that begin at a sequence number from the first up to the second of these.
        residuals: Whether what is exact is read, too.
    """
    names = "id_run, first_seq, next_seq, step" + (", residual" if residuals else "")
    sql = f"SELECT {names} FROM experiment_series WHERE id_experiment = ?"
    found: dict[str, list[Part]] = {}
    of_parts = "" if span is None else " AND first_seq >= ? AND first_seq < ?"
    end = f"{of_parts} ORDER BY id_run, first_seq"
    for condition, own in _conditions(ids):
        parameters = (id_experiment, *own, *(span or ()))
        for id_run, *part in transaction.rows(sql + condition + end, parameters):
            found.setdefault(id_run, []).append(Part(*part))
    return found


def estimated_size(
    transaction: Transaction, id_experiment: str, layout: Layout | None, runs: int
) -> int:
    """Return about how many bytes the rows of an experiment take; none of them is read.

    Args:
        transaction: Where.
        id_experiment: The experiment.
        layout: The columns of keys; None if it has no series.
        runs: How many runs it has.
    """
    if layout is None:
        return 0
    ((parts, own, rows),) = transaction.rows(
        "SELECT count(*), count(DISTINCT id_run), sum(next_seq - first_seq) FROM "
        "(SELECT id_run, first_seq, next_seq FROM experiment_series "
        f"WHERE id_experiment = ? LIMIT {MEASURED}) AS measured",
        (id_experiment,),
    )
    total = int(rows or 0) if parts < MEASURED else int(rows) * runs // own
    return total * (ROW_BYTES + CELL_BYTES * len(layout))


def _conditions(ids: Sequence[str] | None) -> Iterator[tuple[str, Sequence[str]]]:
    if ids is None:
        yield "", ()
        return
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        yield f" AND id_run IN ({', '.join('?' * len(chunk))})", chunk


def insert(transaction: Transaction, id_experiment: str, parts: Sequence[tuple[str, Part]]) -> None:
    """Insert the parts of runs."""
    if parts:
        ids = [id_run for id_run, _ in parts]
        columns: list[Sequence[Any]] = [*zip(*(part for _, part in parts), strict=True)]
        cells = [Constant(id_experiment, len(parts)), ids, *columns]
        transaction.insert("experiment_series", PARTS, cells)


def delete(
    transaction: Transaction, id_experiment: str, table: str, gone: Mapping[str, Sequence[Part]]
) -> None:
    """Delete parts of runs, with their rows.

    Args:
        transaction: Where.
        id_experiment: The experiment.
        table: The table of its series.
        gone: The parts by `id_run`.
    """
    rows = f"DELETE FROM {transaction.quote(table)} WHERE id_run = ? AND seq >= ? AND seq < ?"
    part = "DELETE FROM experiment_series WHERE id_experiment = ? AND id_run = ? AND first_seq = ?"
    for id_run, parts in gone.items():
        for each in parts:
            transaction.run(rows, (id_run, each.first, each.next))
            transaction.run(part, (id_experiment, id_run, each.first))
