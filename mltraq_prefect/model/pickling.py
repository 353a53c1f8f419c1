"""Unpickling; no other module of the package does it."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class _Unpickler(pickle.Unpickler):
    def __init__(
        self,
        data: bytes,
        buffers: Iterable[Any],
        references: Sequence[Any],
        moved: Mapping[str, str],
    ) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._references = references
        self._moved = moved

    def persistent_load(self, index: int) -> Any:
        return self._references[index]

    def find_class(self, module: str, name: str) -> Any:
        moved = self._moved.get(f"{module}.{name}") or self._moved.get(module, module)
        return super().find_class(moved, name)


def unpickled(
    data: bytes,
    *,
    buffers: Iterable[Any] = (),
    references: Sequence[Any] = (),
    moved: Mapping[str, str] | None = None,
) -> Any:
    """Unpickle; this executes whatever code the pickle names.

    Only for bytes from this program's own worker processes, and for those from a database whose
    signature `mltraq_prefect.storage.pickles.unseal` has checked.

    Args:
        data: The pickle.
        buffers: Buffers that were left out of it (PEP 574).
        references: Objects that it refers to by index.
        moved: New names of modules and classes, by the names in the pickle.
    """
    if references or moved:
        return _Unpickler(data, buffers, references, moved or {}).load()
    return pickle.loads(data, buffers=buffers)
