"""Curves of a sweep while it is executed: means of what its runs have logged so far."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import LoggedRows, Rows
from mltraq_prefect.reports.figures.charts import COLOURS, Line, line_chart
from mltraq_prefect.reports.numbers import Floats, Places
from mltraq_prefect.reports.study.results import LARGEST
from mltraq_prefect.reports.study.study import SPLITS, short_value

MOST_KEYS = 6
MOST_STEPS = 128
"""Curves have no more points: steps are put in bins, the width of which is a power of two."""


class LiveCurves:
    """Adds up what runs log, in a memory that does not grow; any thread may use it.

    What an attempt has logged that is tried again stays in the means.

    Args:
        runs: The runs. Those of different data sets are not averaged.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._lock = threading.Lock()
        self._groups = _groups(runs)
        self._sums: dict[str, dict[str, _Sums]] = {}

    def add(self, rows: Iterable[LoggedRows]) -> None:
        """Take rows that runs have logged."""
        with self._lock:
            for logged in rows:
                self._add(self._groups.get(logged.id_run, ""), logged.rows)

    def _add(self, group: str, rows: Rows) -> None:
        steps = np.array(
            [rows.first + place if own is None else own for place, own in enumerate(rows.steps)],
            dtype=np.int64,
        )
        for key, values in rows.columns.items():
            if key not in self._sums and len(self._sums) == MOST_KEYS:
                continue
            numbers = _floats(values)
            known = (np.abs(numbers) < LARGEST) & (steps >= 0)
            if not known.any():
                continue
            by_group = self._sums.setdefault(key, {})
            if group in by_group or len(by_group) < COLOURS:
                by_group.setdefault(group, _Sums()).add(steps[known], numbers[known])

    def figures(self) -> list[tuple[str, str]]:
        """Return a figure of each key: mean and one standard error of each group."""
        with self._lock:
            lines = {
                key: [own.line(group) for group, own in by_group.items()]
                for key, by_group in self._sums.items()
            }
        return [
            (key, line_chart(own, "step", key, band=True, size=(460.0, 230.0)))
            for key, own in lines.items()
        ]


def _groups(runs: Sequence[Run]) -> dict[str, str]:
    """Return labels of the param that divides the work, by id of the run, if one does."""
    name = next((own for own in runs[0].params if own.lower() in SPLITS), None) if runs else None
    if name is None:
        return {}
    values = {run.id_run: run.params.get(name) for run in runs}
    labels = {own: f"{name}={short_value(value)}" for own, value in values.items()}
    return labels if len(set(labels.values())) > 1 else {}


class _Sums:
    """Sums of one key in one group, by bins of steps."""

    def __init__(self) -> None:
        self._width = 1
        self._shift: float | None = None
        self._parts = np.zeros((3, MOST_STEPS))  # counts, sums, and sums of squares

    def add(self, steps: Places, values: Floats) -> None:
        last = int(steps.max())
        while last >= MOST_STEPS * self._width:
            self._width *= 2
            halves = self._parts.reshape(3, -1, 2).sum(axis=2)
            self._parts = np.concatenate([halves, np.zeros_like(halves)], axis=1)
        if self._shift is None:  # squares of what values lie away from it keep their digits
            self._shift = float(values[0])
        away = values - self._shift
        bins = steps // self._width
        for row, weights in enumerate((None, away, away * away)):
            self._parts[row] += np.bincount(bins, weights, minlength=MOST_STEPS)

    def line(self, label: str) -> Line:
        known = self._parts[0] > 0
        count, total, squares = self._parts[:, known]
        mean = total / count
        with np.errstate(all="ignore"):
            variance = np.maximum(squares - count * mean**2, 0.0) / (count - 1)
            error = np.where(count > 1, np.sqrt(variance / count), np.nan)
        steps = np.flatnonzero(known) * self._width
        return Line(label, steps.tolist(), (mean + (self._shift or 0.0)).tolist(), error.tolist())


def _floats(values: Sequence[Any]) -> Floats:
    """Return values as floats, NaN for what is no number."""
    return np.array([_float(value) for value in values], dtype=np.float64)


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if not isinstance(value, (int, float, np.floating, np.integer, np.bool_)):
        return float("nan")
    try:
        return float(value)
    except OverflowError:
        return float("nan")
