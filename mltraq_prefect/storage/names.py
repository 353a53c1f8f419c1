"""Physical names of tables and columns.

A name is its own physical name wherever every backend carries it unchanged. Any other becomes an
ASCII slug and a hash of the exact name, so that no two names ever share a table or a column.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection

from mltraq_prefect.errors import InvalidName

MAX_PORTABLE = 50
"""Longest name, in characters, that is used as it is (PostgreSQL cuts at 63 bytes)."""

_TABLE = re.compile(r"[a-z0-9_]+")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HASHED = re.compile(r"(.*_)?x[0-9a-f]{12}")
_RESERVED = {
    "id_run",
    "ctid",
    "xmin",
    "cmin",
    "xmax",
    "cmax",
    "tableoid",
    "rowid",
    "oid",
    "_rowid_",
}


def check_name(name: object, what: str) -> str:
    """Return the name if every backend can carry it.

    Args:
        name: Name of an experiment, or key of a field or param.
        what: Says which, in the error: ``experiment name``, ``field key``.

    Raises:
        InvalidName: It is no text, is empty, or holds a NUL or a lone surrogate.
    """
    if type(name) is not str:
        raise InvalidName(f"{what} {name!r} is of type {type(name).__name__}, not a string")
    if not name:
        raise InvalidName(f"{what} is an empty string; give it at least one character")
    if "\0" in name:
        raise InvalidName(f"{what} {name!r} contains a NUL character, which no database can carry")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidName(
            f"{what} {name!a} contains a lone surrogate, which is no Unicode text"
        ) from None
    return name


def table_name(experiment: str) -> str:
    """Return the name of the table of an experiment's runs; injective, and the same everywhere.

    Upper case is not portable: PostgreSQL folds it in unquoted SQL, MySQL on some file systems.
    """
    return "e_" + (
        experiment if _is_portable(experiment, _TABLE) else _hashed(experiment.lower(), experiment)
    )


def staged_name(table: str) -> str:
    """Return the name of a table that is going to take another one's place."""
    return "new_" + table.removeprefix("e_")


def retired_name(table: str) -> str:
    """Return the name of a table whose place was taken, until it is dropped."""
    return "old_" + table.removeprefix("e_")


def column_name(key: str, taken: Collection[str]) -> str:
    """Return the name of the column of a field.

    Args:
        key: Key of the field.
        taken: Lower-case names of the columns that the table has already.
    """
    lower = key.lower()
    if _is_portable(key, _COLUMN) and lower not in _RESERVED and lower not in taken:
        return key
    return _hashed(key, key)


def step_key(step: str) -> str:
    """Return what stands for the name of a step in keys: an identifier of at most 64 letters."""
    return step if _is_portable(step, _COLUMN) else _hashed(step, step)


def _is_portable(name: str, pattern: re.Pattern[str]) -> bool:
    return (
        len(name) <= MAX_PORTABLE
        and pattern.fullmatch(name) is not None
        and _HASHED.fullmatch(name) is None
    )


def _hashed(text: str, exact: str) -> str:
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9]+", "_", letters).strip("_")[:30]
    if not slug or slug[0].isdigit():
        slug = f"n{slug}"
    digest = hashlib.blake2b(exact.encode(), digest_size=6).hexdigest()
    return f"{slug}_x{digest}"
