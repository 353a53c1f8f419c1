"""Writing rows of series while their runs are executed."""

from __future__ import annotations

from collections.abc import Sequence

from mltraq_prefect.codecs import uncollected
from mltraq_prefect.errors import ExperimentNotFound
from mltraq_prefect.model.series import LoggedRows
from mltraq_prefect.storage.formats.schema import check_version
from mltraq_prefect.storage.series import series_tables
from mltraq_prefect.storage.series.series_plan import SeriesPlan, make_plan
from mltraq_prefect.storage.sql.connections import Database, Transaction
from mltraq_prefect.storage.tables import (
    claims,
    experiments_table,
    run_cells,
    run_tables,
    unfinished,
)
from mltraq_prefect.storage.tables.claims import ClaimLost, NotOurs
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.tables.first_in import ExecutedBy
from mltraq_prefect.storage.values.layout import Layout
from mltraq_prefect.storage.values.names import table_name


class SeriesWriter:
    """Writes rows of the series of one experiment, some at a time, each time in a transaction.

    It keeps what it knows of the table, so that rows are encoded without reading that first.

    Args:
        database: Where to.
        name: Name of the experiment.
        by: Who executes its runs: rows of runs that are somebody else's by now are left out.
    """

    def __init__(self, database: Database, name: str, by: ExecutedBy) -> None:
        self._database = database
        self._by = by
        self._name = name
        self._own = table_name(name)
        self._base: Layout | None = None
        self._fixed: set[str] = set()

    def write(self, logged: Sequence[LoggedRows]) -> None:
        """Write rows; what has been written before is written again without harm.

        Raises:
            ExperimentNotFound: Somebody has deleted the experiment.
            StoreError: The database refuses.
        """
        self._database.retry(lambda: self._write(logged))

    def _write(self, logged: Sequence[LoggedRows]) -> None:
        is_done = is_staged = False
        while not is_done:
            dialect = self._database.dialect
            plan = uncollected(make_plan, logged, self._base, dialect, self._fixed)
            try:
                with self._database.writing(self._own) as transaction:
                    is_done, is_staged = self._written(transaction, plan, logged)
            except NotOurs as error:
                logged = [rows for rows in logged if rows.id_run not in error.ids]
                is_done = not logged
        if is_staged:
            with self._database.writing(self._own) as transaction:
                entry = experiments_table.find(transaction, self._name)
                run_tables.recover(transaction, self._own, entry)

    def _written(
        self, transaction: Transaction, plan: SeriesPlan, logged: Sequence[LoggedRows]
    ) -> tuple[bool, bool]:
        """Write rows if they fit the table as it is; return that, and whether it is staged."""
        check_version(transaction, self._database)
        current = experiments_table.find(transaction, self._name)
        current = run_tables.recover(transaction, self._own, current)
        if current is None:
            raise ExperimentNotFound(
                f"experiment {self._name!r} has been deleted while it is executed, so that what "
                "its runs log cannot be written"
            )
        self._refuse_others(transaction, current, logged)
        self._base = current.series
        if plan.base != current.series:
            return False, False
        entry = series_tables.extend(transaction, current, plan)
        if isinstance(entry, set):
            self._fixed |= entry
            return False, False
        series_tables.write(transaction, entry, plan)
        if entry != current:
            experiments_table.update(transaction, entry)
            if transaction.dialect.ddl_commits and not entry.is_staged:
                unfinished.forget(transaction, self._own)
        self._base = entry.series
        return True, entry.is_staged

    def _refuse_others(
        self, transaction: Transaction, current: Entry, logged: Sequence[LoggedRows]
    ) -> None:
        """Refuse rows of runs that somebody else executes now, or has executed meanwhile."""
        ids = dict.fromkeys(rows.id_run for rows in logged)
        claim, first_in = self._by.claim, self._by.first_in
        if claim is not None:
            gone = claims.lost(transaction, current.id_experiment, claim, list(ids))
            if gone:
                raise ClaimLost(gone)
        if first_in is not None:
            found = run_cells.ledger(transaction, current, ("id_run", "steps"), list(ids))
            stored = zip(*found(), strict=True)  # of these runs and perhaps of others
            first_in.check((id_run, steps) for id_run, steps in stored if id_run in ids)
