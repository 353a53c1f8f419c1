"""The one place of the package that unpickles."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Sequence
from typing import Any


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, buffers: Iterable[Any], references: Sequence[Any]) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._references = references

    def persistent_load(self, place: int) -> Any:
        return self._references[place]


def unpickled(data: bytes, *, buffers: Iterable[Any] = (), references: Sequence[Any] = ()) -> Any:
    """Return what was pickled; runs whatever code the pickle names.

    Only for bytes from this program's own worker processes, and for those from a database whose
    signature `mltraq_prefect.storage.pickles.unseal` has checked.

    Args:
        data: The pickle.
        buffers: Memory that was left out of it.
        references: Objects that it names by their place.
    """
    if references:
        return _Unpickler(data, buffers, references).load()
    return pickle.loads(data, buffers=buffers)
