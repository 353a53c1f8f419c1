"""Marks: what stands for stored values, so that two states of an experiment can be compared.

Equal marks, equal values. A value that its cell gives back has a natural mark: the cell, or the
digest of a long one. Any other has an exact mark: the digest of its envelope.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from xxhash import xxh3_128_digest

from mltraq_prefect.codecs import encode, expanded
from mltraq_prefect.storage.values.layout import Column, Kind
from mltraq_prefect.storage.values.natives import NO_TYPE, native_of

Mark = Any
"""Stands for a stored value; None if the run has no such field."""

_EXACT = "exact"
_LONG_TEXT = 64


def exact_mark(data: bytes) -> Mark:
    """Return the mark of a value from its envelope."""
    return (_EXACT, xxh3_128_digest(data))


def is_exact(mark: Mark) -> bool:
    """Return whether a mark is that of an envelope."""
    return type(mark) is tuple and mark[0] == _EXACT


def natural_marks(
    kind: Kind, cells: Sequence[Any], odd: Sequence[int] | None = None
) -> Sequence[Mark]:
    """Return marks of natural cells: short ones as they are, long ones by digest.

    Args:
        kind: Of the column.
        cells: Natural cells.
        odd: Places of NaN, infinities and negative zeros; looked for if None.
    """
    if kind == "binary":  # a value has one mark, whether it is compressed or not
        return [None if cell is None else exact_mark(expanded(cell)) for cell in cells]
    if kind == "bytes":
        return [None if cell is None else xxh3_128_digest(cell) for cell in cells]
    if kind in ("text", "json"):
        return _marks_of_texts(cells)
    if kind == "float":
        places = irregular(cells) if odd is None else [p for p in odd if irregular([cells[p]])]
        if places:
            cells = list(cells)
            for place in places:
                cells[place] = ("float", repr(cells[place]))
    return cells


def _marks_of_texts(cells: Sequence[Any]) -> Sequence[Mark]:
    if max(map(len, filter(None, cells)), default=0) <= _LONG_TEXT:
        return cells
    return [
        cell if cell is None or len(cell) <= _LONG_TEXT else xxh3_128_digest(cell.encode())
        for cell in cells
    ]


def irregular(cells: Sequence[Any]) -> list[int]:
    """Return the places of NaN, infinities and negative zeros: what compares or stores badly."""
    floats = np.array(cells if isinstance(cells, array) else list(cells), dtype=np.float64)
    odd = ~np.isfinite(floats) | ((floats == 0.0) & np.signbit(floats))
    places: list[int] = np.flatnonzero(odd).tolist() if odd.any() else []
    return [place for place in places if cells[place] is not None]


def with_exact(marks: Sequence[Mark], exact: Mapping[int, bytes]) -> Sequence[Mark]:
    """Return marks in which those of exact values, given by place, take the place of their cells'.

    Args:
        marks: Natural marks.
        exact: Envelopes.
    """
    if not exact:
        return marks
    found = list(marks)
    for place, data in exact.items():
        found[place] = exact_mark(data)
    return found


def differs(mark: Mark, before: Mark, value: Any, column: Column) -> bool:
    """Return whether a value is another one than it was.

    One value can have either mark: with a column's kind changes what its cells give back.

    Args:
        mark: Its mark.
        before: The mark of the value before.
        value: The value.
        column: Its column, before that was changed.
    """
    if mark == before:
        return False
    if mark is None or before is None or is_exact(mark) == is_exact(before):
        return True
    if is_exact(before):
        return bool(exact_mark(encode(value)) != before)
    return bool(_native_mark(value, column.type) != before)


def _native_mark(value: Any, type_: str) -> Mark:
    """Return the mark that a value has in a column of its own type; None if it is of another."""
    found = native_of(value)
    if found is None or type_ not in (found[0].type, NO_TYPE):
        return None
    native, cell = found
    return natural_marks(native.kind, [cell])[0]
