"""What a run's row does not give back exactly: the residual of its row in the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mltraq_prefect.codecs import decode, encode
from mltraq_prefect.errors import CorruptData
from mltraq_prefect.storage.values.change_marks import Mark
from mltraq_prefect.storage.values.kinds import Kind

Exact = dict[str, bytes]
"""Envelopes of exact values by key."""


@dataclass(slots=True)
class Residual:
    """The exact values of a run.

    Attributes:
        fields: Those of its fields.
        params: Those of its params.
        cells: Marks of the cells that stood for those fields when they were written. A field of
            which this is not known has none.
    """

    fields: Exact = field(default_factory=dict)
    params: Exact = field(default_factory=dict)
    cells: dict[str, Mark] = field(default_factory=dict)

    def replaced(self, keys: Collection[str], new: Residual) -> Residual:
        """Return what is left when some fields have other values, which `new` has."""
        kept = Residual(
            {key: data for key, data in self.fields.items() if key not in keys},
            new.params or self.params,
            {key: mark for key, mark in self.cells.items() if key not in keys},
        )
        kept.fields |= {key: data for key, data in new.fields.items() if key in keys}
        kept.cells |= {key: mark for key, mark in new.cells.items() if key in keys}
        return kept


def dump_residual(residual: Residual | None) -> bytes | None:
    """Return one envelope of a residual, or None if there is nothing in it."""
    if residual is None or not (residual.fields or residual.params):
        return None
    return encode(
        {"fields": residual.fields, "params": residual.params, "cells": residual.cells},
        path="residual",
    )


def parse_residual(data: bytes) -> Residual:
    """Return the residual that `dump_residual` made an envelope of; its values are still encoded.

    Raises:
        CorruptData: The bytes are something else.
    """
    decoded = decode(data)
    try:
        fields, params, cells = decoded["fields"], decoded["params"], decoded.get("cells", {})
        if not all(type(item) is bytes for item in (*fields.values(), *params.values())):
            raise TypeError
        return Residual(fields, params, dict(cells))
    except (TypeError, KeyError, AttributeError, ValueError):
        raise CorruptData("the residual is not a residual") from None


def exact_values(
    key: str,
    kind: Kind,
    ids: Iterable[str],
    cells: Sequence[Any],
    residuals: Mapping[str, Residual],
) -> dict[int, bytes]:
    """Return the envelopes of the exact values of a field, by index.

    An exact value is left out if its cell has changed since both were written: somebody has
    updated the cell by SQL, and that update counts.

    Args:
        key: Key of the field.
        kind: Of its column.
        ids: The runs.
        cells: Their natural cells.
        residuals: The residuals of those runs that have one, by run.
    """
    if not residuals:
        return {}
    exact, noted = {}, {}
    for index, residual in enumerate(map(residuals.get, ids)):
        if residual is not None and key in residual.fields:
            exact[index] = residual.fields[key]
            if key in residual.cells:
                noted[index] = residual.cells[key]
    now = kind.marks([cells[index] for index in noted])
    for (index, then), mark in zip(noted.items(), now, strict=True):
        if mark != then:
            del exact[index]
    return exact
