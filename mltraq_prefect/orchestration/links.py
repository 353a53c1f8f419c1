"""URLs of pages in the Prefect UI."""

from __future__ import annotations

from typing import Literal

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
