"""Files that URLs of SQLite name."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa


def path(url: sa.URL) -> str | None:
    """Return the path of a file; None if it is in memory, named by a URI, or has a mode."""
    own = url.database
    is_plain = own and own != ":memory:" and not own.startswith("file:")
    return own if is_plain and "mode" not in url.query and "mode=memory" not in str(own) else None


def stat(url: sa.URL) -> os.stat_result | None:
    """Return what the file system says of a file; None if there is none."""
    own = path(url)
    try:
        return None if own is None else os.stat(own)  # noqa: PTH116 - a path object takes longer
    except OSError:
        return None


def state(url: sa.URL) -> tuple[object, ...]:
    """Return what tells a file from another one of its path, or from itself with other rights.

    Then follows what each write changes; nothing if there is no file.
    """
    found = stat(url)
    if found is None:
        return ()
    return (found.st_dev, found.st_ino, found.st_mode), found.st_size, found.st_mtime_ns


def has_wal(path: str) -> bool:
    """Return whether a file has a WAL beside it."""
    return os.path.exists(f"{path}-wal")  # noqa: PTH110


def missing(url: sa.URL) -> Path | None:
    """Return the path of a file that is not there."""
    own = path(url)
    if own is None:
        return None
    try:
        os.stat(own)  # noqa: PTH116
    except FileNotFoundError:
        return Path(own)
    except OSError:  # who may not enter its folder does not know; SQLite will say so
        return None
    return None
