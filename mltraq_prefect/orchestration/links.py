"""URLs of pages in the Prefect UI, and of results pages."""

from __future__ import annotations

import os
from typing import Literal
from urllib.parse import quote, urlsplit

from mltraq_prefect.environment import RESULTS_PAGES
from mltraq_prefect.orchestration.prefect_compat import url_of_page


def page_url(kind: Literal["flow-run", "task-run"], run_id: str | None) -> str | None:
    """Return the URL of a run's page in the UI of the current server.

    Args:
        kind: Kind of run.
        run_id: Id of the run, or None.

    Returns:
        The URL; None if there is no id, or no server with a UI is configured.
    """
    if run_id is None:
        return None
    return url_of_page(kind, run_id)


def results_page(table: str) -> str | None:
    """Return the URL of an experiment's results page, where `mltraq-prefect ui` shows it.

    Args:
        table: Name of the table of its runs.

    Returns:
        The URL; None if the environment does not say where the pages are.
    """
    url = urlsplit(os.environ.get(RESULTS_PAGES, ""))
    if not url.netloc:
        return None
    host = url.netloc.rpartition("@")[2]  # a password is not for whoever reads a summary
    return f"{url.scheme}://{host}{url.path.rstrip('/')}/experiments/{quote(table)}/leaderboard"
