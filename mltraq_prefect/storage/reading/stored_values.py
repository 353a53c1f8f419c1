"""What is stored of runs, as values: cells and ledger rows that were read, put together."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from mltraq_prefect.codecs import decode
from mltraq_prefect.errors import CorruptData
from mltraq_prefect.storage.tables import run_cells
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.values.cells import revive
from mltraq_prefect.storage.values.change_marks import Mark, with_exact
from mltraq_prefect.storage.values.columns import FEW, Constant, Texts, UnpackedOnce, picked
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
    if len(indexes) == len(ledger["id_run"]):  # as mostly, if they are few
        return ledger
    return dict(zip(ledger, picked([*ledger.values()], indexes), strict=True))


def in_order(positions: Sequence[int], rows: Sequence[int]) -> Sequence[int]:
    """Return the places of runs, given by their rows of the ledger, in their order."""
    if len(rows) <= FEW:
        few = [*positions] if isinstance(rows, range) else [positions[row] for row in rows]
        if few == sorted(few):
            return range(len(few))
        return sorted(range(len(few)), key=few.__getitem__)
    own = np.array(positions, dtype=np.int64)
    if not isinstance(rows, range):
        own = own[np.array(rows, dtype=np.int64)]
    if (np.diff(own) > 0).all():
        return range(len(own))
    return array("q", np.argsort(own).tobytes())


def matched(
    entry: Entry, ledger: Ledger, stored: Sequence[str], cells: dict[str, Sequence[Any]]
) -> tuple[Sequence[str], dict[str, Sequence[Any]], Sequence[int]]:
    """Return the runs of the ledger as they are stored, their cells, and their ledger rows.

    A ledger whose runs have no rows is refused: the table was replaced while it was read.
    PostgreSQL shows a table that was made, or rewritten, after the snapshot as an empty one.
    """
    listed, positions = ledger["id_run"], ledger["position"]
    if _are_same(listed, stored):
        return UnpackedOnce(stored), cells, range(len(listed))
    if isinstance(listed, Texts) and isinstance(stored, Texts):
        found_rows = _rows(listed, stored, positions)
        if found_rows is not None:
            return UnpackedOnce(stored), cells, found_rows
    known = dict(zip(listed, range(len(listed)), strict=True))
    found = list(map(known.get, stored))
    if None in found:
        wanted = [index for index, row in enumerate(found) if row is not None]
        cells = dict(zip(cells, picked([*cells.values()], wanted), strict=True))
        (stored,) = picked([stored], wanted)
    rows = array("q", [row for row in found if row is not None])
    if len(rows) != len(listed):
        there = set(stored)
        raise run_cells.missing(entry, [id_run for id_run in listed if id_run not in there])
    return UnpackedOnce(stored), cells, rows


def _rows(listed: Texts, stored: Texts, positions: Sequence[int]) -> array[int] | None:
    """Return the ledger row of each stored run, no id of which is kept as an object.

    Hashes tell what to compare. None if that does not show the same runs.
    """
    if len(listed) != len(stored):
        return None
    rows = np.argsort(np.array(positions, dtype=np.int64))
    if not listed.taken(rows).same_as(stored):  # they are not as written
        own, other = (np.fromiter(map(hash, ids), np.int64, len(ids)) for ids in (listed, stored))
        rows[np.argsort(other)] = np.argsort(own)
        if not listed.taken(rows).same_as(stored):
            return None
    return array("q", rows.tobytes())


def _are_same(listed: Sequence[Any], stored: Sequence[Any]) -> bool:
    """Return whether two columns of ids, both packed or neither, are equal."""
    return listed.same_as(stored) if isinstance(listed, Texts) else list(listed) == list(stored)


def residuals_of(ledger: Ledger, entry: Entry) -> dict[str, Residual]:
    """Return the residuals of those runs that have one."""
    parsed: dict[str, Residual] = {}
    if isinstance(ledger["residual"], Constant) and ledger["residual"].value is None:
        return parsed
    for id_run, data in zip(ledger["id_run"], ledger["residual"], strict=True):
        if data is not None:
            try:
                parsed[id_run] = parse_residual(data)
            except CorruptData as error:
                raise error.within(entry.name, id_run, "residual") from None
    return parsed


def of_field(
    entry: Entry,
    key: str,
    ids: Sequence[str],
    cells: Sequence[Any],
    residuals: dict[str, Residual],
) -> tuple[Sequence[Any], Sequence[Mark]]:
    """Return the values of a field, and marks of what is stored of them."""
    exact = exact_of(entry, key, ids, cells, residuals)
    with run_cells.OfKind(entry, key):
        marks = with_exact(entry.layout[key].kind.marks(cells), exact)
    return values_of(entry, key, ids, cells, exact), marks


def exact_of(
    entry: Entry,
    key: str,
    ids: Sequence[str],
    cells: Sequence[Any],
    residuals: dict[str, Residual],
) -> dict[int, bytes]:
    """Return the envelopes of the exact values of a field, by index; see `exact_values`."""
    with run_cells.OfKind(entry, key):
        return exact_values(key, entry.layout[key].kind, ids, cells, residuals)


def values_of(
    entry: Entry, key: str, ids: Sequence[str], cells: Sequence[Any], exact: dict[int, bytes]
) -> Sequence[Any]:
    """Return the values of a field; what the residual has counts, not its cell."""
    column = entry.layout[key]
    try:
        with run_cells.OfKind(entry, key):
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
            with run_cells.OfKind(entry, key):
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
