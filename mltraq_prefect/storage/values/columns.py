"""Columns of cells: rows of many runs are never made before a driver asks for them."""

from __future__ import annotations

import contextlib
import datetime
import operator
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain, repeat
from operator import itemgetter
from typing import Any, overload

import numpy as np

_TELLING = frozenset((str, bytes, type(None)))
_INTEGERS = frozenset((int, bool))
_COUNTED = _TELLING | _INTEGERS

_LENGTHS = frozenset((len("2026-01-02 03:04:05"), len("2026-01-02 03:04:05.000006")))
"""Of texts of times as they are written."""

AT_ONCE = 500
"""Objects that are turned into columns at once: few enough for the processor's cache."""

TAKEN_AT_ONCE = 10_000
"""Packed texts that are put into another order at once: an index for each byte takes more."""

FEW = 200
"""Cells of which it takes longer to pack them than they save."""

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

    def __contains__(self, value: object) -> bool:
        return bool(self._length) and (value is self.value or value == self.value)

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
        starts = chain((0,), self._ends)
        if self._bytes.isascii():
            text = self._bytes.decode("ascii")
            return (text[start:end] for start, end in zip(starts, self._ends, strict=False))
        parts = (self._bytes[start:end] for start, end in zip(starts, self._ends, strict=False))
        return (part.decode("utf-8", "surrogatepass") for part in parts)

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

    def same_as(self, other: Sequence[Any]) -> bool:
        """Return whether another column is packed as well, and has the same texts."""
        return (
            isinstance(other, Texts) and self._ends == other._ends and self._bytes == other._bytes
        )

    def taken(self, order: np.ndarray[Any, Any]) -> Texts:
        """Return the texts at some places, in their order, none of which is made."""
        ends, bytes_ = np.frombuffer(self._ends, np.int64), np.frombuffer(self._bytes, np.uint8)
        lengths = np.diff(ends, prepend=0)
        taken = Texts(())
        for start in range(0, len(order), TAKEN_AT_ONCE):
            some = order[start : start + TAKEN_AT_ONCE]
            own = lengths[some]
            last = np.cumsum(own)
            shifts = np.repeat(ends[some] - last, own)
            taken._bytes += bytes_[shifts + np.arange(len(shifts))].tobytes()
            offset = taken._ends[-1] if taken._ends else 0
            taken._ends.frombytes((last + offset).astype(np.int64).tobytes())
        return taken

    def extend(self, more: Any) -> None:
        """Add the texts of another column."""
        offset = len(self._bytes)
        self._bytes += more._bytes
        self._ends.extend([offset + end for end in more._ends])


class UnpackedOnce(Sequence[str]):
    """A column of texts that is packed until somebody goes through it, and then kept as objects."""

    __slots__ = ("_texts",)

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[str]:
        self._texts = found = list(self._texts) if isinstance(self._texts, Texts) else self._texts
        return iter(found)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._texts[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(other) != len(self):
            return False
        return other is self or all(map(operator.eq, self, other))


class Moments(Sequence[Any]):
    """A column of times without zone, or None, as microseconds: an object each is much larger."""

    __slots__ = ("_microseconds",)

    def __init__(self, moments: np.ndarray[Any, Any]) -> None:
        self._microseconds = array("q", moments.astype("M8[us]").view("i8").tobytes())

    def __len__(self) -> int:
        return len(self._microseconds)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        found = np.array(self._microseconds[index], "q").view("M8[us]")
        return found.tolist()

    def __iter__(self) -> Iterator[Any]:
        return iter(self[:])

    def extend(self, more: Any) -> None:
        """Add the times of another column."""
        self._microseconds += more._microseconds


def compact_moments(cells: Sequence[Any]) -> Sequence[Any]:
    """Return times, or their texts, that take little memory; few or others as they are."""
    if len(cells) <= FEW:
        return cells
    cells = column(cells)
    return cells if type(cells) is Constant else _packed_moments(cells)


def _packed_moments(cells: Sequence[Any]) -> Sequence[Any]:
    types = set(map(type, cells))
    if types == {str} and set(map(len, cells)) <= _LENGTHS:
        with contextlib.suppress(ValueError):
            return Moments(np.array(cells, "M8[us]"))
    if types <= {datetime.datetime, type(None)} and not any(map(_has_more, cells)):
        return Moments(np.array(cells, "M8[us]"))
    return _packed_texts(cells)


def _has_more(moment: datetime.datetime | None) -> bool:
    return moment is not None and (moment.tzinfo is not None or moment.fold != 0)


def compact_texts(cells: Sequence[Any]) -> Sequence[Any]:
    """Return texts that take little memory: equal ones once, or the bytes of all; few as is."""
    if len(cells) <= FEW:
        return cells
    cells = column(cells)
    return cells if type(cells) is Constant else _packed_texts(cells)


def _packed_texts(cells: Sequence[Any]) -> Sequence[Any]:
    found = dict(zip(cells, cells, strict=True))
    if 2 * len(found) <= len(cells):
        return list(map(found.__getitem__, cells))
    return Texts(cells) if set(map(type, cells)) == {str} else cells


def column(cells: Sequence[Any]) -> Sequence[Any]:
    """Return cells as a `Constant` if they are all equal, and of one type that equality tells."""
    if not cells or type(cells) is Constant:
        return cells
    first = cells[0]
    if cells[-1] != first or type(first) not in _COUNTED:
        return cells
    if cells.count(first) != len(cells):
        return cells
    are_told = type(first) in _TELLING or len(set(map(type, cells))) == 1
    return Constant(first, len(cells)) if are_told else cells


def aligned(dicts: Sequence[dict[str, Any]]) -> dict[str, list[Any]] | None:
    """Return the values of dicts by key; None if not all have the same keys in the same order."""
    keys = list(dicts[0]) if dicts else []
    columns: list[list[Any]] = [[] for _ in keys]
    for start in range(0, len(dicts), AT_ONCE):
        some = dicts[start : start + AT_ONCE]
        if list(chain.from_iterable(some)) != keys * len(some):
            return None
        values = list(chain.from_iterable(map(dict.values, some)))
        for place, cells in enumerate(columns):
            cells += values[place :: len(keys)]
    return dict(zip(keys, columns, strict=True))


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
    if isinstance(cells, Texts | Moments) and isinstance(more, list | tuple) and len(more) <= FEW:
        more = _like(cells, more)
    if isinstance(cells, Constant):
        more = column(more)
        if isinstance(more, Constant) and _are_alike(cells.value, more.value):
            return Constant(cells.value, len(cells) + len(more))
    elif isinstance(cells, array) and isinstance(more, array):
        cells += more
        return cells
    elif (isinstance(cells, Texts) and isinstance(more, Texts)) or (
        isinstance(cells, Moments) and isinstance(more, Moments)
    ):
        cells.extend(more)
        return cells
    if not isinstance(cells, list):
        cells = list(cells)
    cells += more
    return cells


def _are_alike(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _like(cells: Texts | Moments, more: Sequence[Any]) -> Sequence[Any]:
    """Return further cells of a packed column, which were too few to be packed, as it is."""
    if isinstance(cells, Moments):
        return _packed_moments(more)
    return Texts(more) if set(map(type, more)) == {str} else more


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
