"""Runs of an experiment some at a time, in their order, for what reads them all."""

from __future__ import annotations

from typing import NamedTuple

from mltraq_prefect.storage.records import Record
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables.experiments_table import Entry

MOST_RUNS = 1_000
"""Runs that are read at once at most."""


class Place(NamedTuple):
    """Where a run is in the order of its experiment."""

    position: int
    id_run: str


START = Place(-1, "")


class Chunk(NamedTuple):
    """Some runs, as an experiment that has no others.

    Attributes:
        record: The experiment with these runs.
        last: The place of the last of them; None if there are no more runs.
        keys: The fields that runs of the experiment have.
    """

    record: Record
    last: Place | None
    keys: tuple[str, ...]


def places_after(transaction: Transaction, entry: Entry, place: Place, count: int) -> list[Place]:
    """Return the places of the runs that follow one, in their order, `count` at most."""
    sql = (
        "SELECT position, id_run FROM experiment_runs WHERE id_experiment = ? AND position >= ? "
        "AND (position > ? OR id_run > ?) ORDER BY position, id_run LIMIT ?"
    )
    parameters = (entry.id_experiment, place.position, place.position, place.id_run, count)
    return [Place(*row) for row in transaction.rows(sql, parameters)]
