"""From the values of a field to what SQL sees of them, and back; docs/mapping.md states the rules.

A field is projected as one column of values. Where its natural cell does not give a value back
exactly, the exact value is encoded beside it, for the residual.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import math
import pathlib
import struct
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from mltraq_prefect.codecs import (
    decode,
    encode,
    from_json,
    project_json,
    squeezed,
    to_json,
)
from mltraq_prefect.model.identity import as_python
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.values.columns import Constant, column
from mltraq_prefect.storage.values.layout import Column, Kind, Layout
from mltraq_prefect.storage.values.marks import (
    Mark,
    exact_mark,
    irregular,
    natural_marks,
    with_exact,
)
from mltraq_prefect.storage.values.natives import NATIVES, NO_TYPE, REVIVE, Native


class _Sentinel(Enum):
    MISSING = 1
    UNCHANGED = 2


MISSING: Any = _Sentinel.MISSING
"""Stands for a field that a run does not have."""

UNCHANGED: Any = _Sentinel.UNCHANGED
"""Stands for the cell of a large value that is in the database already."""

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1
_EXACT_FLOAT = 2**53
_PACKED: dict[Kind, str] = {"int": "q", "float": "d"}
_NUMERIC: dict[Kind | None, int] = {"bool": 0, "int": 1, "float": 2}


SeenMarks = Callable[[], Sequence[Mark]]
"""Returns marks of what the database holds of each run; nothing if that is not known."""


def nothing_seen() -> Sequence[Mark]:
    """Return no marks."""
    return ()


class Guess(NamedTuple):
    """What a single value looks like: kind, natural cell, and its type if the cell is exact."""

    kind: Kind | None
    cell: Any
    type: str | None


@dataclass(slots=True)
class Projected:
    """The values of one field.

    Attributes:
        kind: What SQL sees.
        type: The exact type of values without a residual.
        cells: Natural cell of each run; None if there is none, or `UNCHANGED`.
        exact: Envelopes of the values that their cell does not keep exactly, by place.
        beside: Marks of the cells of those.
        marks: A mark of each run's value; None if the run does not have the field.
    """

    kind: Kind
    type: str
    cells: list[Any]
    exact: dict[int, bytes]
    beside: dict[int, Mark]
    marks: Sequence[Mark]


class Projector:
    """Projects the fields of one experiment for one backend.

    Args:
        dialect: The backend.
        known: The columns of the experiment's table, which keep their kinds and types.
        fixed: Keys of fields whose columns cannot become columns of another kind.
        compressed: Keys of fields whose binary values are compressed, or whether all are.
    """

    def __init__(
        self,
        dialect: Dialect,
        known: Layout,
        fixed: Collection[str] = (),
        compressed: Collection[str] | bool = False,
    ) -> None:
        self._compressed = compressed
        self._dialect = dialect
        self._known = known
        self._fixed = fixed

    def sparse(self, key: str, values: list[Any], seen: SeenMarks = nothing_seen) -> Projected:
        """Project the values of a field that some runs do not have, as `dense` does.

        Args:
            key: Its key.
            values: Its value in each run, or `MISSING`.
            seen: Returns marks of what the database holds of each run.
        """
        places = [place for place, value in enumerate(values) if value is not MISSING]

        def seen_there() -> Sequence[Mark]:
            marks = seen()
            return [marks[place] for place in places] if marks else ()

        dense = self.dense(key, [values[place] for place in places], seen_there)
        cells: list[Any] = [None] * len(values)
        found: list[Mark] = [None] * len(values)
        for place, cell, mark in zip(places, dense.cells, dense.marks, strict=True):
            cells[place], found[place] = cell, mark
        exact = {places[place]: data for place, data in dense.exact.items()}
        beside = {places[place]: mark for place, mark in dense.beside.items()}
        return Projected(dense.kind, dense.type, cells, exact, beside, found)

    def dense(self, key: str, values: list[Any], seen: SeenMarks = nothing_seen) -> Projected:
        """Project the values of a field.

        Args:
            key: Its key.
            values: Its value in each run.
            seen: Returns marks of what the database holds of each run, or nothing; a large value
                whose mark is the same is not kept in memory.

        Raises:
            UnsupportedType: A value that has no codec.
        """
        column = self._settled(key, values)
        found = self._uniform(values, column)
        exact: dict[int, bytes] = {}
        if found is None:
            guesses = [self._guess(value) for value in values]
            kind, type_ = _chosen(guesses, column)
            if kind == "binary":
                return self._binary(key, values, seen)
            cells = [_fit(guess, kind) for guess in guesses]
            wanted = [
                place
                for place, guess in enumerate(guesses)
                if guess.type != type_ or not _keeps(guess, kind)
            ]
        else:
            kind, type_, cells = found
            wanted = []
        odd = irregular(cells) if kind == "float" else []
        held, changed = self._held(kind, cells, odd)
        for place in sorted({*wanted, *changed}):
            exact[place] = encode(values[place], path=field_path(key))
        marks = natural_marks(kind, held, odd)
        beside = {place: marks[place] for place in exact}
        return Projected(kind, type_, held, exact, beside, with_exact(marks, exact))

    def _settled(self, key: str, values: list[Any]) -> Column | None:
        """Return the column whose kind and type the values have to take, if there is one."""
        column = self._known.get(key)
        if column is None or key in self._fixed:
            return column
        if column.type == NO_TYPE and not all(map(_is_missing, values)):
            return None
        if column.kind == "int" and any(map(_is_real, values)):
            return Column(column.name, "float", column.type)
        return column

    def _uniform(
        self, values: list[Any], column: Column | None
    ) -> tuple[Kind, str, list[Any]] | None:
        """Project values of one native type by whole-column operations, if they are that."""
        types = set(map(type, values))
        native = NATIVES.get(types.pop()) if len(types) == 1 else None
        if native is None or (column and not _is_of(column, native)):
            return None
        if native.revive is not None:
            values = list(map(as_python, values))
        if native.kind == "int" and not (min(values) >= _MIN_INT and max(values) <= _MAX_INT):
            return None
        if native.kind in ("datetime", "time") and any(map(_has_zone, values)):
            return None
        return native.kind, native.type, values

    def _guess(self, value: Any) -> Guess:
        if _is_missing(value):
            return Guess(None, None, None)
        native = NATIVES.get(type(value))
        if native is not None:
            cell = value if native.revive is None else as_python(value)
            return _guess_native(native, cell)
        if type(value) in (list, dict, tuple, Namespace):
            return self._guess_json(value)
        return _guess_foreign(value)

    def _guess_json(self, value: Any) -> Guess:
        text = to_json(value, nul=self._dialect.nul)
        if text is not None:
            return Guess("json", text, "json")
        text = project_json(value)
        if text is None or (not self._dialect.nul and "\\u0000" in text):
            return Guess("binary", None, None)
        return Guess("json", text, None)

    def _binary(self, key: str, values: list[Any], seen: SeenMarks) -> Projected:
        cells: list[Any] = []
        exact: dict[int, bytes] = {}
        marks: list[Mark] = []
        known = seen()
        for place, value in enumerate(values):
            data = encode(value, path=field_path(key))
            mark = exact_mark(data)
            if value is None:
                exact[place], cell = data, None
            elif known and known[place] == mark:
                cell = UNCHANGED
            else:
                cell = squeezed(data) if self._compresses(key) else data
            cells.append(cell)
            marks.append(mark)
        return Projected("binary", "binary", cells, exact, dict.fromkeys(exact), marks)

    def _compresses(self, key: str) -> bool:
        return self._compressed if isinstance(self._compressed, bool) else key in self._compressed

    def _held(
        self, kind: Kind, cells: list[Any], odd: Sequence[int]
    ) -> tuple[list[Any], list[int]]:
        """Return what the backend keeps of cells, and the places of those that it changes."""
        if kind == "float":
            return self._held_floats(cells, odd)
        if kind == "text" or kind == "json":
            return self._held_texts(cells)
        if kind in ("datetime", "time"):
            changed = [place for place, cell in enumerate(cells) if cell is not None and cell.fold]
            return cells, changed
        return cells, []

    def _held_floats(self, cells: list[Any], odd: Sequence[int]) -> tuple[list[Any], list[int]]:
        changed = []
        for place in odd:
            cell = cells[place]
            if cell == 0.0 and not self._dialect.negative_zero:
                kept: float | None = 0.0
            elif math.isnan(cell):
                kept = cell if self._dialect.nan and _is_plain_nan(cell) else None
            else:
                kept = cell if self._dialect.infinity or math.isfinite(cell) else None
            if kept is not cell:
                changed.append(place)
                cells = cells if len(changed) > 1 else list(cells)
                cells[place] = kept
        return cells, changed

    def _held_texts(self, cells: list[Any]) -> tuple[list[Any], list[int]]:
        whole = "".join(filter(None, cells))
        if (self._dialect.nul or "\0" not in whole) and (whole.isascii() or _is_unicode(whole)):
            return cells, []
        kept = [None if cell is None else clean(cell, self._dialect) for cell in cells]
        return kept, [place for place, cell in enumerate(cells) if kept[place] != cell]


def clean(text: str, dialect: Dialect) -> str:
    """Return text without what the backend's text cannot hold."""
    text = text.encode("utf-8", "replace").decode()
    return text if dialect.nul else text.replace("\0", "\ufffd")


