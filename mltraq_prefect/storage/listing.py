"""Which experiments of a list are meant: a condition in SQL, answered in memory.

The list has what no statement knows, such as sizes, and is short. So the condition is one of SQLite
whatever the database is, and cannot reach anything but the list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from mltraq_prefect.errors import InvalidInput, QueryFailed
from mltraq_prefect.storage import tagging
from mltraq_prefect.storage.records import LISTED
from mltraq_prefect.storage.sql import query
from mltraq_prefect.storage.sql.connections import Database, DriverError
from mltraq_prefect.storage.sql.formats import MIGRATIONS
from mltraq_prefect.storage.sql.query_params import check_params

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
        InvalidInput: There are params and no condition.
        QueryFailed: The condition is none.
    """
    check_params(params)
    if tags:
        wanted = tagging.by_name(tags, "ls")
        rows = [row for row in rows if wanted.items() <= row["tags"].items()]
    if where is None:
        if params:
            raise InvalidInput("ls: there are params, and no condition `where` that has them")
        return rows
    places = _places([[_cell(row.get(name)) for name in LISTED] for row in rows], where, params)
    return [row for index, row in enumerate(rows) if index in places]


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def _places(
    rows: Sequence[Sequence[Any]], where: str, params: Mapping[str, Any] | None
) -> set[int]:
    names = ", ".join(LISTED)
    marks = ", ".join("?" * len(LISTED))
    with closing(Database("sqlite://", migrations=MIGRATIONS)) as database:
        with database.writing("listed") as transaction:
            transaction.run(f"CREATE TABLE listed (place INTEGER PRIMARY KEY, {names})")
            for place, row in enumerate(rows):
                transaction.run(f"INSERT INTO listed VALUES ({place}, {marks})", row)
        try:
            with database.querying() as transaction:
                sql = f"SELECT place FROM listed WHERE ({where}\n)"
                found = query.run(transaction, sql, params or {}, {}).rows
        except DriverError as error:
            raise QueryFailed(
                f"ls: the condition `where` was refused: {error}; the columns are {names}"
            ) from None
        return {place for (place,) in found}
