"""Series and files of runs, from memory and from where the rest of them is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from mltraq_prefect.model.files import OwnFiles
from mltraq_prefect.model.series import OwnRows, Placed
from mltraq_prefect.model.spool import FileEntry

if TYPE_CHECKING:
    from mltraq_prefect.model.run import Run

Part = Literal["series", "files"]


def refuse_gone(run: Run, part: Part) -> None:
    """Refuse a run without a part that the database would have, if it does not have the run.

    Raises:
        StoreError: It was deleted there.
    """
    if run._source is not None and run.origin is not None:
        run.origin.refuse_gone(run, part)


def with_series(runs: Iterable[Run]) -> list[Run]:
    """Return the runs that may have a series: in memory, or where the rest of them is."""
    return [run for run in runs if run._own_rows is not None or run._source is not None]


def with_files(runs: Iterable[Run]) -> list[Run]:
    """Return the runs that may have files, as `with_series` does."""
    return [run for run in runs if run._own_files is not None or run._source is not None]


def all_logged(runs: Iterable[Run], at_once: int = 500) -> Iterator[tuple[str, list[Placed]]]:
    """Yield id and series of runs; what is in a database is read for several at once.

    Args:
        runs: The runs.
        at_once: For how many.
    """
    for source, same in groupby(runs, key=attrgetter("_source")):
        while members := list(islice(same, at_once)):
            ids = [run.id_run for run in members]
            stored = {} if source is None else source.logged(ids)
            for run in members:
                own = OwnRows() if run._own_rows is None else run._own_rows
                yield run.id_run, own.over(stored.get(run.id_run, ()))


def all_files(
    runs: Iterable[Run], at_once: int = 500
) -> Iterator[tuple[str, dict[str, FileEntry]]]:
    """Yield id and files of runs, as `all_logged` does their series.

    Args:
        runs: The runs.
        at_once: For how many at once.
    """
    for source, same in groupby(runs, key=attrgetter("_source")):
        while members := list(islice(same, at_once)):
            stored = {} if source is None else source.files(members)
            for run in members:
                own = OwnFiles() if run._own_files is None else run._own_files
                yield run.id_run, own.over(stored.get(run.id_run, {}))
