"""Params as axes of a map: their values, or bins of numbers that are too many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mltraq_prefect.reports.figures.scales import is_logarithmic
from mltraq_prefect.reports.study.results import LARGEST
from mltraq_prefect.reports.study.study import Param, short_value

if TYPE_CHECKING:
    import pandas as pd

    from mltraq_prefect.reports.numbers import Floats

MOST_LEVELS = 30
"""A param with more values has no place on a map, unless they are numbers: these have bins."""

BINS = 10


class Axis:
    """A param as an axis of a map.

    Bins are of equal width, on logarithms where these spread the values more evenly.

    Args:
        param: The param.
        column: Its values.

    Attributes:
        name: Name of its column.
        label: What it is called for a person.
        kind: What its values are.
        levels: The places of the axis: values of the param, or the middles of bins.
        is_binned: Whether they are middles.
    """

    def __init__(self, param: Param, column: pd.Series[Any]) -> None:
        self.name, self.label, self.kind = param.name, param.label, param.kind
        self.levels = list(param.levels)
        is_many = param.kind == "number" and len(self.levels) > MOST_LEVELS
        known = _finite(column) if is_many else np.empty(0)
        self.is_binned = len(known) > 0
        if self.is_binned:
            self._is_log = is_logarithmic(known)
            placed = self._on_axis(known)
            edges = np.linspace(float(placed.min()), float(placed.max()), BINS + 1)
            self._between, middles = edges[1:-1], (edges[1:] + edges[:-1]) / 2
            self.levels = (10**middles if self._is_log else middles).tolist()

    @staticmethod
    def fits(param: Param) -> bool:
        """Return whether a param can be an axis."""
        return len(param.levels) > 1 and (
            param.kind == "number" or len(param.levels) <= MOST_LEVELS
        )

    def _on_axis(self, values: Floats) -> Floats:
        return np.log10(values) if self._is_log else values

    def put(self, column: pd.Series[Any]) -> pd.Series[Any]:
        """Return values as places of the axis; what has no mean has none in a bin."""
        if not self.is_binned:
            return column
        numbers = column.astype(np.float64)
        numbers = numbers.where(numbers.abs() < LARGEST)
        places = np.searchsorted(self._between, self._on_axis(numbers.to_numpy()), "right")
        middles = np.array(self.levels)[places]
        return numbers.mask(numbers.notna(), middles)

    def told(self, level: Any) -> str:
        """Return a place of the axis for a label."""
        return f"{level:.2g}" if self.is_binned and self._is_distinct else short_value(level)

    @property
    def _is_distinct(self) -> bool:
        return len({f"{own:.2g}" for own in self.levels}) == len(self.levels)


def _finite(column: pd.Series[Any]) -> Floats:
    numbers: Floats = column.astype(np.float64).to_numpy()
    return numbers[np.abs(numbers) < LARGEST]
