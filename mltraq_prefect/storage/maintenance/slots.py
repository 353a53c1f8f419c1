"""Slots of a schedule that an experiment lacks: due by the clock, and not executed to the end."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mltraq_prefect.arguments import refused
from mltraq_prefect.errors import FieldNotFound, InvalidInput
from mltraq_prefect.storage.formats.schema import utc_now
from mltraq_prefect.storage.maintenance.retention import age, before
from mltraq_prefect.storage.sql import query
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.query_params import OWN
from mltraq_prefect.storage.tables import experiments_table, views
from mltraq_prefect.storage.values.kinds import DATETIME

MOST = 100_000
"""Slots that are listed at once."""

_EPOCH = dt.datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Due:
    """Which slots are due; moments are in UTC, naive.

    Attributes:
        every: The interval between them; None if they are listed.
        offset: How long after a multiple of the interval each of them is.
        listed: The slots, if there is no interval.
        since: The first that counts; None for the first that is stored.
        until: The last moment that counts.
        latest: Whether the latest of them counts, too.
    """

    every: dt.timedelta | None
    offset: dt.timedelta
    listed: tuple[dt.datetime, ...]
    since: dt.datetime | None
    until: dt.datetime
    latest: bool

    def slots(self, first_stored: dt.datetime | None) -> list[dt.datetime]:
        """Return them in order.

        Args:
            first_stored: The first slot that is stored; None if there is none.

        Raises:
            InvalidInput: They are too many.
        """
        since = self.since or first_stored
        if self.every is None:
            found = sorted({one for one in self.listed if one <= self.until})
            found = [one for one in found if self.since is None or one >= self.since]
        else:
            found = [] if since is None else self._multiples(self.every, since)
        return found if self.latest else found[:-1]

    def _multiples(self, every: dt.timedelta, since: dt.datetime) -> list[dt.datetime]:
        start = _EPOCH + self.offset
        first, last = -((start - since) // every), (self.until - start) // every
        if last - first >= MOST:
            raise InvalidInput(
                f"{last - first + 1:,} slots are due every {every} since {since}; give `since`, "
                f"such as '30 days', so that they are at most {MOST:,}"
            )
        return [start + every * number for number in range(first, last + 1)]


def due(
    every: str | dt.timedelta | Iterable[dt.datetime],
    offset: str | dt.timedelta | None,
    since: str | dt.timedelta | dt.datetime | None,
    *,
    latest: bool,
) -> Due:
    """Return which slots are due, as a user says it; see `Session.missing_slots`.

    Raises:
        InvalidInput: It is something else than can be said.
    """
    now = utc_now()
    if isinstance(since, dt.datetime):
        begin: dt.datetime | None = _moment(since)
    else:
        begin = None if since is None else before(age(since, "since"))
    if isinstance(every, str | dt.timedelta):
        shift = dt.timedelta(0) if offset is None else age(offset, "offset")
        return Due(age(every, "every"), shift, (), begin, now, latest)
    if offset is not None:
        raise InvalidInput("offset is of use with an interval, and `every` lists the slots")
    if not isinstance(every, Iterable):
        raise refused("every", every, "an interval such as '1 hour', or a list of times")
    listed = tuple(every)
    if wrong := [one for one in listed if not isinstance(one, dt.datetime)]:
        raise InvalidInput(f"a slot is {wrong[0]!r}; give times, or an interval such as '1 hour'")
    return Due(None, dt.timedelta(0), tuple(map(_moment, listed)), begin, now, latest)


def missing(transaction: Transaction, name: str, slot: str, wanted: Due) -> list[dt.datetime]:
    """Return the slots that are due, and have no runs, or some that are pending; in UTC.

    Raises:
        FieldNotFound: Runs have no such param.
        InvalidInput: Its values are no times.
    """
    entry = experiments_table.find(transaction, name)
    stored = {} if entry is None else _stored(transaction, entry, slot, wanted.since)
    slots = wanted.slots(min(stored) if stored else None)
    return [one.replace(tzinfo=dt.UTC) for one in slots if stored.get(one, 1)]


def _stored(
    transaction: Transaction,
    entry: experiments_table.Entry,
    slot: str,
    since: dt.datetime | None,
) -> dict[dt.datetime, int]:
    """Return how many runs of each stored slot are pending."""
    shown = {(own.source, own.key): own for own in views.columns(entry, transaction.dialect)}
    column = shown.get(("param", slot))
    if column is None:
        known = ", ".join(repr(key) for source, key in shown if source == "param") or "none"
        raise FieldNotFound(f"experiment {entry.name!r} has no param {slot!r}; its params: {known}")
    if column.kind is not DATETIME:
        raise InvalidInput(
            f"experiment {entry.name!r}: the values of the param {slot!r} are not times, as those "
            "of slots are; name another param by `slot`"
        )
    state = shown["ledger", "state"]
    view = views.selection([column, state], entry.name, entry.table, transaction.dialect)
    quote = transaction.quote
    condition = f"v.{quote(column.name)} IS NOT NULL"
    params: dict[str, Any] = {}
    if since is not None:
        condition += f" AND v.{quote(column.name)} >= :{OWN}since"
        params[f"{OWN}since"] = since
    pending = f"SUM(CASE WHEN v.{quote(state.name)} = 'pending' THEN 1 ELSE 0 END)"
    sql = (
        f"SELECT v.{quote(column.name)}, {pending} FROM ({view}) AS v WHERE {condition} "
        f"GROUP BY v.{quote(column.name)}"
    )
    rows = query.run(transaction, sql, params, {}).rows
    return {_restored(moment): int(count) for moment, count in rows}


def _restored(cell: dt.datetime | str) -> dt.datetime:
    """Return a moment of a view, which SQLite has as text."""
    return dt.datetime.fromisoformat(cell) if isinstance(cell, str) else cell


def _moment(value: dt.datetime) -> dt.datetime:
    """Return a time as UTC, naive; one without a zone is in UTC already."""
    return value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
