"""Which runs are old: by time, or by the slots of a schedule."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mltraq_prefect.errors import FieldNotFound, InvalidInput
from mltraq_prefect.storage.formats.schema import utc_now
from mltraq_prefect.storage.maintenance.deleting import Condition
from mltraq_prefect.storage.reading.selections import check_contained
from mltraq_prefect.storage.sql import query
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.query_params import OWN, check_params
from mltraq_prefect.storage.tables import views
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.tables.views import ViewColumn

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(second|minute|hour|day|week)s?")


def age(keep: str | datetime.timedelta, name: str = "keep") -> datetime.timedelta:
    """Return how long a time is that is given as ``30 days``.

    Args:
        keep: The time.
        name: Name of the argument, for the message.

    Raises:
        InvalidInput: It is something else.
    """
    if isinstance(keep, datetime.timedelta):
        found: datetime.timedelta | None = keep
    else:
        match = _AGE.fullmatch(keep.strip()) if isinstance(keep, str) else None
        found = None if match is None else _span(match[2], float(match[1]))
    if found is None or found <= datetime.timedelta(0):
        raise InvalidInput(f"{name} is {keep!r}; give a time such as '30 days' or '12 hours'")
    return found


def _span(unit: str, number: float) -> datetime.timedelta | None:
    try:
        return datetime.timedelta(**{f"{unit}s": number})
    except OverflowError:
        return None


def before(keep: datetime.timedelta) -> datetime.datetime | None:
    """Return the moment that is so long ago; None before all times."""
    try:
        return utc_now() - keep
    except OverflowError:
        return None


@dataclass(frozen=True, slots=True)
class Old:
    """Which runs are old: by time none that has not begun or is pending, by slots none without one.

    Attributes:
        keep: How long runs are kept after they began; None if that does not matter.
        slots: How many of the latest values of a param are kept; None if that does not matter.
        slot: Name of that param.
        where: A condition that they must meet as well; None if there is none.
    """

    keep: datetime.timedelta | None
    slots: int | None
    slot: str
    where: Condition | None

    def condition(self, transaction: Transaction, entry: Entry) -> Condition | None:
        """Return the condition for the runs of an experiment; None if no run is old.

        Raises:
            FieldNotFound: There is no such param.
        """
        columns = views.columns(entry, transaction.dialect)
        shown: dict[tuple[str, str], ViewColumn] = {(own.source, own.key): own for own in columns}
        parts = [] if self.where is None else [self.where.where]
        for part in parts:
            check_contained(part, transaction.dialect)
        params = {} if self.where is None else dict(self.where.params)
        quote = transaction.quote
        if self.keep is not None:
            first = before(self.keep)
            if first is None:
                return None
            state, began = (quote(shown["ledger", name].name) for name in ("state", "started_at"))
            parts.append(f"v.{began} < :{OWN}before AND v.{state} <> 'pending'")
            params[f"{OWN}before"] = first
        if self.slots is not None:
            slot = _param(entry, shown, self.slot)
            first = _first_kept(transaction, entry, slot, self.slots)
            if first is None:
                return None
            parts.append(f"v.{quote(slot.name)} < :{OWN}first")
            params[f"{OWN}first"] = first
        return Condition(" AND ".join(f"(\n{part}\n)" for part in parts), params)


def refuse_options(*options: object) -> None:
    """Refuse to say which runs are old, but not of which experiment.

    Raises:
        InvalidInput: Something says it.
    """
    if any(option is not None for option in options):
        raise InvalidInput("prune needs the name of the experiment whose old runs go; give it")


def old(
    keep: str | datetime.timedelta | None,
    slots: int | None,
    slot: str,
    where: str | None,
    params: Mapping[str, Any] | None,
) -> Old:
    """Return which runs are old, as a user says it; see `Session.prune`.

    Raises:
        InvalidInput: Nothing says it, or something else than can be said.
    """
    if keep is None and slots is None:
        raise InvalidInput("prune needs keep, such as '30 days', or slots, such as 100")
    if slots is not None and (type(slots) is not int or slots < 1):
        raise InvalidInput(f"slots is {slots!r}; give how many of the latest are kept")
    check_params(params)
    if where is None and params:
        raise InvalidInput("prune: there are params, and no condition `where` that has them")
    more = None if where is None else Condition(where, {} if params is None else params)
    return Old(None if keep is None else age(keep), slots, slot, more)


def _param(entry: Entry, shown: Mapping[tuple[str, str], ViewColumn], slot: str) -> ViewColumn:
    found = shown.get(("param", slot))
    if found is None:
        known = ", ".join(repr(key) for source, key in shown if source == "param") or "none"
        raise FieldNotFound(
            f"experiment {entry.name!r} has no param {slot!r}, whose latest values are to be "
            f"kept; its params: {known}"
        )
    return found


def _first_kept(transaction: Transaction, entry: Entry, slot: ViewColumn, slots: int) -> Any | None:
    """Return the earliest of the slots that are kept; None if there are no others."""
    view = views.selection([slot], entry.name, entry.table, transaction.dialect)
    name = f"v.{transaction.quote(slot.name)}"
    sql = (
        f"SELECT DISTINCT {name} FROM ({view}) AS v WHERE {name} IS NOT NULL "
        f"ORDER BY {name} DESC LIMIT {slots + 1:d}"
    )
    found = [row[0] for row in query.run(transaction, sql, {}, {}).rows]
    return None if len(found) <= slots else found[slots - 1]
