"""Kinds of columns: a class each, with all that is done to values of that kind.

A further kind is a class in a module here, its instance in `OF_FIELDS`, and its type in each
dialect. A format of the tables knows the names of kinds: an older package refuses a new one.
"""

from __future__ import annotations

from mltraq_prefect.storage.values.kinds.base import Backend, Guess, Held, Kind
from mltraq_prefect.storage.values.kinds.binaries import BINARY, BYTES
from mltraq_prefect.storage.values.kinds.identifiers import KEY, UUID
from mltraq_prefect.storage.values.kinds.numbers import BOOL, FLOAT, INT
from mltraq_prefect.storage.values.kinds.texts import JSON, TEXT
from mltraq_prefect.storage.values.kinds.times import DATE, DATETIME, TIME

__all__ = [
    "BINARY",
    "BOOL",
    "BYTES",
    "DATE",
    "DATETIME",
    "FLOAT",
    "INT",
    "JSON",
    "KEY",
    "KINDS",
    "OF_FIELDS",
    "TEXT",
    "TIME",
    "UUID",
    "Backend",
    "Guess",
    "Held",
    "Kind",
]

OF_FIELDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (BOOL, INT, FLOAT, TEXT, BYTES, DATETIME, DATE, TIME, UUID, JSON, BINARY)
}
"""What the column of a field can be, by name."""

KINDS: tuple[Kind, ...] = (*OF_FIELDS.values(), KEY)
"""All kinds: a dialect has a type for each."""
