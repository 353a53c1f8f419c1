"""Which rows of series a write has to write."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from mltraq_prefect.model.logged_rows import all_logged, with_series
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import LoggedRows, OwnRows, Rows, own_rows_of
from mltraq_prefect.storage.records import Record, Snapshot


def of_record(
    record: Record, snapshot: Snapshot | None = None, gone: Container[str] = ()
) -> list[LoggedRows]:
    """Return the rows that a write of an experiment has to write.

    Args:
        record: The experiment.
        snapshot: What the database that is written to has of it; None if nothing is known.
        gone: Ids of runs that it does not have, whatever the snapshot says.
    """
    if snapshot is None:
        return list(_all(record.runs))
    new = [
        run
        for run in record.runs
        if run.row_changes() != (0 if run.id_run in gone else snapshot.rows.get(run.id_run, 0))
    ]
    return list(_own(new))


def changes(runs: Sequence[Run]) -> dict[str, int]:
    """Return the state of the rows in memory, by `id_run`, of runs that have such rows."""
    counts = ((run.id_run, run.row_changes()) for run in with_series(runs))
    return {id_run: count for id_run, count in counts if count}


def _own(runs: Sequence[Run]) -> Iterator[LoggedRows]:
    for run in runs:
        yield from _logged(run.id_run, run.own_rows)


def _all(runs: Sequence[Run]) -> Iterator[LoggedRows]:
    """Yield all rows of runs, those that are only in a database, too."""
    for id_run, placed in all_logged(with_series(runs)):
        yield from _logged(id_run, own_rows_of(placed))


def _logged(id_run: str, own: OwnRows) -> Iterator[LoggedRows]:
    for step, parts in own.by_step.items():
        start = own.starts.get(step)
        yield from (LoggedRows(id_run, step, rows, start) for rows in parts or [Rows(0)])
