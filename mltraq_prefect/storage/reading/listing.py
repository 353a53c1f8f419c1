"""Which experiments of a list are meant: a condition in SQL, answered in memory.

The list has what no statement knows, such as sizes, and is short. So the condition is one of SQLite
whatever the database is, and cannot reach anything but the list. What counts as a condition, and
how one is refused, is as for those about runs: `selections`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from mltraq_prefect.errors import FieldNotFound, QueryFailed
from mltraq_prefect.model.hints import unknown_name
from mltraq_prefect.storage.formats.versions import MIGRATIONS
from mltraq_prefect.storage.reading.selections import (
    as_text,
    check_contained,
    selection,
    unknown_quoted,
)
from mltraq_prefect.storage.records import LISTED
from mltraq_prefect.storage.sql import query
from mltraq_prefect.storage.sql.connections import Database, DriverError
from mltraq_prefect.storage.tables import tagging

Rows = list[dict[str, Any]]


def chosen(
    rows: Rows,
    where: str | None,
    params: Mapping[str, Any] | None,
    tags: Mapping[str, str] | None,
) -> Rows:
    """Return the rows of a list of experiments that are meant.

    Args:
        rows: The list.
        where: A condition about its columns; all if None.
        params: Values of the params of the condition.
        tags: What tags they must have.

    Raises:
        InvalidInput: It is no condition, or there are params and none.
        FieldNotFound: The list has no such column.
        QueryFailed: SQLite does not understand the condition.
    """
    chosen = selection(where, params)
    if tags is not None:
        wanted = tagging.by_name(tags, "ls")
        rows = [row for row in rows if wanted.items() <= row["tags"].items()]
    if chosen.where is None:
        return rows
    cells = [[_cell(row.get(name)) for name in LISTED] for row in rows]
    places = _places(cells, chosen.where, chosen.params)
    return [row for index, row in enumerate(rows) if index in places]


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def _places(rows: Sequence[Sequence[Any]], where: str, params: Mapping[str, Any]) -> set[int]:
    names = ", ".join(LISTED)
    marks = ", ".join("?" * len(LISTED))
    with closing(Database("sqlite://", migrations=MIGRATIONS)) as database:
        check_contained(where, database.dialect)
        for name in unknown_quoted(where, LISTED, database.dialect):
            _refuse_unknown([name], f"; {as_text(name)}")
        with database.writing("listed") as transaction:
            transaction.run(f"CREATE TABLE listed (place INTEGER PRIMARY KEY, {names})")
            for place, row in enumerate(rows):
                transaction.run(f"INSERT INTO listed VALUES ({place}, {marks})", row)
        try:
            with database.querying() as transaction:
                sql = f"SELECT place FROM listed WHERE ({where}\n)"
                found = query.run(transaction, sql, params, {}).rows
        except DriverError as error:
            unknown = re.search(database.dialect.unknown_column, str(error))
            _refuse_unknown([unknown[1]] if unknown else [])
            raise QueryFailed(f"ls: the condition was refused: {error}") from None
        return {place for (place,) in found}


def _refuse_unknown(names: Sequence[str], hint: str = "") -> None:
    told = unknown_name(names, LISTED)
    if told is not None:
        raise FieldNotFound(f"ls: experiments have no column {told}{hint}") from None
