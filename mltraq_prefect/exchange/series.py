"""What other trackers have measured step by step, as the series of a run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from mltraq_prefect.errors import InvalidInput, InvalidName
from mltraq_prefect.exchange.report import ImportReport
from mltraq_prefect.model.logged_rows import all_logged
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import MISSING, Rows, check_key
from mltraq_prefect.model.series_frames import frame_of_series

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""Is put for a time that is not known."""

_TIMES = range(
    (dt.datetime.min.replace(tzinfo=dt.UTC) - EPOCH) // dt.timedelta(microseconds=1),
    (dt.datetime.max.replace(tzinfo=dt.UTC) - EPOCH) // dt.timedelta(microseconds=1) + 1,
)
"""Microseconds that are a time."""


class Point(NamedTuple):
    """A value of a metric.

    Attributes:
        step: What it is about, such as an epoch.
        at: When it was logged: microseconds since the epoch, UTC.
        key: Name of the metric.
        value: The value.
    """

    step: int
    at: int
    key: str
    value: float


def put_series(run: Run, step: str, points: Iterable[Point], report: ImportReport) -> None:
    """Give a run the rows of a series, by step and time: one for what was logged at once.

    Args:
        run: The run.
        step: What counts as the step that has logged them.
        points: The values.
        report: Where to note what no series has.
    """
    points = [_timed(point, report) for point in points]
    known: dict[str, bool] = {}
    rows: list[tuple[int, int, dict[str, Any]]] = []
    for point in sorted(points, key=attrgetter("step", "at")):
        if point.key not in known:
            known[point.key] = _is_key(point.key, report)
        if not known[point.key]:
            continue
        if not rows or rows[-1][:2] != (point.step, point.at) or point.key in rows[-1][2]:
            rows.append((point.step, point.at, {}))
        rows[-1][2][point.key] = point.value
    if rows:
        keys = [key for key, is_kept in known.items() if is_kept]
        columns: dict[str, Sequence[Any]]
        columns = {key: [values.get(key, MISSING) for *_, values in rows] for key in keys}
        steps, times, _ = zip(*rows, strict=True)
        run.own_rows.put(step, Rows(0, steps, times, columns))


def drop_stored(runs: Iterable[Run], stored: Mapping[str, Run]) -> None:
    """Drop series that are what is stored already, so that nothing is written.

    Args:
        runs: Runs with series in memory, or none.
        stored: The stored runs by `id_run`.
    """
    own = {run.id_run: run for run in runs if run.row_changes() and run.id_run in stored}
    for id_run, placed in all_logged(stored[id_run] for id_run in own):
        if frame_of_series(placed).equals(frame_of_series(own[id_run].logged())):
            own[id_run].release_rows()


def _timed(point: Point, report: ImportReport) -> Point:
    """Return a point with a time that a row can have: counts of nanoseconds may be none."""
    if point.at in _TIMES:
        return point
    report.lose("the time of a value of a metric", "no calendar has it; its row has 1970 instead")
    return point._replace(at=0)


def _is_key(key: str, report: ImportReport) -> bool:
    try:
        check_key(key)
    except (InvalidInput, InvalidName):
        report.lose("the series of a metric", "no column of a series can have its name")
        return False
    return True
