"""The view `experiment_progress`: how far each experiment is, for who watches many of them.

It reads the row of each experiment, where its runs are counted, and no run.
"""

from __future__ import annotations

import logging

from mltraq_prefect.storage.sql.transactions import Transaction

PROGRESS_VIEW = "experiment_progress"

_COLUMNS = "name, table_name, run_count AS runs, completed, failed, stopped, pending"

_logger = logging.getLogger("mltraq_prefect")


def add_progress_view(transaction: Transaction) -> None:
    """Make the view, unless something has its name already."""
    dialect = transaction.dialect
    if not dialect.has_views or transaction.has_table(PROGRESS_VIEW):
        return
    written_at = dialect.moment("properties", "updated_at")
    lag = dialect.seconds_since(written_at)
    select = f"SELECT {_COLUMNS}, {written_at} AS written_at, {lag} AS lag_s FROM experiments"
    if not transaction.permits(dialect.view_statements(transaction.quote(PROGRESS_VIEW), select)):
        _logger.warning(
            "the database does not let this user make the view %s; who may create views makes it "
            "by: CREATE VIEW %s AS %s",
            PROGRESS_VIEW,
            PROGRESS_VIEW,
            select,
        )
