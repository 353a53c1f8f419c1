"""Statements of users: bound parameters, and placeholders for the tables of experiments."""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import sqlalchemy as sa

from mltraq_prefect.errors import InvalidInput, QueryFailed
from mltraq_prefect.storage.sql.connections import Selected, Transaction
from mltraq_prefect.storage.sql.dialects import Dialect, Origins, lexing
from mltraq_prefect.storage.sql.query_params import Binder, check_unicode
from mltraq_prefect.storage.values.columns import Maker

_COMMENTS = ("--", "/*", "#")

_FIRST = re.compile(r"[\s(]*([A-Za-z]+|\S*)")
"""The first word of code, after blanks and parentheses."""

_READING_WORDS = (
    "SELECT",
    "WITH",
    "VALUES",
    "TABLE",
    "EXPLAIN",
    "SHOW",
    "DESCRIBE",
    "DESC",
    "PRAGMA",
)


Whole = Callable[[Collection[str]], Collection[str]]
"""Returns those of some views whose columns are origins of a result, see `Dialect.origins`."""


class Result(NamedTuple):
    """What a statement gave.

    Attributes:
        keys: Names of the columns.
        rows: The rows, for `with_numbers`.
        origins: What each column is; nothing if that is not known, or was not asked for.
    """

    keys: list[str]
    rows: Sequence[Sequence[Any]]
    origins: Origins


def run(
    transaction: Transaction,
    sql: str,
    params: Mapping[str, Any],
    tables: Mapping[str, str],
    are_whole: Whole | None = None,
) -> Result:
    """Run a statement that reads.

    Args:
        transaction: Where; nothing that the statement changes stays.
        sql: ``:x`` stands for a param, which may be a list after ``IN``, and ``{key}`` for a table,
            outside of literals and comments.
        params: Values of the params.
        tables: Physical table names of the placeholders.
        are_whole: Asks for the origins of the columns.

    Raises:
        QueryFailed: A placeholder or param is unknown, or the statement returns no rows.
    """
    _check_reads(sql, transaction.dialect)
    text, values = _prepared(transaction, sql, params, tables)
    bare = partial(_bare, transaction, sql, params, tables)
    if not values:
        transaction.dialect.check_statement(transaction.connection, bare())
    try:
        result = transaction.connection.exec_driver_sql(text, tuple(values))
    except OverflowError:
        raise _too_large() from None
    if not result.returns_rows:
        raise QueryFailed(
            "query() only reads, and this statement returns no rows; nothing was done"
        )
    origins = () if are_whole is None else _origins(transaction, result, bare, are_whole)
    return Result(list(result.keys()), result.all(), origins)


def select(
    transaction: Transaction,
    sql: str,
    params: Mapping[str, Any],
    makers: Sequence[Maker],
    most: int | None = None,
) -> Selected:
    """Run a statement that selects; see `Transaction.selected`.

    Args:
        transaction: Where.
        sql: ``:x`` stands for a param, as for `run`.
        params: Values of the params.
        makers: What makes the cells of each column.
        most: How many rows there can be, if that is known.

    Raises:
        QueryFailed: A param is unknown.
    """
    text, values = _prepared(transaction, sql, params, {})
    try:
        return transaction.selected(text, makers, values, is_marked=True, most=most)
    except OverflowError:
        raise _too_large() from None


def _too_large() -> QueryFailed:
    return QueryFailed("a param is an integer of more than 64 bits")


def _prepared(
    transaction: Transaction, sql: str, params: Mapping[str, Any], tables: Mapping[str, str]
) -> tuple[str, list[Any]]:
    """Return a statement as the driver takes it, and its parameters."""
    check_unicode(sql, "the statement")
    dialect = transaction.dialect
    dialect.check_text(sql)
    binder = Binder(params, dialect)
    escaped = str if dialect.placeholder == "?" else _escaped
    return _translated(transaction, sql, binder, tables, escaped), binder.values


def _escaped(sql: str) -> str:
    """Return a part of a statement for a driver whose parameters begin with a percent sign."""
    return sql.replace("%", "%%")


def _bare(
    transaction: Transaction, sql: str, params: Mapping[str, Any], tables: Mapping[str, str]
) -> str:
    """Return a statement without parameters, with NULL for each param."""
    return _translated(transaction, sql, Binder(params, transaction.dialect, "NULL"), tables, str)


