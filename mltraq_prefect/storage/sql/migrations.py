"""What a migration is: it brings the tables of one format to the next.

Each migration is one transaction, which also records the version that it has reached. On MariaDB
every statement that changes a table commits, so a migration may be repeated from its middle. It
must only add there, and check before it adds. Values change after the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mltraq_prefect.storage.sql.connections import Transaction


@dataclass(frozen=True, slots=True)
class Migration:
    """The way from one format to the next.

    Attributes:
        apply: Changes the tables.
        is_optional: Whether this package reads tables to which it has not been applied, such as
            those of a database that cannot be written.
    """

    apply: Callable[[Transaction], None]
    is_optional: bool = False


Migrations = Mapping[int, Migration]
"""By the version from which they lead to the next one."""


def newest(migrations: Migrations) -> int:
    """Return the version to which migrations lead; the first was 1."""
    version = 1
    while version in migrations:
        version += 1
    return version
