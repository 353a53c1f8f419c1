"""What is stored of runs, as values: cells and ledger rows that were read, put together."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from mltraq_prefect.codecs import decode
from mltraq_prefect.errors import CorruptData
from mltraq_prefect.storage import tables
from mltraq_prefect.storage.experiments_table import Entry
from mltraq_prefect.storage.values.cells import revive
from mltraq_prefect.storage.values.columns import picked
from mltraq_prefect.storage.values.params import parse_params
from mltraq_prefect.storage.values.residuals import Residual, exact_values, parse_residual

Ledger = dict[str, Sequence[Any]]
"""Cells by column of the ledger, as `LedgerColumn.maker` keeps them."""


def wanted(ledger: Ledger, ids: Sequence[str] | None) -> Ledger:
    """Return the rows of some runs; all if None."""
    if ids is None:
        return ledger
    chosen = frozenset(ids)
    indexes = [index for index, id_run in enumerate(ledger["id_run"]) if id_run in chosen]
    return dict(zip(ledger, picked([*ledger.values()], indexes), strict=True))


def matched(
    entry: Entry, ledger: Ledger, stored: Sequence[str], cells: dict[str, Sequence[Any]]
) -> tuple[Sequence[str], dict[str, Sequence[Any]], Sequence[int]]:
    """Return the runs of the ledger as they are stored, their cells, and their ledger rows.

    A ledger whose runs have no rows is refused: the table was replaced while it was read.
    PostgreSQL shows a table that was made, or rewritten, after the snapshot as an empty one.
    """
    ids = list(ledger["id_run"])
    in_order = np.argsort(np.array(ledger["position"], dtype=np.int64))
    as_listed = np.array(ids, dtype=object)[in_order].tolist()
    if list(stored) == as_listed:  # as written, mostly: the ids are kept once
        return as_listed, cells, array("q", in_order.tobytes())
    known = dict(zip(ids, range(len(ids)), strict=True))
    rows: Sequence[Any] = list(map(known.get, stored))
    if None in rows:
        wanted = [index for index, row in enumerate(rows) if row is not None]
        cells = dict(zip(cells, picked([*cells.values()], wanted), strict=True))
        (rows,) = picked([rows], wanted)
    stored = [ids[row] for row in rows]
    if len(rows) != len(ids):
        there = set(stored)
        raise tables.missing(entry, [id_run for id_run in ids if id_run not in there])
    return stored, cells, rows


def residuals_of(ledger: Ledger, entry: Entry) -> dict[str, Residual]:
    """Return the residuals of those runs that have one."""
    parsed = {}
    for id_run, data in zip(ledger["id_run"], ledger["residual"], strict=True):
        if data is not None:
            try:
                parsed[id_run] = parse_residual(data)
            except CorruptData as error:
                raise error.within(entry.name, id_run, "residual") from None
    return parsed


def exact_of(
    entry: Entry,
    key: str,
    ids: Sequence[str],
    cells: Sequence[Any],
    residuals: dict[str, Residual],
) -> dict[int, bytes]:
    """Return the envelopes of the exact values of a field, by index; see `exact_values`."""
    with tables.of_kind(entry, key):
        return exact_values(key, entry.layout[key].kind, ids, cells, residuals)


def values_of(
    entry: Entry, key: str, ids: Sequence[str], cells: Sequence[Any], exact: dict[int, bytes]
) -> Sequence[Any]:
    """Return the values of a field; what the residual has counts, not its cell."""
    column = entry.layout[key]
    try:
        with tables.of_kind(entry, key):
            if not exact:
                return revive(column, cells)
            values = list(revive(column, [None if i in exact else c for i, c in enumerate(cells)]))
        for index, data in exact.items():
            values[index] = decode(data)
    except CorruptData:
        raise _located(entry, key, ids, cells, exact) from None
    return values


def _located(
    entry: Entry, key: str, ids: Sequence[str], cells: Sequence[Any], exact: dict[int, bytes]
) -> CorruptData:
    """Find the run whose value cannot be read; only errors pay for it."""
    column = entry.layout[key]
    for index, (id_run, cell) in enumerate(zip(ids, cells, strict=True)):
        try:
            with tables.of_kind(entry, key):
                revive(column, [cell])
            if index in exact:
                decode(exact[index])
        except CorruptData as error:
            return error.within(entry.name, id_run, key)
    raise AssertionError("the error did not come back")


def params_of(entry: Entry, ledger: Ledger, residuals: dict[str, Residual]) -> list[dict[str, Any]]:
    """Return the params of each run."""
    try:
        params = parse_params(ledger["params"])
        for id_run, own in zip(ledger["id_run"], params, strict=True) if residuals else ():
            if id_run in residuals:
                own |= {key: decode(data) for key, data in residuals[id_run].params.items()}
    except CorruptData as error:
        raise error.within(entry.name, field="params") from None
    return params
