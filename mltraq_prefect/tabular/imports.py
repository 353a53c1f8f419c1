"""Runs from tables: of files that `exports` has written, and of anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.tabular.columns import ID, LEDGER, OF_SERIES, PREFIXES, Part
from mltraq_prefect.tabular.ledger import STATES, entry_of, ledger_values
from mltraq_prefect.tabular.tables import Table, table_of


class Row(NamedTuple):
    """A row of a table, as a run.

    Attributes:
        params: What becomes its params.
        fields: What becomes its fields.
        ledger: What becomes its entry in the ledger.
    """

    params: dict[str, Any]
    fields: dict[str, Any]
    ledger: LedgerEntry


def rows_of(source: Any, params: Sequence[str] | None) -> list[Row]:
    """Return the rows of a table; see `Session.import_frame`.

    Args:
        source: The table.
        params: Names of the columns that are params; None for those of which a file of ours says
            so, and of any other for none.

    Raises:
        InvalidInput: The table cannot be read, or has no such column.
        CorruptData: A file of ours holds something else than it says.
    """
    parts = _parts(table := table_of(source), params)
    # Where files have no room to say it, the columns that each series begins with do.
    is_series = tuple(table)[: 1 + len(OF_SERIES)] == (ID, *OF_SERIES)
    if is_series or any(part.source == "series" for part in parts.values()):
        raise InvalidInput(
            "the file has the series of runs, which are not runs themselves: import the file that "
            "has the runs; session.persist, or the command copy, takes over both of them"
        )
    columns: dict[str, dict[str, Sequence[Any]]] = {"param": {}, "field": {}, "ledger": {}}
    for name, part in parts.items():
        if part.source in columns:
            columns[part.source][part.key] = table[name][1]
    for name, values in columns["ledger"].items():
        columns["ledger"][name] = ledger_values(name, values)
    count = len(next(iter(table.values()))[1]) if table else 0
    found = []
    for index in range(count):
        own, fields, ledger = (_row(some, index) for some in columns.values())
        found.append(Row(own, fields, entry_of(ledger)))
    return found


def _row(columns: Mapping[str, Sequence[Any]], row: int) -> dict[str, Any]:
    values = ((key, column[row]) for key, column in columns.items())
    return {key: value for key, value in values if value is not None}


def _parts(table: Table, params: Sequence[str] | None) -> dict[str, Part]:
    """Return what each column holds."""
    for name in table:
        if type(name) is not str:
            raise InvalidInput(f"the name of column {name!r} is not text; rename it")
    known = ", ".join(map(repr, table)) or "none"
    if missing := [name for name in params or () if name not in table]:
        raise InvalidInput(f"the table has no column {missing[0]!r}; its columns: {known}")
    described = {name: part for name, (part, _) in table.items() if part is not None}
    guessed = {name: _guess(name, table, params or ()) for name in table if name not in described}
    parts = {name: (guessed | described)[name] for name in table}
    return {
        name: Part("param", part.key) if name in (params or ()) else part
        for name, part in parts.items()
    }


def _guess(name: str, table: Table, params: Sequence[str]) -> Part:
    """Return what a column holds that does not say it.

    A table with `id_run` and states of ours is taken for one of ours, whose names follow the rule
    of `names_of`.
    """
    states = table.get(f"{PREFIXES['ledger']}state") or table.get("state")
    is_ours = ID in table and states is not None and set(states[1]) <= {*STATES}
    if name == ID:
        return Part("id", ID)
    if name in params:
        key = name.removeprefix(PREFIXES["param"])
        return Part("param", key if is_ours and key in table else name)
    key = name.removeprefix(PREFIXES["ledger"])
    if is_ours and key in LEDGER and (name == key) == (f"{PREFIXES['ledger']}{key}" not in table):
        return Part("ledger", key)
    return Part("field", name)
