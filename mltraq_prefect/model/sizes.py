"""How much of an experiment is in memory, and in a transaction, where all of it goes elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mltraq_prefect.model.run import Run

RUNS_AT_ONCE = 10_000
"""Runs at most."""

MOST_BYTES = 32 * 2**20
"""Of their values, about."""

ROW_BYTES = 200
"""What a logged row takes in memory, about."""


def bytes_of(value: Any) -> int:
    """Return about how many bytes a value takes in memory."""
    return int(getattr(value, "nbytes", 0)) or sys.getsizeof(value)


def size_of(run: Run) -> int:
    """Return about how many bytes the fields of a run take, and the rows of it in memory."""
    size = sum(map(bytes_of, dict.values(run.fields)))
    if run.row_changes():
        parts = run.own_rows.by_step.values()
        size += ROW_BYTES * sum(len(rows) for own in parts for rows in own)
    return size
