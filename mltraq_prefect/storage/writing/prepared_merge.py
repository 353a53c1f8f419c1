"""A merge that is encoded, and what it was compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mltraq_prefect.storage.files.file_plan import FilePlan
from mltraq_prefect.storage.records import Part
from mltraq_prefect.storage.series.series_plan import SeriesPlan
from mltraq_prefect.storage.tables import own_fields
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.values.param_columns import ParamColumns
from mltraq_prefect.storage.writing import merge_rows, rows
from mltraq_prefect.storage.writing.merge_diff import Changes
from mltraq_prefect.storage.writing.merge_rows import Updates
from mltraq_prefect.storage.writing.stored_runs import States, StoredCells
from mltraq_prefect.storage.writing.write_plan import Plan

OwnFields = tuple[bytes | None] | None
"""The stored residual of the experiment's own fields, if these are to be written."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What was read of an experiment, and what is to be merged was compared with.

    Attributes:
        entry: Its entry.
        revision: The revision in which all of this was there.
        states: What the ledger says of those runs that there are.
        own: What it has of fields, if these are to be written.
        unread: Cells and residuals of the runs that were not loaded before.
        residuals: Residuals of the runs that are to be changed.
    """

    entry: Entry
    revision: int
    states: States
    own: OwnFields
    unread: StoredCells
    residuals: dict[str, bytes]

    def rows(self) -> merge_rows.StoredRows:
        """Return what updates are made with."""
        return merge_rows.StoredRows(self.states.positions, self.residuals)


@dataclass(frozen=True, slots=True)
class Merge:
    """What is encoded before the first statement.

    Attributes:
        basis: What it was compared with.
        plan: The runs.
        params: The kinds of all params that the experiment will have.
        changes: What of them is to be written.
        new: Rows of the new ones.
        updates: New cells of the others.
        own: Cells of the experiment's own fields; None if they stay as they are.
        sealed: Its pickle, or None.
        series: Rows that were logged; None if there are no new ones.
        files: Files that were set or deleted; None if there are no such.
    """

    basis: Basis
    plan: Plan
    params: ParamColumns
    changes: Changes
    new: rows.Rows | None
    updates: Updates
    own: own_fields.Cells | None
    sealed: bytes | None
    series: SeriesPlan | None
    files: FilePlan | None

    def states_after(self, current: Entry) -> dict[str, int]:
        """Return how many runs are in each state afterwards."""
        runs, changes = self.plan.record.runs, self.changes
        counts = Counter(current.states)
        counts.update(runs[index].ledger.state for index in changes.new)
        for index, mark in changes.ledger.items():
            counts[mark.state] += 1
            counts[self.basis.states.marks[runs[index].id_run].state] -= 1
        return dict(counts)

    def part(self, first: int | None) -> Part:
        """Return what the database holds of the runs afterwards.

        Args:
            first: Position of the first new run, if there are new ones.
        """
        plan, changes, states = self.plan, self.changes, self.basis.states
        exact, bare = plan.residuals(), set(self.updates.bare)
        positions: list[int | None] = []
        are_bare = []
        places = {index: place for place, index in enumerate(changes.new)}
        for index, (run, *mark) in enumerate(zip(plan.record.runs, *plan.ledger, strict=True)):
            now = changes.ledger.get(index) or states.marks.get(run.id_run)
            if index in places and first is not None:
                positions.append(first + places[index])
            else:
                positions.append(states.positions[run.id_run] if now == tuple(mark) else None)
            are_bare.append(index not in exact and (index in places or index in bare))
        return plan.part(positions, are_bare)

    def touched(self) -> Sequence[str]:
        """Return the keys of the fields that are written."""
        touched = {key for keys in self.changes.cells for key in keys}
        return [key for key in self.plan.fields if key in touched or self.changes.new]