def is_native(value: Any) -> bool:
    """Return whether the value is None or of a type that some column keeps."""
    return value is None or type(value) in NATIVES


def field_path(key: str) -> str:
    """Return what error messages call a field."""
    return f"fields.{key}" if key.isidentifier() else f"fields[{key!r}]"


def _is_plain_nan(value: float) -> bool:
    """Whether it is the one NaN that text can say; others differ in sign and payload."""
    return struct.pack("<d", value) == struct.pack("<d", math.nan)


def _is_missing(value: Any) -> bool:
    """Whether it is no value of any kind: None, NaT or NA, but not NaN, which is a float."""
    if value is None:
        return True
    if type(value).__name__ == "NAType":
        return bool(value is sys.modules["pandas"].NA)
    is_moment = isinstance(value, (datetime.datetime, np.datetime64, np.timedelta64))
    return is_moment and bool(value != value)


def _is_of(column: Column, native: Native) -> bool:
    return column.kind == native.kind and column.type in (native.type, NO_TYPE)


def _is_real(value: Any) -> bool:
    return isinstance(value, (float, np.floating))


def _has_zone(value: Any) -> bool:
    return value.tzinfo is not None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _guess_native(native: Native, cell: Any) -> Guess:
    if native.kind == "int" and not _MIN_INT <= cell <= _MAX_INT:
        return Guess("float", _float(cell), None)
    if native.kind in ("datetime", "time") and cell.tzinfo is not None:
        return Guess(native.kind, without_zone(cell), None)
    return Guess(native.kind, cell, native.type)


