"""What PostgreSQL's catalogue says of schemas, tables, and what hangs on them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.storage.sql.dialects.declarations import SCHEMA, Dependent, Origin, Right

_SCHEMA = """
SELECT coalesce(
    (SELECT nspname
     FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (nspname, place)
     WHERE to_regclass(quote_ident(nspname) || '.experiments') IS NOT NULL
       AND to_regclass(quote_ident(nspname) || '.experiment_format') IS NOT NULL
     ORDER BY place LIMIT 1),
    current_schema())
"""

_RELATIONS = """
SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = current_schema() AND relname = ANY(%s::name[])
"""

MEASURED = 100
"""Tables whose sizes are asked for; those of more are estimated: a size opens table and indexes."""

_SIZES = """
SELECT relname, pg_total_relation_size(pg_class.oid)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = current_schema() AND relname = ANY(%s::name[])
"""

_ESTIMATED_SIZES = """
WITH tables AS (
    SELECT pg_class.oid, relname, reltoastrelid
    FROM pg_class JOIN unnest(%s::name[]) AS wanted (name) ON name = relname
    JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = current_schema()
), filled AS (
    SELECT relname, oid FROM tables UNION ALL SELECT relname, reltoastrelid FROM tables
), parts AS (
    SELECT relname, oid FROM filled
    UNION ALL SELECT relname, indexrelid FROM filled JOIN pg_index ON indrelid = filled.oid
)
SELECT parts.relname, sum(greatest(
    relpages * current_setting('block_size')::bigint,
    CASE WHEN relpages = 0 THEN 2048 * pg_stat_get_live_tuples(parts.oid) ELSE 0 END
))::bigint
FROM parts JOIN pg_class ON pg_class.oid = parts.oid GROUP BY parts.relname
"""
"""By the pages that were last counted. Where none were yet, a row takes 2 KiB: what is longer is
beside the table, in rows of 2 KiB."""

_ORIGINS = """
SELECT attrelid, attnum, relname, attname
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %s AND attrelid = ANY(%s)
"""

_DEPENDENTS = """
SELECT DISTINCT 'view ' || v.oid::regclass::text, a.attname::text
FROM pg_depend AS d
JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
JOIN pg_class AS v ON v.oid = r.ev_class AND v.oid <> d.refobjid
LEFT JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = nullif(d.refobjsubid, 0)
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass(%s)
UNION
SELECT 'foreign key ' || conname || ' of table ' || conrelid::regclass::text, NULL
FROM pg_constraint WHERE contype = 'f' AND confrelid = to_regclass(%s)
ORDER BY 1, 2
"""

_RIGHTS = """
SELECT NULL, 'COMMENT ON ' || CASE relkind WHEN 'v' THEN 'VIEW ' ELSE 'TABLE ' END || t.name
    || ' IS ' || quote_literal(obj_description(oid, 'pg_class'))
FROM t WHERE obj_description(oid, 'pg_class') IS NOT NULL
UNION ALL
SELECT a.attname,
    'GRANT ' || privilege_type || coalesce(' (' || quote_ident(a.attname) || ')', '')
    || ' ON ' || t.name || ' TO '
    || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
    || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
FROM t JOIN (
    SELECT attrelid, attname, attacl FROM pg_attribute
    UNION ALL SELECT oid, NULL, relacl FROM pg_class
) AS a ON a.attrelid = t.oid, aclexplode(a.attacl)
WHERE grantee <> relowner
UNION ALL
SELECT NULL, 'ALTER TABLE ' || t.name || ' OWNER TO ' || quote_ident(pg_get_userbyid(relowner))
FROM t WHERE pg_get_userbyid(relowner) <> current_user
"""
"""Whoever gives it to another one may do nothing more."""


def schema(connection: sa.Connection) -> str:
    """Return the first schema of the search path that has our tables, else the first of all.

    Raises:
        InvalidInput: The search path leads to no schema.
    """
    found: str | None = connection.exec_driver_sql(_SCHEMA).scalar_one()
    if found is None:
        raise InvalidInput(
            "the search_path names no schema that exists and that this user may use; create it, "
            "name another, or ask its owner to run: mltraq-prefect grant reader --to USER"
        )
    return found


def relations(connection: sa.Connection, names: Collection[str]) -> set[str]:
    """Return which names tables, indexes and the like have in our schema."""
    return set(connection.exec_driver_sql(_RELATIONS, (list(names),)).scalars())


def sizes(connection: sa.Connection, tables: Sequence[str]) -> dict[str, int]:
    """Return the bytes of tables of our schema, their indexes and what is beside their rows."""
    sql = _SIZES if len(tables) <= MEASURED else _ESTIMATED_SIZES
    return {name: int(size) for name, size in connection.exec_driver_sql(sql, (list(tables),))}


def dependents(connection: sa.Connection, table: str) -> list[Dependent]:
    """Return the views and foreign keys that hang on a table, which is quoted."""
    rows = connection.exec_driver_sql(_DEPENDENTS, (table, table))
    return [Dependent(what, column) for what, column in rows]


def view_columns(connection: sa.Connection, view: str) -> list[str]:
    """Return the columns of a view, which is quoted, in their order; none if it is not there."""
    sql = (
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 "
        "ORDER BY attnum"
    )
    return list(connection.exec_driver_sql(sql, (view,)).scalars())


def rights(connection: sa.Connection, table: str) -> list[Right]:
    """Return what gives a table or view, which is quoted, its owner, comment and grants."""
    own = "WITH t AS (SELECT *, %s AS name FROM pg_class WHERE oid = to_regclass(%s))"
    return [Right(*row) for row in connection.exec_driver_sql(own + _RIGHTS, (table, table))]


def keys(connection: sa.Connection, table: str) -> list[str]:
    """Return the name of the primary key of a table, which is quoted; none if it has none."""
    sql = "SELECT conname FROM pg_constraint WHERE contype = 'p' AND conrelid = to_regclass(%s)"
    return list(connection.exec_driver_sql(sql, (table,)).scalars())


def indexes(connection: sa.Connection, table: str) -> set[str]:
    """Return the names of the indexes of a table, which is quoted."""
    sql = (
        "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
        "WHERE indrelid = to_regclass(%s)"
    )
    return set(connection.exec_driver_sql(sql, (table,)).scalars())


def columns_used(connection: sa.Connection, table: str) -> int:
    """Return how many columns a table, which is quoted, has or has had."""
    sql = "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0"
    return int(connection.exec_driver_sql(sql, (table,)).scalar_one())


def origins(connection: sa.Connection, places: Sequence[tuple[int, int]]) -> list[Origin | None]:
    """Return tables and views of our schema, and their columns, by the numbers of both."""
    wanted = sorted({table for table, _ in places if table})
    rows = connection.exec_driver_sql(_ORIGINS, (connection.info[SCHEMA], wanted)) if wanted else ()
    known = {(table, number): Origin(name, column) for table, number, name, column in rows}
    return [known.get(place) for place in places]
