"""Columns of cells: rows of many runs are never made before a driver asks for them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, repeat
from operator import itemgetter
from typing import Any, overload

_TELLING = frozenset((str, bytes, type(None)))
_INTEGERS = frozenset((int, bool))
_COUNTED = _TELLING | _INTEGERS

Maker = Callable[[Sequence[Any]], Sequence[Any]]
"""Makes the cells of a column from others, such as those that a driver gives."""


class Constant(Sequence[Any]):
    """A column whose cells are all the same; a driver is told the value once."""

    __slots__ = ("_length", "value")

    def __init__(self, value: Any, length: int) -> None:
        self.value = value
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        return repeat(self.value, self._length)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Constant: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Constant(self.value, len(range(*index.indices(self._length))))
        return self.value


class Texts(Sequence[str]):
    """A column of texts as the bytes of all: most are short, and an object each is much larger."""

    __slots__ = ("_bytes", "_ends")

    def __init__(self, texts: Iterable[str]) -> None:
        parts = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._bytes = bytearray(b"".join(parts))
        self._ends = array("q", accumulate(map(len, parts)))

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self._ends:
            yield self._bytes[start:end].decode("utf-8", "surrogatepass")
            start = end

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        end = self._ends[index]
        start = self._ends[index - 1] if index % len(self._ends) else 0
        return self._bytes[start:end].decode("utf-8", "surrogatepass")

    def extend(self, more: Texts) -> None:
        """Add the texts of another column."""
        offset = len(self._bytes)
        self._bytes += more._bytes
        self._ends.extend([offset + end for end in more._ends])


def compact_texts(cells: Sequence[Any]) -> Sequence[Any]:
    """Return texts that take little memory: equal ones once, or the bytes of all."""
    if isinstance(cells, Constant):
        return cells
    found = dict(zip(cells, cells, strict=True))
    if 2 * len(found) <= len(cells):
        return list(map(found.__getitem__, cells))
    return Texts(cells) if set(map(type, cells)) == {str} else cells


def column(cells: Sequence[Any]) -> Sequence[Any]:
    """Return cells as a `Constant` if they are all equal, and of one type that equality tells."""
    if not cells or isinstance(cells, Constant):
        return cells
    first = cells[0]
    if cells[-1] != first or type(first) not in _COUNTED:
        return cells
    if cells.count(first) != len(cells):
        return cells
    are_told = type(first) in _TELLING or len(set(map(type, cells))) == 1
    return Constant(first, len(cells)) if are_told else cells


def gathered(
    chunks: Iterable[Sequence[tuple[Any, ...]]],
    makers: Sequence[Maker],
) -> list[Sequence[Any]]:
    """Return the columns of rows that come some at a time.

    Args:
        chunks: The rows.
        makers: What makes the cells of each column from those of a chunk.
    """
    columns: list[Sequence[Any]] = []
    for rows in chunks:
        parts = [make(part) for make, part in zip(makers, zip(*rows, strict=True), strict=True)]
        columns = list(map(_extended, columns, parts)) if columns else parts
    return columns or [[] for _ in makers]


def joined(parts: Sequence[list[Sequence[Any]]], count: int) -> list[Sequence[Any]]:
    """Return columns that follow each other as one.

    Args:
        parts: The columns of each part.
        count: How many columns each has.
    """
    columns: list[Sequence[Any]] = []
    for part in parts:
        if part[0]:
            columns = list(map(_extended, columns, part)) if columns else part
    return columns or [[] for _ in range(count)]


def _extended(cells: Sequence[Any], more: Sequence[Any]) -> Sequence[Any]:
    """Return cells with some more: packed or constant if all of them are, else as a list."""
    if isinstance(cells, Constant) and isinstance(more, Constant):
        if type(cells.value) is type(more.value) and cells.value == more.value:
            return Constant(cells.value, len(cells) + len(more))
    elif isinstance(cells, array) and isinstance(more, array):
        cells += more
        return cells
    elif isinstance(cells, Texts) and isinstance(more, Texts):
        cells.extend(more)
        return cells
    if not isinstance(cells, list):
        cells = list(cells)
    cells += more
    return cells


def picked(columns: Sequence[Sequence[Any]], indexes: Sequence[int]) -> list[Sequence[Any]]:
    """Return the cells of each column at some indexes, in their order."""
    if columns and indexes == range(len(columns[0])):
        return list(columns)
    if len(indexes) < 2:
        return [[cells[index] for index in indexes] for cells in columns]
    pick = itemgetter(*indexes)
    return [
        Constant(cells.value, len(indexes)) if isinstance(cells, Constant) else pick(cells)
        for cells in columns
    ]
