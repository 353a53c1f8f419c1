"""What is different about each database: a module each, and their register.

A further dialect is a further module and a line here; nothing outside this folder names a backend.
"""

from mltraq_prefect.storage.sql.dialects.base import Dialect
from mltraq_prefect.storage.sql.dialects.declarations import (
    SCHEMA,
    Columns,
    ColumnType,
    Dependent,
    Origin,
    Origins,
    Right,
    Role,
    Trouble,
)
from mltraq_prefect.storage.sql.dialects.mariadb import MariaDB
from mltraq_prefect.storage.sql.dialects.postgresql import PostgreSQL
from mltraq_prefect.storage.sql.dialects.sqlite import SQLite

__all__ = [
    "ALIASES",
    "DIALECTS",
    "SCHEMA",
    "ColumnType",
    "Columns",
    "Dependent",
    "Dialect",
    "Origin",
    "Origins",
    "Right",
    "Role",
    "Trouble",
]

DIALECTS: dict[str, Dialect] = {
    "sqlite": SQLite(),
    "postgresql": PostgreSQL(),
    "mariadb": MariaDB(),
    "mysql": MariaDB(),
}
"""By the backend name of SQLAlchemy's URL."""

ALIASES = {"postgres": "postgresql"}
"""What other tools call a backend."""
