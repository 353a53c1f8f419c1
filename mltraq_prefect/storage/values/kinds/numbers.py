"""Kinds of numbers."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from mltraq_prefect.storage.values.change_marks import Mark
from mltraq_prefect.storage.values.columns import FEW, Constant
from mltraq_prefect.storage.values.kinds.base import Backend, Guess, Held, Kind, numpy_scalars

EXACT_FLOAT = 2**53
"""Up to this, a float holds each integer."""

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1


class Bool(Kind):
    """Truth values."""

    name = "bool"
    natives: ClassVar[dict[type, str]] = {bool: "bool"} | numpy_scalars("?")
    rank = 0


class Int(Kind):
    """Integers of 64 bits; a larger one is a float to SQL."""

    name = "int"
    natives: ClassVar[dict[type, str]] = {int: "int"} | numpy_scalars("bhilqBHILQ")
    rank = 1
    code = "q"

    def takes(self, cells: Sequence[Any]) -> bool:
        """Return whether they are integers of 64 bits."""
        return bool(min(cells) >= _MIN_INT and max(cells) <= _MAX_INT)

    def guess(self, cell: Any, type_: str) -> Guess:
        """Take the closest float for an integer that is too large."""
        if _MIN_INT <= cell <= _MAX_INT:
            return Guess(self, cell, type_)
        return Guess(FLOAT, as_float(cell), None)

    def widened(self, values: Sequence[Any]) -> Kind:
        """Become a column of floats when floats come."""
        return FLOAT if any(isinstance(value, (float, np.floating)) for value in values) else self

    def fit(self, guess: Guess) -> Any:
        """Take truth values as 0 and 1."""
        if guess.kind is self:
            return guess.cell
        return int(guess.cell) if guess.kind is BOOL else None


class Float(Kind):
    """Floats of 64 bits."""

    name = "float"
    natives: ClassVar[dict[type, str]] = {float: "float"} | numpy_scalars("efd")
    rank = 2
    code = "d"

    def fit(self, guess: Guess) -> Any:
        """Take integers and truth values, too."""
        if guess.kind is self:
            return guess.cell
        return as_float(guess.cell) if guess.kind in (BOOL, INT) else None

    def keeps(self, guess: Guess) -> bool:
        """Keep integers, too, up to a size."""
        if guess.kind is INT:
            return bool(abs(guess.cell) <= EXACT_FLOAT)
        return guess.kind is self

    def held(self, cells: list[Any], backend: Backend) -> Held:
        """Leave out what the backend has not: NaN, infinities, the sign of a zero."""
        odd = irregular(cells)
        changed = []
        for index in odd:
            kept = _held(cells[index], backend)
            if kept is not cells[index]:
                changed.append(index)
                cells = cells if len(changed) > 1 else list(cells)
                cells[index] = kept
        left = [index for index in odd if irregular([cells[index]])]
        return Held(cells, changed, _marked(cells, left))

    def marks(self, cells: Sequence[Any]) -> Sequence[Mark]:
        """Mark by its text what does not equal itself, or equals another."""
        return _marked(cells, irregular(cells))

    def reviver(self, type_: str) -> Callable[[Any], Any] | None:
        """Make integers and truth values of the floats that stand for them."""
        return _NARROWER.get(type_)


_NEGATIVE_ZERO = struct.pack("d", -0.0)

_NARROWER: dict[str, Callable[[Any], Any]] = {"int": int, "bool": bool}


def irregular(cells: Sequence[Any]) -> list[int]:
    """Return the indexes of NaN, infinities and negative zeros: what compares or stores badly."""
    if isinstance(cells, Constant):
        return [*range(len(cells))] if irregular([cells.value]) else []
    if isinstance(cells, array) and _are_regular(cells):
        return []
    if len(cells) <= FEW:  # what is not finite leaves NaN when it is subtracted from itself
        return [
            place
            for place, cell in enumerate(cells)
            if cell is not None
            and (cell - cell != 0.0 or (cell == 0.0 and math.copysign(1.0, cell) < 0.0))
        ]
    floats = np.array(cells if isinstance(cells, array) else list(cells), dtype=np.float64)
    odd = ~np.isfinite(floats) | ((floats == 0.0) & np.signbit(floats))
    indexes: list[int] = np.flatnonzero(odd).tolist() if odd.any() else []
    return [index for index in indexes if cells[index] is not None]


def _are_regular(cells: array[float]) -> bool:
    """Return whether few floats are all regular; False tells nothing."""
    return (
        len(cells) <= FEW
        and all(map(math.isfinite, cells))
        and _NEGATIVE_ZERO not in cells.tobytes()
    )


def _marked(cells: Sequence[Any], odd: Sequence[int]) -> Sequence[Mark]:
    if not odd:
        return cells
    marks = list(cells)
    for index in odd:
        marks[index] = ("float", repr(marks[index]))
    return marks


def _held(cell: float, backend: Backend) -> float | None:
    """Return what a backend holds of a special float."""
    if cell == 0.0 and not backend.negative_zero:
        return 0.0
    if math.isnan(cell):
        return cell if backend.nan and _is_plain_nan(cell) else None
    return cell if backend.infinity or math.isfinite(cell) else None


def _is_plain_nan(value: float) -> bool:
    """Whether it is the one NaN that text can say; others differ in sign and payload."""
    return struct.pack("<d", value) == struct.pack("<d", math.nan)


def as_float(value: Any) -> float | None:
    """Return the float that is closest to a number; None if there is none."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except ValueError:
        return None


BOOL = Bool()
INT = Int()
FLOAT = Float()
