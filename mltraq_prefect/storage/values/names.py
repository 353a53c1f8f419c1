"""Physical names of tables and columns.

A name is its own physical name wherever every backend carries it unchanged. The name of any other
table is an ASCII slug and a hash of the exact name, so that no two names ever share a table. The
name of a column is a slug alone if no other column of its table has that name.

Tables of runs begin with ``e_``, their views with ``v_``, the tables of their series with ``s_``.
Helper tables and keys begin with ``mltraq_``, so that none can meet another.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import uuid
from collections.abc import Collection
from functools import lru_cache

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.model.names import check_name

MAX_PORTABLE = 50
"""Longest name, in characters, that is used as it is (PostgreSQL cuts at 63 bytes)."""

_TABLE = re.compile(r"[a-z0-9_]+")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_HELPER = re.compile(r"mltraq_[0-9a-f]{32}")
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


def table_name(experiment: str) -> str:
    """Return the name of the table of an experiment's runs; injective, and the same everywhere.

    Upper case is not portable: PostgreSQL folds it in unquoted SQL, MySQL on some file systems.

    Raises:
        InvalidName: It is no text.
    """
    if not isinstance(experiment, str):
        check_name(experiment, "experiment name")
    return f"e_{_of_table(experiment)}"


def is_fixed(table: str) -> bool:
    """Return whether a table of this package is one of those that have all experiments."""
    return table.startswith("experiment")


def series_name(experiment: str) -> str:
    """Return the name of the table of an experiment's series, by the same rule."""
    return f"s_{_of_table(experiment)}"


def series_of(table: str) -> str:
    """Return the name of the table of an experiment's series from that of its runs."""
    return f"s_{table.removeprefix('e_')}"


@lru_cache(1_000)
def _of_table(experiment: str) -> str:
    if _is_portable(experiment, _TABLE):
        return experiment
    return _hashed(experiment.lower(), experiment)


def is_table_of(table: object, experiment: str) -> bool:
    """Return whether a table of this name can hold the runs of an experiment.

    Format 1 called a table that is going to take another one's place ``new_<name>``.
    """
    own = table_name(experiment)
    return table in (own, "new_" + own.removeprefix("e_")) or is_helper(table)


def view_name(experiment: str) -> str:
    """Return the name of the view of an experiment's runs; as injective as that of its table."""
    return "v_" + table_name(experiment).removeprefix("e_")


def runs_table_of(relation: str) -> str:
    """Return the name of the table of runs that a view or a table of series has beside it."""
    return f"e_{relation[2:]}" if relation.startswith(("v_", "s_")) else relation


def helper_name() -> str:
    """Return a new, unique name for a temporary table."""
    return f"mltraq_{uuid.uuid4().hex}"


def is_helper(table: object) -> bool:
    """Return whether it is a name that `helper_name` returns."""
    return type(table) is str and _HELPER.fullmatch(table) is not None


def key_name(table: str) -> str:
    """Return the name of the primary key of a table, where keys share a namespace with tables."""
    return f"mltraq_key_{hashlib.blake2b(table.encode(), digest_size=12).hexdigest()}"


def checked_identifier(name: object) -> str:
    """Return a name that may become part of a statement.

    Raises:
        CorruptData: This package makes no such name; somebody else has put it into the database.
    """
    if type(name) is not str or _IDENTIFIER.fullmatch(name) is None:
        raise CorruptData(f"{name!r:.80} is not a name of a table or column of this package")
    return name


@lru_cache(10_000)
def quoted(name: str, mark: str) -> str:
    """Return a name between two marks; see `checked_identifier`."""
    return f"{mark}{checked_identifier(name)}{mark}"


def column_name(key: str, taken: Collection[str], prefix: str = "") -> str:
    """Return the name of the column of a field, or of a param or fact of a run.

    Args:
        key: Its key.
        taken: Lower-case names that other columns have, or shall get.
        prefix: What tells it from a column that has its name.
    """
    plain, hashed = _plain(key), _hashed(key, key)
    for name in dict.fromkeys((plain, prefix + plain)):
        if _can_be_column(name) and name.lower() not in taken:
            return name
    return prefix + hashed if hashed.lower() in taken else hashed


def readable(key: str) -> str | None:
    """Return the name that the column of a key gets if no other has it; None if it gets a hash."""
    plain = _plain(key)
    return plain if _can_be_column(plain) else None


def _plain(key: str) -> str:
    return key if _COLUMN.fullmatch(key) else _slug(key)


def step_key(step: str) -> str:
    """Return what stands for the name of a step in keys: an identifier of at most 64 letters."""
    return step if _is_portable(step, _COLUMN) else _hashed(step, step)


def is_column_of(name: object, key: str) -> bool:
    """Return whether `column_name` can have given a field a column of this name."""
    return name == readable(key) or name == _hashed(key, key)


def _can_be_column(name: str) -> bool:
    return _is_portable(name, _COLUMN) and name.lower() not in _RESERVED


def _is_portable(name: str, pattern: re.Pattern[str]) -> bool:
    return (
        len(name) <= MAX_PORTABLE
        and pattern.fullmatch(name) is not None
        and _HASHED.fullmatch(name) is None
    )


def _hashed(text: str, exact: str) -> str:
    digest = hashlib.blake2b(exact.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return f"{_slug(text, 30) or 'n'}_x{digest}"


def _slug(text: str, most: int | None = None) -> str:
    """Return the ASCII letters and digits of a text, joined by ``_``; perhaps none."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9]+", "_", letters).strip("_")[:most]
    return f"n{slug}" if slug[:1].isdigit() else slug
