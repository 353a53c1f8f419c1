"""Kinds of times."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, ClassVar

from mltraq_prefect.storage.values.kinds.base import Backend, Guess, Held, Kind


class Date(Kind):
    """Days."""

    name = "date"
    natives: ClassVar[dict[type, str]] = {datetime.date: "date"}


class _Clock(Kind):
    """What a clock shows, to the microsecond: without a zone, and once."""

    def takes(self, cells: Sequence[Any]) -> bool:
        """Return whether none has a zone."""
        return not any(cell.tzinfo is not None for cell in cells)

    def guess(self, cell: Any, type_: str) -> Guess:
        """Take away the zone."""
        if cell.tzinfo is None:
            return Guess(self, cell, type_)
        return Guess(self, without_zone(cell), None)

    def held(self, cells: list[Any], backend: Backend) -> Held:
        """Tell which are the second of two that a clock shows when it is set back."""
        changed = [index for index, cell in enumerate(cells) if cell is not None and cell.fold]
        return Held(cells, changed, self.marks(cells))


class Datetime(_Clock):
    """Moments: those with a zone in UTC."""

    name = "datetime"
    natives: ClassVar[dict[type, str]] = {datetime.datetime: "datetime"}


class Time(_Clock):
    """Times of day."""

    name = "time"
    natives: ClassVar[dict[type, str]] = {datetime.time: "time"}


def without_zone(value: Any) -> Any:
    """Return a time as the naive one that a column holds: in UTC, if it has a zone."""
    if isinstance(value, datetime.time):
        return value.replace(tzinfo=None, fold=0)
    try:
        moved = value.astimezone(datetime.UTC) if value.tzinfo is not None else value
    except (OverflowError, ValueError):
        return None
    return datetime.datetime(
        moved.year, moved.month, moved.day,
        moved.hour, moved.minute, moved.second, moved.microsecond,
    )  # fmt: skip


DATETIME = Datetime()
DATE = Date()
TIME = Time()
