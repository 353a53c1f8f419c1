"""Columns of the ledger: what entries of runs and steps say, on its way to SQL and back.

The fields of `LedgerEntry` and `StepEntry` are the columns. What is done to the values of one
follows from its type, or from its name where it needs more.
"""

from __future__ import annotations

import datetime as dt
import json
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from operator import attrgetter
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from mltraq_prefect.arguments import refused
from mltraq_prefect.codecs import from_json
from mltraq_prefect.errors import CorruptData, InvalidInput
from mltraq_prefect.model.ledger_entry import LedgerEntry, State, StepEntry
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.values.cells import for_driver, natural
from mltraq_prefect.storage.values.columns import (
    AT_ONCE,
    Constant,
    Maker,
    column,
    compact_moments,
    compact_texts,
    joined,
)
from mltraq_prefect.storage.values.kinds import DATETIME, FLOAT, INT, KEY, TEXT, Kind
from mltraq_prefect.storage.values.kinds.texts import clean
from mltraq_prefect.storage.values.kinds.times import without_zone

MAX_ERROR = 60_000
"""Characters of an error's text that are stored: in any encoding a fraction of a packet."""

_NOT_TAKEN = (TypeError, ValueError, AttributeError, OverflowError)
"""What `cells` raises for what a column does not take."""


class LedgerColumn:
    """A column of the ledger.

    Args:
        kind: What SQL sees.

    Attributes:
        use: What entries may say, for errors; `cells` raises for anything else.
    """

    use = "a text, or None"

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def cells(self, values: Sequence[Any], _dialect: Dialect) -> Sequence[Any]:
        """Return natural cells, which are compared, from what entries say."""
        return values

    def sent(self, cells: Sequence[Any], dialect: Dialect) -> Sequence[Any]:
        """Return what the driver takes for natural cells."""
        if isinstance(cells, Constant):
            (cell,) = for_driver(dialect, self.kind, [cells.value])
            return Constant(cell, len(cells))
        return for_driver(dialect, self.kind, list(cells))

    def maker(self, dialect: Dialect) -> Maker:
        """Return what makes cells to keep of those that the driver gives."""
        if self.kind.code is None and dialect.types[self.kind].restore is None:
            return column
        return partial(natural, dialect, self.kind)

    def values(self, cells: Sequence[Any], _dialect: Dialect) -> Sequence[Any]:
        """Return what entries say from cells that were kept."""
        return cells

    def value(self, cell: Any, _dialect: Dialect) -> Any:
        """Return what an entry says from a cell that was kept."""
        return cell


class TextColumn(LedgerColumn):
    """Texts, kept in little memory."""

    def cells(self, values: Sequence[Any], _dialect: Dialect) -> Sequence[Any]:
        """Return the texts."""
        if not all(issubclass(kind, str | NoneType) for kind in set(map(type, values))):
            raise TypeError
        return values

    def maker(self, dialect: Dialect) -> Maker:
        """Return what packs them."""
        make = super().maker(dialect)
        return compact_texts if make is column else lambda cells: compact_texts(make(cells))


class _Word(TextColumn):
    """One of some words."""

    def __init__(self, kind: Kind, words: Sequence[str]) -> None:
        super().__init__(kind)
        self._words = frozenset(words)
        self.use = f"one of {', '.join(map(repr, words))}"

    def cells(self, values: Sequence[Any], _dialect: Dialect) -> Sequence[Any]:
        if not self._words.issuperset(values):
            raise ValueError
        return values


class _Number(LedgerColumn):
    """Numbers, which may be NumPy's."""

    def __init__(self, kind: Kind, as_number: Callable[[Any], float]) -> None:
        super().__init__(kind)
        self._number = as_number
        self.use = "an integer, or None" if kind is INT else "a number, or None"

    def cells(self, values: Sequence[Any], _dialect: Dialect) -> Sequence[Any]:
        if None in values:
            return [None if value is None else self._number(value) for value in values]
        return list(map(self._number, values))


def _as_float(value: Any) -> float:
    if isinstance(value, str | bytes):
        raise TypeError
    return float(value)


class _Moment(LedgerColumn):
    """Times: with the zone UTC in entries, without one in the ledger.

    They are kept as the driver gives them: they are parsed when somebody asks for an entry.
    """

    use = "a datetime with its zone, or None"

    def cells(self, values: Sequence[Any], _dialect: Dialect) -> Sequence[Any]:
        known = [moment for moment in values if moment is not None]
        plain = set(map(type, known)) <= {dt.datetime}
        if plain and {moment.tzinfo for moment in known} <= {None, dt.UTC}:
            halves = map(dt.datetime.date, known), map(dt.datetime.time, known)
            naive = map(dt.datetime.combine, *halves)  # in a tenth of the time of `replace`
            return [None if moment is None else next(naive) for moment in values]
        return [None if moment is None else without_zone(moment) for moment in values]

    def maker(self, _dialect: Dialect) -> Maker:
        return compact_moments

    def value(self, cell: Any, _dialect: Dialect) -> Any:
        return self.values([cell], _dialect)[0]

    def values(self, cells: Sequence[Any], dialect: Dialect) -> Sequence[Any]:
        if isinstance(cells, Constant):
            return Constant(self.value(cells.value, dialect), len(cells))
        restore = dialect.types[self.kind].restore
        return [_in_utc(cell, restore) for cell in cells]


def _in_utc(cell: Any, restore: Callable[[Any], Any] | None) -> dt.datetime | None:
    """Return the time of a cell, which may be as the driver gives it, or a time already."""
    if cell is None:
        return None
    moment = cell if restore is None or isinstance(cell, dt.datetime) else restore(cell)
    found: dt.datetime = moment.replace(tzinfo=dt.UTC)
    return found


