"""The runs of a large grid, which are made some at a time.

They have the ids that they would have if all of them were made at once. What is kept is the grid
itself, and which of its points are replicates of others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xxhash

from mltraq_prefect.errors import InvalidGrid
from mltraq_prefect.model.collection import uncollected
from mltraq_prefect.model.grid import Grid, Params
from mltraq_prefect.model.identity import Buffers, Canonical, Ids, nameless
from mltraq_prefect.model.params import Params as RunParams
from mltraq_prefect.model.run import Run


class StreamedGrid:
    """Makes the runs of a grid, some at a time.

    Args:
        grid: The grid. Its values must not change.
        experiment: Name of the experiment of which ids are made.
        buffers: Encodes values of the types that can be stored.

    Raises:
        InvalidGrid: Nothing but their position identifies some values.
    """

    def __init__(self, grid: Grid, experiment: str, buffers: Buffers) -> None:
        self._grid = grid
        self._ids = Ids(experiment)
        self._buffers = buffers
        forms = Canonical(buffers)
        sides = [grid.rows, *(_Named(name, values) for name, values in grid.axes.items())]
        self._repeats = [_repeats(side, forms) for side in sides]
        self._has_replicates = any(own is not None for own in self._repeats)

    def __len__(self) -> int:
        return len(self._grid)

    def values(self) -> Iterator[tuple[str, Any]]:
        """Yield the values of params that are no numbers of a range, with the params' names."""
        for row in self._grid.rows:
            yield from row.items()
        for name, values in self._grid.axes.items():
            if not isinstance(values, range):
                yield from ((name, value) for value in values)

    def runs(self, start: int, stop: int) -> list[Run]:
        """Return the runs of some points, in order.

        Args:
            start: The first point.
            stop: The one after the last.
        """
        return uncollected(self._runs, start, stop)

    def _runs(self, start: int, stop: int) -> list[Run]:
        forms = Canonical(self._buffers)
        return [self._run(index, forms) for index in range(start, min(stop, len(self)))]

    def _run(self, index: int, forms: Canonical) -> Run:
        places = self._grid.places(index)
        params = self._grid.at(places)
        key = forms.text(params)
        replicate = self._replicate(places) if self._has_replicates else 0
        return Run.defined(self._ids.of(key, replicate), RunParams(params))

    def _replicate(self, places: Sequence[int]) -> int:
        """Return how many points with equal params come before a point.

        These are all combinations of equal values; they come in the order of their places.
        """
        number = 0
        for repeats, place in zip(self._repeats, places, strict=True):
            if repeats is not None:
                ranks, counts = repeats
                number = number * int(counts[place]) + int(ranks[place])
        return number


class _Named(Sequence[Params]):
    """The values of an axis, each with the name of its param."""

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        self._name = name
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        return {self._name: self.values[index]}


Repeats = tuple[Any, Any]
"""For each place of a side, how many equal ones come before it, and how many there are."""


def _repeats(side: Sequence[Params], forms: Canonical) -> Repeats | None:
    """Return which params of a side are equal to others; None if none are.

    They are known by 128 bits of their canonical forms, which take less memory than these.
    """
    if isinstance(side, _Named) and isinstance(side.values, range):
        return None
    texts = (_text(params, forms).encode() for params in side)
    digests = np.frombuffer(b"".join(map(xxhash.xxh3_128_digest, texts)), dtype="<u8,<u8")
    order = np.lexsort((digests["f1"], digests["f0"]))
    ordered = digests[order]
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    if len(begins) == len(side):
        return None
    counts = np.diff(np.append(begins, len(side)))
    ranks = np.empty(len(side), dtype=np.int64)
    every = np.empty(len(side), dtype=np.int64)
    ranks[order] = np.arange(len(side)) - np.repeat(begins, counts)
    every[order] = np.repeat(counts, counts)
    return ranks, every


def _text(params: Params, forms: Canonical) -> str:
    try:
        return forms.text(params)
    except TypeError:
        name, reason = nameless(params, forms)
        raise InvalidGrid(
            f"nothing identifies param {name!r} ({reason}), which runs of a large grid need. Give "
            "as param what the value is made from (a path, a name, settings), and make it in a step"
        ) from None