def _guess_foreign(value: Any) -> Guess:
    """Project a value of a type that no column keeps, by what it is a special case of."""
    if isinstance(value, (np.datetime64, np.timedelta64)):
        value = _from_numpy(value)
    if isinstance(value, datetime.datetime):
        return Guess("datetime", without_zone(value), None)
    if isinstance(value, datetime.timedelta):
        return Guess("float", value.total_seconds(), None)
    if isinstance(value, (decimal.Decimal, fractions.Fraction, np.floating)):
        return Guess("float", _float(value), None)
    if isinstance(value, pathlib.PurePath):
        return Guess("text", str(value), None)
    return _BINARY


_BINARY = Guess("binary", None, None)


def _from_numpy(value: np.datetime64 | np.timedelta64) -> Any:
    """Return NumPy's time as Python's, cut to microseconds, or None if it has none."""
    try:
        unit = "datetime64[us]" if isinstance(value, np.datetime64) else "timedelta64[us]"
        found = value.astype(unit).item()
    except (ValueError, OverflowError, TypeError):
        return None
    return found if isinstance(found, (datetime.datetime, datetime.timedelta)) else None


def without_zone(value: Any) -> Any:
    """Return a time as the naive one that a column holds: in UTC, if it has a zone."""
    if isinstance(value, datetime.time):
        return value.replace(tzinfo=None, fold=0)
    try:
        moved = value.astimezone(datetime.UTC) if value.tzinfo is not None else value
    except (OverflowError, ValueError):
        return None
    return datetime.datetime(
        moved.year, moved.month, moved.day,
        moved.hour, moved.minute, moved.second, moved.microsecond,
    )  # fmt: skip


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except ValueError:
        return None


