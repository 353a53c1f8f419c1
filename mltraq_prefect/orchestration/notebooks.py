"""What a notebook does otherwise than a terminal: rich makes a block of HTML of each log line."""

from __future__ import annotations

import logging

from rich import get_console

from mltraq_prefect.orchestration.prefect_compat import write_as_text


def is_notebook() -> bool:
    """Return whether this process shows its output below the cells of a notebook."""
    return get_console().is_jupyter


def log_as_text() -> None:
    """Let log lines in a notebook be the text that they are in a terminal.

    A block of HTML a line fills a page where lines of text make one output that scrolls.
    """
    if not is_notebook():
        return
    known = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    for handler in {handler for logger in (logging.root, *known) for handler in logger.handlers}:
        write_as_text(handler)
