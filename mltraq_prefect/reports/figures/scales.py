"""From values to places on an axis, and the ticks of that."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from mltraq_prefect.reports.numbers import Floats
from mltraq_prefect.reports.study.results import LARGEST

ScaleKind = Literal["number", "time", "category"]

LOG_FROM = 30.0
"""A scale may be logarithmic if its largest value is so many times the smallest."""

_LEAST = 1e-290
"""Less than this has no digits to be divided into ticks."""

_YEAR = 31_557_600
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""What times can be, in seconds: years from 1 to 9999."""

MOST_VALUES, MOST_LETTERS, LEAST_GAP = 7, 6, 0.1
"""Numbers that are ticks themselves, letters of a label, and what lies between two at least."""

MARGIN = 0.06
"""What is left free at both ends, as a share of the range."""

_STEPS = (
    *((seconds, "%H:%M:%S") for seconds in (1, 5, 15, 30)),
    *((60 * minutes, "%H:%M") for minutes in (1, 5, 15, 30, 60, 180, 360, 720)),
    *((86_400 * days, "%b %d") for days in (1, 2, 7, 14)),
    *((86_400 * days, "%Y-%m") for days in (30, 90, 180)),
)


def ends_of(value: float, error: float) -> tuple[float, float]:
    """Return the ends of the bar of a value: one standard error away from it, if that is known."""
    reach = error if math.isfinite(error) else 0.0
    return value - reach, value + reach


class Scale:
    """An axis.

    Args:
        values: What is to be shown on it.
        kind: What they are.
        wanted: About how many ticks it may have.
        at_values: Whether the ticks are the values themselves, if these are few numbers.

    Attributes:
        is_log: Whether it is logarithmic.
    """

    def __init__(
        self,
        values: Iterable[Any],
        kind: ScaleKind = "number",
        wanted: int = 5,
        *,
        at_values: bool = False,
    ) -> None:
        self._kind, self._wanted = kind, wanted
        self._labels: list[str] = []
        self._values: list[float] = []
        self.is_log = False
        if kind == "category":
            self._labels = list(dict.fromkeys(map(str, values)))
            self._low, self._high = -0.5, len(self._labels) - 0.5
            return
        found = [own for own in map(self._number, values) if math.isfinite(own)] or [0.0, 1.0]
        self._low, self._high = min(found), max(found)
        distinct = sorted(set(found)) if at_values and kind == "number" else []
        self._values = distinct if len(distinct) <= MOST_VALUES else []
        self.is_log = kind == "number" and is_logarithmic(found)
        if self.is_log:
            self._low, self._high = math.log10(self._low), math.log10(self._high)
        if self._high - self._low < _LEAST:
            spread = abs(self._low) / 10 if abs(self._low) > _LEAST else 0.5
            self._low, self._high = self._low - spread, self._high + spread
        margin = MARGIN * (self._high - self._low)
        self._low, self._high = self._low - margin, self._high + margin

    def at(self, value: Any) -> float:
        """Return the place of a value, from 0 at one end to 1 at the other; NaN if it has none."""
        number = self._number(value)
        if self.is_log:
            number = math.log10(number) if number > 0 else math.nan
        return (number - self._low) / (self._high - self._low)

    def ticks(self) -> list[tuple[float, str]]:
        """Return the places of ticks, from 0 to 1, with their labels."""
        if self._kind == "category":
            pairs: Sequence[tuple[Any, str]] = [(label, label) for label in self._labels]
        elif self._kind == "time":
            pairs = self._moments()
        else:
            pairs = self._own() or (self._decades() if self.is_log else self._round_numbers())
        return [(self.at(value), label) for value, label in pairs]

    def _number(self, value: Any) -> float:
        if self._kind == "category":
            return float(self._labels.index(str(value)))
        if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            value = datetime.datetime.combine(value, datetime.time())
        if isinstance(value, datetime.datetime):
            aware = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
            return aware.timestamp()
        try:
            number = math.nan if value is None else float(value)
        except OverflowError:  # integers have any size
            return math.nan
        return number if abs(number) < LARGEST else math.nan

    def _own(self) -> list[tuple[float, str]]:
        """Return the values themselves, if there are few and their labels have room."""
        places = [self.at(value) for value in self._values]
        is_dense = any(after - own < LEAST_GAP for own, after in itertools.pairwise(places))
        labels = [f"{value:.6g}" for value in self._values]
        is_long = any(len(label) > MOST_LETTERS for label in labels)
        return [] if is_dense or is_long else list(zip(self._values, labels, strict=True))

    def _round_numbers(self) -> list[tuple[float, str]]:
        step = _round_step((self._high - self._low) / self._wanted)
        first = math.ceil(self._low / step)
        numbers = [n * step for n in range(first, math.floor(self._high / step) + 1)]
        labels = [_label(number, step) for number in numbers]
        if len(set(labels)) < len(labels):  # large, and they differ little
            labels[1:] = [f"+{place * step:.3g}" for place in range(1, len(labels))]
        return list(zip(numbers, labels, strict=True))

    def _decades(self) -> list[tuple[float, str]]:
        wide = self._high - self._low
        subs = (1, 2, 5) if wide < 2.5 else (1,)
        every = max(1, round(wide / self._wanted / 1.5)) if subs == (1,) else 1
        found = []
        for exponent in range(math.floor(self._low), math.ceil(self._high) + 1):
            for sub in subs:
                number = sub * 10.0**exponent
                inside = number > 0 and self._low <= math.log10(number) <= self._high
                if inside and exponent % every == 0:
                    found.append((number, f"{number:g}"))
        return found

    def _moments(self) -> list[tuple[float, str]]:
        wide = self._high - self._low
        fitting = (pair for pair in _STEPS if wide / pair[0] <= self._wanted)
        years = max(1, round(_round_step(wide / self._wanted / _YEAR)))
        step, form = next(fitting, (years * _YEAR, "%Y"))
        first = math.ceil(max(self._low, _FIRST) / step) * step
        moments = np.arange(first, min(self._high, _LAST), step).tolist()
        shown = [datetime.datetime.fromtimestamp(own, datetime.UTC) for own in moments]
        return [(own, at.strftime(form)) for own, at in zip(moments, shown, strict=True)]


def is_logarithmic(values: Sequence[float] | Floats) -> bool:
    """Return whether values have a wide range, and logarithms spread them more evenly over it."""
    low, high = min(values), max(values)
    if not (low > 0 and high >= LOG_FROM * low):
        return False
    distinct = np.unique(values)
    return _slant(np.log10(distinct)) <= _slant(distinct)


def _slant(values: Floats) -> float:
    """Return how far the mean of values lies from the middle of their range, as a share of that."""
    return abs(float((values.mean() - values.min()) / np.ptp(values)) - 0.5)


def _round_step(step: float) -> float:
    scale = 10.0 ** math.floor(math.log10(step))
    return next(factor * scale for factor in (1, 2, 5, 10) if factor * scale >= step * 0.999)


def _label(number: float, step: float) -> str:
    if number and not 1e-4 <= abs(number) < 1e6:
        return f"{number:.3g}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{number:,.{decimals}f}" if number else "0"
