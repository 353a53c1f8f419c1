"""From format 2 to format 3: params as a document, their kinds, and views."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mltraq_prefect.codecs import decode
from mltraq_prefect.errors import CorruptData, StoreError
from mltraq_prefect.storage.formats.format_2 import Change
from mltraq_prefect.storage.formats.schema import add_columns, add_document
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables import unfinished, views
from mltraq_prefect.storage.tables.ledger import KEYS, PARAMS_TEXT
from mltraq_prefect.storage.values import layout, param_columns
from mltraq_prefect.storage.values.kinds import JSON, KEY, TEXT, Kind
from mltraq_prefect.storage.values.layout import Layout
from mltraq_prefect.storage.values.names import table_name, view_name
from mltraq_prefect.storage.values.param_columns import ParamColumns
from mltraq_prefect.storage.values.params import dump_params, parse_params
from mltraq_prefect.storage.values.residuals import parse_residual

ROWS_AT_ONCE = 10_000
"""Runs whose params are in memory at once."""

_NUL = r"(?<!\\)((?:\\\\)*)\\u0000"
"""An escaped NUL in JSON, which no document has; its exact value is in the residual."""


# -- tables ----------------------------------------------------------------------------------------


def _show_params_as_document(transaction: Transaction) -> None:
    """Keep the text of params beside a document, where they were a column of JSON."""
    if not transaction.dialect.document or PARAMS_TEXT in transaction.columns("experiment_runs"):
        return
    _refuse_dependents(transaction, "experiment_runs", "params")
    alter, type_ = "ALTER TABLE experiment_runs", transaction.dialect.types[TEXT].sql
    transaction.run(f"{alter} RENAME COLUMN params TO {PARAMS_TEXT}")
    transaction.run(f"{alter} ALTER COLUMN {PARAMS_TEXT} TYPE {type_}")
    transaction.run(
        f"UPDATE experiment_runs SET {PARAMS_TEXT} = regexp_replace({PARAMS_TEXT}, ?, ?, 'g') "
        f"WHERE position(? IN {PARAMS_TEXT}) > 0",
        (_NUL, "\\1\ufffd", "\\u0000"),
    )
    add_document(transaction, "experiment_runs", {"params": JSON})


def _refuse_dependents(transaction: Transaction, table: str, column: str) -> None:
    found = {own.what: None for own in transaction.dependents(table) if own.column == column}
    if found:
        raise StoreError(
            f"the database is not brought to format 3, in which the column {column} of {table} has "
            f"another type: it is used by {', '.join(found)}; drop that first, and make it again "
            "afterwards"
        )


def _add_kinds_of_params(transaction: Transaction) -> None:
    add_columns(transaction, "experiments", {"param_columns": TEXT})


# -- values ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Experiment:
    name: str
    layout: Layout
    params: ParamColumns
    view: str | None


def _make_views(transaction: Transaction) -> None:
    """Note the kinds of params of each experiment, and make its view."""
    rows = transaction.rows("SELECT id_experiment, name, run_columns, properties FROM experiments")
    for id_experiment, name, columns, text in rows:
        properties = json.loads(text)
        known: ParamColumns = {}
        with suppress(CorruptData):  # the view has what could be read; verify tells of the rest
            for params in _params(transaction, id_experiment):
                known = param_columns.extended(known, params, transaction.dialect)
        own = _Experiment(name, layout.parse(columns, name), known, properties.get("view"))
        properties["view"] = views.make(transaction, own)
        kinds: dict[str, Kind] = {"param_columns": TEXT, "properties": JSON}
        cells = (param_columns.dump(known), json.dumps(properties, ensure_ascii=False))
        columns_ = [[cell] for cell in (*cells, id_experiment)]
        transaction.update("experiments", kinds, {"id_experiment": KEY}, columns_)
        if transaction.dialect.ddl_commits:
            unfinished.forget(transaction, table_name(name), view_name(name))


def _params(transaction: Transaction, id_experiment: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the params of runs some at a time, and write anew what JSON shows otherwise now."""
    text = PARAMS_TEXT if transaction.dialect.document else "params"
    sql = (
        f"SELECT id_run, position, {text}, residual FROM experiment_runs "
        f"WHERE id_experiment = ? AND id_run > ? ORDER BY id_run LIMIT {ROWS_AT_ONCE}"
    )
    last = ""
    while rows := transaction.rows(sql, (id_experiment, last)):
        last = rows[-1][0]
        params = parse_params([own for _, _, own, _ in rows])
        changed = []
        for own, (id_run, position, before, residual) in zip(params, rows, strict=True):
            exact = {} if residual is None else parse_residual(residual).params
            own |= {key: decode(data) for key, data in exact.items()}
            if exact and (now := dump_params([own], transaction.dialect)[0][0]) != before:
                changed.append((now, id_experiment, id_run, position))
        if changed:
            columns = list(zip(*changed, strict=True))
            transaction.update("experiment_runs", {text: TEXT}, KEYS, columns)
        yield params


TABLE_CHANGES: tuple[Change, ...] = (_show_params_as_document, _add_kinds_of_params)
VALUE_CHANGES: tuple[Change, ...] = (_make_views,)
