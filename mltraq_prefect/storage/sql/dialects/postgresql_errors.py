"""What PostgreSQL's errors mean, and what they say without the rows that they quote."""

from __future__ import annotations

from mltraq_prefect.storage.sql.dialects.declarations import Trouble

_SQLSTATES: dict[str, Trouble] = {
    "08": "unavailable",
    "57P": "unavailable",
    "53300": "unavailable",
    "3D000": "unavailable",
    "28": "unavailable",
    "40": "conflict",
    "25P03": "timeout",
    "25P04": "timeout",
    "55P03": "timeout",
    "57014": "timeout",
    "42P01": "moved",
    "42703": "moved",
    "53100": "full",
    "22P05": "encoding",
    "25006": "read-only",
    "42501": "forbidden",
}

_DEPENDENT = ("0A000", "2BP01")
"""Errors whose details say what hangs on a table or column."""

_POOLER = "unsupported startup parameter"
_POOLER_ADVICE = (
    "; a pooler such as pgbouncer takes no options from a URL: name the schema by "
    "ALTER ROLE user IN DATABASE database SET search_path = schema, and leave options out"
)


def message(error: BaseException) -> str:
    """Leave out context, and details unless they say what hangs on a table: they quote rows."""
    diagnosis = getattr(error, "diag", None)
    primary: str | None = getattr(diagnosis, "message_primary", None)
    detail: str | None = getattr(diagnosis, "message_detail", None)
    if primary is None:
        text = str(error).strip()
        return f"{text}{_POOLER_ADVICE}" if _POOLER in text else text
    if detail and getattr(error, "sqlstate", None) in _DEPENDENT:
        return f"{primary}: {', '.join(detail.splitlines())}"
    return primary


def trouble(error: BaseException) -> Trouble:
    """Read the SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""
    import psycopg

    state = getattr(error, "sqlstate", None)
    if state is None:
        lost = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
        return "unavailable" if lost else "other"
    for prefix, found in _SQLSTATES.items():
        if state.startswith(prefix):
            return found
    return "other"
