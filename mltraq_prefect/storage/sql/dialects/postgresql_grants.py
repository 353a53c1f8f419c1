"""What lets other roles of PostgreSQL use the tables, those made later included."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.storage.sql.dialects.declarations import RIGHTS, SCHEMA, Role

_OWNER = """
SELECT rolname, rolsuper, current_database(), has_schema_privilege(%s, n.oid, 'USAGE'),
    has_schema_privilege(n.oid, 'USAGE WITH GRANT OPTION')
FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace JOIN pg_roles AS r ON r.oid = relowner
WHERE nspname = %s AND relname = 'experiment_format'
"""


def statements(
    connection: sa.Connection,
    role: Role,
    user: str,
    relations: Sequence[str],
    quote: Callable[[str], str],
) -> list[str]:
    """Return statements that give a user a part.

    An owner acts as the role that owns the tables, so that all that is made belongs to it: only
    an owner of a table may change its columns.

    Raises:
        InvalidInput: The tables belong to this user, or to a superuser, whom none may become; or
            the schema is another one's.
    """
    schema = connection.info[SCHEMA]
    row = connection.exec_driver_sql(_OWNER, (user, schema)).one()
    owner, is_super, database, may_use, can_let_use = row
    if user == owner:
        raise InvalidInput(f"the tables belong to {user} already, who may do everything with them")
    whom = quote(user)
    if role == "owner":
        if is_super:
            raise InvalidInput(
                f"the tables belong to {owner}, a superuser, as whom nobody else shall act; give "
                "them to a role of their own first: CREATE ROLE lab; GRANT ALL ON SCHEMA "
                f"{quote(schema)} TO lab; and ALTER TABLE ... OWNER TO lab for each of them"
            )
        act = f"ALTER ROLE {whom} IN DATABASE {quote(database)} SET role = {quote(owner)}"
        return [f"GRANT {quote(owner)} TO {whom}", act]
    usage = f"GRANT USAGE ON SCHEMA {quote(schema)} TO {whom}"
    if not may_use and not can_let_use:  # the server would only warn
        raise InvalidInput(
            f"you cannot let {user} use the schema {schema}; ask its owner to run: {usage}"
        )
    rights = RIGHTS[role]
    places = ", ".join(f"{quote(schema)}.{quote(name)}" for name in relations)
    later = f"ALTER DEFAULT PRIVILEGES FOR ROLE {quote(owner)} IN SCHEMA {quote(schema)}"
    return [
        *([] if may_use else [usage]),
        f"GRANT {rights} ON {places} TO {whom}",
        f"{later} GRANT {rights} ON TABLES TO {whom}",
    ]
