"""Columns of the ledger: what entries of runs and steps say, on its way to SQL and back.

The fields of `LedgerEntry` and `StepEntry` are the columns. What is done to the values of one
follows from its type, or from its name where it needs more.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from functools import partial
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import orjson

from mltraq_prefect.codecs import from_json
from mltraq_prefect.errors import CorruptData
from mltraq_prefect.model.ledger_entry import LedgerEntry, StepEntry
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.values.cells import for_driver, natural
from mltraq_prefect.storage.values.columns import Constant, Maker, column, compact_texts
from mltraq_prefect.storage.values.kinds import DATETIME, FLOAT, INT, KEY, TEXT, Kind
from mltraq_prefect.storage.values.kinds.texts import clean
from mltraq_prefect.storage.values.kinds.times import without_zone

MAX_ERROR = 60_000
"""Characters of an error's text that are stored: in any encoding a fraction of a packet."""


class LedgerColumn:
    """A column of the ledger.

    Args:
        kind: What SQL sees.
    """

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
        return partial(natural, dialect, self.kind)

    def values(self, cells: Sequence[Any], _dialect: Dialect) -> Sequence[Any]:
        """Return what entries say from cells that were kept."""
        return cells

    def value(self, cell: Any, _dialect: Dialect) -> Any:
        """Return what an entry says from a cell that was kept."""
        return cell


class TextColumn(LedgerColumn):
    """Texts, kept in little memory."""

    def maker(self, dialect: Dialect) -> Maker:
        """Return what packs them."""
        make = super().maker(dialect)
        return lambda cells: compact_texts(make(cells))


class _Number(LedgerColumn):
    """Numbers, which may be NumPy's."""

    def __init__(self, kind: Kind, type_: type[int] | type[float]) -> None:
        super().__init__(kind)
        self._type = type_

    def cells(self, values: Sequence[Any], _dialect: Dialect) -> Sequence[Any]:
        if None in values:
            return [None if value is None else self._type(value) for value in values]
        return list(map(self._type, values))


class _Moment(LedgerColumn):
    """Times: with the zone UTC in entries, without one in the ledger.

    They are kept as the driver gives them: they are parsed when somebody asks for an entry.
    """

    def cells(self, values: Sequence[Any], _dialect: Dialect) -> Sequence[Any]:
        known = [moment for moment in values if moment is not None]
        plain = set(map(type, known)) <= {dt.datetime}
        if plain and {moment.tzinfo for moment in known} <= {None, dt.UTC}:
            text = orjson.dumps(values).replace(b'+00:00"', b'"')
            return [found and dt.datetime.fromisoformat(found) for found in orjson.loads(text)]
        return [moment and without_zone(moment) for moment in values]

    def maker(self, _dialect: Dialect) -> Maker:
        return lambda cells: compact_texts(column(cells))

    def value(self, cell: Any, _dialect: Dialect) -> Any:
        return self.values([cell], _dialect)[0]

    def values(self, cells: Sequence[Any], dialect: Dialect) -> Sequence[Any]:
        moments = natural(dialect, self.kind, cells)
        if isinstance(moments, Constant):
            return Constant(moments.value and moments.value.replace(tzinfo=dt.UTC), len(moments))
        return [moment and moment.replace(tzinfo=dt.UTC) for moment in moments]


class _Error(TextColumn):
    """Texts of errors: the middle of a very long one is left out."""

    def cells(self, values: Sequence[Any], dialect: Dialect) -> Sequence[Any]:
        if not any(values):
            return values
        return [error and _error_text(error, dialect) for error in values]


class _Steps(TextColumn):
    """Steps of runs as JSON text, which ends in blanks where a row better does not grow."""

    def cells(self, values: Sequence[Any], _dialect: Dialect) -> Sequence[Any]:
        if values and len(values[0]) < 2 and values.count(values[0]) == len(values):
            return Constant(json.dumps(values[0], ensure_ascii=False), len(values))
        texts: dict[tuple[tuple[str, str], ...], str] = {}
        found = []
        for own in values:  # most runs share their steps
            key = tuple(own.items())
            if key not in texts:
                texts[key] = json.dumps(own, ensure_ascii=False)
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
    Literal: TextColumn(KEY),
    str: TextColumn(TEXT),
    int: _Number(INT, int),
    float: _Number(FLOAT, float),
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
    """Return natural cells of columns, given with their names, from entries."""
    return [
        column(own.cells(list(map(attrgetter(name), entries)), dialect)) for name, own in columns
    ]


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


def _trimmed(texts: Sequence[str]) -> Sequence[str]:
    """Return texts of steps without the blanks that pad them."""
    return compact_texts(column([text.rstrip(" ") for text in texts]))


def parse_steps(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the steps of each distinct JSON text.

    Raises:
        CorruptData: A text is something else.
    """
    found = {text: from_json(text) for text in set(texts)}
    for text, steps in found.items():
        if type(steps) is not dict or not all(type(value) is str for value in steps.values()):
            raise CorruptData(f"the steps {text[:80]!r} of the ledger are no steps")
    return found
