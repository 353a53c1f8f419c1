"""Ending runs early: what a step raises to end its run, and rules that decide when.

A rule is called in the process that executes the flow, whenever a run has logged something:
``rule(curve, others)`` gets what the run has logged in its step, and what other runs have, and
returns whether it is to be stopped. Any function of these two is a rule.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median as median_of
from typing import Any, Literal

import numpy as np

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.series import Rows

Mode = Literal["min", "max"]

_NUMBERS = (int, float, np.integer, np.floating)


MONITORED = ("cpu_percent", "rss_bytes", "gpu_percent", "gpu_memory_bytes")
"""Keys of what ``execute(monitor=True)`` logs, which is no reason to stop a run."""


class StopRun(Exception):
    """Ends a run cleanly: it keeps its fields, and counts as done.

    `Run.log` raises it when a rule says so; a step may raise it, too. Its state in the ledger is
    ``stopped``, and no other step follows.
    """


class Curve:
    """The numbers that a run has logged in a step so far.

    Args:
        id_run: The run.
        params: Its params.

    Attributes:
        id_run (str): Identifies the run.
        params (Namespace): Its params.
        rows (int): Number of rows that it has logged.
    """

    def __init__(self, id_run: str, params: Mapping[str, Any]) -> None:
        self.id_run = id_run
        self.params = Namespace(params)
        self.rows = 0
        self._columns: dict[str, tuple[list[float], list[int]]] = {}
        self._bests: dict[tuple[str, Mode], list[float]] = {}

    @property
    def keys(self) -> list[str]:
        """The keys of which there are numbers, in the order in which they first came."""
        return [key for key, (_, rows) in self._columns.items() if rows[0] < self.rows]

    def values(self, key: str) -> list[float]:
        """Return the numbers of a key, in order.

        Args:
            key: The key.
        """
        values, rows = self._columns.get(key, ([], []))
        return values[: bisect_left(rows, self.rows)]

    def count(self, key: str) -> int:
        """Return how many numbers of a key there are.

        Args:
            key: The key.
        """
        return bisect_left(self._columns[key][1], self.rows) if key in self._columns else 0

    def best(self, key: str, count: int, mode: Mode) -> float:
        """Return the best of the first numbers of a key; NaN is worse than any other.

        Args:
            key: The key.
            count: How many numbers count; there are as many.
            mode: Whether small or large ones are good.
        """
        values = self._columns[key][0]
        bests = self._bests.setdefault((key, mode), [])
        for value in values[len(bests) : count]:
            bests.append(value if not bests else _better(bests[-1], value, mode))
        return bests[count - 1]

    def take(self, rows: Rows) -> None:
        """Take rows; those of a new attempt replace those of earlier ones."""
        if not rows.first:
            self._columns, self._bests, self.rows = {}, {}, 0
        for key, column in rows.columns.items():
            if key in MONITORED:
                continue
            found = [(i, v) for i, v in enumerate(column, rows.first) if _is_number(v)]
            if found:
                values, numbers = self._columns.setdefault(key, ([], []))
                values += [float(value) for _, value in found]
                numbers += [number for number, _ in found]
        self.rows = rows.first + len(rows)

    def upto(self, rows: int) -> Curve:
        """Return the curve as it was after so many rows."""
        earlier = Curve(self.id_run, self.params)
        earlier._columns, earlier._bests = self._columns, self._bests
        earlier.rows = min(rows, self.rows)
        return earlier


def _is_number(value: object) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


def _better(one: float, other: float, mode: Mode) -> float:
    if one != one or other != other:
        return other if one != one else one
    return min(one, other) if mode == "min" else max(one, other)


Rule = Callable[[Curve, Sequence[Curve]], object]
"""Says whether a run is to be stopped, from its curve and those of other runs."""


def _numbers(key: str | None, curve: Curve) -> tuple[str, list[float]]:
    """Return the numbers of a key, or of the first key of which there are some."""
    chosen = next(iter(curve.keys), "") if key is None else key
    return chosen, curve.values(chosen)


@dataclass(frozen=True)
class _Median:
    key: str | None
    after: int
    mode: Mode
    others: int

    def __call__(self, curve: Curve, others: Sequence[Curve]) -> bool:
        key, values = _numbers(self.key, curve)
        count = len(values)
        if count <= self.after:
            return False
        far = [other for other in others if other.count(key) >= count]
        known = [value for other in far if (value := other.best(key, count, self.mode)) == value]
        if not values or len(known) < self.others:
            return False
        best, middle = curve.best(key, count, self.mode), median_of(known)
        return best != best or (best > middle if self.mode == "min" else best < middle)


@dataclass(frozen=True)
class _Patience:
    rows: int
    key: str | None
    mode: Mode
    delta: float

    def __call__(self, curve: Curve, _others: Sequence[Curve]) -> bool:
        key, values = _numbers(self.key, curve)
        count = len(values)
        if count <= self.rows:
            return False
        before = curve.best(key, count - self.rows, self.mode)
        best = curve.best(key, count, self.mode)
        gained = before - best if self.mode == "min" else best - before
        return not (gained > self.delta or (before != before and best == best))


@dataclass(frozen=True)
class _Bound:
    key: str | None
    above: float
    below: float

    def __call__(self, curve: Curve, _others: Sequence[Curve]) -> bool:
        _, values = _numbers(self.key, curve)
        return not all(self.below <= value <= self.above for value in values)


def unknown_keys(rules: Sequence[Rule], curves: Sequence[Curve]) -> dict[str, list[str]]:
    """Return the keys that rules of this module ask for and no run has logged.

    Args:
        rules: The rules.
        curves: What all runs have logged.

    Returns:
        For each of them the keys that runs have logged; nothing if there are none at all.
    """
    known = list(dict.fromkeys(key for curve in curves for key in curve.keys))
    own = [rule.key for rule in rules if isinstance(rule, (_Median, _Patience, _Bound))]
    return {key: known for key in own if known and key is not None and key not in known}


def median(key: str | None = None, *, after: int = 0, mode: Mode = "min", others: int = 2) -> Rule:
    """Return a rule: stop a run whose best number is worse than the median of the others.

    The best number of each run up to as many numbers as the run has logged is compared.

    Args:
        key: Key of the numbers; the first that the run logs if None.
        after: So many numbers of a run are never a reason to stop it.
        mode: ``"min"`` if small numbers are good, ``"max"`` if large ones are.
        others: So many other runs must have logged as many numbers.

    Raises:
        InvalidInput: An argument cannot be used.

    Examples:
        >>> rule = median("loss", after=5)
    """
    _check("median", key, mode)
    return _Median(
        key, _count("median", "after", after, 0), mode, _count("median", "others", others, 1)
    )


def patience(rows: int, key: str | None = None, *, mode: Mode = "min", delta: float = 0.0) -> Rule:
    """Return a rule: stop a run whose last numbers have brought no improvement.

    Args:
        rows: So many numbers without improvement are a reason.
        key: Key of the numbers; the first that the run logs if None.
        mode: ``"min"`` if small numbers are good, ``"max"`` if large ones are.
        delta: What counts as improvement is more than this.

    Raises:
        InvalidInput: An argument cannot be used.

    Examples:
        >>> rule = patience(10, "accuracy", mode="max")
    """
    _check("patience", key, mode)
    delta = _number("patience", "delta", delta)
    return _Patience(_count("patience", "rows", rows, 1), key, mode, delta)


def bound(
    key: str | None = None, *, above: float | None = None, below: float | None = None
) -> Rule:
    """Return a rule: stop a run that has logged a number beyond a bound, or NaN.

    Args:
        key: Key of the numbers; the first that the run logs if None.
        above: Larger numbers are a reason.
        below: Smaller numbers are a reason.

    Raises:
        InvalidInput: An argument cannot be used.

    Examples:
        >>> rule = bound("loss", above=100)
    """
    _check("bound", key, "min")
    if above is None and below is None:
        raise InvalidInput("stop.bound: give above=..., below=..., or both")
    most = inf if above is None else _number("bound", "above", above)
    return _Bound(key, most, -inf if below is None else _number("bound", "below", below))


def _check(rule: str, key: object, mode: object) -> None:
    if key is not None and not isinstance(key, str):
        raise InvalidInput(f"stop.{rule}: key is {key!r:.80}; give a key that runs log, or None")
    if mode not in ("min", "max"):
        raise InvalidInput(f'stop.{rule}: mode is {mode!r:.80}; use "min" or "max"')


def _count(rule: str, name: str, value: object, least: int) -> int:
    if type(value) is not int or value < least:
        raise InvalidInput(f"stop.{rule}: {name} is {value!r:.80}; use an integer from {least} on")
    return value


def _number(rule: str, name: str, value: object) -> float:
    if not _is_number(value) or value != value:
        raise InvalidInput(f"stop.{rule}: {name} is {value!r:.80}; use a number")
    return float(value)  # type: ignore[arg-type]
