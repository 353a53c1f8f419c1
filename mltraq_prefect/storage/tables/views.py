"""The view of an experiment: a row a run, with its params, its fields, and what became of it.

Its text follows from the layout of the table of runs and the kinds of the params. An entry notes
which text its view was made of, so that a write which changes neither leaves the view alone, and
one that comes after a killed writer finds out that there is something to mend.

Where each statement that changes a table commits, columns come before the view that has them, and
go after it: it can be read at any moment.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

from mltraq_prefect.errors import ForeignTable, StoreError
from mltraq_prefect.model.frames import LEDGER_SHOWN
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Dialect, Right
from mltraq_prefect.storage.tables import unfinished
from mltraq_prefect.storage.tables.ledger import LEDGER
from mltraq_prefect.storage.values.kinds import FLOAT, KEY, Kind
from mltraq_prefect.storage.values.layout import Column, Layout
from mltraq_prefect.storage.values.names import column_name, table_name, view_name
from mltraq_prefect.storage.values.param_columns import ParamColumns

_logger = logging.getLogger("mltraq_prefect")

ORDER = "r.position"
"""What rows are in order by: the expression is no column of the view."""


class Viewed(Protocol):
    """What a view is made of: an `Entry` of the index.

    Attributes:
        name: Name of the experiment.
        layout: The columns of its table of runs.
        params: The kinds of its params.
        view: What its view was made of, see `mark`; None if it has none.
    """

    name: str
    layout: Layout
    params: ParamColumns
    view: str | None


@dataclass(frozen=True, slots=True)
class ViewColumn:
    """A column of a view.

    Attributes:
        name: Its name.
        key: What it is of: a key of params or fields, or a column of the ledger.
        source: Where that is.
        kind: What SQL sees.
        sql: The expression for it, in a statement that has `tables_of` after FROM.
    """

    name: str
    key: str
    source: Literal["run", "param", "field", "ledger"]
    kind: Kind
    sql: str


@dataclass(frozen=True, slots=True, eq=False)
class ColumnSet:
    """The columns of a view: one object while they are the same, by which texts are kept."""

    columns: tuple[ViewColumn, ...]


def columns(entry: Viewed, dialect: Dialect) -> list[ViewColumn]:
    """Return the columns of the view of an experiment, in their order.

    Fields that have no column in the table of runs are not among them, nor those for which a view
    has no room, which has as many columns as a table. A param whose name a field
    has is called ``param_<key>``; what a param or field has the name of, ``run_<column>``.
    """
    return [*column_set(entry, dialect).columns]


def column_set(entry: Viewed, dialect: Dialect) -> ColumnSet:
    """Return the columns of the view of an experiment as one object."""
    return _column_set(tuple(entry.layout.items()), tuple(entry.params.items()), dialect)


@lru_cache(100)
def _column_set(
    layout: tuple[tuple[str, Column], ...],
    params: tuple[tuple[str, Kind | None], ...],
    dialect: Dialect,
) -> ColumnSet:
    fields = {key: column for key, column in layout if column.name is not None}
    taken = {"id_run", *(str(column.name).lower() for column in fields.values())}
    found = [ViewColumn("id_run", "id_run", "run", KEY, f"e.{dialect.quote('id_run')}")]
    for key, kind in params:
        known = kind or FLOAT
        name = _named(key, taken, "param_")
        found.append(ViewColumn(name, key, "param", known, dialect.param(key, known)))
    for key, column in fields.items():
        name = str(column.name)
        found.append(ViewColumn(name, key, "field", column.kind, f"e.{dialect.quote(name)}"))
    found = found[: dialect.max_columns - len(LEDGER_SHOWN)]
    for own in LEDGER_SHOWN:
        name, sql = _named(own, taken, "run_"), f"r.{dialect.quote(own)}"
        found.append(ViewColumn(name, own, "ledger", LEDGER[own], sql))
    return ColumnSet(tuple(found))


def _named(key: str, taken: set[str], prefix: str) -> str:
    name = column_name(key, taken, prefix)
    taken.add(name.lower())
    return name


def tables_of(experiment: str, table: str, dialect: Dialect) -> str:
    """Return what the expressions of view columns are selected from.

    Args:
        experiment: Name of the experiment.
        table: The table that holds its runs now.
        dialect: The backend.
    """
    return (
        f"{dialect.quote(table)} AS e "
        f"JOIN experiments AS x ON x.table_name = '{table_name(experiment)}' "
        "JOIN experiment_runs AS r ON r.id_experiment = x.id_experiment AND r.id_run = e.id_run"
    )


def selection(shown: Sequence[ViewColumn], experiment: str, table: str, dialect: Dialect) -> str:
    """Return the statement that selects columns of a view; see `tables_of`."""
    names = ", ".join(f"{own.sql} AS {dialect.quote(own.name)}" for own in shown)
    return f"SELECT {names} FROM {tables_of(experiment, table, dialect)}"


def mark(entry: Viewed, dialect: Dialect) -> str | None:
    """Return what stands for the text of the view that an experiment should have."""
    if not dialect.has_views:
        return None
    text = selection(columns(entry, dialect), entry.name, table_name(entry.name), dialect)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


# -- making them -----------------------------------------------------------------------------------


def refuse_foreign(transaction: Transaction, experiment: str) -> None:
    """Refuse to make the view of a new experiment where its name is taken.

    Raises:
        ForeignTable: There is a table or view of that name.
    """
    view = view_name(experiment)
    if transaction.dialect.has_views and transaction.has_table(view):
        raise ForeignTable(
            f"experiment {experiment!r} cannot be written: there is a table or view {view}, which "
            "is not from mltraq_prefect; rename it, or give the experiment another name"
        )


def refuse_readers(transaction: Transaction, old: Viewed, new: Viewed) -> None:
    """Refuse to replace an experiment whose columns somebody's views name, if these would go.

    For databases that do not know on which columns a view hangs: they would let it break.

    Raises:
        StoreError: There is such a view; names it.
    """
    gone = {
        table_name(old.name): _gone(_placed(old), _placed(new)),
        view_name(old.name): _gone(_names(transaction, old), _names(transaction, new)),
    }
    read = {relation: names for relation, names in gone.items() if names}
    texts = transaction.dialect.view_texts(transaction.connection) if read else {}
    for name, text in texts.items():
        for relation, names in read.items():
            if name != view_name(old.name) and _names_one(text, [relation]):
                lost = [column for column in names if _names_one(text, [column])]
                if lost:
                    raise StoreError(
                        f"experiment {old.name!r} cannot be replaced by one with other columns, as "
                        f"view {name} reads {', '.join(lost)} from {relation}; drop that first, "
                        "and make it again afterwards"
                    )


def _placed(entry: Viewed) -> list[str]:
    return [column.name for column in entry.layout.values() if column.name is not None]


def _names(transaction: Transaction, entry: Viewed) -> list[str]:
    if entry.view is None:
        return []
    return [own.name for own in columns(entry, transaction.dialect)]


def _gone(before: Sequence[str], now: Sequence[str]) -> list[str]:
    left = {name.lower() for name in now}
    return [name for name in before if name.lower() not in left]


def _names_one(text: str, names: Iterable[str]) -> bool:
    return re.search(rf"\b({'|'.join(names)})\b", text, re.IGNORECASE) is not None


def release(transaction: Transaction, entry: Viewed) -> Sequence[Right] | None:
    """Drop a view that would keep its table from being changed, if it may be dropped.

    Returns:
        What it has of rights, for `make`; None if it stays.
    """
    dialect, view = transaction.dialect, view_name(entry.name)
    if dialect.ddl_commits or entry.view is None or transaction.dependents(view):
        return None
    rights = dialect.rights(transaction.connection, view)
    dropped = transaction.permits([f"DROP VIEW IF EXISTS {transaction.quote(view)}"])
    return rights if dropped else None


def make(
    transaction: Transaction, entry: Viewed, released: Sequence[Right] | None = None
) -> str | None:
    """Make the view of an experiment, unless it is as it should be.

    Args:
        transaction: Where. The table of runs has its own name, and the columns that it needs.
        entry: The experiment, with what its view was made of before.
        released: What `release` has returned in this transaction.

    Returns:
        What the view is made of now.

    Raises:
        StoreError: Something of a user's hangs on it, and it would lose a column or its type.
    """
    dialect = transaction.dialect
    wanted, view = mark(entry, dialect), view_name(entry.name)
    if wanted is None or (wanted == entry.view and released is None):
        return entry.view
    if entry.view is None and not _is_free(transaction, entry.name, view):
        _logger.warning(
            "experiment %r has no view: %s is there, and not from mltraq_prefect; rename it, and "
            "the next write makes the view",
            entry.name,
            view,
        )
        return None
    if released is None:
        released = release(transaction, entry)
    shown = columns(entry, dialect)
    if dialect.ddl_commits and not unfinished.is_noted(transaction, table_name(entry.name), view):
        unfinished.note(transaction, table_name(entry.name), view)
    elif kept := dialect.view_columns(transaction.connection, view):
        return _extended(transaction, entry, shown, kept, wanted)
    statements = [*_statements(transaction, entry.name, shown), *_regranted(shown, released or ())]
    return wanted if _made(transaction, entry.name, statements) else entry.view


def _is_free(transaction: Transaction, experiment: str, view: str) -> bool:
    """Whether nobody else has the name of a view that an experiment has not got yet."""
    return not transaction.has_table(view) or unfinished.is_noted(
        transaction, table_name(experiment), view
    )


def _statements(
    transaction: Transaction, experiment: str, shown: Sequence[ViewColumn]
) -> Sequence[str]:
    dialect = transaction.dialect
    select = selection(shown, experiment, table_name(experiment), dialect)
    return dialect.view_statements(dialect.quote(view_name(experiment)), select)


def _regranted(shown: Sequence[ViewColumn], rights: Sequence[Right]) -> list[str]:
    names = {own.name for own in shown}
    return [right.statement for right in rights if right.column is None or right.column in names]


def _made(transaction: Transaction, experiment: str, statements: Sequence[str]) -> bool:
    if transaction.permits(statements):
        return True
    _logger.warning(
        "the database does not let this user make the view %s of experiment %r, which was written "
        "without; whoever owns it, or may create views, makes it with the next write",
        view_name(experiment),
        experiment,
    )
    return False


def _extended(
    transaction: Transaction,
    entry: Viewed,
    shown: Sequence[ViewColumn],
    kept: Sequence[str],
    wanted: str,
) -> str | None:
    """Add columns at the end of a view on which something hangs.

    Raises:
        StoreError: That is not all that has to change.
    """
    places = {name: place for place, name in enumerate(kept)}
    ordered = sorted(shown, key=lambda own: places.get(own.name, len(places)))
    gone = [name for name in kept if name not in {own.name for own in shown}]
    if not gone and transaction.allows(_statements(transaction, entry.name, ordered)):
        return wanted
    view = view_name(entry.name)
    named = ", ".join(dict.fromkeys(own.what for own in transaction.dependents(view)))
    reason = f"would lose {', '.join(gone)}" if gone else "would get columns of another type"
    raise StoreError(
        f"experiment {entry.name!r} cannot be written, as its view {view} {reason}, and is used "
        f"by {named}; drop that first, and make it again afterwards"
    )


def narrow(transaction: Transaction, entry: Viewed, names: Collection[str]) -> None:
    """Leave in a view only what two tables have, one of which is about to replace the other.

    Args:
        transaction: Where each statement commits.
        entry: The experiment.
        names: Columns of the table that goes.
    """
    if mark(entry, transaction.dialect) == entry.view or entry.view is None:
        return
    shown = columns(entry, transaction.dialect)
    both = [own for own in shown if own.source != "field" or own.name in names]
    transaction.permits(_statements(transaction, entry.name, both))


def drop(transaction: Transaction, entry: Viewed) -> None:
    """Drop the view of an experiment, if it has one."""
    if entry.view is not None:
        transaction.run(f"DROP VIEW IF EXISTS {transaction.quote(view_name(entry.name))}")
