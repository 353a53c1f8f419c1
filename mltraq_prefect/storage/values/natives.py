"""Types whose values a column keeps, as far as the backend does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mltraq_prefect.model.identity.canonical import as_python
from mltraq_prefect.storage.values.kinds import KINDS, Kind

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


NATIVES: dict[type, Native] = {
    type_: Native(kind, name, type_ if issubclass(type_, np.generic) else None)
    for kind in KINDS
    for type_, name in kind.natives.items()
}
REVIVE = {native.type: native.revive for native in NATIVES.values()}


def is_native(value: Any) -> bool:
    """Return whether the value is None or of a type that some column keeps."""
    return value is None or type(value) in NATIVES


def native_of(value: Any) -> tuple[Native, Any] | None:
    """Return the native type of a value, and its natural cell; None if it has none."""
    native = NATIVES.get(type(value))
    if native is None:
        return None
    return native, value if native.revive is None else as_python(value)
