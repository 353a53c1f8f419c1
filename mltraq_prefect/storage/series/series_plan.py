"""Rows of series, encoded before the first statement of a write."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np

from mltraq_prefect.codecs import encode
from mltraq_prefect.model.series import MISSING, RESERVED, LoggedRows, Rows, joined
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.tables.series_parts import SeriesResidual, dump
from mltraq_prefect.storage.values.cells import for_driver
from mltraq_prefect.storage.values.columns import column
from mltraq_prefect.storage.values.kinds import DATETIME, INT, KEY, Kind
from mltraq_prefect.storage.values.layout import Column, Layout
from mltraq_prefect.storage.values.natives import NO_TYPE
from mltraq_prefect.storage.values.placement import layout_for
from mltraq_prefect.storage.values.projection import Projected, Projector

SERIES: dict[str, Kind] = dict(zip(RESERVED, (KEY, INT, INT, DATETIME), strict=True))
"""What each row of `s_<name>` has beside what was logged."""

SERIES_KEY = ("id_run", "seq")

ROWS_A_PART = 20_000
"""More rows make several parts, so that a residual stays small."""


@dataclass(frozen=True, slots=True)
class NewPart:
    """Rows of one step in one run that are to be written.

    Attributes:
        id_run: The run.
        step: Name of the step.
        number: Number of the first row in the attempt: 0 replaces what is there of the step.
        count: Number of rows.
        start: Sequence number of the first row of the attempt; None if it follows from what
            there is.
        residual: What the rows do not give back.
    """

    id_run: str
    step: str
    number: int
    count: int
    start: int | None
    residual: bytes | None


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """Rows of series, ready for the driver.

    Attributes:
        base: The layout that the table had when this was made; None if there was none.
        layout: The layout that it needs.
        parts: What the rows are, in their order.
        steps: Their cells of `step`.
        times: Their cells of `at`.
        kinds: The kinds of the columns of keys, by name.
        cells: Their cells.
    """

    base: Layout | None
    layout: Layout
    parts: list[NewPart]
    steps: Sequence[Any]
    times: Sequence[Any]
    kinds: dict[str, Kind]
    cells: list[Sequence[Any]]

    @property
    def retyped(self) -> dict[str, Column]:
        """The columns that become columns of another kind, as they are, by key."""
        placed = {key: own for key, own in (self.base or {}).items() if own.name is not None}
        return {key: own for key, own in placed.items() if self.layout[key].kind != own.kind}


class _SeriesProjector(Projector):
    """Projects keys of series: a column keeps its kind, and each part has a type of its own."""

    def _settled(self, key: str, values: list[Any]) -> Column | None:
        known = super()._settled(key, values)
        return None if known is None else replace(known, type=NO_TYPE)


def make_plan(
    logged: Iterable[LoggedRows], base: Layout | None, dialect: Dialect, fixed: Collection[str] = ()
) -> SeriesPlan:
    """Project and encode rows.

    Args:
        logged: The rows, in the order in which they were logged.
        base: The layout of the table; None if there is none.
        dialect: The backend.
        fixed: Keys whose columns cannot become columns of another kind.
    """
    attempts = _by_attempt(logged)
    whole = joined([attempt.rows for attempt in attempts])
    known = base or {}
    projector = _SeriesProjector(dialect, known, fixed)
    projected = {key: _projected(projector, key, own) for key, own in whole.columns.items()}
    layout = layout_for(projected, known, dialect, None, SERIES)
    for key, own in known.items():
        if own.type != NO_TYPE:
            layout[key] = replace(layout[key], type=own.type)
    _move_overflow(projected, layout, whole)
    placed = {key: own for key, own in projected.items() if layout[key].name is not None}
    times = np.array(whole.times, dtype="datetime64[us]").tolist()
    return SeriesPlan(
        base=base,
        layout=layout,
        parts=_parts(attempts, projected, layout),
        steps=column(list(whole.steps)),
        times=for_driver(dialect, DATETIME, times),
        kinds={str(layout[key].name): own.kind for key, own in placed.items()},
        cells=[column(for_driver(dialect, own.kind, own.cells)) for own in placed.values()],
    )


def _by_attempt(logged: Iterable[LoggedRows]) -> list[LoggedRows]:
    """Return the rows of each last attempt as one, by run: in the order of the table's key."""
    found: dict[tuple[str, str], list[LoggedRows]] = {}
    for each in logged:
        if not each.rows.first:
            found[each.id_run, each.step] = []
        found.setdefault((each.id_run, each.step), []).append(each)
    attempts = [own[0]._replace(rows=joined([one.rows for one in own])) for own in found.values()]
    return sorted(attempts, key=attrgetter("id_run"))


def _projected(projector: Projector, key: str, values: Sequence[Any]) -> Projected:
    listed = list(values)
    if any(value is MISSING for value in listed):
        return projector.sparse(key, listed)
    return projector.dense(key, listed)


def _move_overflow(projected: dict[str, Projected], layout: Layout, whole: Rows) -> None:
    """Encode all values of keys for which the table has no room."""
    for key, own in projected.items():
        if layout[key].name is None:
            values = enumerate(whole.columns[key])
            own.exact = {i: encode(value, path=key) for i, value in values if value is not MISSING}
            own.cell_marks = dict.fromkeys(own.exact)


def _parts(
    attempts: Sequence[LoggedRows], projected: dict[str, Projected], layout: Layout
) -> list[NewPart]:
    parts = []
    start = 0
    for id_run, step, rows, first, *_ in attempts:
        for offset in range(0, len(rows) or 1, ROWS_A_PART):
            count = min(ROWS_A_PART, len(rows) - offset)
            residual = _residual(projected, layout, range(start, start + count))
            number = rows.first + offset
            parts.append(NewPart(id_run, step, number, count, first, dump(residual)))
            start += count
    return parts


def _residual(projected: dict[str, Projected], layout: Layout, rows: range) -> SeriesResidual:
    residual = SeriesResidual()
    for key, own in projected.items():
        if own.type != layout[key].type:
            residual.types[key] = own.type
        if own.exact:
            indexes = [index for index in rows if index in own.exact]
            if indexes:
                residual.exact[key] = (
                    [index - rows.start for index in indexes],
                    [own.exact[index] for index in indexes],
                    [own.cell_marks[index] for index in indexes],
                )
    return residual
