"""What files are made of: the runs of an experiment or their series, some at a time."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mltraq_prefect.errors import FieldNotFound, StoreError
from mltraq_prefect.model.sizes import MOST_BYTES
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.reading.chunks import MOST_RUNS, START, Place
from mltraq_prefect.storage.series.series_chunks import SERIES_START, SeriesPlace
from mltraq_prefect.tabular.columns import Cells, Part, cells_of, series_cells_of, size_of

FIRST_RUNS = 16
"""Read first: nobody knows how large they are."""


class Rows(NamedTuple):
    """Some rows of a file.

    Attributes:
        cells: Their values.
        number: How many rows they are.
    """

    cells: Cells
    number: int


class Source(abc.ABC):
    """What is in the rows of a file.

    Args:
        store: The database.
        name: Name of the experiment.
        columns: Only these fields, or keys of series; all if None.

    Attributes:
        name: Name of the experiment.
    """

    def __init__(self, store: Store, name: str, columns: Sequence[str] | None) -> None:
        self.name = name
        self._store = store
        self._chosen = None if columns is None else list(dict.fromkeys(columns))

    @abc.abstractmethod
    def total(self) -> int:
        """Return how many rows there are now."""

    @abc.abstractmethod
    def rows(self) -> Iterator[Rows]:
        """Yield all rows from the first one on; none once, with the columns, if there are none.

        Raises:
            StoreError: Another experiment has its name now.
        """

    def _same(self, before: str | None, now: str) -> str:
        if before not in (None, now):
            raise StoreError(
                f"experiment {self.name!r} was replaced while it was exported; export it again"
            )
        return now


class Runs(Source):
    """The runs of an experiment, with what the ledger says of them."""

    def total(self) -> int:
        """Return how many runs there are."""
        return self._store.run_count(self.name)

    def rows(self) -> Iterator[Rows]:
        """Yield the runs."""
        place: Place | None = START
        held: list[Cells] = []
        count, size, known = FIRST_RUNS, 0, None
        while place is not None:
            chunk = self._store.chunk(self.name, place, count, self._chosen)
            record, place = chunk.record, chunk.last
            known = self._same(known, record.id_experiment)
            held.append(cells_of(record.runs, chunk.keys if self._chosen is None else self._chosen))
            added = size_of(held[-1])
            size += added
            count = max(1, min(MOST_RUNS, 8 * count, count * MOST_BYTES // max(1, added)))
            if place is None or size > MOST_BYTES or count == MOST_RUNS:
                yield _united(held)
                held, size = [], 0


class Series(Source):
    """The rows that the runs of an experiment have logged."""

    def total(self) -> int:
        """Return how many rows there are."""
        return self._store.count_series_rows(self.name)

    def rows(self) -> Iterator[Rows]:
        """Yield the rows, those of a run after each other."""
        place: SeriesPlace | None = SERIES_START
        known = None
        while place is not None:
            chunk = self._store.series_chunk(self.name, place)
            place = chunk.next
            known = self._same(known, chunk.id_experiment)
            cells = series_cells_of(chunk.rows, self._keys(chunk.keys))
            yield Rows(cells, len(cells[Part("id", "id_run")]))

    def _keys(self, known: Sequence[str]) -> Sequence[str]:
        if self._chosen is None:
            return known
        if missing := [key for key in self._chosen if key not in known]:
            listed = ", ".join(map(repr, known)) or "none"
            raise FieldNotFound(
                f"no run of experiment {self.name!r} has logged {missing[0]!r}; logged is: {listed}"
            )
        return self._chosen


def _united(chunks: Sequence[Cells]) -> Rows:
    """Return the cells of several chunks as those of one."""
    counts = [len(cells[Part("id", "id_run")]) for cells in chunks]
    if len(chunks) == 1:
        return Rows(chunks[0], counts[0])
    parts = dict.fromkeys(part for cells in chunks for part in cells)
    empty = [[None] * count for count in counts]
    united: Cells = {
        part: [v for cells, gap in zip(chunks, empty, strict=True) for v in cells.get(part, gap)]
        for part in parts
    }
    return Rows(united, sum(counts))
