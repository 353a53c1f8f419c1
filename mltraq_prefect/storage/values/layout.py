"""Which column holds which field: the `run_columns` of an experiment."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.model.names import check_name
from mltraq_prefect.storage.values.kinds import OF_FIELDS, Kind
from mltraq_prefect.storage.values.names import column_name, is_column_of, readable


@dataclass(frozen=True, slots=True)
class Column:
    """Where a field is.

    Attributes:
        name: Physical name; None if the table is full, so that all values are in the residual.
        kind: What SQL sees.
        type: The exact type of the values that need no residual.
    """

    name: str | None
    kind: Kind
    type: str


Layout = dict[str, Column]
"""The columns of a table of runs by field key, in the order of the fields."""


_KEPT = 100
"""Layouts that are not parsed again when they are read again."""


def dump(layout: Layout) -> str:
    """Return the layout as the JSON text of `run_columns`."""
    columns = {
        key: {"column": column.name, "kind": column.kind.name, "type": column.type}
        for key, column in layout.items()
    }
    return json.dumps(columns, ensure_ascii=False)


def parse(text: str, experiment: str, fixed: Collection[str] = ("id_run",)) -> Layout:
    """Return the layout that `dump` wrote.

    Args:
        text: What it wrote.
        experiment: The experiment.
        fixed: Columns that the table has in any case.

    Raises:
        CorruptData: The text is something else.
    """
    return _parsed(text, experiment, tuple(fixed)).copy()


@lru_cache(_KEPT)
def _parsed(text: str, experiment: str, fixed: tuple[str, ...]) -> Layout:
    try:
        items = {
            key: (item["column"], item["kind"], item["type"])
            for key, item in json.loads(text).items()
        }
        for key in items:
            check_name(key, "field key")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptData(f"run_columns is not a layout: {error}", experiment=experiment) from None
    layout = {key: _column(key, *item, experiment) for key, item in items.items()}
    _check_names(layout, experiment, fixed)
    return layout


def _column(key: str, name: Any, kind: Any, type_: Any, experiment: str) -> Column:
    if {type(kind), type(type_)} != {str} or kind not in OF_FIELDS:
        raise CorruptData("run_columns is not a layout", experiment=experiment, field=key)
    return Column(name, OF_FIELDS[kind], type_)


def _check_names(layout: Layout, experiment: str, fixed: Collection[str]) -> None:
    """Refuse what `dump` cannot have written: names become part of statements."""
    taken = set(fixed)
    for key, column in layout.items():
        if column.name is None:
            continue
        if not is_column_of(column.name, key) or column.name.lower() in taken:
            reason = "run_columns gives it a column that cannot be its own"
            raise CorruptData(reason, experiment=experiment, field=key)
        taken.add(column.name.lower())


class Space:
    """The room for columns that a table has left.

    Args:
        fixed: The kinds of columns that it has in any case, by name.
        layout: The other columns that it has already.
        max_columns: How many a table of this backend can have, those included.
        max_row: How many bytes the columns of one row can take inside its page.
        widths: Bytes that a column of a kind takes there at most.
        keys: Keys of the fields that it is for: one of which is a name gets that name.
    """

    def __init__(
        self,
        fixed: Mapping[str, Kind],
        layout: Layout,
        max_columns: int,
        max_row: int,
        widths: Mapping[Kind, int],
        keys: Iterable[str] = (),
    ) -> None:
        placed = [column for column in layout.values() if column.name is not None]
        self._taken = {*fixed} | {str(column.name).lower() for column in placed}
        self._columns = max_columns - len(fixed) - len(placed)
        self._wanted = {key.lower() for key in keys if readable(key) == key}
        self._widths = widths
        kinds = (*fixed.values(), *(column.kind for column in placed))
        self._bytes = max_row - sum(widths[kind] for kind in kinds)

    def reserve(self, key: str, kind: Kind) -> str | None:
        """Reserve a column for a field; return its name, or None if there is no room."""
        width = self._widths[kind]
        if self._columns < 1 or self._bytes < width:
            return None
        own = readable(key) == key
        name = column_name(key, self._taken if own else self._taken | self._wanted)
        self._taken.add(name.lower())
        self._columns -= 1
        self._bytes -= width
        return name