class _Error(TextColumn):
    """Texts of errors: the middle of a very long one is left out."""

    def cells(self, values: Sequence[Any], dialect: Dialect) -> Sequence[Any]:
        if not any(super().cells(values, dialect)):
            return values
        return [error and _error_text(error, dialect) for error in values]


class _Steps(TextColumn):
    """Steps of runs as JSON text, which ends in blanks where a row better does not grow."""

    use = "a dict of fingerprints by the names of steps"

    def cells(self, values: Sequence[Any], _dialect: Dialect) -> Sequence[Any]:
        if values and len(values[0]) < 2 and values.count(values[0]) == len(values):
            return Constant(_steps_text(values[0]), len(values))
        texts: dict[tuple[tuple[str, str], ...], str] = {}
        found = []
        for own in values:  # most runs share their steps
            key = tuple(own.items())
            if key not in texts:
                texts[key] = _steps_text(own)
            found.append(texts[key])
        return found

    def sent(self, cells: Sequence[Any], dialect: Dialect) -> Sequence[Any]:
        block = dialect.steps_block
        if block == 1:
            return cells
        padded = {text: text.ljust(-(-len(text) // block) * block) for text in set(cells)}
        return [padded[text] for text in cells]

    def maker(self, dialect: Dialect) -> Maker:
        return super().maker(dialect) if dialect.steps_block == 1 else _trimmed


_BY_NAME: dict[str, LedgerColumn] = {"error": _Error(TEXT), "steps": _Steps(TEXT)}
_BY_TYPE: dict[Any, LedgerColumn] = {
    Literal: _Word(KEY, get_args(State)),
    str: TextColumn(TEXT),
    int: _Number(INT, operator.index),
    float: _Number(FLOAT, _as_float),
    dt.datetime: _Moment(DATETIME),
}


def columns_of(
    entry: type[LedgerEntry] | type[StepEntry], names: Iterable[str]
) -> dict[str, LedgerColumn]:
    """Return the columns for some fields of entries."""
    hints = get_type_hints(entry)
    return {name: _BY_NAME.get(name) or _BY_TYPE[_type_of(hints[name])] for name in names}


def _type_of(hint: Any) -> Any:
    """Return the type that a value has unless it is None; `Literal` for one of some words."""
    types = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    (own,) = [type_ for type_ in types if type_ is not NoneType]
    return get_origin(own) or own


def cells_of(
    columns: Iterable[tuple[str, LedgerColumn]],
    entries: Sequence[LedgerEntry] | Sequence[StepEntry],
    dialect: Dialect,
) -> list[Sequence[Any]]:
    """Return natural cells of columns, given with their names, from entries.

    Raises:
        InvalidInput: An entry says what a column does not take.
    """
    names, owners = zip(*columns, strict=True)
    found = _said(names, entries)
    cells = []
    for name, own, values in zip(names, owners, found, strict=True):
        try:
            cells.append(_cells_of(own, values, dialect))
        except _NOT_TAKEN:
            raise _refused(name, own, values, dialect) from None
    return cells


def _refused(name: str, own: LedgerColumn, values: Sequence[Any], dialect: Dialect) -> InvalidInput:
    """Find what an entry says that the column does not take; only errors pay for it."""
    for value in values:
        try:
            own.cells([value], dialect)
        except _NOT_TAKEN:
            return refused(f"run.ledger.{name}", value, own.use)
    raise AssertionError("the error did not come back")


def _said(names: Sequence[str], entries: Sequence[Any]) -> list[Sequence[Any]]:
    """Return what entries say, by columns: all that one says is read at once."""
    getters = [attrgetter(name) for name in names]
    some = (entries[start : start + AT_ONCE] for start in range(0, len(entries), AT_ONCE))
    parts = [[column(list(map(get, own))) for get in getters] for own in some]
    return joined(parts, len(names))


def _cells_of(own: LedgerColumn, values: Sequence[Any], dialect: Dialect) -> Sequence[Any]:
    if isinstance(values, Constant):
        (cell,) = own.cells([values.value], dialect)
        return Constant(cell, len(values))
    return column(own.cells(values, dialect))


def sent_of(
    columns: Iterable[LedgerColumn], cells: Iterable[Sequence[Any]], dialect: Dialect
) -> list[Sequence[Any]]:
    """Return what the driver takes for natural cells of columns."""
    return [column(own.sent(some, dialect)) for own, some in zip(columns, cells, strict=True)]


def _error_text(error: str, dialect: Dialect) -> str:
    left = len(error) - MAX_ERROR
    if left > 0:
        half = MAX_ERROR // 2
        error = f"{error[:half]}\n[... {left:,} characters ...]\n{error[-half:]}"
    return clean(error, dialect)


def _steps_text(steps: dict[str, str]) -> str:
    if not all(isinstance(print_, str) for print_ in steps.values()):
        raise TypeError
    return json.dumps(steps, ensure_ascii=False)


def _trimmed(texts: Sequence[str]) -> Sequence[str]:
    """Return texts of steps without the blanks that pad them."""
    return compact_texts([text.rstrip(" ") for text in texts])


def parse_steps(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the steps of each distinct JSON text.

    Raises:
        CorruptData: A text is something else.
    """
    return {text: dict(steps_of(text)) for text in set(texts)}


@lru_cache(1000)
def steps_of(text: str) -> Mapping[str, str]:
    """Return completed steps, with their fingerprints, from their JSON text in the ledger.

    Raises:
        CorruptData: The text is something else.
    """
    steps = from_json(text)
    if type(steps) is not dict or not all(type(value) is str for value in steps.values()):
        raise CorruptData(f"the steps {text[:80]!r} of the ledger are not steps")
    return MappingProxyType(steps)
