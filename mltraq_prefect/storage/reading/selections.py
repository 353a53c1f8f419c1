"""Which runs of an experiment, and in which order: SQL over the columns of its view."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from mltraq_prefect.arguments import names_of
from mltraq_prefect.errors import FieldNotFound, InvalidInput, QueryFailed
from mltraq_prefect.model.hints import unknown_name
from mltraq_prefect.storage.sql import query, query_params
from mltraq_prefect.storage.sql.connections import Selected, Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.sql.messages import without_values
from mltraq_prefect.storage.tables import views
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.tables.ledger import ID_INDEX
from mltraq_prefect.storage.tables.views import ColumnSet, ViewColumn
from mltraq_prefect.storage.values.columns import Maker
from mltraq_prefect.storage.values.kinds import FLOAT, JSON
from mltraq_prefect.texts import first_line

_HASH_OF_NONE = "_x000000000000"
"""What ends a name that no field or param gets: it looks like one with a hash."""

_ORDERING = 1_000
"""Characters of a document that put it in order."""

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
    given = [order_by] if isinstance(order_by, str) else names_of("order_by", order_by)
    order = tuple(given or ())
    for column in order:
        if not isinstance(column, str):
            raise InvalidInput(f"order_by has {column!r}, which is not the name of a column")
    most = None if limit is None else _count(limit)
    return Selection(where, params or {}, order, most)


def _count(limit: Any) -> int:
    try:
        found = -1 if isinstance(limit, bool) else operator.index(limit)
    except TypeError:
        found = -1
    if found < 0:
        raise InvalidInput(f"limit is {limit!r}; give a number of runs, or None")
    return min(found, 2**63 - 1)  # what databases take


def check_condition(where: object) -> None:
    """Refuse what is no condition.

    Raises:
        InvalidInput: It is such.
    """
    if not isinstance(where, str) or not where.strip():
        raise InvalidInput(
            f"where is {where!r}; give a condition in SQL, such as \"lr < :lr AND model = 'svc'\""
        )


@lru_cache(100)
def check_contained(where: str, dialect: Dialect) -> None:
    """Refuse a condition that would not stay within its parentheses.

    Raises:
        InvalidInput: It is such.
    """
    bare, comments = query.without_literals(where, dialect)
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


def ids(
    transaction: Transaction, entry: Entry, chosen: Selection, most: int | None = None
) -> list[str]:
    """Return the ids of selected runs; see `rows`."""
    id_run = f"e.{transaction.quote('id_run')}"
    (found,) = rows(transaction, entry, [id_run], [list], chosen, most)()
    return list(found)


def rows(
    transaction: Transaction,
    entry: Entry,
    what: Sequence[str],
    makers: Sequence[Maker],
    chosen: Selection,
    most: int | None = None,
) -> Selected:
    """Select what is stored of runs: in their order if it `is_ordered`, else in any.

    The table of runs comes first, and its ledger is left out if nothing is asked of it: so an
    index that suits the condition leads to the runs.

    Args:
        transaction: Where.
        entry: The experiment.
        what: Columns: ``e`` is the table of runs, ``r`` the ledger, which may have none of a run.
        makers: What makes the cells of each.
        chosen: The runs.
        most: How many of them are enough, if they are in no order; all if None.

    Raises:
        FieldNotFound: The view has no such column.
        QueryFailed: The database does not understand the condition.
    """
    dialect = transaction.dialect
    source = _Source(transaction, entry, (*what, views.ORDER))
    order = ""
    if chosen.is_ordered:
        columns = [own for given in chosen.order_by for own in _listed(given, source.known)]
        by = [_ordered(column, entry, source.known, dialect) for column in columns]
        order = f" ORDER BY {', '.join([*by, source.table.shown[-1]])}"
    most = chosen.limit if most is None else most
    limit = "" if most is None else f" LIMIT {most:d}"
    shown = ", ".join(source.table.shown[:-1])
    sql = f"SELECT {shown} FROM {source.conditioned(chosen.where)}{order}{limit}"
    with source.refusing(sql):
        bound = entry.run_count if most is None else min(most, entry.run_count)
        return query.select(transaction, sql, source.values(chosen.params), makers, bound)


def count(
    transaction: Transaction, entry: Entry, where: str | None, params: Mapping[str, Any]
) -> int:
    """Return how many runs there are of a condition, as for `rows`."""
    source = _Source(transaction, entry)
    sql = f"SELECT count(*) FROM {source.conditioned(where)}"
    with source.refusing(sql):
        (cells,) = query.select(transaction, sql, source.values(params), [list])()
    return int(cells[0])


class _Table(NamedTuple):
    """A table ``v`` that has the columns of a view, and further ones.

    Attributes:
        text: What makes it, after FROM.
        shown: What the further columns are called, in quotes.
    """

    text: str
    shown: Sequence[str]


@lru_cache(100)
def _table(view: ColumnSet, what: tuple[str, ...], table: str, dialect: Dialect) -> _Table:
    """Return what runs are selected from.

    Args:
        view: The columns of the view.
        what: Expressions of further columns, some of which it may have.
        table: The table of runs.
        dialect: The backend.
    """
    quote = dialect.quote
    names = {own.sql: own.name for own in view.columns}
    shown = [(own.sql, own.name) for own in view.columns]  # two may have one expression
    for sql in dict.fromkeys(what):
        if sql not in names:
            names[sql] = f"raw_{len(names)}{_HASH_OF_NONE}"
            shown.append((sql, names[sql]))
    columns = ", ".join(f"{sql} AS {quote(name)}" for sql, name in shown)
    ledger = f"experiment_runs AS r{dialect.by_index(ID_INDEX)}"
    text = (
        f"(SELECT {columns} FROM {quote(table)} AS e "
        f"LEFT JOIN {ledger} ON r.id_experiment = :{_ID} AND r.id_run = e.id_run) AS v"
    )
    return _Table(text, [f"v.{quote(names[sql])}" for sql in what])


class _Source:
    """What runs are selected from, as a table that has the columns of their view.

    Args:
        transaction: Where.
        entry: The experiment.
        what: Expressions of further columns.

    Attributes:
        known: The columns of the view.
        table: The table.
    """

    def __init__(self, transaction: Transaction, entry: Entry, what: tuple[str, ...] = ()) -> None:
        view = views.column_set(entry, transaction.dialect)
        self._transaction, self._entry = transaction, entry
        self.known = view.columns
        self.table = _table(view, what, entry.table, transaction.dialect)

    def conditioned(self, where: str | None) -> str:
        """Return what follows FROM: the table ``v``, and a condition if there is one."""
        if where is None:
            return self.table.text
        dialect = self._transaction.dialect
        check_contained(where, dialect)
        for name in unknown_quoted(where, [own.name for own in self.known], dialect):
            raise FieldNotFound(f"{unknown(name, self._entry, self.known)}; {as_text(name)}")
        return f"{self.table.text} WHERE (\n{where}\n)"

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the params of the statement."""
        return {**params, _ID: self._entry.id_experiment}

    @contextmanager
    def refusing(self, sql: str) -> Iterator[None]:
        """Tell of a condition that the database refuses."""
        transaction = self._transaction
        try:
            yield
        except (sa.exc.DBAPIError, transaction.connection.dialect.loaded_dbapi.Error) as error:
            own = getattr(error, "orig", None) or error
            _refuse(transaction, own, self._entry, self.known, sql)
            raise


