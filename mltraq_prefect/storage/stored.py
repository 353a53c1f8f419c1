"""Runs that were read: kept in columns, each made when somebody asks for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from mltraq_prefect.run import LedgerEntry, Namespace
from mltraq_prefect.storage.dialects import Dialect
from mltraq_prefect.storage.ledger import ENTRY, LEDGER
from mltraq_prefect.storage.projection import MISSING


class StoredRuns:
    """What `Run.stored` makes runs of.

    Args:
        dialect: Where they were read.
        fields: The values of each field, or `MISSING`.
        params: Returns the params of each run; raises CorruptData.
        ledger: Cells as the driver gave them, by column of the ledger.
        steps: The completed steps of each distinct text of the column `steps`.
    """

    def __init__(
        self,
        dialect: Dialect,
        fields: Mapping[str, Sequence[Any]],
        params: Callable[[], Sequence[Mapping[str, Any]]],
        ledger: Mapping[str, Sequence[Any]],
        steps: Mapping[str, Mapping[str, str]],
    ) -> None:
        self._dialect = dialect
        self._fields = fields
        self._params = cache(params)
        self._ledger = ledger
        self._steps = steps

    def params(self, place: int) -> Namespace:
        """Return the params of the run at a place."""
        return Namespace(self._params()[place])

    def fields(self, place: int) -> Namespace:
        """Return its fields."""
        values = ((key, column[place]) for key, column in self._fields.items())
        return Namespace([item for item in values if item[1] is not MISSING])

    def ledger(self, place: int) -> LedgerEntry:
        """Return what the ledger says of it."""
        cells = {name: self._cell(name, place) for name in ENTRY}
        if cells["started_at"] is not None:
            cells["started_at"] = cells["started_at"].replace(tzinfo=dt.UTC)
        return LedgerEntry(**cells, steps=dict(self._steps[self._ledger["steps"][place]]))

    def _cell(self, name: str, place: int) -> Any:
        cell, restore = self._ledger[name][place], self._dialect.restore.get(LEDGER[name])
        return cell if restore is None or cell is None else restore(cell)
