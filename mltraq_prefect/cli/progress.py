"""Progress of work that takes long, for who watches a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mltraq_prefect.model.advance import Advance

SECONDS = 60.0
"""After so long there is a line for who watches a log."""


@contextmanager
def progress(what: str) -> Iterator[Advance]:
    """Show a bar on stderr if that is a terminal, else a line a minute.

    Args:
        what: What is going on.

    Yields:
        What to call as the work goes on.
    """
    if not sys.stderr.isatty():
        yield _Lines(what).advance
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


class _Lines:
    """Progress as lines of a log."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._next = time.monotonic() + SECONDS

    def advance(self, done: int, total: int) -> None:
        """Tell how far it is, if that was not told for a while."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SECONDS
            sys.stderr.write(f"{self._what}: {done:,} of {total:,}\n")
            sys.stderr.flush()
