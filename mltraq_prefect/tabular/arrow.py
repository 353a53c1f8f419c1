"""Columns of values as Arrow arrays, and back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mltraq_prefect.codecs import decode, encode, from_json, to_json
from mltraq_prefect.errors import CorruptData
from mltraq_prefect.tabular.columns import SOURCES, Column, Part
from mltraq_prefect.tabular.forms import ENVELOPE, Form

METADATA = b"mltraq"
"""Key of what a file of ours says of itself, and of each column."""


class UnfitError(Exception):
    """A value is not of the form of its column."""


def to_arrow(form: Form, values: Sequence[Any]) -> pa.Array:
    """Return values as an array; None is a missing one.

    Raises:
        UnfitError: A value is not of this form.
    """
    try:
        if form.python == "array":
            return _from_arrays(form, values)
        make = _MAKERS.get(form.python)
        cells = values if make is None else [None if v is None else make(v) for v in values]
        return pa.array(cells, form.type, from_pandas=False)
    except (pa.ArrowException, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UnfitError(str(error)) from None


def _json(value: Any) -> str:
    text = to_json(value)
    if text is None:
        raise TypeError("it is not a plain tree")
    return text


def _exact_float(value: Any) -> float:
    made = float(value)
    if made != value and value == value:
        raise ValueError("no float is equal to it")
    return made


_MAKERS: dict[str, Callable[[Any], Any]] = {
    "uuid": str,
    "json": _json,
    "envelope": encode,
    "float": _exact_float,
    "int": int,
    "text": str.__str__,
    "number": lambda value: value.item(),
}


def _from_arrays(form: Form, values: Sequence[Any]) -> pa.Array:
    """Return arrays as nested lists, without a copy of each item."""
    missing = np.array([value is None for value in values], dtype=bool)
    there = [value for value in values if value is not None]
    if {(value.dtype.str, value.ndim) for value in there} - {(form.dtype, form.ndim)}:
        raise UnfitError("an array is of another type")
    dtype = np.dtype(form.dtype).newbyteorder("=")
    flat = np.concatenate([value.ravel() for value in there]) if there else np.array([], dtype)
    item = form.type
    for _ in range(form.ndim):
        item = item.value_type
    found = pa.array(flat.tolist() if dtype.kind == "U" else flat.astype(dtype, copy=False), item)
    for axis in range(form.ndim - 1, 0, -1):
        lengths = [
            np.full(int(np.prod(value.shape[:axis])), value.shape[axis], np.int64)
            for value in there
        ]
        found = pa.ListArray.from_arrays(_offsets(np.concatenate(lengths)), found)
    own = np.zeros(len(values), np.int64)
    own[~missing] = [len(value) for value in there]
    return pa.ListArray.from_arrays(_offsets(own), found, mask=pa.array(missing))


def _offsets(lengths: np.ndarray[Any, Any]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def from_arrow(form: Form, array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return the values of an array of a form; None where it has none.

    Raises:
        CorruptData: They are none of this form.
    """
    try:
        if form.python == "array":
            return [None if cell is None else _to_array(form, cell) for cell in _cells(array)]
        if form.python in _SCALARS:
            return [_SCALARS[form.python](cell) if cell.is_valid else None for cell in array]
        values: list[Any] = array.to_pylist()
        make = _RESTORERS.get(form.python)
        if form.python == "number":
            make = np.dtype(form.dtype).type
        return values if make is None else [None if v is None else make(v) for v in values]
    except CorruptData:
        raise
    except (pa.ArrowException, TypeError, ValueError, AttributeError, OverflowError):
        raise CorruptData(f"a value of the file is none of kind {form.python}") from None


_RESTORERS: dict[str, Callable[[Any], Any]] = {
    "uuid": uuid.UUID,
    "json": from_json,
    "envelope": decode,
}


def _timestamp(cell: Any) -> pd.Timestamp:
    type_ = cell.type
    found = pd.Timestamp(cell.value, unit=type_.unit).as_unit(type_.unit)
    return found if type_.tz is None else found.tz_localize("UTC").tz_convert(type_.tz)


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "timestamp": _timestamp,
    "timedelta": lambda cell: pd.Timedelta(cell.value, unit=cell.type.unit).as_unit(cell.type.unit),
}


def _cells(array: pa.Array | pa.ChunkedArray) -> list[pa.Array | None]:
    return [cell.values if cell.is_valid else None for cell in array]


def _to_array(form: Form, cell: pa.Array) -> np.ndarray[Any, Any]:
    shape = [len(cell)]
    for _ in range(form.ndim - 1):
        shape.append(len(cell[0].values))
        cell = cell.flatten()
    dtype = np.dtype(form.dtype)
    if dtype.kind == "U":
        return np.array(cell.to_pylist(), dtype).reshape(shape)
    items: np.ndarray[Any, Any] = cell.to_numpy(zero_copy_only=False)
    return items.astype(dtype, copy=True).reshape(shape)


def field_of(column: Column) -> pa.Field:
    """Return the field of a column, which says what it is and what Python makes of it."""
    form = column.form
    known: dict[str, Any] = {**column.part._asdict(), "python": form.python}
    known |= {"dtype": form.dtype, "ndim": form.ndim} if form.dtype else {}
    return pa.field(column.name, form.type, metadata={METADATA: json.dumps(known)})


def form_in(field: pa.Field) -> tuple[Part, Form] | None:
    """Return what a column that `field_of` has made holds, and its form; None for any other.

    Raises:
        CorruptData: It says something else of itself.
    """
    text = (field.metadata or {}).get(METADATA)
    if text is None:
        return None
    try:
        known = json.loads(text)
        dtype, ndim = known.get("dtype", ""), int(known.get("ndim", 0))
        form = Form(str(known["python"]), field.type, dtype, ndim)
        part = Part(known["source"], known["key"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CorruptData(f"the column {field.name!r} of the file is not described") from None
    if form.python == ENVELOPE.python and form.type != ENVELOPE.type:
        raise CorruptData(f"the column {field.name!r} of the file is not a column of values")
    if part.source not in SOURCES or type(part.key) is not str:
        raise CorruptData(f"the column {field.name!r} of the file is of no part of a run")
    return part, form
