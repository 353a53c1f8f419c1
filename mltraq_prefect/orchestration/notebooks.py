"""Log output in notebooks, where rich makes a block of HTML of each line."""

from __future__ import annotations

import logging

from mltraq_prefect.execution.fanout.bars import is_notebook
from mltraq_prefect.orchestration.prefect_compat import write_as_text


def use_plain_text_logs() -> None:
    """Log plain text in a notebook, as in a terminal.

    Blocks of HTML fill the page, while lines of text make one output that scrolls.
    """
    if not is_notebook():
        return
    known = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    for handler in {handler for logger in (logging.root, *known) for handler in logger.handlers}:
        write_as_text(handler)
