"""Orphaned processes on Linux: they become children of the nearest subreaper.

So processes that a step has detached (a new session, a double fork) are found, and end with their
worker. See prctl(2), PR_SET_CHILD_SUBREAPER. On other systems they are not found.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Make this process the parent of its orphaned descendants."""
    with suppress(OSError, AttributeError):  # no Linux
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> set[int]:
    """Return the ids of the children of this process; none where /proc is absent."""
    own = str(os.getpid())
    return {int(path.name) for path in Path("/proc").glob("[0-9]*") if _parent(path) == own}


def _parent(path: Path) -> str | None:
    try:
        # The name of the program, in parentheses, may contain anything.
        return (path / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
    except (OSError, IndexError):
        return None  # it has ended
