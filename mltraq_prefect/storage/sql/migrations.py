"""What brings the tables of an older format to the next one.

To change the tables: write a function that changes them, say in `MIGRATIONS` from which version it
leads to the next, and add a database of the new version to ``tests/assets``.

Each migration is one transaction, which also records the version that it has reached. On MariaDB
every statement that changes a table commits, so that a migration may be repeated from its middle:
there it must only add, and look before it does. Values change after the tables.
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


def _to_2(transaction: Transaction) -> None:
    from mltraq_prefect.storage.sql import format_2

    format_2.apply(transaction)


MIGRATIONS: Migrations = {1: Migration(_to_2)}


def newest(migrations: Migrations) -> int:
    """Return the version to which migrations lead; the first was 1."""
    version = 1
    while version in migrations:
        version += 1
    return version
