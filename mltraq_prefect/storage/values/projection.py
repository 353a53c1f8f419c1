"""From the values of a field to what SQL sees of them, and back; docs/mapping.md states the rules.

A field is projected as one column of values. Where its natural cell does not give a value back
exactly, the exact value is encoded in addition, for the residual.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mltraq_prefect.codecs import encode, squeezed
from mltraq_prefect.model.identity import as_python
from mltraq_prefect.model.series import MISSING
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.values.cells import UNCHANGED
from mltraq_prefect.storage.values.change_marks import Mark, exact_mark, with_exact
from mltraq_prefect.storage.values.guesses import chosen, guessed, is_missing
from mltraq_prefect.storage.values.kinds import Kind
from mltraq_prefect.storage.values.layout import Column, Layout
from mltraq_prefect.storage.values.natives import NATIVES, NO_TYPE, Native

SeenMarks = Callable[[], Sequence[Mark]]
"""Returns marks of what the database holds of each run; nothing if that is not known."""


def nothing_seen() -> Sequence[Mark]:
    """Return no marks."""
    return ()


@dataclass(slots=True)
class Projected:
    """The values of one field.

    Attributes:
        kind: What SQL sees.
        type: The exact type of values without a residual.
        cells: Natural cell of each run; None if there is none, or `UNCHANGED`.
        exact: Envelopes of the values that their cell does not keep exactly, by index.
        cell_marks: Marks of the cells of those values, by index.
        marks: A mark of each run's value; None if the run does not have the field.
    """

    kind: Kind
    type: str
    cells: list[Any]
    exact: dict[int, bytes]
    cell_marks: dict[int, Mark]
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
        indexes = [index for index, value in enumerate(values) if value is not MISSING]

        def seen_there() -> Sequence[Mark]:
            marks = seen()
            return [marks[index] for index in indexes] if marks else ()

        dense = self.dense(key, [values[index] for index in indexes], seen_there)
        cells: list[Any] = [None] * len(values)
        marks_: list[Mark] = [None] * len(values)
        for index, cell, mark in zip(indexes, dense.cells, dense.marks, strict=True):
            cells[index], marks_[index] = cell, mark
        exact = {indexes[index]: data for index, data in dense.exact.items()}
        cell_marks = {indexes[index]: mark for index, mark in dense.cell_marks.items()}
        return Projected(dense.kind, dense.type, cells, exact, cell_marks, marks_)

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
        uniform = _uniform(values, column)
        if uniform is None:
            guesses = [guessed(value, self._dialect) for value in values]
            kind, type_ = chosen(guesses, column)
            if kind.is_envelope:
                return self._encoded(key, kind, values, seen)
            cells = [kind.fit(guess) for guess in guesses]
            wanted = [
                index
                for index, guess in enumerate(guesses)
                if guess.type != type_ or not kind.keeps(guess)
            ]
        else:
            kind, type_, cells = uniform
            wanted = []
        held = kind.held(cells, self._dialect)
        exact = {
            index: encode(values[index], path=field_path(key))
            for index in sorted({*wanted, *held.changed})
        }
        cell_marks = {index: held.marks[index] for index in exact}
        return Projected(kind, type_, held.cells, exact, cell_marks, with_exact(held.marks, exact))

    def _settled(self, key: str, values: list[Any]) -> Column | None:
        """Return the column whose kind and type the values have to take, if there is one."""
        column = self._known.get(key)
        if column is None or key in self._fixed:
            return column
        if column.type == NO_TYPE and not all(map(is_missing, values)):
            return None
        return replace(column, kind=column.kind.widened(values))

    def _encoded(self, key: str, kind: Kind, values: list[Any], seen: SeenMarks) -> Projected:
        cells: list[Any] = []
        exact: dict[int, bytes] = {}
        marks: list[Mark] = []
        known = seen()
        for index, value in enumerate(values):
            data = encode(value, path=field_path(key))
            mark = exact_mark(data)
            if value is None:
                exact[index], cell = data, None
            elif known and known[index] == mark:
                cell = UNCHANGED
            else:
                cell = squeezed(data) if self._compresses(key) else data
            cells.append(cell)
            marks.append(mark)
        return Projected(kind, kind.name, cells, exact, dict.fromkeys(exact), marks)

    def _compresses(self, key: str) -> bool:
        return self._compressed if isinstance(self._compressed, bool) else key in self._compressed


def _uniform(values: list[Any], column: Column | None) -> tuple[Kind, str, list[Any]] | None:
    """Project values of one native type by whole-column operations, if they are that."""
    types = set(map(type, values))
    native = NATIVES.get(types.pop()) if len(types) == 1 else None
    if native is None or (column and not _is_of(column, native)):
        return None
    if native.revive is not None:
        values = list(map(as_python, values))
    return (native.kind, native.type, values) if native.kind.takes(values) else None


def field_path(key: str) -> str:
    """Return what error messages call a field."""
    return f"fields.{key}" if key.isidentifier() else f"fields[{key!r}]"


def _is_of(column: Column, native: Native) -> bool:
    return column.kind is native.kind and column.type in (native.type, NO_TYPE)
