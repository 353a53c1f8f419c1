"""Tables of series, `s_<name>`: how they are made, written and read."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, groupby
from typing import Any, TypeVar

import numpy as np

from mltraq_prefect.codecs import decode
from mltraq_prefect.errors import CorruptData
from mltraq_prefect.model.series import Placed, Rows
from mltraq_prefect.storage.series.series_plan import SERIES, SERIES_KEY, NewPart, SeriesPlan
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables import experiments_table, run_cells, run_tables, series_parts
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.tables.run_tables import Shape
from mltraq_prefect.storage.tables.series_parts import Part, SeriesResidual
from mltraq_prefect.storage.values.cells import natural, revive
from mltraq_prefect.storage.values.change_marks import Mark
from mltraq_prefect.storage.values.columns import Constant, Maker
from mltraq_prefect.storage.values.layout import Column, Layout
from mltraq_prefect.storage.values.names import series_name, table_name

T = TypeVar("T")

SHAPE = Shape(SERIES, SERIES_KEY, is_of_series=True)

MAX_IDS = 500
"""More runs are read in several statements."""


# -- tables ----------------------------------------------------------------------------------------


def begin(transaction: Transaction, entry: Entry, plan: SeriesPlan | None) -> Entry:
    """Make the table of a new experiment's series, if it has one.

    Args:
        transaction: Where.
        entry: The experiment.
        plan: Its series, if there are any.

    Returns:
        The entry, which leads to the table.
    """
    if plan is None:
        return entry
    own = series_name(entry.name)
    run_tables.refuse_foreign(transaction, own, entry.name)
    owner = table_name(entry.name)
    table = run_tables.create(transaction, owner, own, plan.layout, SHAPE, late_key=False)
    return replace(entry, series=plan.layout, series_table=table)


def succeed(transaction: Transaction, old: Entry, entry: Entry, plan: SeriesPlan | None) -> Entry:
    """Make room for the series of an experiment that takes another one's place.

    A table that stays still has its rows. Without series it stays, too: somebody may read it.
    """
    if old.series is None:
        return begin(transaction, entry, plan)
    layout = old.series if plan is None else plan.layout
    table, retired = run_tables.succeed(transaction, old.of_series(), layout, SHAPE)
    return replace(entry, series=layout, series_table=table, series_retired=retired)


def extend(transaction: Transaction, entry: Entry, plan: SeriesPlan) -> Entry | set[str]:
    """Give the table of an experiment's series the columns that a plan needs.

    Returns:
        The entry as it is then; or the keys of columns that cannot become columns of another kind:
        nothing was changed.
    """
    if entry.series is None:
        return begin(transaction, entry, plan)
    series, retyped = entry.of_series(), plan.retyped
    if retyped:
        fixed = run_cells.fixed(transaction, series.table, retyped)
        fixed = fixed or run_cells.retype(transaction, series.table, retyped, plan.layout)
        if fixed:
            return fixed
    owner = table_name(entry.name)
    run_tables.reshape(transaction, owner, series.table, entry.series, plan.layout)
    return replace(entry, series=plan.layout)


# -- writing ---------------------------------------------------------------------------------------


def write(transaction: Transaction, entry: Entry, plan: SeriesPlan) -> None:
    """Write rows; those of new attempts replace those of earlier ones.

    What was written before is written again without harm.
    """
    ids = list(dict.fromkeys(part.id_run for part in plan.parts))
    known = series_parts.read(transaction, entry.id_experiment, ids)
    kept = {id_run: list(parts) for id_run, parts in known.items()}
    new: list[tuple[str, Part]] = []
    for begun in (part for part in plan.parts if not part.number):
        _drop(kept.get(begun.id_run, []), begun.step, 0)
    for part in plan.parts:
        there = kept.setdefault(part.id_run, [])
        first = _first(there, part)
        _drop(there, part.step, first)
        if part.count:
            there.append(Part(first, first + part.count, part.step, part.residual))
            new.append((part.id_run, there[-1]))
    left = {id(part) for parts in kept.values() for part in parts}
    gone = {
        id_run: [part for part in parts if id(part) not in left] for id_run, parts in known.items()
    }
    series_parts.delete(transaction, entry.id_experiment, entry.series_table, gone)
    _insert(transaction, entry.series_table, plan, new)
    series_parts.insert(transaction, entry.id_experiment, new)


def _drop(parts: list[Part], step: str, first: int) -> None:
    """Drop the parts of a step from a sequence number on."""
    parts[:] = [part for part in parts if part.step != step or part.first < first]


def _first(parts: Sequence[Part], new: NewPart) -> int:
    """Return the sequence number of the first row of a part: others have logged up to there."""
    if own := [part.first for part in parts if part.step == new.step]:
        return min(own) + new.number
    return max([new.start or 0, *(part.next for part in parts)]) + new.number


def _insert(
    transaction: Transaction, table: str, plan: SeriesPlan, new: Sequence[tuple[str, Part]]
) -> None:
    total = len(plan.times)
    if not total:
        return
    counts = [part.next - part.first for _, part in new]
    if len({id_run for id_run, _ in new}) == 1:
        ids: Sequence[str] = Constant(new[0][0], total)
    else:
        ids = [id_run for (id_run, _), count in zip(new, counts, strict=True) for _ in range(count)]
    seq = list(chain.from_iterable(range(part.first, part.next) for _, part in new))
    kinds = {**SERIES, **plan.kinds}
    transaction.insert(table, kinds, [ids, seq, plan.steps, plan.times, *plan.cells])


# -- reading ---------------------------------------------------------------------------------------


def read_named(
    transaction: Transaction, name: str, id_experiment: str | None, ids: Sequence[str]
) -> Callable[[], dict[str, list[Placed]]]:
    """Select series of an experiment as `read` does; nothing if it is not there.

    Args:
        transaction: Where to read.
        name: Its name.
        id_experiment: Its id, if that is known: its name may be another one now.
        ids: The runs.
    """
    sql = "SELECT name FROM experiments WHERE id_experiment = ?"
    known = [(name,)] if id_experiment is None else transaction.rows(sql, (id_experiment,))
    entry = experiments_table.find(transaction, known[0][0]) if known else None
    return dict if entry is None else read(transaction, entry, ids)


def read(
    transaction: Transaction,
    entry: Entry,
    ids: Sequence[str] | None,
    span: tuple[int, int] | None = None,
) -> Callable[[], dict[str, list[Placed]]]:
    """Select the series of runs.

    Args:
        transaction: Where to read.
        entry: The experiment.
        ids: The runs; all if None.
        span: Only whole parts from this sequence number up to another, without that.

    Returns:
        What makes the rows by `id_run`, when the transaction has ended, too.
    """
    if entry.series is None:
        return dict
    parts = series_parts.read(transaction, entry.id_experiment, ids, span, residuals=True)
    series = entry.of_series()
    selected = [_select(transaction, series, condition) for condition in _conditions(ids, span)]

    def made() -> dict[str, list[Placed]]:
        found: dict[str, list[Placed]] = {}
        for select in selected:
            listed, *columns = _corrupt_as(series, None, select)
            for id_run, start, stop in _spans(listed):
                own = [column[start:stop] for column in columns]
                place = partial(_placed, series.layout, own, parts.get(id_run, ()))
                found[id_run] = _corrupt_as(series, id_run, place)
        return found

    return made


def _conditions(
    ids: Sequence[str] | None, span: tuple[int, int] | None
) -> Iterable[tuple[str, Sequence[Any]]]:
    if ids is None:
        return [("", ())]
    of_rows = "" if span is None else " AND seq >= ? AND seq < ?"
    chunks = [ids[start : start + MAX_IDS] for start in range(0, len(ids), MAX_IDS)]
    return [
        (f" WHERE id_run IN ({', '.join('?' * len(chunk))}){of_rows}", (*chunk, *(span or ())))
        for chunk in chunks
    ]


def _select(
    transaction: Transaction, series: Entry, condition: tuple[str, Sequence[Any]]
) -> Callable[[], list[Sequence[Any]]]:
    placed = {str(own.name): own.kind for own in series.layout.values() if own.name is not None}
    kinds = {**SERIES, **placed}
    names = ", ".join(map(transaction.quote, kinds))
    where, parameters = condition
    sql = f"SELECT {names} FROM {transaction.quote(series.table)}{where} ORDER BY id_run, seq"
    _, *others = kinds.values()
    makers: list[Maker] = [list, *(partial(natural, transaction.dialect, kind) for kind in others)]
    select = partial(transaction.selected, sql, makers, parameters)
    return _corrupt_as(series, None, select)


def _corrupt_as(series: Entry, id_run: str | None, make: Callable[[], T]) -> T:
    """Make something of cells; say where they are if they are none of ours."""
    try:
        return make()
    except CorruptData as error:
        raise error.within(series.name, id_run) from None
    except (AttributeError, LookupError, TypeError, ValueError):
        reason = f"a cell of {series.table} holds something else than its column says"
        raise CorruptData(reason, experiment=series.name, run=id_run) from None


def _spans(ids: Sequence[str]) -> Iterable[tuple[str, int, int]]:
    start = 0
    for id_run, members in groupby(ids):
        stop = start + sum(1 for _ in members)
        yield id_run, start, stop
        start = stop


def _placed(
    layout: Layout, columns: Sequence[Sequence[Any]], parts: Sequence[Part]
) -> list[Placed]:
    """Make the rows of a run, part by part."""
    seq = np.array(columns[0], dtype=np.int64)
    placed = []
    for part in parts:
        start, stop = np.searchsorted(seq, (part.first, part.next)).tolist()
        own, steps, times, *cells = (cells[start:stop] for cells in columns)
        residual = series_parts.parse(part.residual)
        exact = _exact(residual, part, own)
        values = {}
        natural_cells = iter(cells)
        for key, column in layout.items():
            has_column = column.name is not None
            listed = next(natural_cells) if has_column else Constant(None, len(own))
            column = replace(column, type=residual.types.get(key, column.type))
            if (found := _values(column, listed, exact.get(key, {}))) is not None:
                values[key] = found
        stamps = np.array(list(times), dtype="datetime64[us]").astype(np.int64).tolist()
        placed.append(Placed(part.step, list(own), Rows(0, list(steps), stamps, values)))
    return placed


def _exact(
    residual: SeriesResidual, part: Part, seq: Sequence[int]
) -> dict[str, dict[int, tuple[bytes, Mark]]]:
    """Return the envelopes of exact values, with the marks of their cells, by key and index."""
    if not residual.exact:
        return {}
    index_of = {number - part.first: index for index, number in enumerate(seq)}
    return {
        key: {
            index_of[offset]: (data, mark)
            for offset, data, mark in zip(*columns, strict=True)
            if offset in index_of
        }
        for key, columns in residual.exact.items()
    }


def _values(
    column: Column, cells: Sequence[Any], exact: Mapping[int, tuple[bytes, Mark]]
) -> Sequence[Any] | None:
    """Return the values of a key, of which exact ones count unless SQL has changed their cells.

    None if no row has the key.
    """
    if not exact:
        is_empty = not isinstance(cells, array) and all(cell is None for cell in cells)
        return None if is_empty else revive(column, cells)
    now = column.kind.marks([cells[index] for index in exact])
    kept = {
        index: data
        for (index, (data, then)), mark in zip(exact.items(), now, strict=True)
        if mark == then
    }
    values = list(revive(column, [None if i in kept else cell for i, cell in enumerate(cells)]))
    for index, data in kept.items():
        values[index] = decode(data)
    return values
