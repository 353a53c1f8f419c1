"""The series of runs, from memory and from where the rest of it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from operator import attrgetter
from typing import TYPE_CHECKING

from mltraq_prefect.model.series import OwnRows, Placed

if TYPE_CHECKING:
    from mltraq_prefect.model.run import Run


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
