"""Rows of `experiments`: one an experiment."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from mltraq_prefect.errors import CorruptData, NewerFormat
from mltraq_prefect.model.names import check_name
from mltraq_prefect.model.series import RESERVED
from mltraq_prefect.storage.formats.schema import EXPERIMENTS, STATES, TABLES, utc_now
from mltraq_prefect.storage.formats.versions import MIGRATIONS
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.migrations import newest
from mltraq_prefect.storage.tables import tagging
from mltraq_prefect.storage.tables.own_fields import OWN_FIELDS, Cells, store_large
from mltraq_prefect.storage.tables.progress_view import PROGRESS_VIEW
from mltraq_prefect.storage.tables.tagging import NOTHING, Annotations
from mltraq_prefect.storage.values import layout as layouts
from mltraq_prefect.storage.values import param_columns
from mltraq_prefect.storage.values.layout import Layout
from mltraq_prefect.storage.values.names import (
    is_helper,
    is_table_of,
    series_name,
    table_name,
    view_name,
)
from mltraq_prefect.storage.values.param_columns import ParamColumns
from mltraq_prefect.version import __version__


@dataclass(slots=True)
class Entry:
    """What the index holds of an experiment.

    Attributes:
        table: The table that holds its runs now.
        states: How many runs are in each state.
        properties: Format, versions and times; `write` is the last write,
            `create` the one that made the experiment, and `original_name` its name at that time,
            of which the ids of its runs are made, if it has another one now.
        annotations: Its tags and note.
        retired: The name that the table before gets, while another is taking its place.
        series: The columns of the table of its series; None if it has none.
        series_table: The table that holds its series now, if it has one.
        series_retired: As `retired`, for the table of its series.
        is_renamed: Whether the table has got its own name since the index was written. A table
            that has the name that the index still gives is then an unfinished one.
        params: The kinds of its params.
        view: What its view was made of, see `views.mark`; None if it has none.
    """

    id_experiment: str
    name: str
    table: str
    run_count: int
    states: Mapping[str, int]
    layout: Layout
    params: ParamColumns
    properties: dict[str, Any]
    revision: int
    annotations: Annotations = NOTHING
    retired: str | None = None
    series: Layout | None = None
    series_table: str = ""
    series_retired: str | None = None
    is_renamed: bool = False
    view: str | None = None

    def __post_init__(self) -> None:
        self.series_table = self.series_table or series_name(self.name)

    @property
    def original_name(self) -> str:
        """The name of which the ids of its runs are made."""
        return str(self.properties.get("original_name", self.name))

    @property
    def is_staged(self) -> bool:
        """Whether a table has not got its own name, or the index does not say so yet."""
        return self.is_renamed or bool(self.staged())

    def staged(self) -> list[str]:
        """Return the tables that have not got their own names, by what the index says."""
        own = ((self.table, table_name(self.name)), (self.series_table, series_name(self.name)))
        return [now for now, name in own if now != name]

    def of_series(self) -> Entry:
        """Return an entry whose table and columns are those of the series."""
        return replace(self, table=self.series_table, layout=self.series or {})


_COLUMN_KINDS = {name: kind for name, kind in EXPERIMENTS.items() if name not in OWN_FIELDS}
_COLUMN_NAMES = ", ".join(_COLUMN_KINDS)

_MORE_NAMES = (
    f"{_COLUMN_NAMES}, residual, "
    "EXISTS (SELECT 1 FROM experiment_files AS f WHERE f.id_experiment = x.id_experiment)"
)


class Extras(NamedTuple):
    """What loading an experiment needs in addition.

    Attributes:
        residual: The cell of its own fields, see `own_fields`.
        has_files: Whether runs have files.
    """

    residual: bytes | None
    has_files: bool


def find(transaction: Transaction, name: str) -> Entry | None:
    """Return the entry of an experiment, or None if there is none."""
    found = _find(transaction, name, _COLUMN_NAMES)
    return None if found is None else _own(found[0])


def find_more(transaction: Transaction, name: str) -> tuple[Entry, Extras] | None:
    """Return the entry of an experiment with more of it, or None if there is none.

    All who read the same entry share it: nobody changes it.
    """
    found = _find(transaction, name, _MORE_NAMES)
    if found is None:
        return None
    entry, (residual, has_files) = found
    return entry, Extras(residual, bool(has_files))


def _find(transaction: Transaction, name: str, columns: str) -> tuple[Entry, Sequence[Any]] | None:
    rows = transaction.rows(
        f"SELECT {columns} FROM experiments AS x WHERE table_name = ?", (table_name(name),)
    )
    if not rows:
        return None
    entry = _parsed(rows[0][: len(_COLUMN_KINDS)])
    if entry.name != name:
        raise CorruptData(f"its row in `experiments` has the name {entry.name!r}", experiment=name)
    return _located(transaction, entry), rows[0][len(_COLUMN_KINDS) :]


def find_table(transaction: Transaction, table: str) -> Entry | None:
    """Return the entry of the experiment that a table of runs belongs to, or None."""
    rows = transaction.rows("SELECT name FROM experiments WHERE table_name = ?", (table,))
    return find(transaction, rows[0][0]) if rows else None


def has_series(transaction: Transaction, id_experiment: str) -> bool:
    """Return whether an experiment has a table of what its runs have logged."""
    sql = "SELECT 1 FROM experiments WHERE id_experiment = ? AND series_columns IS NOT NULL"
    return bool(transaction.rows(sql, (id_experiment,)))


def table_of(transaction: Transaction, name: str) -> str:
    """Return the table that holds the runs of an experiment now, or would hold them."""
    entry = find(transaction, name) if transaction.dialect.ddl_commits else None
    return table_name(name) if entry is None else entry.table


def _located(transaction: Transaction, entry: Entry) -> Entry:
    staged = entry.staged()
    if staged and not transaction.has_table(staged[0]):  # all are renamed at once
        entry = _own(entry)
        entry.table, entry.retired, entry.is_renamed = table_name(entry.name), None, True
        entry.series_table, entry.series_retired = series_name(entry.name), None
    return entry


def find_all(transaction: Transaction) -> list[Entry]:
    """Return the entries of all experiments, by name."""
    rows = transaction.rows(f"SELECT {_COLUMN_NAMES} FROM experiments")
    entries = [_own(_located(transaction, _parsed(row))) for row in rows]
    return sorted(entries, key=lambda entry: entry.name)


def relations(transaction: Transaction) -> list[str]:
    """Return the names of the fixed tables, and of those that each experiment has or may have."""
    names = [str(name) for (name,) in transaction.rows("SELECT name FROM experiments")]
    own = (make(name) for make in (table_name, view_name, series_name) for name in names)
    return [*TABLES, PROGRESS_VIEW, *own]


def _own(entry: Entry) -> Entry:
    """Return an entry whose parts are the caller's own."""
    return replace(
        entry,
        layout=entry.layout.copy(),
        params=entry.params.copy(),
        properties=entry.properties.copy(),
        series=None if entry.series is None else entry.series.copy(),
    )


