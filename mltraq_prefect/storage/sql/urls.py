"""URLs of databases: checked before anything connects, shown without their secrets."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.storage.sql.dialects import ALIASES, DIALECTS, Dialect

_SECRET = re.compile(r"pass|secret|token|pwd", re.IGNORECASE)


def parsed(url: str) -> tuple[sa.URL, Dialect]:
    """Return a URL as it is used, and the dialect of its database.

    Raises:
        InvalidInput: It cannot be parsed, or names a database, driver or option that cannot be
            used; says what to write instead.
    """
    try:
        made = sa.make_url(url)
        backend, _, driver = made.drivername.partition("+")
    except (sa.exc.ArgumentError, ValueError):
        raise InvalidInput(
            "the database URL cannot be parsed; write sqlite:///file.db, "
            "postgresql://user@host/database or mysql://user@host/database"
        ) from None
    if backend not in DIALECTS:
        raise InvalidInput(_unknown(backend))
    dialect = DIALECTS[backend]
    if driver and dialect.driver and driver != dialect.driver:
        raise InvalidInput(
            f"the database URL names the driver {driver}, and only {dialect.driver}, which is a "
            f"synchronous one, can be used; write {backend}+{dialect.driver}:// instead of "
            f"{made.drivername}://"
        )
    if dialect.driver:
        made = made.set(drivername=f"{backend}+{dialect.driver}")
    return dialect.resolved(made), dialect


def _unknown(backend: str) -> str:
    if backend in ALIASES:
        other = DIALECTS[ALIASES[backend]].example
        return f"a database URL does not begin with {backend}://; write {other}"
    return f"no support for {backend} databases; known: {', '.join(DIALECTS)}"


def arguments(url: sa.URL, dialect: Dialect) -> dict[str, Any]:
    """Return the arguments of the driver that a URL gives as text, as the driver documents them.

    Raises:
        InvalidInput: A text is no such argument.
    """
    found = {}
    for key, convert in dialect.argument_types.items():
        if key in url.query:
            text = url.query[key]
            try:
                found[key] = convert(str(text))
            except ValueError:
                raise InvalidInput(
                    f"the database URL has {key}={text}, which is not a number"
                ) from None
    return found


def masked(url: str | sa.URL) -> str:
    """Return a URL without its secrets."""
    made = sa.make_url(url)
    query = {key: "***" if _SECRET.search(key) else value for key, value in made.query.items()}
    return made.set(query=query).render_as_string(hide_password=True)


def secrets_of(url: sa.URL) -> list[str]:
    """Return what messages must not show."""
    hidden = [value for key, value in url.query.items() if _SECRET.search(key)]
    return [str(secret) for secret in (url.password, *hidden) if secret]
