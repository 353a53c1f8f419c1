"""Processes whose parent has ended, on Linux: they become children of the next subreaper above.

So the processes that a step has detached from it (a new session, a double fork) can be found, and
end with their worker. See prctl(2), PR_SET_CHILD_SUBREAPER; elsewhere they go their own way.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Let this process be the parent of its descendants that lose theirs."""
    with suppress(OSError, AttributeError):  # no Linux
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> set[int]:
    """Return the children of this process that were not waited for; none where /proc is absent."""
    own = str(os.getpid())
    return {int(path.name) for path in Path("/proc").glob("[0-9]*") if _parent(path) == own}


def _parent(path: Path) -> str | None:
    try:
        # The name of the program, in parentheses, may contain anything.
        return (path / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
    except (OSError, IndexError):
        return None  # it has ended
