"""What every kind of column has in common, and what most kinds do."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from mltraq_prefect.storage.values.change_marks import Mark


class Backend(Protocol):
    """Which special values the columns of a database hold; a dialect says it."""

    nan: ClassVar[bool]
    infinity: ClassVar[bool]
    negative_zero: ClassVar[bool]
    nul: ClassVar[bool]


class Guess(NamedTuple):
    """What a single value looks like: kind, natural cell, and its type if the cell is exact."""

    kind: Kind | None
    cell: Any
    type: str | None


class Held(NamedTuple):
    """What a column holds of cells.

    Attributes:
        cells: What it holds.
        changed: Indexes of the cells that it does not hold as they are.
        marks: Marks of what it holds.
    """

    cells: list[Any]
    changed: list[int]
    marks: Sequence[Mark]


class Kind:
    """What a column can be, and what it does with values.

    A kind has one instance, so that kinds are compared by identity. A natural cell is what SQL sees
    of a value, as the Python type that the kind is about; None if there is none. The type of its
    column in a database, and what the driver needs, a dialect declares.

    Attributes:
        name: What `run_columns` calls it.
        natives: Types whose values such a column gives back, with what `run_columns` calls them.
        rank: Its position among the kinds of numbers, from the narrowest one; None if it has none.
        code: Type code of the array to which numbers are packed when they are read; None if not.
        is_long: Whether a cell can have any length, and counts when the size of a row is limited.
        is_envelope: Whether a cell is the envelope of its value: exact, whatever that is, and
            perhaps kept outside of the table.
    """

    name: ClassVar[str]
    natives: ClassVar[Mapping[type, str]] = {}
    rank: ClassVar[int | None] = None
    code: ClassVar[str | None] = None
    is_long: ClassVar[bool] = False
    is_envelope: ClassVar[bool] = False

    def __repr__(self) -> str:
        return self.name

    @property
    def is_numeric(self) -> bool:
        """Whether its cells are numbers."""
        return self.rank is not None

    def takes(self, cells: Sequence[Any]) -> bool:
        """Return whether a column gives back all these cells of one of the native types."""
        return True

    def guess(self, cell: Any, type_: str) -> Guess:
        """Return what a single cell of a native type looks like."""
        return Guess(self, cell, type_)

    def widened(self, values: Sequence[Any]) -> Kind:
        """Return the kind that a column of this kind becomes when some values come."""
        return self

    def fit(self, guess: Guess) -> Any:
        """Return the natural cell of a value in a column of this kind; None if it has none."""
        return guess.cell if guess.kind is self else None

    def keeps(self, guess: Guess) -> bool:
        """Return whether a column of this kind gives a value of its type back."""
        return guess.kind is self

    def held(self, cells: list[Any], backend: Backend) -> Held:
        """Return what a column holds of natural cells."""
        return Held(cells, [], self.marks(cells))

    def marks(self, cells: Sequence[Any]) -> Sequence[Mark]:
        """Return marks of natural cells: short ones as they are, long ones by digest."""
        return cells

    def packed(self, cells: Sequence[Any]) -> array[Any] | None:
        """Return natural cells as an array; None if some are not numbers, or of the kind's type."""
        if self.code is None or (cells and cells[0] is None):  # raising takes longer
            return None
        try:
            return array(self.code, cells)
        except (TypeError, OverflowError):  # some are None, or what the driver made of them
            return None

    def reviver(self, type_: str) -> Callable[[Any], Any] | None:
        """Return what makes values of natural cells; None if their type alone says that."""
        return None


def numpy_scalars(codes: str) -> dict[type, str]:
    """Return NumPy's types of some codes, with what `run_columns` calls them."""
    types = (np.dtype(code).type for code in codes)
    return {type_: f"numpy.{type_.__name__}" for type_ in types}
