"""Runs that were read: kept in columns, each made when somebody asks for it."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields as fields_of
from functools import cache
from typing import Any

from mltraq_prefect.run import LedgerEntry, Namespace
from mltraq_prefect.storage.dialects import Dialect
from mltraq_prefect.storage.ledger import LEDGER
from mltraq_prefect.storage.projection import MISSING, natural

_NAMES = tuple(field.name for field in fields_of(LedgerEntry))


class StoredRuns:
    """What `Run.stored` makes runs of: a `Source`.

    Args:
        dialect: Where they were read.
        fields: The values of each field.
        large: Keys of those that may be large: a run shall have the only reference to its value.
        params: Returns the params of each run; raises CorruptData.
        ledger: Cells as the driver gave them, by column of the ledger.
        steps: The completed steps of each distinct text of the column `steps`.
        places: Of each run's row in the ledger, and among the params.
    """

    def __init__(
        self,
        dialect: Dialect,
        fields: Mapping[str, Sequence[Any]],
        large: Collection[str],
        params: Callable[[], Sequence[Mapping[str, Any]]],
        ledger: Mapping[str, Sequence[Any]],
        steps: Mapping[str, dict[str, str]],
        places: Sequence[int],
    ) -> None:
        self.lock = threading.Lock()
        self._dialect = dialect
        self._keys = tuple(fields)
        own = {key: list(fields[key]) for key in large}
        self._columns = tuple((dict(fields) | own).values())
        self._large = list(own.values())
        self._params = cache(params)
        self._ledger = ledger
        self._steps = steps
        self._places = places
        self._entries: list[tuple[Any, ...]] = []

    def params(self, place: int) -> Namespace:
        """Return the params of the run at a place."""
        return Namespace(self._params()[self._places[place]])

    def fields(self, place: int) -> Namespace:
        """Return its fields, the large ones of which are not kept here."""
        found = Namespace(zip(self._keys, [column[place] for column in self._columns], strict=True))
        for column in self._large:
            column[place] = None
        for key in [key for key, value in found.items() if value is MISSING]:
            del found[key]
        return found

    def ledger(self, place: int) -> LedgerEntry:
        """Return what the ledger says of it."""
        if not self._entries:
            columns = [natural(self._dialect, LEDGER[name], self._ledger[name]) for name in _NAMES]
            self._entries = list(zip(*columns, strict=True))
        state, steps, error, attempts, started_at, *rest = self._entries[self._places[place]]
        if started_at is not None:
            started_at = started_at.replace(tzinfo=dt.UTC)
        return LedgerEntry(state, self._steps[steps].copy(), error, attempts, started_at, *rest)
