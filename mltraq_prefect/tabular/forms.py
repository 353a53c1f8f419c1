"""What a column of a file holds: the form of all its values, found in one look at their types.

A form is an Arrow type and what Python makes of it. Values that have no form in common are kept as
envelopes (docs/format.md), so that every value has a place, and comes back as it was.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from mltraq_prefect.codecs import to_json
from mltraq_prefect.model.identity import as_python

EXACT_FLOAT = 2**53
"""Up to this, a float holds each integer."""


class Form(NamedTuple):
    """The form of the values of a column.

    Attributes:
        python: What Python calls its values: ``int``, ``array``, ``json``, ``envelope`` ...
        type: The Arrow type of one of them.
        dtype: The NumPy type of a scalar, or of the items of an array; ``long`` for integers that
            no float holds; else empty.
        ndim: Number of the dimensions of an array.
    """

    python: str
    type: pa.DataType
    dtype: str = ""
    ndim: int = 0


NOTHING = Form("nothing", pa.null())
BOOL = Form("bool", pa.bool_())
INT = Form("int", pa.int64())
LONG = Form("int", pa.int64(), "long")
UNSIGNED = Form("int", pa.uint64(), "long")
FLOAT = Form("float", pa.float64())
TEXT = Form("text", pa.string())
BYTES = Form("bytes", pa.binary())
DATETIME = Form("datetime", pa.timestamp("us"))
DATE = Form("date", pa.date32())
TIME = Form("time", pa.time64("us"))
DURATION = Form("duration", pa.duration("us"))
UUID = Form("uuid", pa.string())
JSON = Form("json", pa.string())
ENVELOPE = Form("envelope", pa.binary())

SCALARS = frozenset(
    (
        *("nothing", "bool", "int", "float", "number", "text", "uuid"),
        *("datetime", "date", "time", "duration", "timestamp", "timedelta"),
    )
)
"""Forms whose values are one cell of any table."""

_UNITS = ("s", "ms", "us", "ns")
_ITEMS = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}


def form_of(values: Iterable[Any]) -> Form:
    """Return the form of values, none of which is missing."""
    found = list(values)
    types = set(map(type, found))
    if not found:
        return NOTHING
    if len(types) == 1:
        (type_,) = types
        return _same(type_, found)
    if types == {list, dict}:
        return _trees(found)
    if types <= {int, float} and all(abs(v) <= EXACT_FLOAT for v in found if type(v) is int):
        return FLOAT
    if all(issubclass(type_, (np.number, int, float)) and type_ is not bool for type_ in types):
        return form_of([as_python(v) if isinstance(v, np.generic) else v for v in found])
    return ENVELOPE


def joined(one: Form, other: Form) -> Form:
    """Return the form of a column that has values of two forms."""
    if one == other or other == NOTHING:
        return one
    if one == NOTHING:
        return other
    if {one.python, other.python} <= {"int", "float", "number", "bool"}:
        return _joined_numbers(_as_python(one), _as_python(other))
    if one.python == other.python == "datetime" and one.type.tz and other.type.tz:
        return Form("datetime", pa.timestamp("us", "UTC"))
    return JSON if {one.python, other.python} <= {"list", "json"} else ENVELOPE


def _joined_numbers(one: Form, other: Form) -> Form:
    both = {one, other}
    if len(both) == 1:
        return one
    if both == {INT, LONG}:
        return LONG
    return FLOAT if both == {INT, FLOAT} else ENVELOPE


def _as_python(form: Form) -> Form:
    """Return the form of NumPy's scalars as Python's numbers."""
    if form.python != "number":
        return form
    return {"b": BOOL, "f": FLOAT}.get(np.dtype(form.dtype).kind, LONG)


def _same(type_: type, values: Sequence[Any]) -> Form:
    """Return the form of values of one type."""
    if type_ in _PLAIN:
        return _PLAIN[type_]
    if type_ in _CHECKED:
        return _CHECKED[type_](values)
    if issubclass(type_, np.generic):
        return _numpy_scalar(values)
    return ENVELOPE


def _ints(values: Sequence[int]) -> Form:
    low, high = min(values), max(values)
    if max(-low, high) <= EXACT_FLOAT:
        return INT
    if low >= -(2**63) and high < 2**63:
        return LONG
    return UNSIGNED if low >= 0 and high < 2**64 else ENVELOPE


def _texts(values: Sequence[str]) -> Form:
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        return ENVELOPE
    return TEXT


def _moments(values: Sequence[datetime.datetime]) -> Form:
    zones = {_zone(value) for value in values}
    if zones == {None}:
        return DATETIME
    if None in zones:
        return ENVELOPE
    zone = zones.pop() if len(zones) == 1 else "UTC"
    return Form("datetime", pa.timestamp("us", zone))


def _zone(value: datetime.datetime) -> str | None:
    if value.tzinfo is None:
        return None
    return getattr(value.tzinfo, "key", None) or "UTC"


def _times(values: Sequence[datetime.time]) -> Form:
    return ENVELOPE if any(value.tzinfo for value in values) else TIME


def _durations(values: Sequence[datetime.timedelta]) -> Form:
    most = datetime.timedelta(days=10**8)  # what 64 bits of microseconds hold
    return DURATION if all(-most < value < most for value in values) else ENVELOPE


def _timestamps(values: Sequence[pd.Timestamp]) -> Form:
    kinds = {(value.unit, _zone(value)) for value in values}
    if len(kinds) != 1:
        return ENVELOPE
    ((unit, zone),) = kinds
    return Form("timestamp", pa.timestamp(unit, zone))


def _timedeltas(values: Sequence[pd.Timedelta]) -> Form:
    units = {value.unit for value in values}
    return Form("timedelta", pa.duration(units.pop())) if len(units) == 1 else ENVELOPE


def _numpy_scalar(values: Sequence[np.generic]) -> Form:
    dtypes = {value.dtype for value in values}
    if all(dtype.kind == "U" for dtype in dtypes):
        return _texts([str(as_python(value)) for value in values])
    dtype = dtypes.pop()
    item = _item_type(dtype) if not dtypes and dtype.kind in "biuf" else None
    return ENVELOPE if item is None else Form("number", item, dtype.str)


def _arrays(values: Sequence[np.ndarray[Any, Any]]) -> Form:
    """Return the form of arrays: nested lists of one type of items, if they have one."""
    kinds = {(value.dtype, value.ndim) for value in values}
    if len(kinds) != 1:
        return ENVELOPE
    ((dtype, ndim),) = kinds
    item = _item_type(dtype)
    if item is None or ndim == 0 or (ndim > 1 and any(value.size == 0 for value in values)):
        return ENVELOPE
    if dtype.kind == "U" and ENVELOPE in [_texts(value.ravel().tolist()) for value in values]:
        return ENVELOPE
    for _ in range(ndim):
        item = pa.list_(item)
    return Form("array", item, dtype.str, ndim)


def _item_type(dtype: np.dtype[Any]) -> pa.DataType | None:
    """Return the Arrow type of the items of an array; None if it has no exact one."""
    if dtype.kind in "biuf" and dtype.itemsize <= 8:
        return pa.from_numpy_dtype(dtype.newbyteorder("="))
    if dtype.kind == "U":
        return pa.string()
    if dtype.kind in "mM" and np.datetime_data(dtype) in [(unit, 1) for unit in _UNITS]:
        unit = np.datetime_data(dtype)[0]
        return pa.timestamp(unit) if dtype.kind == "M" else pa.duration(unit)
    return None


def _trees(values: Sequence[Any]) -> Form:
    """Return the form of lists or dicts: JSON keeps those that consist of what JSON has."""
    whole = to_json(list(values), nul=True)
    return ENVELOPE if whole is None else JSON


def _lists(values: Sequence[list[Any]]) -> Form:
    """Return the form of lists: of one type of items, or trees."""
    types = {type(item) for value in values for item in value}
    if len(types) == 1 and (item := _ITEMS.get(types.pop())) is not None:
        form = form_of([item for value in values for item in value])
        return ENVELOPE if form.type != item else Form("list", pa.list_(item))
    return _trees(values)


_PLAIN: dict[type, Form] = {
    bool: BOOL,
    float: FLOAT,
    bytes: BYTES,
    datetime.date: DATE,
    uuid.UUID: UUID,
}
_CHECKED: dict[type, Callable[[Any], Form]] = {
    int: _ints,
    str: _texts,
    datetime.datetime: _moments,
    datetime.time: _times,
    datetime.timedelta: _durations,
    pd.Timestamp: _timestamps,
    pd.Timedelta: _timedeltas,
    np.ndarray: _arrays,
    list: _lists,
    dict: _trees,
}
