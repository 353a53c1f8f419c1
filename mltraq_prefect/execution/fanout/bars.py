"""Progress bar in a terminal, or below the cell of a notebook."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any

FRAMES_PER_SECOND = 5
"""Refresh rate of the bar in a terminal."""

NOTEBOOK_SECONDS = 0.5
"""Refresh interval of the bar in a notebook: each frame is a message to the browser."""

Bar = Callable[[int, str], None]
"""Called with the number of ended runs, and a summary in text."""


def is_notebook() -> bool:
    """Return whether this process shows its output below the cells of a notebook."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_shell is not None and hasattr(get_shell(), "kernel")


def bar(name: str, total: int) -> AbstractContextManager[Bar | None]:
    """Return the context of a bar during an execution; no bar without terminal or notebook.

    Args:
        name: Name of the experiment.
        total: Number of its runs.
    """
    if is_notebook():
        return _notebook_bar(name, total)
    if sys.stderr.isatty():
        return _terminal_bar(name, total)
    return nullcontext()


@contextmanager
def _terminal_bar(name: str, total: int) -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[summary]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, refresh_per_second=FRAMES_PER_SECOND) as progress:
        task = progress.add_task(name, total=total, summary="")
        yield lambda ended, summary: progress.update(task, completed=ended, summary=summary)


@contextmanager
def _notebook_bar(name: str, total: int) -> Iterator[Bar]:
    """Show an output that is updated in place, without widgets."""
    display: Any = import_module("IPython.display")  # exists, as this is a notebook
    shown = _Frame(name, total)
    handle = display.DisplayHandle()
    handle.display(shown)
    due = time.monotonic()

    def update(ended: int, summary: str) -> None:
        nonlocal due
        shown.ended, shown.summary = ended, summary
        now = time.monotonic()
        if now >= due:
            due = now + NOTEBOOK_SECONDS
            handle.update(shown)

    try:
        yield update
    finally:
        handle.update(shown)


class _Frame:
    """Output of a notebook: HTML for a browser, a line of text elsewhere."""

    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self._total = total
        self._began = time.monotonic()
        self.ended = 0
        self.summary = ""

    def __repr__(self) -> str:
        return f"{self._name}: {self.summary}, {self._elapsed()}"

    def _repr_html_(self) -> str:
        name, text = html.escape(self._name), html.escape(f"{self.summary}, {self._elapsed()}")
        return f'{name} <progress value="{self.ended}" max="{self._total}"></progress> {text}'

    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        return f"{minutes}:{seconds:02d}"