def _origins(
    transaction: Transaction,
    result: sa.CursorResult[Any],
    bare: Callable[[], str],
    whole: Whole,
) -> Origins:
    """Return the origins of a result.

    Args:
        transaction: Where.
        result: The result.
        bare: Returns the statement with NULL for each param.
        whole: See `Whole`.
    """
    dialect, connection = transaction.dialect, transaction.connection
    found = dialect.origins(connection, result.cursor, bare(), whole)
    return found if len(found) == len(result.keys()) else ()


def with_numbers(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Return rows that a statement gave, with numbers as Python has them."""
    return [tuple(map(as_number, row)) for row in rows]


@lru_cache(100)
def without_literals(sql: str, dialect: Dialect) -> tuple[str, bool]:
    """Return a text with blanks for literals and quoted names, and whether it has comments."""
    comments = any(text.startswith(_COMMENTS) for text in _skipped(sql, dialect))
    return lexing.code(sql, dialect.apart), comments


@lru_cache(100)
def quoted_names(sql: str, dialect: Dialect) -> tuple[str, ...]:
    """Return the names that are in quotes."""
    mark = dialect.quote_mark
    texts = [text for text in _skipped(sql, dialect) if text.startswith(mark)]
    return tuple(text[1:-1].replace(mark * 2, mark) for text in texts)


def _skipped(sql: str, dialect: Dialect) -> list[str]:
    found = _pattern(dialect.apart).finditer(sql)
    return [match["skip"] for match in found if match["skip"]]


def _check_reads(sql: str, dialect: Dialect) -> None:
    """Refuse what changes the session or transaction; what changes data the database refuses."""
    if not isinstance(sql, str):
        raise InvalidInput(f"sql is of type {type(sql).__name__}; give a statement as text")
    word = _FIRST.match(lexing.code(sql, dialect.apart))
    if word is None or word[1].upper() not in _READING_WORDS:
        found = f"begins with {word[1]!r}" if word and word[1] else "is empty"
        raise QueryFailed(
            f"query() only reads, and refused the statement, which {found}: it takes those that "
            f"begin with {', '.join(_READING_WORDS)}"
        )


def _translated(
    transaction: Transaction,
    sql: str,
    binder: Binder,
    tables: Mapping[str, str],
    escaped: Callable[[str], str],
) -> str:
    """Return a statement in which params and placeholders are replaced, and the rest escaped."""
    parts = []
    last = 0
    for token in _tokens(sql, transaction.dialect.apart):
        parts.append(escaped(sql[last : token.start]))
        if token.param is not None:
            parts.append(binder.bind(token.param, sql[: token.start]))
        elif token.name is not None:
            parts.append(escaped(_table(token.name, tables, transaction)))
        last = token.end
    return "".join([*parts, escaped(sql[last:])])


class _Token(NamedTuple):
    """A param, or a placeholder for a table, in a statement."""

    start: int
    end: int
    param: str | None
    name: str | None


@lru_cache(100)
def _tokens(sql: str, apart: str) -> list[_Token]:
    """Return those that are in no literal or comment."""
    found = (match for match in _pattern(apart).finditer(sql) if match["skip"] is None)
    return [_Token(*match.span(), match["param"], match["name"]) for match in found]


@lru_cache
def _pattern(apart: str) -> re.Pattern[str]:
    """Return what finds params, placeholders, and what is to be skipped: casts, and no code."""
    pattern = rf"(?P<skip>{apart}|::)|:(?P<param>[A-Za-z_]\w*)|\{{(?P<name>[^{{}}]*)\}}"
    return re.compile(pattern, re.VERBOSE | re.DOTALL)


def _table(name: str, tables: Mapping[str, str], transaction: Transaction) -> str:
    if name not in tables:
        known = ", ".join(tables) or "none"
        raise QueryFailed(f"the statement has a placeholder {{{name}}}; known: {known}")
    return transaction.qualified(tables[name])


def as_number(value: Any) -> Any:
    """Return a number of SQL's type NUMERIC, such as a sum of integers, as int or float."""
    if not isinstance(value, decimal.Decimal):
        return value
    return (
        int(value)
        if value == value.to_integral_value() and value.as_tuple().exponent == 0
        else float(value)
    )