@lru_cache(100)
def _parsed(row: tuple[Any, ...]) -> Entry:
    cells = dict(zip(_COLUMN_KINDS, row, strict=True))
    name, table, properties = cells["name"], cells["table_name"], cells["properties"]
    try:
        known = json.loads(properties)
        is_ours = check_name(name, "experiment name") == name and table == table_name(name)
        now, retired = known.pop("table", table), known.pop("retired", None)
        view = known.pop("view", None)
        series_table = known.pop("series_table", series_name(name))
        series_retired = known.pop("series_retired", None)
        is_ours = is_ours and is_table_of(now, name)
        is_ours = is_ours and (series_table == series_name(name) or is_helper(series_table))
        is_ours = is_ours and (retired is None or is_helper(retired))
        is_ours = is_ours and (series_retired is None or is_helper(series_retired))
        is_ours = is_ours and type(known.get("original_name", "")) is str
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptData(f"its row in `experiments`: {error}", experiment=str(name)) from None
    if not is_ours:
        reason = "its row in `experiments` is not as this package writes it"
        raise CorruptData(reason, experiment=name)
    _refuse_newer(known, name)
    series = cells["series_columns"]
    return Entry(
        cells["id_experiment"],
        name,
        now,
        cells["run_count"],
        {state: cells[state] for state in STATES},
        layouts.parse(cells["run_columns"], name),
        param_columns.parse(cells["param_columns"], name),
        known,
        cells["revision"],
        tagging.parse(cells["tags"], cells["note"], name),
        retired=retired,
        series=None if series is None else layouts.parse(series, name, RESERVED),
        series_table=series_table,
        series_retired=series_retired,
        view=view,
    )


def _refuse_newer(known: dict[str, Any], name: str) -> None:
    version = known.get("format", 0)
    if type(version) is not int:
        raise CorruptData("its row in `experiments` has no format", experiment=name)
    if version > newest(MIGRATIONS):
        raise NewerFormat(
            f"experiment {name!r} has format {version}, written by mltraq_prefect "
            f"{known.get('package')}; this is mltraq_prefect {__version__}, which reads "
            f"formats up to {newest(MIGRATIONS)}: upgrade it"
        )


def origin() -> dict[str, Any]:
    """Return which software writes now, for the properties of an experiment."""
    return {
        "format": newest(MIGRATIONS),
        "package": __version__,
        "python": platform.python_version(),
        "updated_at": utc_now().isoformat(" "),
    }


def insert(transaction: Transaction, entry: Entry, own: Cells) -> None:
    """Insert the row of an experiment, with what it has of fields."""
    kinds = {**_COLUMN_KINDS, **OWN_FIELDS}
    cells = (*_row(entry), *store_large(transaction, entry.id_experiment, own))
    transaction.insert("experiments", kinds, [[cell] for cell in cells])


def update(transaction: Transaction, entry: Entry) -> None:
    """Update the row of an experiment, but not what it has of fields."""
    keys = {"id_experiment": _COLUMN_KINDS["id_experiment"]}
    values = {name: kind for name, kind in _COLUMN_KINDS.items() if name not in keys}
    id_experiment, *row = _row(entry)
    transaction.update("experiments", values, keys, [[cell] for cell in (*row, id_experiment)])


def _row(entry: Entry) -> tuple[Any, ...]:
    staged = {"table": entry.table, "retired": entry.retired} if entry.is_staged else {}
    if staged:
        staged |= {"series_table": entry.series_table, "series_retired": entry.series_retired}
    own = {"view": entry.view, **staged}
    return (
        entry.id_experiment,
        entry.name,
        table_name(entry.name),
        entry.run_count,
        *(entry.states.get(state, 0) for state in STATES),
        layouts.dump(entry.layout),
        None if entry.series is None else layouts.dump(entry.series),
        json.dumps(entry.properties | own, ensure_ascii=False),
        entry.revision,
        param_columns.dump(entry.params),
        tagging.dump(entry.annotations.tags),
        entry.annotations.note or None,
    )