def _ordered(column: str, entry: Entry, known: Sequence[ViewColumn], dialect: Dialect) -> str:
    """Return what orders by a column: what is missing, or NaN, comes last."""
    name, direction = _directed(column, known)
    found = find(name, entry, known)
    own = f"v.{dialect.quote(found.name)}"
    if found.kind is JSON:  # whose documents have no order in some databases
        own = dialect.shortened(own, _ORDERING)
    missing = f"{own} IS NULL"
    if found.kind is FLOAT and dialect.nan:  # which such a database takes for the largest number
        missing += f" OR {own} = CAST('NaN' AS DOUBLE PRECISION)"
    return f"CASE WHEN {missing} THEN 1 ELSE 0 END, {own}{direction}"


def _listed(given: str, known: Sequence[ViewColumn]) -> list[str]:
    """Return the columns of a text as after ORDER BY; a name may have commas itself."""
    if _matching(_directed(given, known)[0], known):
        return [given]
    return [column.strip() for column in given.split(",")]


def _directed(column: str, known: Sequence[ViewColumn]) -> tuple[str, str]:
    if not _matching(column, known):
        if column.startswith("-"):
            return column[1:].strip(), " DESC"
        if (match := _DIRECTION.fullmatch(column)) is not None:
            return match[1], f" {match[2].upper()}"
    return column, ""


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


def as_text(name: str) -> str:
    """Return what to write where a text was quoted as if it was the name of a column."""
    quote = "'"
    return f"a text has single quotes: '{name.replace(quote, 2 * quote)}'"


def unknown_quoted(where: str, columns: Iterable[str], dialect: Dialect) -> list[str]:
    """Return quoted names that are none of a column, to refuse: some databases take them for text.

    Args:
        where: A condition; one with a subquery may have names of other tables.
        columns: Names of the columns.
        dialect: Where.
    """
    bare, quoted = query.without_literals(where, dialect)[0], query.quoted_names(where, dialect)
    if not quoted or re.search(r"\bSELECT\b", bare, re.IGNORECASE) is not None:
        return []
    names = {name.lower() for name in columns}
    return [name for name in quoted if name.lower() not in names]


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
    message = first_line(dialect.message(error))
    found = re.match(dialect.unknown_column, message) if dialect.unknown_column else None
    if found is not None:
        _refuse_name(found[1], transaction, entry, known)
    own = entry.table in message or "experiment" in message or found is not None
    if dialect.trouble(error) != "moved" or not own:  # a table that only the condition names
        reason = without_values(message, sql)
        raise QueryFailed(
            f"experiment {entry.name!r}: the database refused the condition: {reason}"
        ) from None


def _refuse_name(
    name: str, transaction: Transaction, entry: Entry, known: Sequence[ViewColumn]
) -> None:
    """Tell of a column that the database does not find; return if the view has it."""
    names = [own.name for own in known]
    alike = [own for own in names if own.lower() == name.lower()]
    if not alike:
        raise unknown(name, entry, known) from None
    if name not in alike:
        raise QueryFailed(
            f"experiment {entry.name!r}: the database takes a name without quotes for {name!r}; "
            f"write {transaction.quote(alike[0])}"
        ) from None
