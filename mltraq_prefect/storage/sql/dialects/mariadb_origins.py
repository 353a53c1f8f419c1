"""Which column of a table or view each column of a result is, in MariaDB and MySQL.

The server says it. But it calls tables of subqueries by their alias, and columns of views by theirs
if it makes a temporary table.
"""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from mltraq_prefect.storage.sql.dialects import lexing
from mltraq_prefect.storage.sql.dialects.declarations import Origin, Origins

_SELECTS = re.compile(r"\b(?:SELECT|WITH|TABLE|VALUES)\b", re.IGNORECASE)
_WORDS = re.compile(r"\w+")


def origins(connection: sa.Connection, cursor: Any, sql: str) -> Origins:
    """Return the origin of each column of a result; nothing if that cannot be told.

    Args:
        connection: Where.
        cursor: The driver's, which has the result.
        sql: The statement.
    """
    if len(_SELECTS.findall(lexing.code(sql, lexing.MARIADB))) != 1:
        return ()
    fields = getattr(getattr(cursor, "_result", None), "fields", None) or ()
    marks = dict.fromkeys(_WORDS.findall(sql))
    views = {
        name
        for (name,) in connection.exec_driver_sql(
            "SELECT table_name FROM information_schema.views WHERE table_schema = DATABASE() "
            f"AND table_name IN ({', '.join(['%s'] * len(marks))})",
            tuple(marks),
        )
    }
    return [
        Origin(field.org_table, field.org_name)
        if field.org_table in views or (field.org_table and field.db and not views)
        else None
        for field in fields
    ]
