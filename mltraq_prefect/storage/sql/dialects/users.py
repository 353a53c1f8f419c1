"""What a database lets its users do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import sqlalchemy as sa

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.storage.sql.dialects.declarations import Role


class Users:
    """Users of a database; a dialect is one, and those with users override what there is."""

    name: ClassVar[str]

    def grants(
        self, connection: sa.Connection, role: Role, user: str, relations: Sequence[str]
    ) -> Sequence[str]:
        """Return statements that give a user of the database a part, in tables of later, too.

        Args:
            connection: SQLAlchemy's, in a transaction that writes.
            role: The part.
            user: The user, as this database calls them.
            relations: Names of our tables and views.

        Raises:
            InvalidInput: There are no users, or this one cannot be given the part.
        """
        raise InvalidInput(
            f"a database of kind {self.name} has no users: whoever may open its file reads or "
            "writes it; set the rights of the file"
        )
