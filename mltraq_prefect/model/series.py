"""Series: rows of scalars that the steps of a run log while they are executed.

Rows are kept and sent in columns. What one attempt at a step logs is numbered from 0. Row 0 of
an attempt replaces all that earlier attempts at this step have logged in the run.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import operator
import secrets
import uuid
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import Any, NamedTuple, Protocol

import numpy as np

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.model.names import check_name

RESERVED = ("id_run", "seq", "step", "at")
"""What each row has in addition to what is logged."""

PLAIN = frozenset((float, int, bool, str, type(None)))
_SCALARS = PLAIN | {
    *(complex, decimal.Decimal, fractions.Fraction, uuid.UUID),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
}
_TIMES = (datetime.datetime, datetime.timedelta)
_MOST_STEPS = 2**63


_changes = count(secrets.randbits(48) + 1)


def next_change() -> int:
    """Return a number that no other state of rows or files has, even one of another process."""
    return next(_changes)


class _Sentinel(Enum):
    MISSING = 1


MISSING: Any = _Sentinel.MISSING
"""Stands for what a run or row does not have."""


@dataclass(slots=True)
class Rows:
    """Some rows that one attempt at a step has logged, one after the other.

    Attributes:
        first: Number of the first of them in the attempt.
        steps: What each row was given as its step: integers of 64 bits, or None.
        times: When each was logged: microseconds since the epoch, UTC.
        columns: The values of each row by key, or `MISSING`.
    """

    first: int
    steps: Sequence[int | None] = ()
    times: Sequence[int] = ()
    columns: dict[str, Sequence[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.times)


class LoggedRows(NamedTuple):
    """Rows on their way to their run.

    Attributes:
        id_run: The run.
        step: Name of the step that has logged them.
        rows: The rows.
        start: Sequence number of the first row of the attempt; None if it follows from what
            there is.
        attempt: Number of the attempt, from 1; 0 if it is not known.
        sender: Identifies what has executed the attempt, on a cluster: it may give a run to
            another worker when it has lost the first one. Empty elsewhere.
    """

    id_run: str
    step: str
    rows: Rows
    start: int | None = None
    attempt: int = 0
    sender: str = ""


class Placed(NamedTuple):
    """Rows of a run in the order of its series.

    Attributes:
        step: Name of the step that has logged them.
        seq: The sequence number of each.
        rows: The rows.
    """

    step: str
    seq: Sequence[int]
    rows: Rows


class RowLog(Protocol):
    """Takes the rows of a series."""

    def log(self, step: int | None, values: dict[str, Any]) -> None:
        """Take a row: what it is about, and its values."""

    def flush(self) -> None:
        """Hand on what was taken so far."""


class OwnRows:
    """Rows of one run that are in memory, by the step that has logged them.

    A step that is there without rows has logged none in its last attempt.

    Attributes:
        by_step: The rows.
        starts: Sequence number of the first row of a step, where it is known.
        changes: Another number after each change, which tells whether a database has them; 0 if
            there are none.
    """

    __slots__ = ("by_step", "changes", "starts")

    def __init__(self, by_step: Mapping[str, Iterable[Rows]] | None = None) -> None:
        self.by_step = {step: list(rows) for step, rows in (by_step or {}).items()}
        self.starts: dict[str, int] = {}
        self.changes = next_change() if self.by_step else 0

    def put(self, step: str, rows: Rows) -> None:
        """Take rows of a step; those of a new attempt replace those of earlier ones."""
        if not rows.first:
            self.by_step.pop(step, None)
            self.starts.pop(step, None)
        own = self.by_step.setdefault(step, [])
        if len(rows):
            own.append(rows)
        self.changes = next_change()

    def drop(self, steps: Iterable[str]) -> None:
        """Drop the rows of steps, which are executed anew."""
        for step in steps:
            if self.by_step.pop(step, None) is not None:
                self.changes = next_change()
            self.starts.pop(step, None)

    def over(self, stored: Iterable[Placed]) -> list[Placed]:
        """Return the series: stored rows of other steps, then these.

        Args:
            stored: What the database has of the run.
        """
        placed = [part for part in stored if part.step not in self.by_step]
        start = max((part.seq[-1] + 1 for part in placed if len(part.seq)), default=0)
        for step, parts in self.by_step.items():
            start = max(start, self.starts.get(step, 0))
            for rows in parts:
                first = start + rows.first
                placed.append(Placed(step, range(first, first + len(rows)), rows))
            start += sum(map(len, parts))
        return placed


def own_rows_of(placed: Iterable[Placed]) -> OwnRows:
    """Return the rows of a series by step, as if they had just been logged."""
    own = OwnRows()
    for part in placed:
        first = sum(map(len, own.by_step.get(part.step, ())))
        rows = part.rows
        own.put(part.step, Rows(first, rows.steps, rows.times, rows.columns))
        if not first and len(part.seq):
            own.starts[part.step] = part.seq[0]
    return own


def as_step(value: object) -> int:
    """Return what a row was given as its step.

    Raises:
        InvalidInput: It is no integer of 64 bits.
    """
    if type(value) is int and -_MOST_STEPS <= value < _MOST_STEPS:
        return value
    try:
        if isinstance(value, (bool, np.bool)):
            raise TypeError
        step = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidInput(
            f"run.log: step is of type {type(value).__name__}; give a whole number, such as that "
            "of an epoch, or None. Values are given by name: run.log(loss=0.1) or run.log(**values)"
        ) from None
    if not -_MOST_STEPS <= step < _MOST_STEPS:
        raise InvalidInput("run.log: step is an integer of more than 64 bits")
    return step


def check_key(key: str) -> None:
    """Refuse a key that no row can have.

    Raises:
        InvalidName: It is reserved, or no database carries it.
    """
    if check_name(key, "run.log: key") in RESERVED:
        raise InvalidInput(
            f"run.log: the key {key!r} is reserved: each row has {', '.join(RESERVED)} anyway; "
            "use another key"
        )


def check_scalar(key: str, value: object) -> None:
    """Refuse a value that is no scalar.

    Raises:
        InvalidInput: It is not.
    """
    if type(value) in _SCALARS or (isinstance(value, np.generic) and value.dtype.kind not in "VO"):
        return
    if isinstance(value, _TIMES) and type(value).__module__.partition(".")[0] == "pandas":
        return
    hint = "; use its item()" if hasattr(value, "item") else ""
    raise InvalidInput(
        f"run.log: {key!r} is of type {type(value).__name__}, which is not a scalar{hint}. A row "
        "has numbers, truth values, text, dates and times; anything else belongs in run.fields"
    )


def packed(values: list[Any]) -> Sequence[Any]:
    """Return values as an array if all are floats, or integers of 64 bits; else as they are."""
    types = set(map(type, values))
    if types == {float}:
        return array("d", values)
    if types == {int}:
        try:
            return array("q", values)
        except OverflowError:
            pass
    return values


def joined(parts: Sequence[Rows]) -> Rows:
    """Return several rows, which may have different keys, as one."""
    if len(parts) == 1:
        return parts[0]
    keys = dict.fromkeys(key for rows in parts for key in rows.columns)
    columns: dict[str, Sequence[Any]] = {}
    for key in keys:
        values: list[Any] = []
        for rows in parts:
            own = rows.columns.get(key)
            values += [MISSING] * len(rows) if own is None else own
        columns[key] = values
    steps = [step for rows in parts for step in rows.steps]
    times = [time for rows in parts for time in rows.times]
    return Rows(parts[0].first if parts else 0, steps, times, columns)