def _chosen(guesses: Sequence[Guess], column: Column | None) -> tuple[Kind, str]:
    """Choose kind and type of a column: the known ones, else those that most values have."""
    if column is not None:
        fixed = column.type != NO_TYPE
        return column.kind, column.type if fixed else _type_of_most(guesses, column.kind)
    numeric = [guess.kind for guess in guesses if guess.kind in _NUMERIC]
    widest = max(numeric, key=lambda kind: _NUMERIC[kind], default=None)
    kinds: Counter[Kind] = Counter(
        widest if widest and guess.kind in _NUMERIC else guess.kind
        for guess in guesses
        if guess.kind
    )
    if not kinds:
        return "float", NO_TYPE
    kind = kinds.most_common(1)[0][0]
    return kind, _type_of_most(guesses, kind)


def _type_of_most(guesses: Sequence[Guess], kind: Kind) -> str:
    types = Counter(guess.type for guess in guesses if guess.type and _keeps(guess, kind))
    return types.most_common(1)[0][0] if types else NO_TYPE


def _keeps(guess: Guess, kind: Kind) -> bool:
    """Whether a column of this kind gives the value of its type back."""
    if guess.kind == "int" and kind == "float":
        return bool(abs(guess.cell) <= _EXACT_FLOAT)
    return guess.kind == kind


def _fit(guess: Guess, kind: Kind) -> Any:
    """Return the natural cell for a column of another kind: a number, or None."""
    if guess.kind == kind or guess.cell is None:
        return guess.cell if guess.kind == kind else None
    if guess.kind in _NUMERIC and kind == "float":
        return _float(guess.cell)
    if guess.kind == "bool" and kind == "int":
        return int(guess.cell)
    return None


def revive(column: Column, cells: Sequence[Any]) -> Sequence[Any]:
    """Return the values of natural cells, perhaps the same, or `MISSING` where they are None.

    Raises:
        CorruptData: A cell is not what was written.
    """
    make = _maker(column)
    if isinstance(cells, array) or None not in cells:
        return cells if make is None else list(map(make, cells))
    if make is None:
        return [MISSING if cell is None else cell for cell in cells]
    return [MISSING if cell is None else make(cell) for cell in cells]


def _maker(column: Column) -> Callable[[Any], Any] | None:
    if column.kind == "json":
        return from_json
    if column.kind == "binary":
        return decode
    if column.kind == "float" and column.type in ("int", "bool"):
        return int if column.type == "int" else bool
    return REVIVE.get(column.type)


def natural(dialect: Dialect, kind: Kind, cells: Sequence[Any]) -> Sequence[Any]:
    """Return natural cells from what the driver gave: numbers packed, constant ones once."""
    if kind in _PACKED:
        try:
            return array(_PACKED[kind], cells)
        except (TypeError, OverflowError):  # some are None, or what the driver made of them
            pass
    restore, cells = dialect.restore.get(kind), column(cells)
    if restore is None:
        return cells
    if isinstance(cells, Constant):
        return cells if cells.value is None else Constant(restore(cells.value), len(cells))
    if None not in cells:
        return list(map(restore, cells))
    return [None if cell is None else restore(cell) for cell in cells]


def for_driver(dialect: Dialect, kind: Kind, cells: list[Any]) -> list[Any]:
    """Return what the driver takes for natural cells."""
    adapt = dialect.adapt.get(kind)
    return cells if adapt is None else adapt(cells)
