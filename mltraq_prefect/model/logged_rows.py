"""Series and files of runs, from memory and from where the rest of them is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from mltraq_prefect.errors import CorruptData, StorageFull, StoreError
from mltraq_prefect.model.files import OwnFiles
from mltraq_prefect.model.series import OwnRows, Placed
from mltraq_prefect.model.spool import FileEntry, own_spool

if TYPE_CHECKING:
    from mltraq_prefect.model.run import Run

Part = Literal["series", "files"]


def refuse_gone(runs: Iterable[Run], part: Part) -> None:
    """Refuse runs without a part that the database would have, if it does not have the runs.

    Raises:
        StoreError: One of them was deleted there.
    """
    stored = [run for run in runs if run._source is not None]
    for origin, same in groupby(stored, key=attrgetter("origin")):
        if origin is not None:
            origin.refuse_gone([*same], part)


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


def take_over(runs: Sequence[Run], copies: Sequence[Run]) -> None:
    """Give copies of runs their series and files.

    Args:
        runs: The runs.
        copies: A copy of each.

    Raises:
        StoreError: One of the runs was deleted from the database, which alone had them.
    """
    bare: dict[Part, list[Run]] = {"series": [], "files": []}
    for run, copy, (_, placed) in zip(runs, copies, all_logged(runs), strict=True):
        copy.copy_rows(placed)
        bare["series"] += [] if placed else [run]
    for run, copy, (_, listed) in zip(runs, copies, all_files(runs), strict=True):
        copy.copy_files(listed)
        bare["files"] += [] if listed else [run]
    for part, members in bare.items():
        refuse_gone(members, part)


def keep_here(runs: Sequence[Run]) -> None:
    """Take series and files of runs, which the database is about to lose, to this process.

    A file that cannot be read stays where it is; whoever asks for it is told why.

    Raises:
        StorageFull: There is no room for the files in the folder for temporary files.
    """
    for run, (_, placed) in zip(runs, all_logged(runs), strict=True):
        run.copy_rows(placed)
    for run, (_, listed) in zip(runs, all_files(runs), strict=True):
        run.copy_files({name: _on_this_machine(name, own) for name, own in listed.items()})


def _on_this_machine(name: str, entry: FileEntry) -> FileEntry:
    if entry.spooled:
        return entry
    try:
        return entry._replace(spooled=str(own_spool().local(name, entry)), pieces=None)
    except StorageFull:
        raise
    except (CorruptData, StoreError):
        return entry


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
