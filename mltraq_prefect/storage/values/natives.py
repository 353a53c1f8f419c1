"""Types whose values a column keeps, as far as the backend does."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mltraq_prefect.model.identity.canonical import as_python
from mltraq_prefect.storage.values.layout import Kind

NO_TYPE = "none"
"""Type of a column none of whose cells gives a value back: they were all None, or special."""


class Native(NamedTuple):
    """A type whose values a column keeps.

    Attributes:
        kind: The kind of column.
        type: Name of the type, as `run_columns` records it.
        revive: Makes the value from its natural cell; None if it is the cell.
    """

    kind: Kind
    type: str
    revive: Callable[[Any], Any] | None


_NUMPY: list[tuple[type, Kind]] = [
    (np.bool_, "bool"),
    *((np.dtype(code).type, "int") for code in "bhilqBHILQ"),
    *((np.dtype(code).type, "float") for code in "efd"),
    (np.str_, "text"),
    (np.bytes_, "bytes"),
]
NATIVES: dict[type, Native] = {
    bool: Native("bool", "bool", None),
    int: Native("int", "int", None),
    float: Native("float", "float", None),
    str: Native("text", "str", None),
    bytes: Native("bytes", "bytes", None),
    datetime.datetime: Native("datetime", "datetime", None),
    datetime.date: Native("date", "date", None),
    datetime.time: Native("time", "time", None),
    uuid.UUID: Native("uuid", "uuid", None),
    **{kind: Native(of, f"numpy.{kind.__name__}", kind) for kind, of in _NUMPY},
}
REVIVE = {native.type: native.revive for native in NATIVES.values()}


def native_of(value: Any) -> tuple[Native, Any] | None:
    """Return the native type of a value, and its natural cell; None if it has none."""
    native = NATIVES.get(type(value))
    if native is None:
        return None
    return native, value if native.revive is None else as_python(value)
