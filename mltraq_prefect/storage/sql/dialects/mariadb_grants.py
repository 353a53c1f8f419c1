"""What lets other users of MariaDB and MySQL use a database, with tables that are made later."""

from __future__ import annotations

import re

import sqlalchemy as sa

from mltraq_prefect.storage.sql.dialects.declarations import RIGHTS, Role


def statements(connection: sa.Connection, role: Role, user: str) -> list[str]:
    """Return the statement that gives a user, ``name`` or ``name@host``, a part."""
    database = str(connection.exec_driver_sql("SELECT DATABASE()").scalar_one())
    name, at, host = user.rpartition("@")
    if not at:
        name, host = user, "%"
    place = re.sub(r"([\\_%])", r"\\\1", database).replace("`", "``")  # they would be patterns
    rights = "ALL PRIVILEGES" if role == "owner" else f"{RIGHTS[role]}, SHOW VIEW"
    return [f"GRANT {rights} ON `{place}`.* TO {_literal(name)}@{_literal(host)}"]


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
