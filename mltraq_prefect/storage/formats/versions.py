"""The formats of the tables: which migration leads from each version to the next.

To change the tables: write a function that changes them, add it to `MIGRATIONS` under the version
that it starts from, and add a database of the new version to ``tests/assets``.
"""

from __future__ import annotations

from mltraq_prefect.storage.formats import format_2, format_3, format_4
from mltraq_prefect.storage.sql.migrations import Migration, Migrations

MIGRATIONS: Migrations = {
    1: Migration(format_2.apply),
    2: Migration(format_3.apply),
    3: Migration(format_4.apply),
}
