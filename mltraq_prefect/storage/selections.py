"""Which runs of an experiment, and in which order: SQL over the columns of its view."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from mltraq_prefect.errors import FieldNotFound, InvalidInput, QueryFailed
from mltraq_prefect.model.hints import unknown_name
from mltraq_prefect.storage import views
from mltraq_prefect.storage.experiments_table import Entry
from mltraq_prefect.storage.ledger import ID_INDEX
from mltraq_prefect.storage.sql import query, query_params
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.sql.messages import without_values
from mltraq_prefect.storage.values.kinds import FLOAT, INT
from mltraq_prefect.storage.views import ViewColumn

_POSITION = "position_x000000000000"
"""A name that no field or param gets: it looks like one with a hash."""

_ID = f"{query_params.OWN}id_experiment"

_DIRECTION = re.compile(r"(.*\S)\s+(ASC|DESC)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Selection:
    """Some runs.

    Attributes:
        where: A condition over the columns of the view; all runs if None.
        params: Values of the params in it.
        order_by: Columns, each as a user gives it; the order of the experiment if there are none.
        limit: How many runs at most; None is no limit.
    """

    where: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    order_by: tuple[str, ...] = ()
    limit: int | None = None

    @property
    def is_ordered(self) -> bool:
        """Whether the database has to put runs in order."""
        return bool(self.order_by) or self.limit is not None

    @property
    def is_everything(self) -> bool:
        """Whether it is all runs in their order."""
        return self.where is None and not self.is_ordered


def selection(
    where: str | None,
    params: Mapping[str, Any] | None,
    order_by: str | Sequence[str] | None = None,
    limit: int | None = None,
) -> Selection:
    """Return a selection of what a user gives.

    Raises:
        InvalidInput: It is no condition, or cannot be part of a statement.
    """
    query_params.check_params(params)
    if where is not None:
        check_condition(where)
    elif params:
        raise InvalidInput("params are the values of a condition: give where, too")
    order = (order_by,) if isinstance(order_by, str) else tuple(order_by or ())
    for column in order:
        if not isinstance(column, str):
            raise InvalidInput(f"order_by has {column!r}, which is no name of a column")
    return Selection(where, params or {}, order, None if limit is None else _count(limit))


def _count(limit: Any) -> int:
    try:
        found = -1 if isinstance(limit, bool) else operator.index(limit)
    except TypeError:
        found = -1
    if found < 0:
        raise InvalidInput(f"limit is {limit!r}; give a number of runs, or None")
    return found


def check_condition(where: object) -> None:
    """Refuse what is no condition, or would not stay within its parentheses.

    Raises:
        InvalidInput: It is such.
    """
    if not isinstance(where, str) or not where.strip():
        raise InvalidInput(
            f"where is {where!r}; give a condition in SQL, such as \"lr < :lr AND model = 'svc'\""
        )
    bare, comments = query.without_literals(where)
    what = ""
    if comments:
        what = "a comment"
    elif ";" in bare:
        what = "a semicolon: it is a condition, not a statement"
    elif any(mark in bare for mark in "'\"`"):
        what = "a quote that does not end"
    elif not _is_balanced(bare):
        what = "parentheses that do not match"
    if what:
        raise InvalidInput(f"where has {what}; values belong into params, such as :x")


def _is_balanced(bare: str) -> bool:
    depth = 0
    for mark in re.findall(r"[()]", bare):
        depth += 1 if mark == "(" else -1
        if depth < 0:
            return False
    return depth == 0


def ids(transaction: Transaction, entry: Entry, chosen: Selection) -> list[str]:
    """Return the ids of selected runs: in their order if it `is_ordered`, else in any.

    The table of runs comes first, and its ledger is left out if the condition has none of it: so
    an index that suits the condition leads to the runs.

    Raises:
        FieldNotFound: The view has no such column.
        QueryFailed: The database does not understand the condition.
    """
    dialect = transaction.dialect
    known = views.columns(entry, dialect)
    order = ""
    if chosen.is_ordered:
        by = [_ordered(column, entry, known, dialect) for column in chosen.order_by]
        order = f" ORDER BY {', '.join([*by, f'v.{dialect.quote(_POSITION)}'])}"
    limit = "" if chosen.limit is None else f" LIMIT {chosen.limit:d}"
    what = f"v.{dialect.quote('id_run')}"
    found = selected(transaction, entry, what, chosen.where, chosen.params, order + limit)
    return [row[0] for row in found]


def selected(
    transaction: Transaction,
    entry: Entry,
    what: str,
    where: str | None,
    params: Mapping[str, Any],
    rest: str = "",
) -> Sequence[Sequence[Any]]:
    """Return what a statement selects of the runs of a condition.

    Args:
        transaction: Where.
        entry: The experiment.
        what: What is selected of the view ``v``.
        where: A condition, see `check_condition`; all runs if None.
        params: Values of the params in it.
        rest: What follows in the statement.

    Raises:
        FieldNotFound: The view has no such column.
        QueryFailed: The database does not understand the condition.
    """
    dialect, quote = transaction.dialect, transaction.quote
    known = views.columns(entry, dialect)
    place = ViewColumn(_POSITION, "position", "run", INT, views.ORDER)
    columns = ", ".join(f"{own.sql} AS {quote(own.name)}" for own in (*known, place))
    ledger = f"experiment_runs AS r{dialect.by_index(ID_INDEX)}"
    sql = (
        f"SELECT {what} FROM (SELECT {columns} FROM {quote(entry.table)} AS e "
        f"LEFT JOIN {ledger} ON r.id_experiment = :{_ID} AND r.id_run = e.id_run) AS v"
    )
    if where is not None:
        _check_quoted(where, entry, known, dialect.quote_mark)
        sql += f" WHERE (\n{where}\n)"
    try:
        values = {**params, _ID: entry.id_experiment}
        return query.run(transaction, sql + rest, values, {}).rows
    except (sa.exc.DBAPIError, transaction.connection.dialect.loaded_dbapi.Error) as error:
        _refuse(transaction, getattr(error, "orig", None) or error, entry, known, sql)
        raise


def _ordered(column: str, entry: Entry, known: Sequence[ViewColumn], dialect: Dialect) -> str:
    """Return what orders by a column: what is missing, or NaN, comes last."""
    name, direction = column, ""
    if not _matching(column, known):
        if column.startswith("-"):
            name, direction = column[1:].strip(), " DESC"
        elif (match := _DIRECTION.fullmatch(column)) is not None:
            name, direction = match[1], f" {match[2].upper()}"
    found = find(name, entry, known)
    own = f"v.{dialect.quote(found.name)}"
    missing = f"{own} IS NULL"
    if found.kind is FLOAT and dialect.nan:  # which such a database takes for the largest number
        missing += f" OR {own} = CAST('NaN' AS DOUBLE PRECISION)"
    return f"CASE WHEN {missing} THEN 1 ELSE 0 END, {own}{direction}"


def find(name: str, entry: Entry, known: Sequence[ViewColumn]) -> ViewColumn:
    """Return the column of a view that a user means, by its name, or the key of a field or param.

    Raises:
        FieldNotFound: There is none.
    """
    found = _matching(name, known)
    if found is None:
        raise unknown(name, entry, known)
    return found


def _matching(name: str, known: Sequence[ViewColumn]) -> ViewColumn | None:
    by_name = {own.name: own for own in known}
    by_key = {
        own.key: own for source in ("param", "field") for own in known if own.source == source
    }
    return by_name.get(name) or by_key.get(name)


def unknown(name: str, entry: Entry, known: Sequence[ViewColumn]) -> FieldNotFound:
    """Return the error for a column that a view does not have."""
    told = unknown_name([name], [own.name for own in known])
    return FieldNotFound(f"experiment {entry.name!r} has no column {told}")


def _check_quoted(where: str, entry: Entry, known: Sequence[ViewColumn], quote_mark: str) -> None:
    """Refuse a quoted name that is none of a column: some databases take it for text."""
    names = {own.name.lower() for own in known}
    if re.search(r"\bSELECT\b", where, re.IGNORECASE) is None:
        for name in query.quoted_names(where, quote_mark):
            if name.lower() not in names:
                raise unknown(name, entry, known)


def _refuse(
    transaction: Transaction,
    error: BaseException,
    entry: Entry,
    known: Sequence[ViewColumn],
    sql: str,
) -> None:
    """Tell of a condition that the database refuses; return if something else is wrong."""
    dialect = transaction.dialect
    if dialect.trouble(error) not in ("other", "moved", "encoding"):
        return
    message = dialect.message(error).strip().splitlines()[0]
    found = re.match(dialect.unknown_column, message) if dialect.unknown_column else None
    if found is not None and found[1].lower() not in {own.name.lower() for own in known}:
        raise unknown(found[1], entry, known) from None
    own = entry.table in message or "experiment" in message or found is not None
    if dialect.trouble(error) != "moved" or not own:  # a table that only the condition names
        reason = without_values(message, sql)
        raise QueryFailed(
            f"experiment {entry.name!r}: the database refused the condition: {reason}"
        ) from None
