"""Statements of users: bound parameters, and placeholders for the tables of experiments."""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from mltraq_prefect.errors import QueryFailed
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Origins
from mltraq_prefect.storage.sql.query_params import Binder

_TOKEN = re.compile(
    r"""
    (?P<skip>
        '(?:[^'\\]|''|\\.)*' | "(?:[^"]|"")*" | `[^`]*`       # literals and quoted names
      | --[^\n]* | /\*.*?\*/                                  # comments
      | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$                       # dollar quotes
      | ::                                                    # casts
    )
  | :(?P<param>[A-Za-z_]\w*)
  | \{(?P<name>[^{}]*)\}
    """,
    re.VERBOSE | re.DOTALL,
)

_FIRST = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/|\()*([A-Za-z]+)", re.DOTALL)
"""The first word, after blanks, comments and parentheses."""

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
    _check_reads(sql)
    transaction.dialect.check_text(sql)
    binder = Binder(params, transaction.dialect)
    statement = sa.text(_translate(sql, binder, tables, transaction))
    if not binder.values:
        whole = statement.compile(transaction.connection).string.replace("%%", "%")
        transaction.dialect.check_statement(transaction.connection, whole)
    try:
        result = transaction.connection.execute(statement, binder.values)
    except OverflowError:
        raise QueryFailed("a param is an integer of more than 64 bits") from None
    if not result.returns_rows:
        raise QueryFailed(
            "query() only reads, and this statement returns no rows; nothing was done"
        )
    origins = () if are_whole is None else _origins(transaction, result, statement, are_whole)
    return Result(list(result.keys()), result.all(), origins)


def _origins(
    transaction: Transaction, result: sa.CursorResult[Any], statement: sa.TextClause, whole: Whole
) -> Origins:
    nothing = dict.fromkeys(statement.compile().params)
    connection = transaction.connection
    text = statement.bindparams(**nothing).compile(
        dialect=connection.dialect, compile_kwargs={"literal_binds": True}
    )
    bare = text.string.replace("%%", "%")
    found = transaction.dialect.origins(connection, result.cursor, bare, whole)
    return found if len(found) == len(result.keys()) else ()


def with_numbers(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Return rows that a statement gave, with numbers as Python has them."""
    return [tuple(map(as_number, row)) for row in rows]


def without_literals(sql: str) -> tuple[str, bool]:
    """Return a text with blanks for literals and quoted names, and whether it has comments."""
    skipped = [match for match in _TOKEN.finditer(sql) if match["skip"]]
    comments = any(match["skip"].startswith(("--", "/*")) for match in skipped)
    return _TOKEN.sub(lambda match: " " if match["skip"] else match[0], sql), comments


def quoted_names(sql: str, mark: str) -> list[str]:
    """Return the names that are in quotes.

    Args:
        sql: The text.
        mark: The character that encloses a name.
    """
    texts = [match["skip"] for match in _TOKEN.finditer(sql) if match["skip"]]
    return [text[1:-1].replace(mark * 2, mark) for text in texts if text.startswith(mark)]


def _check_reads(sql: str) -> None:
    """Refuse what changes the session or transaction; what changes data the database refuses."""
    word = _FIRST.match(sql)
    if word is None or word[1].upper() not in _READING_WORDS:
        found = "is empty" if word is None else f"begins with {word[1]!r}"
        raise QueryFailed(
            f"query() only reads, and refused the statement, which {found}: it takes those that "
            f"begin with {', '.join(_READING_WORDS)}"
        )


def _translate(
    sql: str, binder: Binder, tables: Mapping[str, str], transaction: Transaction
) -> str:
    parts = []
    last = 0
    for match in _TOKEN.finditer(sql):
        parts.append(_escaped(sql[last : match.start()]))
        parts.append(_part(match, binder, tables, transaction))
        last = match.end()
    return "".join([*parts, _escaped(sql[last:])])


def _part(
    match: re.Match[str], binder: Binder, tables: Mapping[str, str], transaction: Transaction
) -> str:
    param, name = match["param"], match["name"]
    if param is not None:
        return binder.bind(param, match.string[: match.start()])
    if name is not None:
        if name not in tables:
            known = ", ".join(tables) or "none"
            raise QueryFailed(f"the statement has a placeholder {{{name}}}; known: {known}")
        return transaction.qualified(tables[name])
    return _escaped(match.group())


def _escaped(sql: str) -> str:
    return sql.replace("\\", "\\\\").replace(":", "\\:") if ":" in sql else sql


def as_number(value: Any) -> Any:
    """Return a number of SQL's type NUMERIC, such as a sum of integers, as int or float."""
    if not isinstance(value, decimal.Decimal):
        return value
    return (
        int(value)
        if value == value.to_integral_value() and value.as_tuple().exponent == 0
        else float(value)
    )
