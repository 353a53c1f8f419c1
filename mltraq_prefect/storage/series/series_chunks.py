"""Rows of the series of an experiment, some at a time, for what reads them all."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import NamedTuple

from mltraq_prefect.model.series import Placed
from mltraq_prefect.storage.series import series_tables
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables.experiments_table import Entry

MOST_ROWS = 50_000
"""Rows that are read at once at most, unless one part has more."""

MOST_PARTS = 1_000
"""Parts that are looked up at once; and runs, as each has one at least."""


class SeriesPlace(NamedTuple):
    """Where rows begin: runs in the order of their experiment, rows by their number.

    Attributes:
        position: Of the run.
        id_run: The run.
        seq: Number of the row; 0 unless rows of the run were read before.
    """

    position: int
    id_run: str
    seq: int


SERIES_START = SeriesPlace(-1, "", 0)


class SeriesChunk(NamedTuple):
    """Rows of some runs.

    Attributes:
        id_experiment: The experiment.
        rows: The rows of each run, in order.
        next: Where the next ones begin; None if there are no more.
        keys: The keys that rows of the experiment have.
    """

    id_experiment: str
    rows: list[tuple[str, list[Placed]]]
    next: SeriesPlace | None
    keys: tuple[str, ...]


class _Part(NamedTuple):
    position: int
    id_run: str
    first: int
    next: int


def count(transaction: Transaction, entry: Entry) -> int:
    """Return how many rows the runs of an experiment have logged."""
    sql = "SELECT coalesce(sum(next_seq - first_seq), 0) FROM experiment_series "
    ((rows,),) = transaction.rows(sql + "WHERE id_experiment = ?", (entry.id_experiment,))
    return int(rows)


def read(transaction: Transaction, entry: Entry, place: SeriesPlace) -> Callable[[], SeriesChunk]:
    """Select the rows that follow a place.

    Returns:
        What makes them, when the transaction has ended, too.
    """
    listed = _parts_from(transaction, entry, place)
    chosen = _chosen(listed, is_rest=place.seq > 0)
    after = None
    for part in listed[len(chosen) : len(chosen) + 1]:
        seq = part.first if part.id_run == chosen[-1].id_run else 0
        after = SeriesPlace(part.position, part.id_run, seq)
    ids = list(dict.fromkeys(part.id_run for part in chosen))
    span = (chosen[0].first, chosen[-1].next) if len(ids) == 1 else None
    make = series_tables.read(transaction, entry, ids, span)
    keys = tuple(entry.series or ())

    def made() -> SeriesChunk:
        found = make()
        rows = [(id_run, found[id_run]) for id_run in ids if id_run in found]
        return SeriesChunk(entry.id_experiment, rows, after, keys)

    return made


def _parts_from(transaction: Transaction, entry: Entry, place: SeriesPlace) -> list[_Part]:
    sql = (
        "SELECT r.position, s.id_run, s.first_seq, s.next_seq FROM experiment_runs r "
        "JOIN experiment_series s ON s.id_experiment = r.id_experiment AND s.id_run = r.id_run "
        "WHERE r.id_experiment = ? AND r.position >= ? AND (r.position > ? OR r.id_run > ? "
        "OR (r.id_run = ? AND s.first_seq >= ?)) "
        f"ORDER BY r.position, s.id_run, s.first_seq LIMIT {MOST_PARTS + 1}"
    )
    position, id_run, seq = place
    parameters = (entry.id_experiment, position, position, id_run, id_run, seq)
    return [_Part(*row) for row in transaction.rows(sql, parameters)]


def _chosen(listed: list[_Part], *, is_rest: bool) -> list[_Part]:
    """Return the first parts: those of whole runs, or some of one run.

    Args:
        listed: Parts in order.
        is_rest: Whether the first ones may be the rest of a run of which parts were read before.
    """
    chosen: list[_Part] = []
    rows = 0
    for _, members in groupby(listed[:MOST_PARTS], key=lambda part: part.id_run):
        own = list(members)
        rows += sum(part.next - part.first for part in own)
        is_cut = len(listed) > MOST_PARTS and own[-1] is listed[MOST_PARTS - 1]
        if not chosen and (rows > MOST_ROWS or is_cut or is_rest):
            return _first_of(own)
        if rows > MOST_ROWS or is_cut:
            break
        chosen += own
    return chosen


def _first_of(parts: list[_Part]) -> list[_Part]:
    """Return the first parts of a run; one at least."""
    for count, part in enumerate(parts):
        if count and part.next - parts[0].first > MOST_ROWS:
            return parts[:count]
    return parts
